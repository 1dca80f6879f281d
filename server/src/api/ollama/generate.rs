//! POST `/api/generate`: continue a prompt.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::common::Common;
use super::find::Refusals;
use super::message::{ToolCallRecord, brought, said};
use super::record::{DebugInfo, LogprobRecord, Metrics, done_reason, logprobs};
use crate::api::answer::{Answer, Delta, Ending};
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::prompter::Talk;
use crate::api::reply::{self, Dialect};
use crate::api::session::Session;
use crate::api::{App, Error, time};
use crate::inference::Token;
use crate::inference::generate::Piece;
use crate::metrics::Outcome;
use crate::prompt::{Expectations, Message, OutputParser, Think};
use crate::store::{Capability, Model};

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
    images: Vec<String>,
}

/// The whole reply, or a line of it.
#[derive(Serialize)]
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
    let think = request.check(&model)?;
    let options = common.options(&model)?;
    let purpose = common.purpose("generate", &options);
    let mut session = Session::open(&app, &model, purpose).await?;
    if request.prompt.is_empty() {
        session.request.ended(Outcome::Answered);
        return Ok(reply::json(StatusCode::OK, &shown.nothing("load")));
    }

    let begun = request.begin(&app, &model, think).await;
    let (text, parser) = session.checked(begun)?;
    if common.is_debug {
        let before = session.lease.detokenize(request.context).await;
        let prompt = session.checked(before)? + &text;
        session.request.ended(Outcome::Answered);
        return Ok(reply::json(StatusCode::OK, &shown.prompt(prompt)));
    }
    let mut prompt = vec![Piece::Text(text)];
    if !request.context.is_empty() {
        prompt.insert(0, Piece::Tokens(request.context.clone()));
    }
    let job = common.job(prompt, &options, &session);
    let job = session.checked(job)?;
    let answer = Answer::start(session, job, parser).await?;
    Ok(if common.is_streaming() {
        reply::stream(answer, shown)
    } else {
        reply::whole(answer, shown).await
    })
}

impl GenerateRequest {
    /// Refuses what the model cannot do, in Ollama's order.
    fn check(&self, model: &Model) -> Result<Think, Error> {
        let typed = &self.common.model;
        let can = |capability| model.capabilities.contains(&capability);
        let lacks = |what: &str| {
            let full = model.name.full();
            Error::BadRequest(format!("{full} does not support {what}"))
        };
        if can(Capability::Image) {
            return Err(Error::BadRequest(
                "image generation models are not currently supported".into(),
            ));
        }
        let is_shaped =
            !(self.template.is_empty() && self.system.is_empty() && self.context.is_empty());
        if self.raw && is_shaped {
            return Err(Error::BadRequest(
                "raw mode does not support template, system, or context".into(),
            ));
        }
        let think = self.common.think.resolve(model, typed)?;
        if !can(Capability::Completion) {
            return Err(Error::BadRequest(format!(
                "{typed:?} does not support generate"
            )));
        }
        if !self.suffix.is_empty() {
            return Err(if can(Capability::Insert) {
                Error::NotImplemented("filling in before a suffix is not supported yet".into())
            } else {
                lacks("insert")
            });
        }
        if !self.images.is_empty() {
            return Err(if can(Capability::Vision) {
                Error::NotImplemented("images are not supported yet".into())
            } else {
                lacks("vision")
            });
        }
        if !self.template.is_empty() {
            return Err(Error::NotImplemented(
                "a template in the request is not supported yet; the model's own is used without one".into(),
            ));
        }
        Ok(think)
    }

    /// The prompt, and what reads the answer to it.
    async fn begin(
        &self,
        app: &App,
        model: &Arc<Model>,
        think: Think,
    ) -> Result<(String, Option<OutputParser>), Error> {
        if self.raw {
            return Ok((self.prompt.clone(), None));
        }
        let prompter = app.prompter(model).await?;
        let prompt = prompter.render(Talk {
            messages: &self.messages(model),
            tools: &[],
            think,
        })?;
        let parser = OutputParser::new(Expectations {
            traits: prompter.template.traits(),
            prompt_end: &prompt,
            think,
            tools: &[],
        });
        Ok((prompt, Some(parser)))
    }

    fn messages(&self, model: &Model) -> Vec<Message> {
        let system = match (self.system.as_str(), &model.system) {
            ("", Some(system)) => system,
            (system, _) => system,
        };
        let mut messages = Vec::new();
        if !system.is_empty() {
            messages.push(said("system", system));
        }
        // What an earlier reply reported as context has these in it already.
        if self.context.is_empty() {
            messages.extend(model.messages.iter().map(brought));
        }
        messages.push(said("user", &self.prompt));
        messages
    }
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
