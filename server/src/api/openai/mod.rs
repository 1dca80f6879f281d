//! OpenAI's API: what its clients send and read, on the models that are here.
//!
//! One endpoint per file, how it answers in another beside it. What several need is in [`settings`], [`effort`] and
//! [`tool_choice`] (fields of requests), [`message`] and [`tools`] (conversations), and [`record`] (fields of replies).
//!
//! Unknown fields are passed over, known ones are kept or refused: none is silently dropped but those that say nothing
//! about the answer.

mod chat;
mod chat_reply;
mod completions;
mod completions_reply;
mod effort;
mod embeddings;
mod message;
mod models;
mod record;
mod responses;
mod settings;
mod tool_choice;
mod tools;
mod transcriptions;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::Serialize;

use super::refusal::Refusal;
use super::{App, large_bodies};

/// The routes of this folder.
pub fn routes() -> Router<Arc<App>> {
    let with_texts = Router::new()
        .route("/v1/chat/completions", post(chat::chat))
        .route("/v1/completions", post(completions::completions))
        .route("/v1/embeddings", post(embeddings::embeddings))
        .route("/v1/responses", post(responses::responses))
        .layer(large_bodies());
    let uploads = Router::new()
        .route(
            "/v1/audio/transcriptions",
            post(transcriptions::transcriptions),
        )
        .layer(DefaultBodyLimit::max(transcriptions::MAX_UPLOAD_BYTES));
    Router::new()
        .route("/v1/models", get(models::models))
        .route("/v1/models/{*name}", get(models::model))
        .merge(with_texts)
        .merge(uploads)
}

/// OpenAI's shape of an error.
#[derive(Debug, Serialize)]
pub struct ErrorBody {
    error: ErrorRecord,
}

#[derive(Debug, Serialize)]
struct ErrorRecord {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    /// Which parameter is at fault: not known here, and clients expect the field.
    param: Option<String>,
    code: Option<&'static str>,
}

/// A refusal as OpenAI's clients read it.
#[must_use]
pub fn error(status: StatusCode, refusal: &Refusal) -> ErrorBody {
    let kind = match status {
        StatusCode::BAD_REQUEST => "invalid_request_error",
        StatusCode::NOT_FOUND => "not_found_error",
        _ => "api_error",
    };
    ErrorBody {
        error: ErrorRecord {
            message: refusal.text.clone(),
            kind,
            param: None,
            code: refusal.code,
        },
    }
}
