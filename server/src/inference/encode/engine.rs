//! The port that an encoding engine implements.

use std::collections::BTreeMap;

use super::{Frame, Piece, Prompt, Tokenized};
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
    /// For every token a logit per label.
    TokenLabels {
        /// Label names by output index.
        names: Vec<String>,
    },
    /// A weight per word of the vocabulary, 0 for most.
    Sparse {
        /// Words of the vocabulary.
        dimensions: u32,
    },
}

impl Head {
    /// What it gives, in the words of errors.
    #[must_use]
    pub fn ability(&self) -> &'static str {
        match self {
            Self::Embedding { .. } => "embeds texts",
            Self::Labels { .. } => "classifies texts",
            Self::TokenLabels { .. } => "classifies tokens",
            Self::Sparse { .. } => "weighs words",
        }
    }
}

/// A head beside the main one, on the same layers.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedHead {
    /// By what it is asked for.
    pub name: String,
    /// What it gives.
    pub head: Head,
}

/// What a model wants before texts: `config_sentence_transformers.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompts {
    /// The prompts by name.
    pub texts: BTreeMap<String, String>,
    /// The one that counts where none is asked for.
    pub default: Option<String>,
    /// Whether a prompt's tokens have a part in a text's vector.
    pub pooled: bool,
}

impl Prompts {
    /// Of a model that wants nothing.
    pub const NONE: Self = Self {
        texts: BTreeMap::new(),
        default: None,
        pooled: true,
    };

    /// The text that a prompt means.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for a name that the model does not know.
    pub fn text(&self, prompt: Prompt) -> Result<String, Error> {
        let default = || Some(self.texts.get(self.default.as_ref()?)?.clone());
        match prompt {
            Prompt::Text(text) => Ok(text),
            Prompt::Default => Ok(default().unwrap_or_default()),
            Prompt::Named(name) => self.texts.get(&name).cloned().ok_or_else(|| {
                let names: Vec<&str> = self.texts.keys().map(String::as_str).collect();
                Error::InvalidJob(match names[..] {
                    [] => format!("this model has no prompt \"{name}\": it has none at all"),
                    _ => format!(
                        "this model has no prompt \"{name}\"; its prompts are: {}",
                        names.join(", ")
                    ),
                })
            }),
        }
    }
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

    /// Further heads on the same layers, in the order of [`super::Output::Named`].
    fn named_heads(&self) -> &[NamedHead] {
        &[]
    }

    /// Whether it can give the vectors of tokens ([`super::Output::Tokens`]).
    fn gives_tokens(&self) -> bool {
        false
    }

    /// What the model wants before texts.
    fn prompts(&self) -> &Prompts {
        const { &Prompts::NONE }
    }

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

    /// Text to tokens without any around it, as [`Encoder::split`], with their names and places.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for text that the tokenizer refuses.
    fn spell(&self, text: &str) -> Result<Vec<Piece>, Error>;

    /// Whether a token has a meaning of its own instead of standing for text.
    fn is_special(&self, id: u32) -> bool;

    /// The text that tokens stand for together, from their names.
    ///
    /// # Errors
    /// [`Error::Engine`] if the tokenizer cannot join them.
    fn join(&self, names: Vec<String>) -> Result<String, Error>;

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

    /// Computes a batch: for each text, in order, what its [`super::Output`] asks for. That is its pooled vector (as the
    /// model gives it), its logits, the weights of all words, or, one token after another, vectors or logits of its tokens.
    ///
    /// # Errors
    /// [`Error::Engine`] when the computation failed.
    fn encode(&mut self, batch: &[&Tokenized]) -> Result<Vec<Vec<f32>>, Error>;
}
