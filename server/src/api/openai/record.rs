//! Fields that several replies share.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::ErrorBody;
use crate::api::Error;
use crate::api::answer::{Cut, Ending};
use crate::inference::generate::Finish;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What clients see of the configuration behind a reply.
pub const FINGERPRINT: &str = "fp_ollama";

/// What a reply took, in tokens.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u32,
    prompt_tokens_details: PromptDetails,
    /// Only there if something was thought.
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionDetails>,
    /// Ours: only there if something was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_truncated: Option<Cut>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
struct PromptDetails {
    /// Tokens whose results were still in the cache.
    cached_tokens: u32,
}

#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
struct CompletionDetails {
    reasoning_tokens: u32,
}

impl Usage {
    /// Adds an answer. Its prompt counts only if it is the first answer to it.
    pub fn add(&mut self, ending: &Ending, is_first_to_its_prompt: bool) {
        let usage = &ending.usage;
        if is_first_to_its_prompt {
            self.prompt_tokens += usage.prompt_tokens;
            self.prompt_tokens_details.cached_tokens += usage.cached_tokens;
            let before = self.prompt_truncated.unwrap_or_default();
            self.prompt_truncated = Cut {
                messages: before.messages + ending.cut.messages,
                tokens: before.tokens + ending.cut.tokens,
            }
            .if_any();
        }
        self.completion_tokens += usage.generated_tokens;
        if ending.thinking_tokens > 0 {
            let details = self.completion_tokens_details.get_or_insert_default();
            details.reasoning_tokens += ending.thinking_tokens;
        }
        self.total_tokens = self.prompt_tokens + self.completion_tokens;
    }
}

/// `finish_reason` of an answer that may have called tools.
pub fn finish_reason(finish: Finish, has_called: bool) -> &'static str {
    match finish {
        Finish::Stop if has_called => "tool_calls",
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}

/// Now, in seconds since 1970.
pub fn now() -> u64 {
    seconds(SystemTime::now())
}

/// A point in time in seconds since 1970; what is before counts as 1970.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A reply.
pub fn json(value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("replies have string keys and finite numbers");
    (StatusCode::OK, [(header::CONTENT_TYPE, JSON)], body).into_response()
}

/// A failure in a stream.
pub fn failure(error: &Error) -> ErrorBody {
    super::error(error.status(), &error.refusal())
}
