//! Fields that several replies share.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::answer::{Cut, Ending};
use crate::api::logprob::LogprobRecord;
use crate::api::time::nanoseconds;
use crate::inference::generate::{Finish, TokenLogprob};

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
    prompt_truncated: Option<Cut>,
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
            prompt_truncated: ending.cut.if_any(),
        }
    }
}

/// `logprobs` of a reply.
pub fn logprobs(logprobs: Vec<TokenLogprob>) -> Vec<LogprobRecord> {
    logprobs
        .into_iter()
        .map(|logprob| LogprobRecord::from(logprob).without_empty_list())
        .collect()
}

/// `done_reason`.
pub fn done_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}
