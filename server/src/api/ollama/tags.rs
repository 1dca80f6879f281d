//! GET `/api/tags`: the models on the disk.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::details::{DetailsRecord, capabilities};
use crate::api::openapi::About;
use crate::api::{App, Error, reply, time};
use crate::store::Model;

#[derive(Serialize, ToSchema)]
struct Tags {
    /// Newest first.
    models: Vec<Tag>,
}

#[derive(Serialize, ToSchema)]
struct Tag {
    name: String,
    model: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remote_model: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remote_host: String,
    modified_at: String,
    /// In bytes.
    size: u64,
    /// 64 hexadecimal digits.
    digest: String,
    details: DetailsRecord,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capabilities: Vec<&'static str>,
}

/// For the document.
#[must_use]
pub fn about() -> About {
    About::new("List the models on the disk").gives::<Tags>()
}

/// The list.
pub async fn tags(State(app): State<Arc<App>>) -> Result<Response, Error> {
    let models = app.with_store(|store| store.models()).await?;
    let tags = Tags {
        models: models.iter().map(|model| Tag::of(model)).collect(),
    };
    Ok(reply::json(StatusCode::OK, &tags))
}

impl Tag {
    fn of(model: &Model) -> Self {
        Self {
            name: model.name.to_string(),
            model: model.name.to_string(),
            remote_model: model.config.remote_model.clone(),
            remote_host: model.config.remote_host.clone(),
            modified_at: time::local(model.modified),
            size: model.size,
            digest: model.id.hex(),
            details: DetailsRecord::from(&model.details),
            capabilities: capabilities(model),
        }
    }
}
