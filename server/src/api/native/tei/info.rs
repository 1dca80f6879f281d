//! GET `/info`: what the model is and how much it takes. `?model=` names one.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::TeiError;
use crate::api::find::Refusals;
use crate::api::native::score_model::{Task, only_model};
use crate::api::openapi::About;
use crate::api::{App, LARGE_BODY_BYTES, reply};
use crate::inference::encode::BATCH_TOKENS;
use crate::store::Capability;

/// The query.
#[derive(Deserialize)]
pub struct InfoRequest {
    model: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct InfoRecord {
    model_id: String,
    model_sha: String,
    model_dtype: String,
    model_type: ModelType,
    max_concurrent_requests: usize,
    /// In tokens, special tokens included.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_input_length: Option<u64>,
    max_batch_tokens: u32,
    /// Ours: a list may be as long as a body; it is split inside.
    payload_limit: usize,
    version: &'static str,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ModelType {
    Embedding {},
    Classifier {},
    Reranker {},
}

/// For the document.
pub fn about() -> About {
    About::new("Tell which model answers requests that name none").gives::<InfoRecord>()
}

/// Tells of the model.
pub async fn info(
    State(app): State<Arc<App>>,
    Query(request): Query<InfoRequest>,
) -> Result<Response, TeiError> {
    let model = match request.model {
        Some(name) => app.find(&name, Refusals::RequiredPullFirst).await?,
        None => only_model(&app, Task::Embed).await?,
    };
    let can = |capability| model.capabilities.contains(&capability);
    let record = InfoRecord {
        model_id: model.name.to_string(),
        model_sha: model.id.hex().to_string(),
        model_dtype: model.details.quantization_level.clone(),
        model_type: if can(Capability::Rerank) {
            ModelType::Reranker {}
        } else if can(Capability::Classify) {
            ModelType::Classifier {}
        } else {
            ModelType::Embedding {}
        },
        max_concurrent_requests: app.config.max_queue,
        max_input_length: model.details.context_length,
        max_batch_tokens: BATCH_TOKENS,
        payload_limit: LARGE_BODY_BYTES,
        version: env!("CARGO_PKG_VERSION"),
    };
    Ok(reply::json(StatusCode::OK, &record))
}
