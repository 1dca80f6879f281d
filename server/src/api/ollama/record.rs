//! Fields that several replies share.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::answer::{Cut, Ending};
use crate::api::time::nanoseconds;
use crate::inference::generate::{Finish, Logprob, TokenLogprob};

/// How a generation ended and what it took. Times in nanoseconds.
#[derive(Serialize, ToSchema)]
pub struct Metrics {
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: u32,
    prompt_eval_duration: u64,
    eval_count: u32,
    eval_duration: u64,
    /// Ours: only there if something was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_truncated: Option<CutRecord>,
}

/// What of a prompt was not read.
#[derive(Serialize, ToSchema)]
struct CutRecord {
    messages: usize,
    tokens: u32,
}

/// An entry of `logprobs`.
#[derive(Serialize, ToSchema)]
pub struct LogprobRecord {
    #[serde(flatten)]
    chosen: TokenRecord,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    top_logprobs: Vec<TokenRecord>,
}

#[derive(Serialize, ToSchema)]
struct TokenRecord {
    /// Bytes that are no whole character are shown as U+FFFD here and as they are in `bytes`.
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

/// What `_debug_render_only` asks for.
#[derive(Serialize, ToSchema)]
pub struct DebugInfo {
    /// The prompt.
    pub rendered_template: String,
}

impl From<&Ending> for Metrics {
    fn from(ending: &Ending) -> Self {
        let usage = &ending.usage;
        let at_least_one = |nanoseconds: u64| nanoseconds.max(1);
        Self {
            total_duration: nanoseconds(ending.total),
            load_duration: nanoseconds(ending.load),
            prompt_eval_count: usage.prompt_tokens,
            prompt_eval_duration: at_least_one(usage.prefill_ns),
            eval_count: usage.generated_tokens,
            eval_duration: at_least_one(usage.decode_ns),
            prompt_truncated: (ending.cut != Cut::default()).then_some(CutRecord {
                messages: ending.cut.messages,
                tokens: ending.cut.tokens,
            }),
        }
    }
}

impl From<TokenLogprob> for LogprobRecord {
    fn from(logprob: TokenLogprob) -> Self {
        Self {
            chosen: logprob.chosen.into(),
            top_logprobs: logprob.top.into_iter().map(TokenRecord::from).collect(),
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

/// `logprobs` of a reply.
pub fn logprobs(logprobs: Vec<TokenLogprob>) -> Vec<LogprobRecord> {
    logprobs.into_iter().map(LogprobRecord::from).collect()
}

/// `done_reason`.
pub fn done_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}
