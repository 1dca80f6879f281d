//! POST `/v1/responses`: the next turn of a conversation that the caller keeps.
//!
//! Nothing is stored, so what refers to something stored is refused. Tools that OpenAI runs itself, as a search of the web,
//! are not offered to the model: nobody here could run them.

mod input;
mod narrate;
mod record;
mod tools;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value};

use self::input::{Input, conversation};
use self::narrate::{Narrated, ResponseEvent};
use self::record::{ResponseRecord, Shown};
use self::tools::Offered;
use super::settings::{self, Defaults};
use super::{effort, record as shared};
use crate::api::blocks;
use crate::api::body::Body;
use crate::api::chat::Chat;
use crate::api::conversation::Conversation;
use crate::api::find::Refusals;
use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::number::Float;
use crate::api::openapi::About;
use crate::api::shape::{Format, Shape};
use crate::api::sse::sse;
use crate::api::{App, Error};

/// What a request for log probabilities names in `include`.
const INCLUDE_LOGPROBS: &str = "message.output_text.logprobs";

/// The body.
#[derive(Default)]
pub struct ResponsesRequest {
    chat: Chat,
    stream: bool,
    echo: Echo,
}

/// What a reply repeats of its request.
#[derive(Clone, Debug, Default)]
struct Echo {
    instructions: Option<String>,
    tools: Vec<Value>,
    tool_choice: Value,
    parallel_tool_calls: bool,
    truncation: Option<String>,
    format: Option<Value>,
    verbosity: Option<String>,
    top_p: Option<f64>,
    temperature: Option<f64>,
    top_logprobs: u8,
    effort: Option<String>,
    summary: Option<String>,
    max_output_tokens: Option<i64>,
    background: bool,
    metadata: Map<String, Value>,
}

impl FromJson for ResponsesRequest {
    const GO_TYPE: &'static str = "ResponsesRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        refuse_stored(&mut fields)?;
        let echo = Echo::take(&mut fields)?;
        let input: Input = fields.take("input")?;
        let Offered { tools, choice } = Offered::new(&echo.tools, &echo.tool_choice)?;
        let defaults = Defaults {
            top_p: None,
            max_tokens: &["max_output_tokens"],
        };
        let mut manner = settings::take(&mut fields, &defaults)?;
        if echo.truncation.as_deref() == Some("disabled") {
            manner.truncate = false;
        }
        let include: Vec<String> = fields.take("include")?;
        let has_logprobs = include.iter().any(|it| it == INCLUDE_LOGPROBS);
        manner.logprobs = (has_logprobs || echo.top_logprobs > 0).then_some(echo.top_logprobs);
        if manner.choices > 1 {
            return Err(Mismatch::Value("n is not a field of responses".into()));
        }
        let format = echo.format.clone().map_or(Ok(Format::Free), format)?;
        Ok(Self {
            chat: Chat {
                conversation: Conversation {
                    typed_model: fields.take("model")?,
                    messages: conversation(echo.instructions.as_deref(), input),
                    tools,
                    think: effort::think(echo.effort.as_deref().unwrap_or_default())?,
                },
                shape: Shape {
                    format,
                    tool_choice: choice,
                    one_call: !echo.parallel_tool_calls,
                },
                manner,
            },
            stream: fields.take("stream")?,
            echo,
        })
    }
}

/// What was said before is not kept here, and an answer that ignored it would be wrong.
fn refuse_stored(fields: &mut Fields) -> Result<(), Mismatch> {
    for name in ["previous_response_id", "conversation"] {
        if !fields.take::<Value>(name)?.is_null() {
            return Err(Mismatch::Value(format!(
                "{name} is not supported: responses are not stored here; send the whole conversation in input"
            )));
        }
    }
    Ok(())
}

