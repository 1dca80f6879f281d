//! Messages and tools as Ollama's clients send and read them.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::function::FunctionField;
use crate::api::images;
use crate::api::json::{Fields, FromJson, Mismatch};
use crate::prompt::{Message, Tool, ToolCall};

/// An entry of `messages` in a request.
#[derive(Debug, Default)]
pub struct MessageField(pub Message);

/// An entry of `images` in a request: a file in base64.
#[derive(Debug, Default)]
pub struct ImageField(pub Arc<[u8]>);

/// An entry of `tools` in a request.
#[derive(Debug, Default)]
pub struct ToolField(pub Tool);

#[derive(Debug, Default)]
struct ToolCallField(ToolCall);

#[derive(Debug, Default)]
struct CalledFunction {
    index: i64,
    name: String,
    arguments: Map<String, Value>,
}

/// An entry of `tool_calls` in a reply.
#[derive(Serialize, ToSchema)]
pub struct ToolCallRecord {
    id: String,
    function: CalledRecord,
}

#[derive(Serialize, ToSchema)]
struct CalledRecord {
    index: usize,
    name: String,
    /// An object, where OpenAI has its text.
    arguments: Value,
}

impl FromJson for MessageField {
    const GO_TYPE: &'static str = "Message";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let tool_calls: Vec<ToolCallField> = fields.take("tool_calls")?;
        let images: Vec<ImageField> = fields.take("images")?;
        Ok(Self(Message {
            role: fields.take::<String>("role")?.to_lowercase(),
            content: fields.take("content")?,
            thinking: fields.take("thinking")?,
            images: images.len(),
            image_files: images.into_iter().map(|image| image.0).collect(),
            tool_calls: tool_calls.into_iter().map(|field| field.0).collect(),
            tool_name: fields.take("tool_name")?,
            tool_call_id: fields.take("tool_call_id")?,
        }))
    }
}

impl FromJson for ImageField {
    const GO_TYPE: &'static str = "ImageData";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        images::from_base64(&String::from_json(value)?).map(|file| Self(file.into()))
    }
}

impl FromJson for ToolCallField {
    const GO_TYPE: &'static str = "ToolCall";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let function: CalledFunction = fields.take("function")?;
        Ok(Self(ToolCall {
            id: fields.take("id")?,
            index: usize::try_from(function.index).unwrap_or_default(),
            name: function.name,
            arguments: Value::Object(function.arguments),
        }))
    }
}

impl FromJson for CalledFunction {
    const GO_TYPE: &'static str = "ToolCallFunction";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            index: fields.take("index")?,
            name: fields.take("name")?,
            arguments: fields.take("arguments")?,
        })
    }
}

impl FromJson for ToolField {
    const GO_TYPE: &'static str = "Tool";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let FunctionField(tool) = fields.take("function")?;
        Ok(Self(tool))
    }
}

impl From<ToolCall> for ToolCallRecord {
    fn from(call: ToolCall) -> Self {
        Self {
            id: call.id,
            function: CalledRecord {
                index: call.index,
                name: call.name,
                arguments: call.arguments,
            },
        }
    }
}
