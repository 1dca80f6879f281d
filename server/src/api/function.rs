//! A function as clients of Ollama and OpenAI offer it.

use serde_json::{Map, Value};

use super::json::{Fields, FromJson, Mismatch};
use crate::prompt::Tool;

/// What `function` of a tool holds; the tools of `/v1/responses` are it themselves.
#[derive(Debug, Default)]
pub struct FunctionField(pub Tool);

impl FromJson for FunctionField {
    const GO_TYPE: &'static str = "ToolFunction";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let parameters: Option<Map<String, Value>> = fields.take("parameters")?;
        Ok(Self(Tool {
            name: fields.take("name")?,
            description: fields.take("description")?,
            parameters: parameters.map_or(Value::Null, Value::Object),
        }))
    }
}
