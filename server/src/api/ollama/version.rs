//! GET `/api/version`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use crate::api::{App, reply};

#[derive(Serialize)]
struct Version<'a> {
    /// The Ollama release whose API this is: clients compare it with the oldest they can talk to.
    version: &'a str,
}

/// The version.
pub async fn version(State(app): State<Arc<App>>) -> Response {
    let version = &app.config.version;
    reply::json(StatusCode::OK, &Version { version })
}
