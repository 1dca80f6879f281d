//! POST `/classify`: texts, or pairs of texts, to the scores of a model's labels; or texts to the scores of the caller's own
//! labels (`candidate_labels`), by a model that tells whether one text follows from another.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::inputs::{Inputs, TEXTS};
use super::score_model::{ScoreModel, Task};
use super::tag::Texts;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::openapi::About;
use crate::api::time::nanoseconds;
use crate::api::{App, Error, reply};
use crate::inference::encode::{Classify, Input, LabelScore, Overflow, Scale, ZeroShot};

/// The body.
#[derive(Default)]
pub struct ClassifyRequest {
    model: ScoreModel,
    input: Option<Inputs>,
    text_pair: Option<String>,
    top_k: Option<i64>,
    threshold: Option<f64>,
    raw_scores: bool,
    head: Option<String>,
    candidates: Candidates,
}

/// Labels that the caller thought of: fields that this route and Hugging Face's share.
#[derive(Default)]
pub struct Candidates {
    labels: Option<Labels>,
    template: Option<String>,
    multi_label: bool,
}

/// A list of labels, or one text with commas between them.
#[derive(Default)]
struct Labels(Vec<String>);

/// The hypothesis that a label makes, as Hugging Face's pipeline has it.
const TEMPLATE: &str = "This example is {}.";

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
        let input = fields.take_any(TEXTS)?;
        Ok(Self {
            model: ScoreModel::take(&mut fields)?,
            input,
            text_pair: fields.take("text_pair")?,
            top_k: fields.take("top_k")?,
            threshold: fields.take("threshold")?,
            raw_scores: fields.take("raw_scores")?,
            head: fields.take("head")?,
            candidates: Candidates::take(&mut fields)?,
        })
    }
}

impl Candidates {
    /// Takes these fields out of an object.
    ///
    /// # Errors
    /// When one is of another type.
    pub fn take(fields: &mut Fields) -> Result<Self, Mismatch> {
        Ok(Self {
            labels: fields.take("candidate_labels")?,
            template: fields.take("hypothesis_template")?,
            multi_label: fields.take("multi_label")?,
        })
    }

    /// Whether there are any.
    pub fn are_given(&self) -> bool {
        self.labels.is_some()
    }

    /// The job that gives them scores.
    pub fn job(self, inputs: Vec<String>, overflow: Overflow) -> ZeroShot {
        ZeroShot {
            inputs,
            labels: self.labels.unwrap_or_default().0,
            template: self.template.unwrap_or_else(|| TEMPLATE.into()),
            multi_label: self.multi_label,
            overflow,
        }
    }
}

impl FromJson for Labels {
    const GO_TYPE: &'static str = "string or []string";

    fn schema() -> RefOr<Schema> {
        <Texts as FromJson>::schema()
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        Ok(Self(match value {
            Value::String(text) => text
                .split(',')
                .map(|label| label.trim().to_owned())
                .filter(|label| !label.is_empty())
                .collect(),
            list => Vec::from_json(list)?,
        }))
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
    #[expect(clippy::cast_possible_truncation, reason = "scores have 32 bits")]
    let threshold = request.threshold.map(|threshold| threshold as f32);
    let zero_shot = request.candidates.are_given();
    if zero_shot && (request.raw_scores || request.head.is_some()) {
        return Err(bad("raw_scores and head do not go with candidate_labels"));
    }
    let mut opened = request.model.open(&app, Task::Classify).await?;
    let classified = if zero_shot {
        let job = request.candidates.job(texts(inputs)?, opened.overflow);
        let mut classified = opened.session.encode(job).await?;
        for labels in &mut classified.results {
            labels.retain(|label| threshold.is_none_or(|least| label.score >= least));
            labels.truncate(top_k.map_or(usize::MAX, |count| count as usize));
        }
        classified
    } else {
        let job = Classify {
            inputs,
            head: request.head,
            overflow: opened.overflow,
            top_k,
            threshold,
            scale: Scale::raw_if(request.raw_scores),
        };
        opened.session.encode(job).await?
    };
    let record = ClassifyRecord {
        model: opened.name,
        prompt_eval_count: classified.usage.prompt_tokens,
        truncated_inputs: classified.usage.truncated_inputs,
        results: classified
            .results
            .into_iter()
            .map(|labels| labels.into_iter().map(LabelRecord::from).collect())
            .collect(),
        total_duration: nanoseconds(opened.session.request.elapsed()),
        load_duration: nanoseconds(opened.session.load),
    };
    Ok(reply::json(StatusCode::OK, &record))
}

/// Inputs that must be single texts.
fn texts(inputs: Vec<Input>) -> Result<Vec<String>, Error> {
    let text = |input| match input {
        Input::Text(text) => Ok(text),
        Input::Pair(..) | Input::Tokens(_) => Err(Error::BadRequest(
            "candidate_labels go with single texts".into(),
        )),
    };
    inputs.into_iter().map(text).collect()
}
