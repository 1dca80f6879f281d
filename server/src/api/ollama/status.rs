//! GET `/api/status`: no model here runs in a cloud.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use crate::api::reply;

#[derive(Serialize)]
struct Status {
    cloud: Cloud,
}

#[derive(Serialize)]
struct Cloud {
    disabled: bool,
    /// Who disabled it, in Ollama's words: `none`, `env`, `config` or `both`.
    source: &'static str,
}

/// The status.
pub async fn status() -> Response {
    let cloud = Cloud {
        disabled: true,
        source: "config",
    };
    reply::json(StatusCode::OK, &Status { cloud })
}
