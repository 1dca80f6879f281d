//! Ollama's own API: its fields, statuses and texts, so that every client of Ollama can be pointed here.
//!
//! One endpoint per file. What several need is in [`common`], [`think`], [`format`] and [`message`] (fields of requests) and
//! in [`record`] (fields of replies).

mod account;
mod base;
mod blobs;
mod chat;
mod common;
mod copy;
mod create;
mod create_info;
mod delete;
mod details;
mod embed;
mod embedding;
mod embeddings;
mod experimental;
mod format;
mod generate;
mod message;
mod ps;
mod pull;
mod push;
mod record;
mod remote;
mod root;
mod show;
mod status;
mod tags;
mod think;
mod tool_choice;
mod transfer;
mod version;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, head, post};

use super::{App, SMALL_BODY_BYTES, large_bodies};

/// The routes of this folder.
pub fn routes() -> Router<Arc<App>> {
    let with_texts = Router::new()
        .route("/api/generate", post(generate::generate))
        .route("/api/chat", post(chat::chat))
        .route("/api/embed", post(embed::embed))
        .route("/api/embeddings", post(embeddings::embeddings))
        .route("/api/create", post(create::create))
        .layer(large_bodies());
    let uploads = Router::new()
        .route(
            "/api/blobs/{digest}",
            head(blobs::exists).post(blobs::upload),
        )
        .layer(DefaultBodyLimit::disable());
    Router::new()
        .route("/", get(root::root))
        .route("/api/version", get(version::version))
        .route("/api/status", get(status::status))
        .route("/api/tags", get(tags::tags))
        .route("/api/ps", get(ps::ps))
        .route("/api/show", post(show::show))
        .route("/api/copy", post(copy::copy))
        .route("/api/delete", delete(delete::delete))
        .route("/api/pull", post(pull::pull))
        .route("/api/push", post(push::push))
        .route("/api/me", post(account::me))
        .route("/api/signout", post(account::sign_out))
        .route("/api/user/keys/{key}", delete(account::sign_out))
        .route(
            "/api/experimental/web_search",
            post(experimental::web_search),
        )
        .route("/api/experimental/web_fetch", post(experimental::web_fetch))
        .route(
            "/api/experimental/model-recommendations",
            get(experimental::recommendations),
        )
        .layer(DefaultBodyLimit::max(SMALL_BODY_BYTES))
        .merge(with_texts)
        .merge(uploads)
}
