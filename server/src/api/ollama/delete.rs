//! DELETE `/api/delete`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;

use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::openapi::About;
use crate::api::reference::ModelRef;
use crate::api::{App, Error};
use crate::store::{Name, StoreError};

/// The body.
#[derive(Default)]
pub struct DeleteRequest {
    model: String,
}

impl FromJson for DeleteRequest {
    const GO_TYPE: &'static str = "DeleteRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            model: fields.take_name()?,
        })
    }
}

/// For the document.
#[must_use]
pub fn about() -> About {
    About::new("Remove a model")
        .takes::<DeleteRequest>()
        .gives_nothing(StatusCode::OK, "Removed")
}

/// Forgets a model, and takes it out of memory once nothing runs on it, unless it goes by another name too.
pub async fn delete(
    State(app): State<Arc<App>>,
    Json(request): Json<DeleteRequest>,
) -> Result<StatusCode, Error> {
    let typed = request.model;
    if typed.is_empty() {
        return Err(Error::BadRequest("model is required".into()));
    }
    let name: Name = ModelRef::parse(&typed)?
        .stored()
        .parse()
        .map_err(|_| Error::BadRequest(format!("name {typed:?} is invalid")))?;
    let deleted = app
        .with_store(move |store| {
            // A model that is not whole can be deleted too, and is not loaded.
            let model = store.model(&name).ok();
            store.delete(&name)?;
            let others = store.models().unwrap_or_default();
            Ok::<_, StoreError>((model, others))
        })
        .await;
    match deleted {
        Ok((model, others)) => {
            if model.is_some_and(|model| app.models.forget(&model, &others)) {
                tracing::info!("a deleted model leaves the memory once its requests have ended");
            }
            Ok(StatusCode::OK)
        }
        Err(StoreError::NotFound(_)) => Err(Error::NotFound(format!("model '{typed}' not found"))),
        Err(error) => Err(error.into()),
    }
}
