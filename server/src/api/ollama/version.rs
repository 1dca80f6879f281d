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
    /// How model files from strangers are held.
    sandbox: Sandbox,
}

#[derive(Serialize, ToSchema)]
struct Sandbox {
    /// What was asked for: `required`, `best-effort` or `off`.
    mode: &'static str,
    /// Whether workers can open the files of their model and system libraries only.
    files: bool,
    /// Whether workers have no network and start, trace and signal no process.
    system_calls: bool,
}

/// For the document.
#[must_use]
pub fn about() -> About {
    About::new("Tell the version of Ollama whose API this is").gives::<Version<'_>>()
}

/// The version.
pub async fn version(State(app): State<Arc<App>>) -> Response {
    let config = &app.config;
    reply::json(
        StatusCode::OK,
        &Version {
            version: &config.version,
            sandbox: Sandbox {
                mode: config.sandbox.name(),
                files: config.enforced.files,
                system_calls: config.enforced.system_calls,
            },
        },
    )
}
