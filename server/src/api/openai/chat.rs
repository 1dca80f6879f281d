//! POST `/v1/chat/completions`: the next message of a conversation.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value};

use super::chat_reply::{self, ChatCompletion, ChatEvent, Shown};
use super::effort;
use super::message::{MessageField, Messages};
use super::settings::{self, Defaults};
use super::tools::ToolField;
use crate::api::body::Body;
use crate::api::chat::Chat;
use crate::api::conversation::{Conversation, lacks};
use crate::api::find::Refusals;
use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::openapi::About;
use crate::api::shape::{Format, Shape};
use crate::api::sse::sse;
use crate::api::tool_choice::{ChoiceField, choose};
use crate::api::{App, Error};
use crate::prompt::{Think, Tool};

/// The body.
#[derive(Default)]
pub struct ChatRequest {
    chat: Chat,
    /// Recordings among the messages.
    audio: usize,
    stream: bool,
    include_usage: bool,
    is_debug: bool,
}

/// `response_format`.
#[derive(Default)]
struct ResponseFormat(Format);

impl FromJson for ChatRequest {
    const GO_TYPE: &'static str = "ChatCompletionRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let typed_model: String = fields.take("model")?;
        let messages: Vec<MessageField> = fields.take("messages")?;
        if messages.is_empty() {
            return Err(Mismatch::Value("[] is too short - 'messages'".into()));
        }
        let Messages { messages, audio } = messages.into();
        let tools: Vec<ToolField> = fields.take("tools")?;
        let ResponseFormat(format) = fields.take("response_format")?;
        let mut tools: Vec<Tool> = tools.into_iter().filter_map(|tool| tool.0).collect();
        let ChoiceField(choice) = fields.take("tool_choice")?;
        let tool_choice = choose(&choice, &mut tools)?;
        let parallel_tool_calls: Option<bool> = fields.take("parallel_tool_calls")?;
        let think = think(&mut fields)?;
        let mut manner = settings::take(
            &mut fields,
            &Defaults::new(&["max_tokens", "max_completion_tokens"]),
        )?;
        manner.logprobs = settings::take_logprobs(&mut fields)?;
        Ok(Self {
            chat: Chat {
                conversation: Conversation {
                    typed_model,
                    messages,
                    tools,
                    think,
                },
                shape: Shape {
                    format,
                    tool_choice,
                    one_call: parallel_tool_calls == Some(false),
                },
                manner,
            },
            audio,
            stream: fields.take("stream")?,
            include_usage: settings::take_include_usage(&mut fields)?,
            is_debug: fields.take("_debug_render_only")?,
        })
    }
}

/// `reasoning.effort`, or `reasoning_effort`.
fn think(fields: &mut Fields) -> Result<Think, Mismatch> {
    let reasoning: Option<Map<String, Value>> = fields.take("reasoning")?;
    let told: String = fields.take("reasoning_effort")?;
    let told = match reasoning {
        Some(reasoning) => Fields::of("Reasoning", Value::Object(reasoning))?.take("effort")?,
        None => told,
    };
    effort::think(&told)
}

impl FromJson for ResponseFormat {
    const GO_TYPE: &'static str = "ResponseFormat";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let kind: String = fields.take("type")?;
        Ok(Self(match kind.trim().to_lowercase().as_str() {
            "" | "text" => Format::Free,
            "json_object" => Format::Json,
            "json_schema" => {
                let schema: Map<String, Value> = fields.take("json_schema")?;
                let mut schema = Fields::of("JsonSchema", Value::Object(schema))?;
                let schema: Option<Map<String, Value>> = schema.take("schema")?;
                Format::Schema(schema.ok_or_else(|| {
                    Mismatch::Value("response_format needs json_schema.schema".into())
                })?)
            }
            _ => {
                return Err(Mismatch::Value(format!(
                    "invalid response_format type {kind:?} (must be \"text\", \"json_object\", or \"json_schema\")"
                )));
            }
        }))
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Answer a conversation")
        .takes::<ChatRequest>()
        .gives_or_tells::<ChatCompletion<'_>, ChatEvent<'_>>()
}

/// Answers the conversation.
pub async fn chat(
    State(app): State<Arc<App>>,
    Body(request): Body<ChatRequest>,
) -> Result<Response, Error> {
    let typed_model = request.chat.conversation.typed_model.clone();
    let model = app.find(&typed_model, Refusals::Required).await?;
    if request.audio > 0 {
        return Err(lacks(&model, "audio"));
    }
    let shown = Shown::new(typed_model, request.chat.manner.choices);
    let ready = request.chat.prepare(&app, &model).await?;
    if request.is_debug {
        return Ok(shown.prompt(ready.into_prompt()));
    }
    let answers = ready.answers().await?;
    Ok(if request.stream {
        let narrator = chat_reply::Narrated::new(shown, request.include_usage);
        sse(answers.pieces(), narrator).await?
    } else {
        shown.whole(answers.whole().await?)
    })
}
