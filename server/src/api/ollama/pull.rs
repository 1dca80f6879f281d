//! POST `/api/pull`: a model from a registry.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::transfer::{self, TransferRequest};
use crate::api::json::Json;
use crate::api::{App, Error};

/// Fetches the model and tells how it goes. A caller that leaves stops it; what has come is kept for the next one.
///
/// # Errors
/// When it is refused before anything was asked of the registry.
pub async fn pull(
    State(app): State<Arc<App>>,
    Json(request): Json<TransferRequest>,
) -> Result<Response, Error> {
    let is_streaming = request.is_streaming();
    let transfer = app.registry.pull(request.meant()?)?;
    Ok(transfer::answer(transfer, is_streaming).await)
}
