//! `tools` and `tool_choice`.

use serde_json::{Map, Value};

use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::shape::ToolChoice;
use crate::prompt::Tool;

/// An entry of `tools`. None: one that only Anthropic runs, or whose arguments only Anthropic's models know. It is not
/// offered.
#[derive(Debug, Default)]
pub struct ToolField(pub Option<Tool>);

/// `tool_choice`.
#[derive(Debug, Default, PartialEq)]
pub struct ChoiceField {
    /// Whether tools are called.
    pub choice: ToolChoice,
    /// Whether at most one is called.
    pub one_call: bool,
}

impl FromJson for ToolField {
    const GO_TYPE: &'static str = "Tool";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let kind: String = fields.take("type")?;
        let name: String = fields.take("name")?;
        let schema: Value = fields.take("input_schema")?;
        if schema.is_null() && !matches!(kind.as_str(), "" | "custom") {
            tracing::debug!(tool = kind, "a tool without a schema is not offered");
            return Ok(Self(None));
        }
        if !(schema.is_null() || schema.is_object()) {
            let mismatch = Mismatch::new(&schema, "ToolFunctionParameters");
            return Err(Mismatch::Value(format!(
                "invalid input_schema for tool {name:?}: {mismatch}"
            )));
        }
        Ok(Self(Some(Tool {
            name,
            description: fields.take("description")?,
            parameters: schema,
        })))
    }
}

impl FromJson for ChoiceField {
    const GO_TYPE: &'static str = "ToolChoice";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let object = Map::from_json(value)?;
        let mut fields = Fields::of(Self::GO_TYPE, Value::Object(object))?;
        let kind: String = fields.take("type")?;
        let name: String = fields.take("name")?;
        let choice = match kind.as_str() {
            "auto" => ToolChoice::Auto,
            "any" => ToolChoice::Required,
            "none" => ToolChoice::None,
            "tool" if !name.is_empty() => ToolChoice::Named(name),
            "tool" => {
                return Err(Mismatch::Value(
                    "tool_choice of type \"tool\" needs a name".into(),
                ));
            }
            _ => {
                return Err(Mismatch::Value(format!(
                    "invalid tool_choice type {kind:?} (must be \"auto\", \"any\", \"tool\", or \"none\")"
                )));
            }
        };
        Ok(Self {
            choice,
            one_call: fields.take("disable_parallel_tool_use")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_tools_that_can_be_described_are_offered() {
        let read = |value: Value| ToolField::from_json(value).map(|field| field.0);
        let own = read(json!({"name": "add", "input_schema": {"type": "object"}}));
        let expected = Tool {
            name: "add".into(),
            description: String::new(),
            parameters: json!({"type": "object"}),
        };
        assert_eq!(own.unwrap(), Some(expected));
        let search = read(json!({"type": "web_search_20250305", "name": "web_search"}));
        assert_eq!(search.unwrap(), None);
        let refused = read(json!({"name": "add", "input_schema": "x"})).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.starts_with("invalid input_schema for tool \"add\": "),
            "{text}"
        );
    }

    #[test]
    fn choices_are_read() {
        let check = |value: Value, choice, one_call| {
            let read = ChoiceField::from_json(value).unwrap();
            assert_eq!(read, ChoiceField { choice, one_call });
        };
        check(json!({"type": "auto"}), ToolChoice::Auto, false);
        check(json!({"type": "none"}), ToolChoice::None, false);
        let alone = json!({"type": "any", "disable_parallel_tool_use": true});
        check(alone, ToolChoice::Required, true);
        let named = json!({"type": "tool", "name": "add"});
        check(named, ToolChoice::Named("add".into()), false);
        for nonsense in [
            json!("any"),
            json!({"type": "tool"}),
            json!({"type": "all"}),
        ] {
            assert!(ChoiceField::from_json(nonsense).is_err());
        }
    }
}
