//! POST `/api/pull` and `/api/push`: this version speaks to no registry and says so.

use serde_json::Value;

use crate::api::Error;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::store::Name;

/// The body of both.
#[derive(Default)]
pub struct TransferRequest {
    model: String,
}

impl FromJson for TransferRequest {
    const GO_TYPE: &'static str = "PullRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            model: fields.take_name()?,
        })
    }
}

/// Refuses to pull.
///
/// # Errors
/// Always.
pub async fn pull(Json(request): Json<TransferRequest>) -> Result<(), Error> {
    let name: Name = request.model.parse()?;
    Err(Error::NotImplemented(format!(
        "pull model manifest: '{name}' cannot be pulled, because registries are not supported yet; \
         create it from a local file instead"
    )))
}

/// Refuses to push.
///
/// # Errors
/// Always.
pub async fn push(Json(request): Json<TransferRequest>) -> Result<(), Error> {
    if request.model.is_empty() {
        return Err(Error::BadRequest("model is required".into()));
    }
    let name: Name = request.model.parse()?;
    Err(Error::NotImplemented(format!(
        "'{name}' cannot be pushed, because registries are not supported yet"
    )))
}
