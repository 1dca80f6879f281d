//! GET `/v1/models` and `/v1/models/:name`: the models on the disk.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::record;
use crate::api::find::Refusals;
use crate::api::openapi::About;
use crate::api::{App, Error};
use crate::store::Model;

#[derive(Serialize, ToSchema)]
struct ModelList {
    object: &'static str,
    /// Newest first.
    data: Vec<ModelRecord>,
}

#[derive(Serialize, ToSchema)]
struct ModelRecord {
    id: String,
    object: &'static str,
    /// When it was last changed, in seconds since 1970.
    created: u64,
    owned_by: String,
}

/// For the document.
pub fn about() -> About {
    About::new("List the models on the disk").gives::<ModelList>()
}

/// The list.
pub async fn models(State(app): State<Arc<App>>) -> Result<Response, Error> {
    let models = app.with_store(|store| store.models()).await?;
    let models = models.iter();
    Ok(record::json(&ModelList {
        object: "list",
        data: models
            .map(|model| ModelRecord::of(model, model.name.to_string()))
            .collect(),
    }))
}

/// For the document.
pub fn about_one() -> About {
    About::new("Tell of one model")
        .named("name", "Its name")
        .gives::<ModelRecord>()
}

/// One of them, by whatever name the caller uses; the name may hold slashes.
pub async fn model(
    State(app): State<Arc<App>>,
    Path(typed): Path<String>,
) -> Result<Response, Error> {
    let model = app.find(&typed, Refusals::NotFound).await?;
    Ok(record::json(&ModelRecord::of(&model, typed)))
}

impl ModelRecord {
    fn of(model: &Model, id: String) -> Self {
        Self {
            id,
            object: "model",
            created: record::seconds(model.modified),
            owned_by: model.name.namespace().to_owned(),
        }
    }
}
