//! OpenAI's API: what its clients send and read, on the models that are here.
//!
//! One endpoint per file, how it answers in another beside it. What several need is in [`settings`] and [`effort`]
//! (fields of requests), [`message`] and [`tools`] (conversations), and [`record`] (fields of replies).
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
mod tools;
mod transcriptions;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::large_bodies;
use super::openapi::{About, Routes};
use super::refusal::Refusal;

/// The routes of this folder.
pub fn routes() -> Routes {
    let family = || Routes::of::<ErrorBody>("openai");
    let with_texts = family()
        .post("/v1/chat/completions", chat::chat, chat::about())
        .post(
            "/v1/completions",
            completions::completions,
            completions::about(),
        )
        .post(
            "/v1/embeddings",
            embeddings::embeddings,
            embeddings::about(),
        )
        .post("/v1/responses", responses::responses, responses::about())
        .bounded(large_bodies());
    let uploads = family()
        .post(
            "/v1/audio/transcriptions",
            transcriptions::transcriptions,
            About::new("Refuse to write down speech: no model here hears"),
        )
        .bounded(DefaultBodyLimit::max(transcriptions::MAX_UPLOAD_BYTES));
    family()
        .get("/v1/models", models::models, models::about())
        .get("/v1/models/{*name}", models::model, models::about_one())
        .merge(with_texts)
        .merge(uploads)
}

/// OpenAI's shape of an error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    error: ErrorRecord,
}

#[derive(Debug, Serialize, ToSchema)]
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
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
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
