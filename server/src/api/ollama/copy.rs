//! POST `/api/copy`: a second name for a model.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;

use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::openapi::About;
use crate::api::{App, Error};
use crate::store::{Name, StoreError};

/// The body.
#[derive(Default)]
pub struct CopyRequest {
    source: String,
    destination: String,
}

impl FromJson for CopyRequest {
    const GO_TYPE: &'static str = "CopyRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            source: fields.take("source")?,
            destination: fields.take("destination")?,
        })
    }
}

/// For the document.
#[must_use]
pub fn about() -> About {
    About::new("Give a model a second name")
        .takes::<CopyRequest>()
        .gives_nothing(StatusCode::OK, "Copied")
}

/// Copies the manifest; the weights are shared.
pub async fn copy(
    State(app): State<Arc<App>>,
    Json(request): Json<CopyRequest>,
) -> Result<StatusCode, Error> {
    let parse = |role: &str, text: &str| {
        text.parse::<Name>()
            .map_err(|_| Error::BadRequest(format!("{role} {text:?} is invalid")))
    };
    let source = parse("source", &request.source)?;
    let destination = parse("destination", &request.destination)?;
    let copied = app
        .with_store(move |store| store.copy(&source, &destination))
        .await;
    match copied {
        Ok(()) => Ok(StatusCode::OK),
        Err(StoreError::NotFound(_)) => Err(Error::NotFound(format!(
            "model {:?} not found",
            request.source
        ))),
        Err(error) => Err(error.into()),
    }
}
