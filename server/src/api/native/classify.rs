//! POST `/classify`: texts to the scores of a model's labels.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use crate::api::find::Refusals;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::keep_alive::KeepAliveField;
use crate::api::session::{Purpose, Session};
use crate::api::time::nanoseconds;
use crate::api::{App, Error, reply};
use crate::inference::encode::{Classify, LabelScore, Overflow};
use crate::models::LoadOptions;
use crate::store::{Capability, Weights};

/// The body.
#[derive(Default)]
pub struct ClassifyRequest {
    model: String,
    input: Option<Texts>,
    top_k: Option<i64>,
    raw_scores: bool,
    truncate: Option<bool>,
    keep_alive: KeepAliveField,
}

/// One text, or several.
#[derive(Default)]
struct Texts(Vec<String>);

#[derive(Serialize)]
struct ClassifyRecord {
    model: String,
    /// For each text, in order, the labels, best first.
    results: Vec<Vec<LabelRecord>>,
    /// In nanoseconds.
    total_duration: u64,
    /// In nanoseconds.
    load_duration: u64,
    /// Tokens of all texts.
    prompt_eval_count: u32,
}

#[derive(Serialize)]
struct LabelRecord {
    label: String,
    score: f32,
}

impl FromJson for ClassifyRequest {
    const GO_TYPE: &'static str = "ClassifyRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let input: Option<Texts> = fields.take("input")?;
        let text: Option<Texts> = fields.take("text")?;
        let texts: Option<Texts> = fields.take("texts")?;
        Ok(Self {
            model: fields.take_name()?,
            input: input.or(text).or(texts),
            top_k: fields.take("top_k")?,
            raw_scores: fields.take("raw_scores")?,
            truncate: fields.take("truncate")?,
            keep_alive: fields.take("keep_alive")?,
        })
    }
}

impl FromJson for Texts {
    const GO_TYPE: &'static str = "string or []string";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let invalid = || Mismatch::Value("input must be a string or a list of strings".into());
        match value {
            Value::String(text) => Ok(Self(vec![text])),
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    _ => Err(invalid()),
                })
                .collect::<Result<_, _>>()
                .map(Self),
            _ => Err(invalid()),
        }
    }
}

/// Scores the labels.
pub async fn classify(
    State(app): State<Arc<App>>,
    Json(request): Json<ClassifyRequest>,
) -> Result<Response, Error> {
    let bad = |text: &str| Error::BadRequest(text.to_owned());
    let inputs = request.input.ok_or_else(|| bad("input is required"))?.0;
    let top_k = match request.top_k {
        None => None,
        Some(count) => match u32::try_from(count) {
            Ok(count) if count > 0 => Some(count),
            _ => return Err(bad("top_k must be at least 1")),
        },
    };
    let model = app
        .find(&request.model, Refusals::RequiredPullFirst)
        .await?;
    let is_onnx = matches!(model.weights, Weights::Onnx { .. });
    if !(is_onnx && model.capabilities.contains(&Capability::Classify)) {
        let text = format!("{:?} does not support classify", request.model);
        return Err(Error::BadRequest(text));
    }
    let purpose = Purpose {
        operation: "classify",
        options: LoadOptions::default(),
        keep_alive: request.keep_alive.0,
    };
    let mut session = Session::open(&app, &model, purpose).await?;
    let job = Classify {
        inputs,
        overflow: Overflow {
            truncate: request.truncate.unwrap_or(true),
            max_tokens: None,
        },
        top_k,
        raw_scores: request.raw_scores,
    };
    let classified = session.lease.classify(job).await;
    let classified = session.checked(classified)?;
    let usage = &classified.usage;
    session.request.encoded(usage.prompt_tokens, usage.queue_ns);
    let record = ClassifyRecord {
        model: request.model,
        prompt_eval_count: usage.prompt_tokens,
        results: classified.labels.into_iter().map(records).collect(),
        total_duration: nanoseconds(session.request.elapsed()),
        load_duration: nanoseconds(session.load),
    };
    Ok(reply::json(StatusCode::OK, &record))
}

fn records(labels: Vec<LabelScore>) -> Vec<LabelRecord> {
    let record = |LabelScore { label, score }| LabelRecord { label, score };
    labels.into_iter().map(record).collect()
}
