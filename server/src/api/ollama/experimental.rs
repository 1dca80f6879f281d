//! `/api/experimental/*`: what Ollama has its cloud do, as far as a server of local models can answer.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::openapi::About;
use crate::api::reference::CloudUse;
use crate::api::{Error, reply};

#[derive(Serialize, ToSchema)]
struct Recommendations {
    recommendations: Vec<Recommendation>,
}

#[derive(Serialize, ToSchema)]
struct Recommendation {
    model: &'static str,
    description: &'static str,
}

/// For the document.
pub fn about() -> About {
    About::new("Name models that are there without a download").gives::<Recommendations>()
}

/// The models that are there without a download.
pub async fn recommendations() -> Response {
    let recommendations = vec![Recommendation {
        model: "tiny",
        description: "Chat, tool calls, thinking and JSON, built in for the first start",
    }];
    reply::json(StatusCode::OK, &Recommendations { recommendations })
}

/// No web is searched.
///
/// # Errors
/// Always.
pub async fn web_search(body: Bytes) -> Result<(), Error> {
    refuse(&body, CloudUse::WebSearch)
}

/// No page is fetched.
///
/// # Errors
/// Always.
pub async fn web_fetch(body: Bytes) -> Result<(), Error> {
    refuse(&body, CloudUse::WebFetch)
}

fn refuse(body: &[u8], used_for: CloudUse) -> Result<(), Error> {
    if body.trim_ascii().is_empty() {
        return Err(Error::BadRequest("missing request body".into()));
    }
    Err(used_for.refusal())
}
