//! POST `/api/chat`: the next message of a conversation.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::common::Common;
use super::find::Refusals;
use super::message::{MessageField, ToolCallRecord, ToolField, brought, said};
use super::record::{DebugInfo, LogprobRecord, Metrics, done_reason, logprobs};
use crate::api::answer::{Answer, Delta, Ending};
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::prompter::{Prompter, Talk};
use crate::api::reply::{self, Dialect};
use crate::api::session::Session;
use crate::api::{App, Error, time};
use crate::inference::generate::Piece;
use crate::metrics::Outcome;
use crate::models::Lease;
use crate::prompt::{Expectations, Message, OutputParser, Think, Tool, Truncation};
use crate::store::{Capability, Model};

/// The body.
#[derive(Default)]
pub struct ChatRequest {
    common: Common,
    messages: Vec<Message>,
    tools: Vec<Tool>,
}

/// The whole reply, or a line of it.
#[derive(Serialize)]
struct ChatRecord {
    model: String,
    created_at: String,
    message: MessageRecord,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    #[serde(flatten)]
    metrics: Option<Metrics>,
    #[serde(rename = "_debug_info", skip_serializing_if = "Option::is_none")]
    debug_info: Option<DebugInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<LogprobRecord>,
}

#[derive(Serialize)]
struct MessageRecord {
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallRecord>,
}

/// How this endpoint shows an answer.
struct Shown {
    model: String,
}

impl FromJson for ChatRequest {
    const GO_TYPE: &'static str = "ChatRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let messages: Vec<MessageField> = fields.take("messages")?;
        let tools: Vec<ToolField> = fields.take("tools")?;
        Ok(Self {
            common: Common::take(&mut fields)?,
            messages: messages.into_iter().map(|field| field.0).collect(),
            tools: tools.into_iter().map(|field| field.0).collect(),
        })
    }
}

/// Answers the conversation.
pub async fn chat(
    State(app): State<Arc<App>>,
    Json(request): Json<ChatRequest>,
) -> Result<Response, Error> {
    let common = &request.common;
    common.logprobs()?;
    let model = app.find(&common.model, Refusals::Required).await?;
    let shown = Shown {
        model: common.model.clone(),
    };
    if request.messages.is_empty() && common.keep_alive.is_zero() {
        let was_loaded = app.models.unload(&model);
        tracing::debug!(was_loaded, "unloading on request");
        return Ok(reply::json(StatusCode::OK, &shown.nothing("unload")));
    }
    let think = request.check(&model)?;
    let options = common.options(&model)?;
    let mut session = Session::open(&app, &model, common.purpose("chat", &options)).await?;
    if request.messages.is_empty() {
        session.request.ended(Outcome::Answered);
        return Ok(reply::json(StatusCode::OK, &shown.nothing("load")));
    }

    let prompter = app.prompter(&model).await;
    let prompter = session.checked(prompter)?;
    let messages = request.assemble(&model);
    let talk = Talk {
        messages: &messages,
        tools: &request.tools,
        think,
    };
    let prompt = if common.truncate {
        fit(&prompter, talk, &session.lease).await
    } else {
        prompter.render(talk).map_err(Error::from)
    };
    let prompt = session.checked(prompt)?;
    if common.is_debug {
        session.request.ended(Outcome::Answered);
        return Ok(reply::json(StatusCode::OK, &shown.prompt(prompt)));
    }
    let parser = OutputParser::new(Expectations {
        traits: prompter.template.traits(),
        prompt_end: &prompt,
        think,
        tools: &request.tools,
    });
    let job = common.job(vec![Piece::Text(prompt)], &options, &session);
    let job = session.checked(job)?;
    let answer = Answer::start(session, job, Some(parser)).await?;
    Ok(if common.is_streaming() {
        reply::stream(answer, shown)
    } else {
        reply::whole(answer, shown).await
    })
}

/// The prompt of as many of the newest messages as the context holds.
async fn fit(prompter: &Prompter, talk: Talk<'_>, lease: &Lease) -> Result<String, Error> {
    let context = usize::try_from(lease.facts().context).unwrap_or(usize::MAX);
    let mut search = Truncation::new(talk.messages.len());
    while let Some(start) = search.candidate() {
        let kept = Truncation::kept(talk.messages, start);
        let messages = kept.as_slice();
        let fits = match prompter.render(Talk { messages, ..talk }) {
            // No token is shorter than a byte, and one place is the beginning's: most prompts need no counting.
            Ok(prompt) if prompt.len() < context => true,
            Ok(prompt) => lease.tokenize(prompt, true, true).await?.len() <= context,
            // The template may object to what is left, as to a conversation that opens with an answer.
            Err(_) if start > 0 => false,
            Err(error) => return Err(error.into()),
        };
        search.report(fits);
    }
    let kept = Truncation::kept(talk.messages, search.start());
    let messages = kept.as_slice();
    Ok(prompter.render(Talk { messages, ..talk })?)
}

