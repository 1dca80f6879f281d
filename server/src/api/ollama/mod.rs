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
mod transfer;
mod version;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;

use super::error::ErrorBody;
use super::openapi::{About, BYTES, Routes, TEXT};
use super::{SMALL_BODY_BYTES, large_bodies};

/// The routes of this folder.
pub fn routes() -> Routes {
    let with_texts = family()
        .post("/api/generate", generate::generate, generate::about())
        .post("/api/chat", chat::chat, chat::about())
        .post("/api/embed", embed::embed, embed::about())
        .post(
            "/api/embeddings",
            embeddings::embeddings,
            embeddings::about(),
        )
        .post("/api/create", create::create, create::about())
        .bounded(large_bodies());
    let uploads = family()
        .head(
            BLOB,
            blobs::exists,
            about_blob("Tell whether a blob is there").gives_nothing(StatusCode::OK, "It is"),
        )
        .post(
            BLOB,
            blobs::upload,
            about_blob("Store a blob")
                .takes_content(BYTES)
                .gives_nothing(StatusCode::CREATED, "Stored")
                .gives_nothing(StatusCode::OK, "It was there"),
        )
        .bounded(DefaultBodyLimit::disable());
    family()
        .get(
            "/",
            root::root,
            About::new("Tell that a server is here").gives_content(TEXT),
        )
        .get("/api/version", version::version, version::about())
        .get("/api/status", status::status, status::about())
        .get("/api/tags", tags::tags, tags::about())
        .get("/api/ps", ps::ps, ps::about())
        .post("/api/show", show::show, show::about())
        .post("/api/copy", copy::copy, copy::about())
        .delete("/api/delete", delete::delete, delete::about())
        .post(
            "/api/pull",
            pull::pull,
            transfer::about("Fetch a model from a registry"),
        )
        .post(
            "/api/push",
            push::push,
            transfer::about("Send a model to a registry"),
        )
        .merge(accounts())
        .bounded(DefaultBodyLimit::max(SMALL_BODY_BYTES))
        .merge(with_texts)
        .merge(uploads)
}

/// What Ollama's own service would do.
fn accounts() -> Routes {
    family()
        .post("/api/me", account::me, About::new("Tell who is signed in"))
        .post("/api/signout", account::sign_out, About::new("Sign out"))
        .delete(
            "/api/user/keys/{key}",
            account::sign_out,
            About::new("Sign a machine out").named("key", "Its key"),
        )
        .post(
            "/api/experimental/web_search",
            experimental::web_search,
            About::new("Search the web"),
        )
        .post(
            "/api/experimental/web_fetch",
            experimental::web_fetch,
            About::new("Fetch a page"),
        )
        .get(
            "/api/experimental/model-recommendations",
            experimental::recommendations,
            experimental::about(),
        )
}

const BLOB: &str = "/api/blobs/{digest}";

fn family() -> Routes {
    Routes::of::<ErrorBody>("ollama")
}

fn about_blob(summary: &str) -> About {
    About::new(summary).named("digest", "`sha256:` and 64 hexadecimal digits")
}
