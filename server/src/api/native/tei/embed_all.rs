//! POST `/embed_all`: texts to the vectors of their tokens. POST `/embed_sparse`: texts to weights of words.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::TeiError;
use super::texts::TextsRequest;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::openapi::About;
use crate::api::{App, Error, reply};
use crate::inference::encode::{EmbedSparse, EmbedTokens};

/// The body of either.
#[derive(Default)]
pub struct TextsBody(TextsRequest);

/// A word of the vocabulary and its weight.
#[derive(Serialize, ToSchema)]
struct WeightRecord {
    index: u32,
    value: f32,
}

impl FromJson for TextsBody {
    const GO_TYPE: &'static str = "EmbedAllRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        TextsRequest::take(&mut Fields::of(Self::GO_TYPE, value)?).map(Self)
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Turn the tokens of texts into vectors")
        .takes::<TextsBody>()
        .gives_content("application/json")
}

/// Embeds the tokens of texts, special ones included.
pub async fn embed_all(
    State(app): State<Arc<App>>,
    body: Result<Json<TextsBody>, Error>,
) -> Result<Response, TeiError> {
    let Json(TextsBody(request)) = body?;
    let mut texts = request.open(&app).await?;
    let job = EmbedTokens {
        inputs: texts.inputs,
        prompt: texts.prompt,
        overflow: texts.opened.overflow,
    };
    let embedded = texts.opened.session.encode(job).await?;
    Ok(reply::json(StatusCode::OK, &embedded.results))
}

/// For the document.
pub fn about_sparse() -> About {
    About::new("Turn texts into weights of the vocabulary's words")
        .takes::<TextsBody>()
        .gives_content("application/json")
}

/// Weighs the words of texts.
pub async fn embed_sparse(
    State(app): State<Arc<App>>,
    body: Result<Json<TextsBody>, Error>,
) -> Result<Response, TeiError> {
    let Json(TextsBody(request)) = body?;
    let mut texts = request.open(&app).await?;
    let job = EmbedSparse {
        inputs: texts.inputs,
        prompt: texts.prompt,
        overflow: texts.opened.overflow,
    };
    let embedded = texts.opened.session.encode(job).await?;
    let records = |weights: Vec<(u32, f32)>| -> Vec<WeightRecord> {
        let record = |(index, value)| WeightRecord { index, value };
        weights.into_iter().map(record).collect()
    };
    let results: Vec<Vec<WeightRecord>> = embedded.results.into_iter().map(records).collect();
    Ok(reply::json(StatusCode::OK, &results))
}
