//! GET `/api/status`: no model here runs in a cloud.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::openapi::About;
use crate::api::reply;

#[derive(Serialize, ToSchema)]
struct CloudStatus {
    cloud: Cloud,
}

#[derive(Serialize, ToSchema)]
struct Cloud {
    disabled: bool,
    /// Who disabled it, in Ollama's words: `none`, `env`, `config` or `both`.
    source: &'static str,
}

/// For the document.
#[must_use]
pub fn about() -> About {
    About::new("Tell that no model runs in a cloud").gives::<CloudStatus>()
}

/// The status.
pub async fn status() -> Response {
    let cloud = Cloud {
        disabled: true,
        source: "config",
    };
    reply::json(StatusCode::OK, &CloudStatus { cloud })
}
