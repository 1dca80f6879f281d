//! POST `/api/embeddings`: one text to one vector, as clients asked before `/api/embed`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};

use super::embed::run;
use crate::api::find::Refusals;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::keep_alive::KeepAliveField;
use crate::api::options::Options;
use crate::api::session::{Purpose, Session};
use crate::api::{App, Error, reply};
use crate::inference;
use crate::inference::encode::{Embed, Overflow};
use crate::metrics::Outcome;

/// The body.
#[derive(Default)]
pub struct EmbeddingsRequest {
    model: String,
    prompt: String,
    keep_alive: KeepAliveField,
    options: Map<String, Value>,
}

#[derive(Serialize)]
struct EmbeddingsRecord {
    embedding: Vec<f32>,
}

impl FromJson for EmbeddingsRequest {
    const GO_TYPE: &'static str = "EmbeddingRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            model: fields.take_name()?,
            prompt: fields.take("prompt")?,
            keep_alive: fields.take("keep_alive")?,
            options: fields.take("options")?,
        })
    }
}

/// Embeds the text.
pub async fn embeddings(
    State(app): State<Arc<App>>,
    Json(request): Json<EmbeddingsRequest>,
) -> Result<Response, Error> {
    let model = app
        .find(&request.model, Refusals::RequiredPullFirst)
        .await?;
    let options = Options::new(&model.parameters, &request.options)?;
    let purpose = Purpose {
        operation: "embed",
        options: options.load(),
        keep_alive: request.keep_alive.0,
    };
    let mut session = Session::open(&app, &model, purpose).await?;
    if request.prompt.is_empty() {
        session.request.ended(Outcome::Answered);
        let embedding = Vec::new();
        return Ok(reply::json(StatusCode::OK, &EmbeddingsRecord { embedding }));
    }
    let job = Embed {
        inputs: vec![request.prompt],
        overflow: Overflow {
            truncate: false,
            max_tokens: options.context(),
        },
        dimensions: None,
        normalize: true,
    };
    let embedded = run(&mut session, job).await.map_err(|error| match error {
        // Here, and only here, Ollama calls this a failure of its own.
        Error::Inference(error @ inference::Error::InputTooLong) => {
            Error::Failed(error.to_string())
        }
        other => other,
    })?;
    let embedding = embedded.vectors.into_iter().next().unwrap_or_default();
    Ok(reply::json(StatusCode::OK, &EmbeddingsRecord { embedding }))
}
