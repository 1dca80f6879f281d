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
        /// Whether labels exclude each other (softmax) or not (sigmoid).
        exclusive: bool,
    },
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

    /// Text to tokens, cut so that at most `max_tokens` remain, special tokens included.
    ///
    /// # Errors
    /// [`Error::NothingLeft`] if the limit leaves no room beside the special tokens; [`Error::InvalidJob`] for text that
    /// the tokenizer refuses.
    fn tokenize(&self, text: &str, max_tokens: u32) -> Result<Tokenized, Error>;

    /// Computes a batch: for each text, in order, its pooled vector (as the model gives it, not normalised) or its logits.
    /// The result of a text does not depend on its batch mates beyond rounding.
    ///
    /// # Errors
    /// [`Error::Engine`] when the computation failed.
    fn encode(&mut self, batch: &[&Tokenized]) -> Result<Vec<Vec<f32>>, Error>;

    /// Token ids to text, for `Detokenize`.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for ids outside the vocabulary.
    fn detokenize(&self, tokens: &[Token]) -> Result<String, Error>;
}
