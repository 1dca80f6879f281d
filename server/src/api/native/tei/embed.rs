//! POST `/embed`: texts to vectors, and nothing around them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::TeiError;
use super::texts::TextsRequest;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::openapi::About;
use crate::api::{App, Error, reply};
use crate::inference::encode::Embed;

/// The body.
#[derive(Default)]
pub struct EmbedRequest {
    texts: TextsRequest,
    normalize: bool,
    dimensions: Option<i64>,
}

impl FromJson for EmbedRequest {
    const GO_TYPE: &'static str = "EmbedRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let normalize: Option<bool> = fields.take("normalize")?;
        Ok(Self {
            texts: TextsRequest::take(&mut fields)?,
            normalize: normalize.unwrap_or(true),
            dimensions: fields.take("dimensions")?,
        })
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Turn texts into vectors")
        .takes::<EmbedRequest>()
        .gives_content("application/json")
}

/// Embeds the texts.
pub async fn embed(
    State(app): State<Arc<App>>,
    body: Result<Json<EmbedRequest>, Error>,
) -> Result<Response, TeiError> {
    let Json(request) = body?;
    let dimensions = match request.dimensions {
        None => None,
        Some(count) => match u32::try_from(count) {
            Ok(count) if count > 0 => Some(count),
            _ => return Err(Error::BadRequest("`dimensions` must be at least 1".into()).into()),
        },
    };
    let mut texts = request.texts.open(&app).await?;
    let job = Embed {
        inputs: texts.inputs,
        prompt: texts.prompt,
        overflow: texts.opened.overflow,
        dimensions,
        normalize: request.normalize,
    };
    let embedded = texts.opened.session.encode(job).await?;
    Ok(reply::json(StatusCode::OK, &embedded.results))
}
