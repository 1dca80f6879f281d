//! POST `/predict`: texts or pairs to the scores of a model's labels. A list of two texts is a pair, and a list of lists are
//! several texts or pairs.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::TeiError;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::native::classify::LabelRecord;
use crate::api::native::inputs::{invalid, texts_of};
use crate::api::native::score_model::{ScoreModel, Task};
use crate::api::openapi::About;
use crate::api::{App, Error, reply};
use crate::inference::encode::{Classify, Input, Scale};

/// The body.
#[derive(Default)]
pub struct PredictRequest {
    model: ScoreModel,
    inputs: Option<Inputs>,
    raw_scores: bool,
}

enum Inputs {
    One(Input),
    Several(Vec<Input>),
}

impl Default for Inputs {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl FromJson for PredictRequest {
    const GO_TYPE: &'static str = "PredictRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            model: ScoreModel::take(&mut fields)?.truncating_only_if_told(),
            inputs: fields.take("inputs")?,
            raw_scores: fields.take("raw_scores")?,
        })
    }
}

impl FromJson for Inputs {
    const GO_TYPE: &'static str = "texts or pairs of texts";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => Ok(Self::One(Input::Text(text))),
            Value::Array(items) if items.first().is_some_and(Value::is_array) => items
                .into_iter()
                .map(|item| match item {
                    Value::Array(texts) => texts_of(texts),
                    _ => Err(invalid()),
                })
                .collect::<Result<_, _>>()
                .map(Self::Several),
            Value::Array(items) if items.is_empty() => Ok(Self::default()),
            Value::Array(texts) => texts_of(texts).map(Self::One),
            _ => Err(invalid()),
        }
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Give texts, or pairs of texts, the scores of a model's labels")
        .takes::<PredictRequest>()
        .gives_content("application/json")
}

/// Scores the labels.
pub async fn predict(
    State(app): State<Arc<App>>,
    body: Result<Json<PredictRequest>, Error>,
) -> Result<Response, TeiError> {
    let Json(request) = body?;
    let (inputs, is_one) = match request.inputs.unwrap_or_default() {
        Inputs::One(input) => (vec![input], true),
        Inputs::Several(inputs) => (inputs, false),
    };
    if inputs.is_empty() {
        return Err(Error::BadRequest("`inputs` cannot be empty".into()).into());
    }
    let mut opened = request.model.open(&app, Task::Classify).await?;
    let job = Classify {
        inputs,
        head: None,
        overflow: opened.overflow,
        top_k: None,
        threshold: None,
        scale: Scale::raw_if(request.raw_scores),
    };
    let classified = opened.session.encode(job).await?;
    let mut records: Vec<Vec<LabelRecord>> = classified
        .results
        .into_iter()
        .map(|labels| labels.into_iter().map(LabelRecord::from).collect())
        .collect();
    Ok(match records.pop() {
        Some(labels) if is_one => reply::json(StatusCode::OK, &labels),
        last => {
            records.extend(last);
            reply::json(StatusCode::OK, &records)
        }
    })
}