impl Echo {
    fn take(fields: &mut Fields) -> Result<Self, Mismatch> {
        let text: Map<String, Value> = fields.take("text")?;
        let mut text = Fields::of("ResponsesText", Value::Object(text))?;
        let reasoning: Map<String, Value> = fields.take("reasoning")?;
        let mut reasoning = Fields::of("ResponsesReasoning", Value::Object(reasoning))?;
        let format: Option<Map<String, Value>> = text.take("format")?;
        let tool_choice: Value = fields.take("tool_choice")?;
        let parallel_tool_calls: Option<bool> = fields.take("parallel_tool_calls")?;
        let told = |text: Option<String>| text.filter(|text| !text.is_empty());
        let float = |number: Option<Float>| number.map(|number| number.0);
        Ok(Self {
            instructions: told(fields.take("instructions")?),
            tools: fields.take("tools")?,
            tool_choice: if tool_choice.is_null() {
                "auto".into()
            } else {
                tool_choice
            },
            parallel_tool_calls: parallel_tool_calls.unwrap_or(true),
            truncation: told(fields.take("truncation")?),
            format: format.map(Value::Object),
            verbosity: told(text.take("verbosity")?),
            top_p: float(fields.look("top_p")?),
            temperature: float(fields.look("temperature")?),
            top_logprobs: settings::top_logprobs(fields.take("top_logprobs")?, "top_logprobs")?,
            effort: told(reasoning.take("effort")?),
            summary: told(reasoning.take("summary")?),
            max_output_tokens: fields.look("max_output_tokens")?,
            background: fields.take("background")?,
            metadata: fields.take("metadata")?,
        })
    }
}

/// `text.format`.
fn format(value: Value) -> Result<Format, Mismatch> {
    let mut fields = Fields::of("ResponsesTextFormat", value)?;
    let kind: String = fields.take("type")?;
    match kind.as_str() {
        "" | "text" => Ok(Format::Free),
        "json_object" => Ok(Format::Json),
        "json_schema" => {
            let schema: Option<Map<String, Value>> = fields.take("schema")?;
            schema
                .map(Format::Schema)
                .ok_or_else(|| Mismatch::Value("text.format needs a schema".into()))
        }
        _ => Err(Mismatch::Value(format!(
            "invalid text.format type {kind:?} (must be \"text\", \"json_object\", or \"json_schema\")"
        ))),
    }
}

/// For the document.
pub fn about() -> About {
    About::new("Answer a conversation, telling every step")
        .takes::<ResponsesRequest>()
        .gives_or_tells::<ResponseRecord, ResponseEvent>()
}

/// Answers the conversation.
pub async fn responses(
    State(app): State<Arc<App>>,
    Body(request): Body<ResponsesRequest>,
) -> Result<Response, Error> {
    let typed_model = request.chat.conversation.typed_model.clone();
    let model = app.find(&typed_model, Refusals::Required).await?;
    let shown = Shown::new(typed_model, request.echo);
    let answers = request.chat.prepare(&app, &model).await?.answers().await?;
    if request.stream {
        return sse(answers.pieces(), Narrated::new(shown)).await;
    }
    let (mut blocks, ending) = blocks::whole(answers).await?;
    let _ = blocks.fill();
    Ok(shared::json(&shown.whole(&blocks, &ending)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::shape::ToolChoice;
    use crate::prompt::Think;

    fn read(body: Value) -> Result<ResponsesRequest, String> {
        ResponsesRequest::from_json(body).map_err(|error| error.to_string())
    }

    #[test]
    fn fields_reach_the_job() {
        let request = read(json!({
            "model": "tiny", "input": "Hi", "instructions": "Be brief.", "stream": true, "top_logprobs": 2,
            "reasoning": {"effort": "none"}, "truncation": "disabled", "parallel_tool_calls": false,
            "tools": [{"type": "function", "name": "add", "parameters": {"type": "object"}}, {"type": "web_search"}],
            "tool_choice": {"type": "function", "name": "add"},
            "text": {"format": {"type": "json_object"}},
        }))
        .unwrap();
        let chat = request.chat;
        let roles: Vec<&str> = chat
            .conversation
            .messages
            .iter()
            .map(|message| message.role.as_str())
            .collect();
        assert_eq!(roles, ["system", "user"]);
        assert_eq!(chat.conversation.tools.len(), 1, "nobody can search here");
        assert_eq!(chat.conversation.think, Think::Off);
        let expected = Shape {
            format: Format::Json,
            tool_choice: ToolChoice::Named("add".into()),
            one_call: true,
        };
        assert_eq!(chat.shape, expected);
        assert_eq!(
            (chat.manner.truncate, chat.manner.logprobs),
            (false, Some(2))
        );
        assert!(request.stream);
    }

    #[test]
    fn what_would_need_a_memory_is_refused() {
        for name in ["previous_response_id", "conversation"] {
            let error = read(json!({"input": "Hi", name: "resp_1"})).err().unwrap();
            assert!(
                error.starts_with(&format!("{name} is not supported")),
                "{error}"
            );
            assert!(read(json!({"input": "Hi", name: null})).is_ok());
        }
    }
}
