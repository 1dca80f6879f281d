//! `tokenizer.json`: <https://huggingface.co/docs/tokenizers>.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::convert::Error;
use crate::convert::folder::{Folder, MAX_TOKENIZER_BYTES};

/// What matters of the file.
#[derive(Debug, Deserialize)]
pub(super) struct TokenizerFile {
    pub(super) model: Model,
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedToken>,
    #[serde(default)]
    pub(super) normalizer: Value,
    #[serde(default)]
    pub(super) pre_tokenizer: Value,
    #[serde(default)]
    pub(super) post_processor: Value,
}

/// The vocabulary.
#[derive(Debug, Deserialize)]
pub(super) struct Model {
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    /// Words and their numbers; other kinds have a list.
    pub(super) vocab: Vocab,
    #[serde(default)]
    pub(super) merges: Vec<Merge>,
    #[serde(default)]
    pub(super) ignore_merges: bool,
    #[serde(default)]
    pub(super) byte_fallback: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Vocab {
    Words(BTreeMap<String, u32>),
    Other(serde::de::IgnoredAny),
}

/// Two parts that become one word, in the old form and in the new.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Merge {
    Text(String),
    Pair(String, String),
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) special: bool,
}

impl TokenizerFile {
    /// Reads it from the folder, if it is there.
    pub(super) fn read(folder: Folder<'_>) -> Result<Option<Self>, Error> {
        folder.json("tokenizer.json", MAX_TOKENIZER_BYTES)
    }

    /// Words by their text.
    pub(super) fn words(&self) -> Result<&BTreeMap<String, u32>, Error> {
        match &self.model.vocab {
            Vocab::Words(words) => Ok(words),
            Vocab::Other(_) => Err(Error::refused(format!(
                "a tokenizer of the kind {} is not supported",
                self.model
                    .kind
                    .as_deref()
                    .unwrap_or("that tokenizer.json has")
            ))),
        }
    }

    /// Whether it is SentencePiece written as byte-pair encoding, as Llama 2 and Mistral have it.
    pub(super) fn is_sentencepiece(&self) -> bool {
        self.model.byte_fallback && !self.model.merges.is_empty()
    }
}

impl Merge {
    /// The two parts; `None` if there are not two.
    pub(super) fn parts(&self) -> Option<(&str, &str)> {
        match self {
            Self::Text(text) => text.split_once(' '),
            Self::Pair(left, right) => Some((left, right)),
        }
    }
}
