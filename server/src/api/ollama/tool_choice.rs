//! `tool_choice`: whether the model is to call tools. OpenAI's field, which Ollama's own API lacks.

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, Type};

use crate::api::json::{FromJson, Mismatch};
use crate::api::openapi::describe;
use crate::api::shape::ToolChoice;

impl FromJson for ToolChoice {
    const GO_TYPE: &'static str = "ToolChoice";

    fn schema() -> RefOr<Schema> {
        describe::either([
            describe::words(["none", "auto", "required"]),
            describe::value(Type::Object),
        ])
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let name = value.pointer("/function/name").and_then(Value::as_str);
        match (value.as_str(), name) {
            (Some("auto" | ""), _) => Ok(Self::Auto),
            (Some("none"), _) => Ok(Self::None),
            (Some("required"), _) => Ok(Self::Required),
            (None, Some(name)) => Ok(Self::Named(name.to_owned())),
            _ => Err(Mismatch::Value(format!(
                "invalid tool_choice: {value}; expected \"auto\", \"none\", \"required\" or {{\"type\": \"function\", \"function\": {{\"name\": …}}}}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn choices_are_read_as_openai_writes_them() {
        let check = |value: Value, expected| {
            assert_eq!(ToolChoice::from_json(value).ok(), expected);
        };
        check(json!("auto"), Some(ToolChoice::Auto));
        check(json!("none"), Some(ToolChoice::None));
        check(json!("required"), Some(ToolChoice::Required));
        let named = json!({"type": "function", "function": {"name": "add"}});
        check(named, Some(ToolChoice::Named("add".into())));
        check(json!("always"), None);
        check(json!({"type": "function"}), None);
    }
}
