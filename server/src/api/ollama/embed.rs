//! POST `/api/embed`: texts to vectors.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::embedding::Embedding;
use crate::api::encoding::{TextsOrTokens, take_prompt};
use crate::api::find::Refusals;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::openapi::About;
use crate::api::time::nanoseconds;
use crate::api::{App, Error, reply};
use crate::inference::encode::{Embed, Prompt};

/// The body.
#[derive(Default)]
pub struct EmbedRequest {
    common: Embedding,
    input: Inputs,
    prompt: Prompt,
    truncate: Option<bool>,
    normalize: Option<bool>,
    dimensions: i64,
}

/// Texts or tokens. Nothing and one empty text are no texts.
#[derive(Debug, Default)]
struct Inputs(TextsOrTokens);

#[derive(Default, Serialize, ToSchema)]
struct EmbedRecord {
    model: String,
    /// In the order of the inputs.
    embeddings: Vec<Vec<f32>>,
    #[serde(flatten)]
    metrics: Option<EmbedMetrics>,
}

/// Times in nanoseconds.
#[derive(Serialize, ToSchema)]
struct EmbedMetrics {
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: u32,
    /// Ours: inputs that were cut. Absent if none was.
    #[serde(skip_serializing_if = "reply::is_zero")]
    truncated_inputs: u32,
}

impl FromJson for EmbedRequest {
    const GO_TYPE: &'static str = "EmbedRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            common: Embedding::take(&mut fields)?,
            input: fields.take("input")?,
            prompt: take_prompt(&mut fields)?,
            truncate: fields.take("truncate")?,
            normalize: fields.take("normalize")?,
            dimensions: fields.take("dimensions")?,
        })
    }
}

impl FromJson for Inputs {
    const GO_TYPE: &'static str = "any";

    fn schema() -> RefOr<Schema> {
        TextsOrTokens::schema()
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) if text.is_empty() => Ok(Self::default()),
            other => TextsOrTokens::from_json(other).map(Self),
        }
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Turn texts into vectors")
        .takes::<EmbedRequest>()
        .gives::<EmbedRecord>()
}

/// Embeds the texts.
pub async fn embed(
    State(app): State<Arc<App>>,
    Json(request): Json<EmbedRequest>,
) -> Result<Response, Error> {
    let truncate = request.truncate.unwrap_or(true);
    let mut opened = request
        .common
        .open(&app, Refusals::PullFirst, truncate)
        .await?;
    let model = request.common.model;
    let TextsOrTokens(inputs) = request.input.0;
    if inputs.is_empty() {
        opened.nothing_asked();
        let record = EmbedRecord {
            model,
            ..EmbedRecord::default()
        };
        return Ok(reply::json(StatusCode::OK, &record));
    }
    let job = Embed {
        inputs,
        prompt: request.prompt,
        overflow: opened.overflow,
        dimensions: u32::try_from(request.dimensions)
            .ok()
            .filter(|count| *count > 0),
        normalize: request.normalize.unwrap_or(true),
    };
    let embedded = opened.session.encode(job).await?;
    let record = EmbedRecord {
        model,
        embeddings: embedded.results,
        metrics: Some(EmbedMetrics {
            total_duration: nanoseconds(opened.session.request.elapsed()),
            load_duration: nanoseconds(opened.session.load),
            prompt_eval_count: embedded.usage.prompt_tokens,
            truncated_inputs: embedded.usage.truncated_inputs,
        }),
    };
    Ok(reply::json(StatusCode::OK, &record))
}
