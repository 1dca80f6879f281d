//! POST `/classify`: texts, or pairs of texts, to the scores of a model's labels.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::inputs::Inputs;
use super::score_model::{ScoreModel, Task};
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::openapi::About;
use crate::api::time::nanoseconds;
use crate::api::{App, Error, reply};
use crate::inference::encode::{Classify, Input, LabelScore};

/// The body.
#[derive(Default)]
pub struct ClassifyRequest {
    model: ScoreModel,
    input: Option<Inputs>,
    text_pair: Option<String>,
    top_k: Option<i64>,
    threshold: Option<f64>,
    raw_scores: bool,
}

#[derive(Serialize, ToSchema)]
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
    /// Texts that were cut. Absent if none was.
    #[serde(skip_serializing_if = "reply::is_zero")]
    truncated_inputs: u32,
}

/// A label and its score.
#[derive(Serialize, ToSchema)]
pub struct LabelRecord {
    label: String,
    score: f32,
}

impl From<LabelScore> for LabelRecord {
    fn from(LabelScore { label, score }: LabelScore) -> Self {
        Self { label, score }
    }
}

impl FromJson for ClassifyRequest {
    const GO_TYPE: &'static str = "ClassifyRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let mut input = None;
        for name in ["input", "inputs", "text", "texts"] {
            let named: Option<Inputs> = fields.take(name)?;
            input = input.or(named);
        }
        Ok(Self {
            model: ScoreModel::take(&mut fields)?,
            input,
            text_pair: fields.take("text_pair")?,
            top_k: fields.take("top_k")?,
            threshold: fields.take("threshold")?,
            raw_scores: fields.take("raw_scores")?,
        })
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Give texts, or pairs of texts, the scores of a model's labels")
        .takes::<ClassifyRequest>()
        .gives::<ClassifyRecord>()
}

/// Scores the labels.
pub async fn classify(
    State(app): State<Arc<App>>,
    Json(request): Json<ClassifyRequest>,
) -> Result<Response, Error> {
    let bad = |text: &str| Error::BadRequest(text.to_owned());
    let inputs = request.input.ok_or_else(|| bad("input is required"))?.0;
    let inputs = match (request.text_pair, &inputs[..]) {
        (None, _) => inputs,
        (Some(second), [Input::Text(first)]) => vec![Input::Pair(first.clone(), second)],
        (Some(_), _) => return Err(bad("text_pair goes with a single text")),
    };
    let top_k = match request.top_k {
        None => None,
        Some(count) => match u32::try_from(count) {
            Ok(count) if count > 0 => Some(count),
            _ => return Err(bad("top_k must be at least 1")),
        },
    };
    let mut opened = request.model.open(&app, Task::Classify).await?;
    let job = Classify {
        inputs,
        overflow: opened.overflow,
        top_k,
        #[expect(clippy::cast_possible_truncation, reason = "scores have 32 bits")]
        threshold: request.threshold.map(|threshold| threshold as f32),
        raw_scores: request.raw_scores,
    };
    let classified = opened.session.classify(job).await?;
    let record = ClassifyRecord {
        model: opened.name,
        prompt_eval_count: classified.usage.prompt_tokens,
        truncated_inputs: classified.usage.truncated_inputs,
        results: classified
            .labels
            .into_iter()
            .map(|labels| labels.into_iter().map(LabelRecord::from).collect())
            .collect(),
        total_duration: nanoseconds(opened.session.request.elapsed()),
        load_duration: nanoseconds(opened.session.load),
    };
    Ok(reply::json(StatusCode::OK, &record))
}
