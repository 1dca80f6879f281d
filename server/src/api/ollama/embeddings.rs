//! POST `/api/embeddings`: one text to one vector, as clients asked before `/api/embed`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::embedding::Embedding;
use crate::api::find::Refusals;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::openapi::About;
use crate::api::{App, Error, reply};
use crate::inference;
use crate::inference::encode::{Embed, Input, Prompt};

/// The body.
#[derive(Default)]
pub struct EmbeddingsRequest {
    common: Embedding,
    prompt: String,
}

#[derive(Serialize, ToSchema)]
struct EmbeddingsRecord {
    embedding: Vec<f32>,
}

impl FromJson for EmbeddingsRequest {
    const GO_TYPE: &'static str = "EmbeddingRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            common: Embedding::take(&mut fields)?,
            prompt: fields.take("prompt")?,
        })
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Turn a text into a vector")
        .takes::<EmbeddingsRequest>()
        .gives::<EmbeddingsRecord>()
}

/// Embeds the text.
pub async fn embeddings(
    State(app): State<Arc<App>>,
    Json(request): Json<EmbeddingsRequest>,
) -> Result<Response, Error> {
    let mut opened = request
        .common
        .open(&app, Refusals::RequiredPullFirst, false)
        .await?;
    if request.prompt.is_empty() {
        opened.nothing_asked();
        let embedding = Vec::new();
        return Ok(reply::json(StatusCode::OK, &EmbeddingsRecord { embedding }));
    }
    let job = Embed {
        inputs: vec![Input::Text(request.prompt)],
        prompt: Prompt::Default,
        overflow: opened.overflow,
        dimensions: None,
        // Vectors that this route gave as they were, clients have stored as they were.
        normalize: !opened.model.embeds_raw,
    };
    let embedded = opened
        .session
        .encode(job)
        .await
        .map_err(|error| match error {
            // Here, and only here, Ollama calls this a failure of its own.
            Error::Inference(error @ inference::Error::InputTooLong) => {
                Error::Failed(error.to_string())
            }
            other => other,
        })?;
    let embedding = embedded.results.into_iter().next().unwrap_or_default();
    Ok(reply::json(StatusCode::OK, &EmbeddingsRecord { embedding }))
}
