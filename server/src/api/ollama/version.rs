//! GET `/api/version`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::openapi::About;
use crate::api::{App, reply};

#[derive(Serialize, ToSchema)]
struct Version<'a> {
    /// The Ollama release whose API this is: clients compare it with the oldest they can talk to.
    version: &'a str,
}

/// For the document.
#[must_use]
pub fn about() -> About {
    About::new("Tell the version of Ollama whose API this is").gives::<Version<'_>>()
}

/// The version.
pub async fn version(State(app): State<Arc<App>>) -> Response {
    let version = &app.config.version;
    reply::json(StatusCode::OK, &Version { version })
}
