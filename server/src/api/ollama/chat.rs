//! POST `/api/chat`: the next message of a conversation.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::common::Common;
use super::message::{MessageField, ToolCallRecord, ToolField};
use super::record::{DebugInfo, Metrics, done_reason, logprobs};
use crate::api::answer::{Delta, Ending};
use crate::api::chat::Chat;
use crate::api::conversation::Conversation;
use crate::api::find::Refusals;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::logprob::LogprobRecord;
use crate::api::openapi::{About, NDJSON};
use crate::api::reply::{self, Dialect};
use crate::api::shape::{Shape, ToolChoice};
use crate::api::tool_choice::{ChoiceField, choose};
use crate::api::{App, Error, time};
use crate::prompt::{Message, Tool};

/// The body.
#[derive(Default)]
pub struct ChatRequest {
    common: Common,
    messages: Vec<Message>,
    tools: Vec<Tool>,
    tool_choice: ToolChoice,
}

/// The whole reply, or a line of it.
#[derive(Serialize, ToSchema)]
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

#[derive(Serialize, ToSchema)]
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
        let mut tools = tools.into_iter().map(|field| field.0).collect();
        let ChoiceField(choice) = fields.take("tool_choice")?;
        let tool_choice = choose(&choice, &mut tools)?;
        Ok(Self {
            common: Common::take(&mut fields)?,
            messages: messages.into_iter().map(|field| field.0).collect(),
            tools,
            tool_choice,
        })
    }
}

/// For the document.
#[must_use]
pub fn about() -> About {
    About::new("Answer a conversation")
        .takes::<ChatRequest>()
        .gives_or_streams::<ChatRecord>(NDJSON)
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
    let is_empty = request.messages.is_empty();
    let chat = Chat {
        conversation: Conversation {
            typed_model: common.model.clone(),
            messages: request.messages,
            tools: request.tools,
            think: common.think.0,
        },
        shape: Shape {
            format: common.format()?,
            tool_choice: request.tool_choice,
            one_call: false,
        },
        manner: common.manner()?,
    };
    if is_empty {
        chat.load(&app, &model).await?;
        return Ok(reply::json(StatusCode::OK, &shown.nothing("load")));
    }
    let ready = chat.prepare(&app, &model).await?;
    if common.is_debug {
        let prompt = shown.prompt(ready.into_prompt());
        return Ok(reply::json(StatusCode::OK, &prompt));
    }
    let answer = ready.answer().await?;
    Ok(if common.is_streaming() {
        reply::stream(answer, shown).await?
    } else {
        reply::whole(answer, shown).await
    })
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
