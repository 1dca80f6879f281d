//! The port that an encoding engine implements.

use crate::inference::{Error, Token};

/// What the model's outputs mean.
#[derive(Clone, Debug, PartialEq)]
pub enum Head {
    /// A vector per text.
    Embedding {
        /// Its length.
        dimensions: u32,
    },
    /// A logit per label.
    Labels {
        /// Label names by output index.
        names: Vec<String>,
        /// What turns logits into scores.
        activation: Activation,
    },
}

/// What turns a classifier's logits into scores.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Activation {
    /// Labels exclude each other: their scores sum to 1.
    Softmax,
    /// Labels are independent: each score is between 0 and 1.
    Sigmoid,
    /// The logit is the score (regression, and rerankers trained that way).
    Identity,
}

/// A text as the model sees it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tokenized {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// Segment of each token, same length.
    pub type_ids: Vec<u32>,
    /// Tokens the whole text would have had.
    pub full_length: u32,
}

/// A loaded model that encodes.
pub trait Encoder {
    /// What its outputs mean.
    fn head(&self) -> &Head;

    /// Longest input in tokens, special tokens included.
    fn max_tokens(&self) -> u32;

    /// Whether a text's result is the same among batch mates as alone, beyond rounding. Where it is not (activations
    /// quantised per tensor, a batch dimension fixed to 1), texts are computed one at a time.
    fn batches(&self) -> bool;

    /// Text to tokens, cut so that at most `max_tokens` remain, special tokens included.
    ///
    /// # Errors
    /// [`Error::NothingLeft`] if the text must be cut and the limit leaves no room beside the special tokens;
    /// [`Error::InvalidJob`] for text that the tokenizer refuses.
    fn tokenize(&self, text: &str, max_tokens: u32) -> Result<Tokenized, Error>;

    /// Text to tokens without any limit, for `Tokenize`.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for text that the tokenizer refuses.
    fn tokens(
        &mut self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, Error>;

    /// Token ids to text, for `Detokenize`.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for ids outside the vocabulary.
    fn detokenize(&self, tokens: &[Token]) -> Result<String, Error>;

    /// Computes a batch: for each text, in order, its pooled vector (as the model gives it) or its logits.
    ///
    /// # Errors
    /// [`Error::Engine`] when the computation failed.
    fn encode(&mut self, batch: &[&Tokenized]) -> Result<Vec<Vec<f32>>, Error>;
}
