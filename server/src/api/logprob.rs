//! What a model thought of a token and of its alternatives, as Ollama and OpenAI both tell it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::inference::generate::{Logprob, TokenLogprob};

/// An entry of `logprobs`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LogprobRecord {
    #[serde(flatten)]
    chosen: TokenRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<Vec<TokenRecord>>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct TokenRecord {
    /// Bytes that are no whole character are shown as U+FFFD here and as they are in `bytes`.
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

impl LogprobRecord {
    /// Without the field for alternatives if there are none. That is Ollama's way; OpenAI's clients expect an empty list.
    #[must_use]
    pub fn without_empty_list(mut self) -> Self {
        self.top_logprobs = self.top_logprobs.filter(|top| !top.is_empty());
        self
    }
}

impl From<TokenLogprob> for LogprobRecord {
    fn from(logprob: TokenLogprob) -> Self {
        Self {
            chosen: logprob.chosen.into(),
            top_logprobs: Some(logprob.top.into_iter().map(TokenRecord::from).collect()),
        }
    }
}

impl From<Logprob> for TokenRecord {
    fn from(logprob: Logprob) -> Self {
        Self {
            token: String::from_utf8_lossy(&logprob.bytes).into_owned(),
            logprob: logprob.logprob,
            bytes: logprob.bytes,
        }
    }
}
