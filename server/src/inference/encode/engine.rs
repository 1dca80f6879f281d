//! The port that an encoding engine implements.

use super::{Frame, Tokenized};
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
    /// The outputs are probabilities already.
    Done,
}

/// What batch mates do to a text's result, and so which texts may share a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Company {
    /// They change it (activations quantised per tensor, a batch dimension fixed to 1): texts are computed one at a time.
    Alone,
    /// They leave it as it is beyond rounding, but shorter texts are padded to the longest: texts of one width.
    SameWidth,
    /// They leave it as it is beyond rounding, and nothing is padded: any texts.
    Any,
}

/// A loaded model that encodes.
pub trait Encoder {
    /// What its outputs mean.
    fn head(&self) -> &Head;

    /// Longest input in tokens, special tokens included.
    fn max_tokens(&self) -> u32;

    /// Which texts may share a batch.
    fn company(&self) -> Company;

    /// The special tokens around a text or a pair.
    fn frame(&self) -> &Frame;

    /// Text to tokens without any around it. The names of special tokens in the text become these tokens.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for text that the tokenizer refuses.
    fn split(&self, text: &str) -> Result<Vec<u32>, Error>;

    /// Text to tokens as the caller wants them, for `Tokenize`.
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

    /// The bytes that each token stands for, for `Pieces`.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for ids outside the vocabulary.
    fn pieces(&self, tokens: &[Token]) -> Result<Vec<Vec<u8>>, Error>;

    /// Computes a batch: for each text, in order, its pooled vector (as the model gives it) or its logits.
    ///
    /// # Errors
    /// [`Error::Engine`] when the computation failed.
    fn encode(&mut self, batch: &[&Tokenized]) -> Result<Vec<Vec<f32>>, Error>;
}
