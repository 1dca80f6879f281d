//! POST `/token_classify`: the parts of texts that have labels, such as the names in them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::inputs::TEXTS;
use super::score_model::{ScoreModel, Task};
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::openapi::About;
use crate::api::openapi::describe;
use crate::api::time::nanoseconds;
use crate::api::{App, Error, reply};
use crate::inference::encode::{Aggregation, Span, Tag};

/// The label of what has none, in the usual schemes.
const OUTSIDE: &str = "O";

/// The body.
#[derive(Default)]
pub struct TagRequest {
    model: ScoreModel,
    inputs: Option<Texts>,
    tagging: Tagging,
    threshold: Option<f64>,
    head: Option<String>,
}

/// How labels of tokens become those of parts: fields that this route and Hugging Face's share.
#[derive(Clone, Default)]
pub struct Tagging {
    aggregation: Option<Strategy>,
    ignored: Option<Vec<String>>,
}

/// One text, or several.
#[derive(Default)]
pub struct Texts(pub Vec<String>);

/// `aggregation_strategy`.
#[derive(Clone, Copy, Default)]
struct Strategy(Aggregation);

#[derive(Serialize, ToSchema)]
struct TagRecord {
    model: String,
    /// For each text, in order, its parts in the order of the text.
    results: Vec<Vec<SpanRecord>>,
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

/// A part of a text, as Hugging Face's pipeline tells it and with its place in bytes.
#[derive(Serialize, ToSchema)]
pub struct SpanRecord {
    /// The label of a token, with `B-` or `I-`: where every token is a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<String>,
    /// The label of a part of several tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_group: Option<String>,
    score: f32,
    /// Place of the token among all, where every token is a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    word: String,
    /// In characters.
    start: u32,
    /// In characters; the one behind the last.
    end: u32,
    /// In bytes of UTF-8.
    start_byte: u32,
    /// In bytes of UTF-8; the one behind the last.
    end_byte: u32,
}

impl From<Span> for SpanRecord {
    fn from(span: Span) -> Self {
        let (entity, entity_group) = match span.index {
            Some(_) => (Some(span.label), None),
            None => (None, Some(span.label)),
        };
        Self {
            entity,
            entity_group,
            score: span.score,
            index: span.index,
            word: span.word,
            start: span.place.start,
            end: span.place.end,
            start_byte: span.place.start_byte,
            end_byte: span.place.end_byte,
        }
    }
}

impl FromJson for TagRequest {
    const GO_TYPE: &'static str = "TokenClassifyRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let inputs = fields.take_any(TEXTS)?;
        Ok(Self {
            model: ScoreModel::take(&mut fields)?,
            inputs,
            tagging: Tagging::take(&mut fields)?,
            threshold: fields.take("threshold")?,
            head: fields.take("head")?,
        })
    }
}

impl Tagging {
    /// Takes these fields out of an object.
    ///
    /// # Errors
    /// When one is of another type.
    pub fn take(fields: &mut Fields) -> Result<Self, Mismatch> {
        Ok(Self {
            aggregation: fields.take("aggregation_strategy")?,
            ignored: fields.take("ignore_labels")?,
        })
    }

    /// How labels of tokens become those of parts.
    pub fn aggregation(&self) -> Aggregation {
        self.aggregation.unwrap_or_default().0
    }

    /// Labels that are not told.
    pub fn ignored(self) -> Vec<String> {
        self.ignored.unwrap_or_else(|| vec![OUTSIDE.into()])
    }
}

impl FromJson for Texts {
    const GO_TYPE: &'static str = "string or []string";

    fn schema() -> RefOr<Schema> {
        describe::either([
            <String as FromJson>::schema(),
            describe::list(<String as FromJson>::schema()),
        ])
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        Ok(Self(match value {
            Value::String(text) => vec![text],
            list => Vec::from_json(list)?,
        }))
    }
}

impl FromJson for Strategy {
    const GO_TYPE: &'static str = "string";

    fn schema() -> RefOr<Schema> {
        describe::words(["none", "simple", "first", "average", "max"])
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let name = String::from_json(value)?;
        Ok(Self(match name.to_lowercase().as_str() {
            "none" => Aggregation::None,
            "simple" => Aggregation::Simple,
            "first" => Aggregation::First,
            "average" => Aggregation::Average,
            "max" => Aggregation::Max,
            _ => {
                return Err(Mismatch::Value(format!(
                    "aggregation_strategy must be none, simple, first, average or max, not {name:?}"
                )));
            }
        }))
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Find the parts of texts that have labels, such as names")
        .takes::<TagRequest>()
        .gives::<TagRecord>()
}

/// Finds the parts.
pub async fn tag(
    State(app): State<Arc<App>>,
    Json(request): Json<TagRequest>,
) -> Result<Response, Error> {
    let missing = || Error::BadRequest("input is required".into());
    let Texts(inputs) = request.inputs.ok_or_else(missing)?;
    let mut opened = request.model.open(&app, Task::Tag).await?;
    let job = Tag {
        inputs,
        head: request.head,
        aggregation: request.tagging.aggregation(),
        ignored: request.tagging.ignored(),
        #[expect(clippy::cast_possible_truncation, reason = "scores have 32 bits")]
        threshold: request.threshold.map(|threshold| threshold as f32),
        overflow: opened.overflow,
    };
    let tagged = opened.session.encode(job).await?;
    let records = |spans: Vec<Span>| spans.into_iter().map(SpanRecord::from).collect();
    let record = TagRecord {
        model: opened.name,
        results: tagged.results.into_iter().map(records).collect(),
        total_duration: nanoseconds(opened.session.request.elapsed()),
        load_duration: nanoseconds(opened.session.load),
        prompt_eval_count: tagged.usage.prompt_tokens,
        truncated_inputs: tagged.usage.truncated_inputs,
    };
    Ok(reply::json(StatusCode::OK, &record))
}
