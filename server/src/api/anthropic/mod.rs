//! Anthropic's API: what its clients send and read, on the models that are here.
//!
//! One endpoint per file. What both need is in [`request`], which has [`content`] and [`tools`] for its parts; how answers
//! are shown is in [`reply`].

mod content;
mod count_tokens;
mod messages;
mod reply;
mod request;
mod tools;

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::large_bodies;
use super::openapi::Routes;

/// The routes of this folder.
pub fn routes() -> Routes {
    Routes::of::<ErrorBody>("anthropic")
        .post("/v1/messages", messages::messages, messages::about())
        .post(
            "/v1/messages/count_tokens",
            count_tokens::count_tokens,
            count_tokens::about(),
        )
        .bounded(large_bodies())
}

/// Anthropic's shape of an error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    #[serde(rename = "type")]
    kind: &'static str,
    error: ErrorRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorRecord {
    #[serde(rename = "type")]
    kind: &'static str,
    message: String,
}

impl ErrorRecord {
    fn new(status: StatusCode, message: String) -> Self {
        let kind = match status {
            StatusCode::BAD_REQUEST => "invalid_request_error",
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
            _ => "api_error",
        };
        Self { kind, message }
    }
}

/// A refusal as Anthropic's clients read it.
#[must_use]
pub fn error(status: StatusCode, text: &str, request_id: Option<&str>) -> ErrorBody {
    ErrorBody {
        kind: "error",
        error: ErrorRecord::new(status, text.to_owned()),
        request_id: request_id.map(|id| format!("req_{id}")),
    }
}
