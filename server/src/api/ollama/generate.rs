//! POST `/api/generate`: continue a prompt.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::common::Common;
use super::message::{ImageField, ToolCallRecord};
use super::record::{DebugInfo, Metrics, done_reason, logprobs};
use crate::api::answer::{Answer, Delta, Ending};
use crate::api::continuation::Continuation;
use crate::api::find::Refusals;
use crate::api::images::Images;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::logprob::LogprobRecord;
use crate::api::openapi::{About, NDJSON};
use crate::api::reply::{self, Dialect};
use crate::api::session::Session;
use crate::api::shape::Shape;
use crate::api::{App, Error, time};
use crate::inference::Token;
use crate::inference::generate::Piece;
use crate::metrics::Outcome;

/// The body.
#[derive(Default)]
pub struct GenerateRequest {
    common: Common,
    prompt: String,
    suffix: String,
    system: String,
    template: String,
    context: Vec<Token>,
    raw: bool,
    images: Vec<ImageField>,
}

/// The whole reply, or a line of it.
#[derive(Serialize, ToSchema)]
struct GenerateRecord {
    model: String,
    created_at: String,
    response: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    context: Vec<Token>,
    #[serde(flatten)]
    metrics: Option<Metrics>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallRecord>,
    #[serde(rename = "_debug_info", skip_serializing_if = "Option::is_none")]
    debug_info: Option<DebugInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<LogprobRecord>,
}

/// How this endpoint shows an answer.
struct Shown {
    model: String,
    raw: bool,
}

impl FromJson for GenerateRequest {
    const GO_TYPE: &'static str = "GenerateRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            common: Common::take(&mut fields)?,
            prompt: fields.take("prompt")?,
            suffix: fields.take("suffix")?,
            system: fields.take("system")?,
            template: fields.take("template")?,
            context: fields.take("context")?,
            raw: fields.take("raw")?,
            images: fields.take("images")?,
        })
    }
}

/// For the document.
#[must_use]
pub fn about() -> About {
    About::new("Continue a prompt")
        .takes::<GenerateRequest>()
        .gives_or_streams::<GenerateRecord>(NDJSON)
}

/// Continues the prompt.
pub async fn generate(
    State(app): State<Arc<App>>,
    Json(request): Json<GenerateRequest>,
) -> Result<Response, Error> {
    let common = &request.common;
    common.logprobs()?;
    let model = app.find(&common.model, Refusals::NotFound).await?;
    let shown = Shown {
        model: common.model.clone(),
        raw: request.raw,
    };
    if request.prompt.is_empty() && common.keep_alive.is_zero() {
        let was_loaded = app.models.unload(&model);
        tracing::debug!(was_loaded, "unloading on request");
        return Ok(reply::json(StatusCode::OK, &shown.nothing("unload")));
    }
    let mut continuation = Continuation {
        typed_model: common.model.clone(),
        prompt: request.prompt,
        suffix: request.suffix,
        system: request.system,
        template: request.template,
        has_context: !request.context.is_empty(),
        raw: request.raw,
        images: Images::new(request.images.into_iter().map(|image| image.0).collect()),
        think: common.think.0,
    };
    continuation.check(&model)?;
    let shape = Shape {
        format: common.format()?,
        ..Shape::default()
    };
    shape.check(&[])?;
    let manner = common.manner()?;
    let options = manner.options(&model)?;
    let purpose = manner.purpose("generate", &options);
    let mut session = Session::open(&app, &model, purpose).await?;
    if continuation.prompt.is_empty() {
        session.request.ended(Outcome::Answered);
        return Ok(reply::json(StatusCode::OK, &shown.nothing("load")));
    }

    let prompt = continuation.prompt(&app, &model).await;
    let (text, parser, constraint) = match session.checked(prompt)? {
        Some(prompt) => {
            let parser = prompt.parser();
            let constraint = session.checked(prompt.constraint(&shape))?;
            (prompt.text, Some(parser), constraint)
        }
        None => {
            let text = continuation
                .images
                .marked_as_in_ollama(&continuation.prompt);
            (text, None, shape.of_raw_answer())
        }
    };
    let images = &continuation.images;
    if common.is_debug {
        let before = session.lease.detokenize(request.context).await;
        let prompt = session.checked(before)? + &images.shown(&text);
        session.request.ended(Outcome::Answered);
        return Ok(reply::json(StatusCode::OK, &shown.prompt(prompt)));
    }
    let mut prompt = images.pieces(&text);
    if !request.context.is_empty() {
        prompt.insert(0, Piece::Tokens(request.context));
    }
    let context = session.lease.facts().context;
    let job = manner.job(prompt, &options, constraint, context);
    let answer = Answer::start(session, job, parser).await?;
    Ok(if common.is_streaming() {
        reply::stream(answer, shown).await?
    } else {
        reply::whole(answer, shown).await
    })
}

impl Dialect for Shown {
    type Record = GenerateRecord;

    fn delta(&self, delta: Delta) -> GenerateRecord {
        GenerateRecord {
            response: delta.content,
            thinking: delta.thinking,
            tool_calls: delta
                .tool_calls
                .into_iter()
                .map(ToolCallRecord::from)
                .collect(),
            logprobs: logprobs(delta.logprobs),
            ..self.empty()
        }
    }

    fn ending(&self, rest: Delta, ending: Ending) -> GenerateRecord {
        GenerateRecord {
            done: true,
            done_reason: Some(done_reason(ending.finish)),
            metrics: Some(Metrics::from(&ending)),
            context: if self.raw { Vec::new() } else { ending.context },
            ..self.delta(rest)
        }
    }
}

impl Shown {
    fn empty(&self) -> GenerateRecord {
        GenerateRecord {
            model: self.model.clone(),
            created_at: time::now(),
            response: String::new(),
            thinking: String::new(),
            done: false,
            done_reason: None,
            context: Vec::new(),
            metrics: None,
            tool_calls: Vec::new(),
            debug_info: None,
            logprobs: Vec::new(),
        }
    }

    /// The reply to a request without a prompt.
    fn nothing(&self, reason: &'static str) -> GenerateRecord {
        GenerateRecord {
            done: true,
            done_reason: Some(reason),
            ..self.empty()
        }
    }

    fn prompt(&self, rendered_template: String) -> GenerateRecord {
        GenerateRecord {
            debug_info: Some(DebugInfo { rendered_template }),
            ..self.empty()
        }
    }
}
