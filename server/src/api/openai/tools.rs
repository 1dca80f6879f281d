//! Functions as OpenAI's clients offer them, and calls of them as they are told.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::function::FunctionField;
use crate::api::json::{Fields, FromJson, Mismatch};
use crate::prompt::{Tool, ToolCall};

/// An entry of `tools` in a chat.
#[derive(Debug, Default)]
pub struct ToolField(pub Option<Tool>);

/// An entry of `tool_calls` in a request.
#[derive(Debug, Default)]
pub struct ToolCallField(pub ToolCall);

/// An entry of `tool_calls` in a reply.
#[derive(Debug, Serialize, ToSchema)]
pub struct ToolCallRecord {
    id: String,
    index: usize,
    #[serde(rename = "type")]
    kind: &'static str,
    function: CalledRecord,
}

#[derive(Debug, Serialize, ToSchema)]
struct CalledRecord {
    name: String,
    /// A text that holds a JSON object.
    arguments: String,
}

impl FromJson for ToolField {
    const GO_TYPE: &'static str = "Tool";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let function: Option<FunctionField> = fields.take("function")?;
        Ok(Self(function.map(|function| function.0)))
    }
}

impl FromJson for ToolCallField {
    const GO_TYPE: &'static str = "ToolCall";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let id = fields.take("id")?;
        let function: Map<String, Value> = fields.take("function")?;
        let mut function = Fields::of("ToolCallFunction", Value::Object(function))?;
        Ok(Self(ToolCall {
            id,
            index: 0,
            name: function.take("name")?,
            arguments: arguments(function.take("arguments")?)?,
        }))
    }
}

/// The arguments of a call: an object in a text, or for lenience's sake an object. Nothing is no arguments.
///
/// # Errors
/// For everything else.
pub fn arguments(value: Value) -> Result<Value, Mismatch> {
    let read = match value {
        Value::Null => Value::Object(Map::new()),
        Value::String(text) if text.trim().is_empty() => Value::Object(Map::new()),
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::Null),
        other => other,
    };
    if read.is_object() {
        Ok(read)
    } else {
        Err(Mismatch::Value("invalid tool call arguments".into()))
    }
}

/// The arguments of a call as the text that OpenAI's clients parse.
pub fn arguments_text(call: &ToolCall) -> String {
    serde_json::to_string(&call.arguments).expect("a JSON value has a text")
}

impl From<ToolCall> for ToolCallRecord {
    fn from(call: ToolCall) -> Self {
        Self {
            index: call.index,
            kind: "function",
            function: CalledRecord {
                arguments: arguments_text(&call),
                name: call.name,
            },
            id: call.id,
        }
    }
}
