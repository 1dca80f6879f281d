//! POST `/api/embed`: texts to vectors.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::find::Refusals;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::keep_alive::KeepAliveField;
use crate::api::options::Options;
use crate::api::session::{Purpose, Session};
use crate::api::time::nanoseconds;
use crate::api::{App, Error, reply};
use crate::inference::encode::{Embed, Embedded, Overflow};
use crate::metrics::Outcome;

/// The body.
#[derive(Default)]
pub struct EmbedRequest {
    model: String,
    input: Inputs,
    truncate: Option<bool>,
    dimensions: i64,
    keep_alive: KeepAliveField,
    options: Map<String, Value>,
}

/// One text, or several. Nothing and one empty text are no texts.
#[derive(Debug, Default)]
pub struct Inputs(pub Vec<String>);

#[derive(Default, Serialize)]
struct EmbedRecord {
    model: String,
    /// In the order of the inputs.
    embeddings: Vec<Vec<f32>>,
    #[serde(flatten)]
    metrics: Option<EmbedMetrics>,
}

/// Times in nanoseconds.
#[derive(Serialize)]
struct EmbedMetrics {
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: u32,
}

impl FromJson for EmbedRequest {
    const GO_TYPE: &'static str = "EmbedRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            model: fields.take_name()?,
            input: fields.take("input")?,
            truncate: fields.take("truncate")?,
            dimensions: fields.take("dimensions")?,
            keep_alive: fields.take("keep_alive")?,
            options: fields.take("options")?,
        })
    }
}

impl FromJson for Inputs {
    const GO_TYPE: &'static str = "any";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let invalid = || Mismatch::Value("invalid input type".into());
        let texts = match value {
            Value::String(text) if text.is_empty() => Vec::new(),
            Value::String(text) => vec![text],
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    _ => Err(invalid()),
                })
                .collect::<Result<_, _>>()?,
            _ => return Err(invalid()),
        };
        Ok(Self(texts))
    }
}

/// Embeds the texts.
pub async fn embed(
    State(app): State<Arc<App>>,
    Json(request): Json<EmbedRequest>,
) -> Result<Response, Error> {
    let model = app.find(&request.model, Refusals::PullFirst).await?;
    let options = Options::new(&model.parameters, &request.options)?;
    let purpose = Purpose {
        operation: "embed",
        options: options.load(),
        keep_alive: request.keep_alive.0,
    };
    let mut session = Session::open(&app, &model, purpose).await?;
    if request.input.0.is_empty() {
        session.request.ended(Outcome::Answered);
        let record = EmbedRecord {
            model: request.model,
            ..EmbedRecord::default()
        };
        return Ok(reply::json(StatusCode::OK, &record));
    }
    let job = Embed {
        inputs: request.input.0,
        overflow: Overflow {
            truncate: request.truncate.unwrap_or(true),
            max_tokens: options.context(),
        },
        dimensions: u32::try_from(request.dimensions)
            .ok()
            .filter(|count| *count > 0),
        normalize: true,
    };
    let embedded = run(&mut session, job).await?;
    let record = EmbedRecord {
        model: request.model,
        embeddings: embedded.vectors,
        metrics: Some(EmbedMetrics {
            total_duration: nanoseconds(session.request.elapsed()),
            load_duration: nanoseconds(session.load),
            prompt_eval_count: embedded.usage.prompt_tokens,
        }),
    };
    Ok(reply::json(StatusCode::OK, &record))
}

/// Runs the job and sees that every number can be told: JSON knows no infinity.
pub async fn run(session: &mut Session, job: Embed) -> Result<Embedded, Error> {
    let embedded = session.lease.embed(job).await;
    let embedded = session.checked(embedded)?;
    let is_finite = embedded
        .vectors
        .iter()
        .flatten()
        .all(|value| value.is_finite());
    if !is_finite {
        let text = "embedding contains NaN or Inf values".into();
        return session.checked(Err(Error::BadRequest(text)));
    }
    let usage = &embedded.usage;
    session.request.encoded(usage.prompt_tokens, usage.queue_ns);
    Ok(embedded)
}
