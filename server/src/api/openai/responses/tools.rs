//! `tools` and `tool_choice` of a response.

use serde_json::Value;

use crate::api::function::FunctionField;
use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::shape::ToolChoice;
use crate::api::tool_choice::choose;
use crate::prompt::Tool;

/// How deep namespaces may lie in one another.
const MAX_NAMESPACES: usize = 8;

/// The functions that the model is told of, and whether it has to call them.
#[derive(Debug, Default)]
pub struct Offered {
    /// The functions.
    pub tools: Vec<Tool>,
    /// Whether they are called.
    pub choice: ToolChoice,
}

impl Offered {
    /// Reads both fields.
    ///
    /// # Errors
    /// When they are of another type, or the choice is none.
    pub fn new(tools: &[Value], choice: &Value) -> Result<Self, Mismatch> {
        let mut offered = Self::default();
        for tool in tools {
            offered.offer(tool.clone(), "", MAX_NAMESPACES)?;
        }
        offered.choice = choose(choice, &mut offered.tools)?;
        Ok(offered)
    }

    /// Takes a function as it is, and those of a namespace with its name before theirs.
    fn offer(&mut self, tool: Value, namespace: &str, depth: usize) -> Result<(), Mismatch> {
        let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "function" => {
                let FunctionField(mut tool) = FunctionField::from_json(tool)?;
                tool.name = within(namespace, &tool.name);
                self.tools.push(tool);
            }
            "namespace" if depth > 0 => {
                let mut fields = Fields::of("ResponsesTool", tool)?;
                let name: String = fields.take("name")?;
                let members: Vec<Value> = fields.take("tools")?;
                let namespace = within(namespace, &name);
                for member in members {
                    self.offer(member, &namespace, depth - 1)?;
                }
            }
            "namespace" => {
                return Err(Mismatch::Value("namespaces lie too deep".into()));
            }
            other => tracing::debug!(tool = other, "a tool that only OpenAI runs is not offered"),
        }
        Ok(())
    }
}

fn within(namespace: &str, name: &str) -> String {
    let prefix = format!("{namespace}.");
    if namespace.is_empty() || name.starts_with(&prefix) {
        name.to_owned()
    } else {
        prefix + name
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(tools: Value, choice: Value) -> Result<(Vec<String>, ToolChoice), String> {
        let offered = Offered::new(tools.as_array().unwrap(), &choice);
        let offered = offered.map_err(|error| error.to_string())?;
        let names = offered.tools.into_iter().map(|tool| tool.name);
        Ok((names.collect(), offered.choice))
    }

    #[test]
    fn namespaces_are_taken_apart_and_what_cannot_be_run_is_left_out() {
        let function = |name: &str| json!({"type": "function", "name": name});
        let tools = json!([
            function("add"),
            {"type": "web_search"},
            {"type": "namespace", "name": "mail", "tools": [function("send"), function("mail.read")]},
        ]);
        let (names, choice) = names(tools, json!("auto")).unwrap();
        assert_eq!(names, ["add", "mail.send", "mail.read"]);
        assert_eq!(choice, ToolChoice::Auto);

        let mut nested = function("deep");
        for _ in 0..=MAX_NAMESPACES {
            nested = json!({"type": "namespace", "name": "n", "tools": [nested]});
        }
        let refused = Offered::new(&[nested], &json!("auto")).unwrap_err();
        assert_eq!(refused.to_string(), "namespaces lie too deep");
    }
}