impl ChatRequest {
    /// Refuses what the model cannot do.
    fn check(&self, model: &Model) -> Result<Think, Error> {
        let typed = &self.common.model;
        let can = |capability| model.capabilities.contains(&capability);
        let lacks = |what: &str| {
            let full = model.name.full();
            Error::BadRequest(format!("{full} does not support {what}"))
        };
        let think = self.common.think.resolve(model, typed)?;
        if !can(Capability::Completion) {
            return Err(Error::BadRequest(format!(
                "{typed:?} does not support chat"
            )));
        }
        if !self.tools.is_empty() && !can(Capability::Tools) {
            return Err(lacks("tools"));
        }
        if self.messages.iter().any(|message| message.images > 0) {
            return Err(if can(Capability::Vision) {
                Error::NotImplemented("images are not supported yet".into())
            } else {
                lacks("vision")
            });
        }
        Ok(think)
    }

    /// The model's own messages before the caller's, and its system message unless the caller brings one.
    fn assemble(&self, model: &Model) -> Vec<Message> {
        let has_system = self
            .messages
            .first()
            .is_some_and(|message| message.role == "system");
        let system = model.system.as_deref().filter(|_| !has_system);
        let mut messages: Vec<Message> = system
            .map(|system| said("system", system))
            .into_iter()
            .chain(model.messages.iter().map(brought))
            .chain(self.messages.iter().cloned())
            .collect();
        if repeats_thoughts(model) {
            forget_thoughts(&mut messages);
        }
        messages
    }
}

/// Models whose templates keep old thoughts that their makers want cut.
fn repeats_thoughts(model: &Model) -> bool {
    model.details.family == "qwen3" || model.name.model() == "deepseek-r1"
}

/// Cuts thoughts from the answers before the last question.
fn forget_thoughts(messages: &mut [Message]) {
    let last_question = messages.iter().rposition(|message| message.role == "user");
    let before = &mut messages[..last_question.unwrap_or(0)];
    for message in before {
        let thought = message
            .content
            .trim_start()
            .strip_prefix("<think>")
            .and_then(|rest| rest.split_once("</think>"));
        if let Some((_, answer)) = thought.filter(|_| message.role == "assistant") {
            message.content = answer.trim_start().to_owned();
        }
    }
}

impl Dialect for Shown {
    type Record = ChatRecord;

    fn delta(&self, delta: Delta) -> ChatRecord {
        let tool_calls = delta.tool_calls.into_iter();
        ChatRecord {
            message: MessageRecord {
                content: delta.content,
                thinking: delta.thinking,
                tool_calls: tool_calls.map(ToolCallRecord::from).collect(),
                ..MessageRecord::empty()
            },
            logprobs: logprobs(delta.logprobs),
            ..self.empty()
        }
    }

    fn ending(&self, rest: Delta, ending: Ending) -> ChatRecord {
        ChatRecord {
            done: true,
            done_reason: Some(done_reason(ending.finish)),
            metrics: Some(Metrics::from(&ending)),
            ..self.delta(rest)
        }
    }
}

impl MessageRecord {
    fn empty() -> Self {
        Self {
            role: "assistant",
            content: String::new(),
            thinking: String::new(),
            tool_calls: Vec::new(),
        }
    }
}

impl Shown {
    fn empty(&self) -> ChatRecord {
        ChatRecord {
            model: self.model.clone(),
            created_at: time::now(),
            message: MessageRecord::empty(),
            done: false,
            done_reason: None,
            metrics: None,
            debug_info: None,
            logprobs: Vec::new(),
        }
    }

    /// The reply to a request without messages.
    fn nothing(&self, reason: &'static str) -> ChatRecord {
        ChatRecord {
            done: true,
            done_reason: Some(reason),
            ..self.empty()
        }
    }

    fn prompt(&self, rendered_template: String) -> ChatRecord {
        ChatRecord {
            debug_info: Some(DebugInfo { rendered_template }),
            ..self.empty()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_thoughts_are_forgotten_and_new_ones_kept() {
        let mut messages = [
            said("assistant", "<think>a</think>\n\nfirst"),
            said("user", "<think>b</think>asked"),
            said("assistant", "no thoughts"),
            said("user", "asked again"),
            said("assistant", "<think>c</think>begun"),
        ];
        forget_thoughts(&mut messages);
        let contents = messages.map(|message| message.content);
        let expected = [
            "first",
            "<think>b</think>asked",
            "no thoughts",
            "asked again",
            "<think>c</think>begun",
        ];
        assert_eq!(contents, expected);
    }
}
