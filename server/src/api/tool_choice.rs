//! `tool_choice` in OpenAI's words, which Ollama's own API lacks and takes here too: whether the model calls functions, and
//! which. Chats write it with a `function` or `allowed_tools` around what responses write without; both are read.

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, Type};

use super::json::{FromJson, Mismatch};
use super::openapi::describe;
use super::shape::ToolChoice;
use crate::prompt::Tool;

/// The field as typed, to be read with [`choose`].
#[derive(Debug, Default)]
pub struct ChoiceField(pub Value);

impl FromJson for ChoiceField {
    const GO_TYPE: &'static str = "ToolChoice";

    fn schema() -> RefOr<Schema> {
        describe::either([
            describe::words(["none", "auto", "required"]),
            describe::value(Type::Object),
        ])
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        Ok(Self(value))
    }
}

/// Reads a choice among `tools`, of which it may leave some.
///
/// # Errors
/// When it is none.
pub fn choose(choice: &Value, tools: &mut Vec<Tool>) -> Result<ToolChoice, Mismatch> {
    let invalid = || {
        Mismatch::Value(format!(
            "invalid tool_choice: {choice}; expected \"auto\", \"none\", \"required\", or the name of a function"
        ))
    };
    let word = |word: &str| match word {
        "auto" | "" => Some(ToolChoice::Auto),
        "none" => Some(ToolChoice::None),
        "required" => Some(ToolChoice::Required),
        _ => None,
    };
    let chosen = match choice {
        Value::Null => Some(ToolChoice::Auto),
        Value::String(text) => word(text),
        Value::Object(object) => match object.get("type").and_then(Value::as_str) {
            Some("function") | None => name(choice).map(|name| ToolChoice::Named(name.to_owned())),
            Some("allowed_tools") => {
                let allowed = choice.get("allowed_tools").unwrap_or(choice);
                let listed = allowed.get("tools").and_then(Value::as_array);
                let names: Vec<&str> = listed
                    .ok_or_else(invalid)?
                    .iter()
                    .filter_map(name)
                    .collect();
                tools.retain(|tool| names.contains(&tool.name.as_str()));
                let mode = allowed.get("mode").and_then(Value::as_str);
                mode.map_or(Some(ToolChoice::Auto), word)
            }
            _ => None,
        },
        _ => None,
    };
    chosen.ok_or_else(invalid)
}

fn name(function: &Value) -> Option<&str> {
    let function = function.get("function").unwrap_or(function);
    function.get("name")?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn choose_of_two(choice: Value) -> Result<(ToolChoice, Vec<String>), String> {
        let tool = |name: &str| Tool {
            name: name.into(),
            description: String::new(),
            parameters: Value::Null,
        };
        let mut tools = vec![tool("a"), tool("b")];
        let chosen = choose(&choice, &mut tools).map_err(|error| error.to_string())?;
        Ok((chosen, tools.into_iter().map(|tool| tool.name).collect()))
    }

    #[test]
    fn both_ways_of_writing_a_choice_are_read() {
        let check = |choice: Value, expected, left: &[&str]| {
            let found = choose_of_two(choice.clone()).unwrap();
            let left = left.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(found, (expected, left), "{choice}");
        };
        check(Value::Null, ToolChoice::Auto, &["a", "b"]);
        check(json!("auto"), ToolChoice::Auto, &["a", "b"]);
        check(json!("none"), ToolChoice::None, &["a", "b"]);
        check(json!("required"), ToolChoice::Required, &["a", "b"]);
        let named = ToolChoice::Named("b".into());
        let chat = json!({"type": "function", "function": {"name": "b"}});
        check(chat.clone(), named.clone(), &["a", "b"]);
        let response = json!({"type": "function", "name": "b"});
        check(response.clone(), named.clone(), &["a", "b"]);
        let untyped = json!({"function": {"name": "b"}});
        check(untyped, named, &["a", "b"]);
        let allowed = json!({"type": "allowed_tools", "mode": "required", "tools": [response]});
        check(allowed, ToolChoice::Required, &["b"]);
        let allowed = json!({"type": "allowed_tools", "allowed_tools": {"tools": [chat]}});
        check(allowed, ToolChoice::Auto, &["b"]);
    }

    #[test]
    fn other_choices_are_refused() {
        for nonsense in [
            json!("always"),
            json!(1),
            json!({"type": "web_search"}),
            json!({"type": "function"}),
            json!({"type": "allowed_tools"}),
            json!({}),
        ] {
            let error = choose_of_two(nonsense).unwrap_err();
            assert!(error.starts_with("invalid tool_choice"), "{error}");
        }
    }
}
