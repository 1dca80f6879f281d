//! POST `/api/push`: a model to a registry.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::transfer::{self, TransferRequest};
use crate::api::json::Json;
use crate::api::{App, Error};

/// Sends the model and tells how it goes.
///
/// # Errors
/// When it is refused before anything was asked of the registry.
pub async fn push(
    State(app): State<Arc<App>>,
    Json(request): Json<TransferRequest>,
) -> Result<Response, Error> {
    if request.model.is_empty() {
        return Err(Error::BadRequest("model is required".into()));
    }
    let is_streaming = request.is_streaming();
    let transfer = app.registry.push(request.meant()?)?;
    Ok(transfer::answer(transfer, is_streaming).await)
}
