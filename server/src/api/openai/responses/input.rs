//! `input` of a response: a text, or items that come to messages.

use std::sync::Arc;

use serde_json::Value;

use super::super::tools::arguments;
use crate::api::conversation::{join_system, name_tools, said};
use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::media;
use crate::prompt::{Message, ToolCall};

/// The items; a text is one message of the user.
#[derive(Debug, Default, PartialEq)]
pub struct Input(Vec<Item>);

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Message(Message),
    Call(ToolCall),
    Result(Message),
    /// What the next thing that the assistant says or does was preceded by.
    Reasoning(String),
    /// What says nothing to the model.
    Nothing,
}

/// Texts and images of a message.
#[derive(Default)]
struct Content {
    text: String,
    images: Vec<Arc<[u8]>>,
}

impl FromJson for Input {
    const GO_TYPE: &'static str = "ResponsesInput";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) if text.is_empty() => Ok(Self::default()),
            Value::String(text) => Ok(Self(vec![Item::Message(said("user", &text))])),
            Value::Array(items) => items
                .into_iter()
                .enumerate()
                .map(|(index, item)| {
                    Item::read(item).map_err(|error| at(&format!("input[{index}]"), &error))
                })
                .collect::<Result<_, _>>()
                .map(Self),
            _ => Err(Mismatch::Value("input must be a string or array".into())),
        }
    }
}

/// The same mistake, with where it was made.
fn at(place: &str, error: &Mismatch) -> Mismatch {
    Mismatch::Value(format!("{place}: {error}"))
}

impl Item {
    fn read(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of("ResponsesInputItem", value)?;
        let kind: String = fields.take("type")?;
        let role = fields.take::<String>("role")?.to_lowercase();
        let kind = match kind.as_str() {
            // Messages may come without saying so.
            "" if !role.is_empty() => "message",
            kind => kind,
        };
        match kind {
            "message" => {
                let content = Content::read(fields.take("content")?, "content")?;
                Ok(Self::Message(Message {
                    role: if role == "developer" {
                        "system".into()
                    } else {
                        role
                    },
                    content: content.text,
                    images: content.images.len(),
                    image_files: content.images,
                    ..Message::default()
                }))
            }
            "function_call" => Ok(Self::Call(ToolCall {
                id: fields.take("call_id")?,
                index: 0,
                name: fields.take("name")?,
                arguments: arguments(fields.take("arguments")?)?,
            })),
            "function_call_output" => {
                let content = Content::read(fields.take("output")?, "output")?;
                Ok(Self::Result(Message {
                    role: "tool".into(),
                    content: content.text,
                    images: content.images.len(),
                    image_files: content.images,
                    tool_call_id: fields.take("call_id")?,
                    ..Message::default()
                }))
            }
            "reasoning" => {
                let encrypted: String = fields.take("encrypted_content")?;
                let summary: Vec<Value> = fields.take("summary")?;
                let texts = summary.iter().filter_map(|part| part.get("text")?.as_str());
                Ok(Self::Reasoning(if encrypted.is_empty() {
                    texts.collect::<Vec<_>>().join("\n")
                } else {
                    encrypted
                }))
            }
            "web_search_call" => Ok(Self::Nothing),
            "" => Err(Mismatch::Value(
                "input item missing required 'type' field".into(),
            )),
            other => Err(Mismatch::Value(format!(
                "unknown input item type: {other:?}"
            ))),
        }
    }
}

impl Content {
    /// A text, or parts; `name` is the field's.
    fn read(value: Value, name: &str) -> Result<Self, Mismatch> {
        let mut content = Self::default();
        match value {
            Value::Null => {}
            Value::String(text) => content.text = text,
            Value::Array(parts) => {
                for (index, part) in parts.into_iter().enumerate() {
                    content
                        .take(part)
                        .map_err(|error| at(&format!("{name}[{index}]"), &error))?;
                }
            }
            _ => {
                return Err(Mismatch::Value(format!("{name} must be a string or array")));
            }
        }
        Ok(content)
    }

    fn take(&mut self, part: Value) -> Result<(), Mismatch> {
        let mut fields = Fields::of("ResponsesContent", part)?;
        let kind: String = fields.take("type")?;
        match kind.as_str() {
            "input_text" | "output_text" => self.text.push_str(&fields.take::<String>("text")?),
            "refusal" => self.text.push_str(&fields.take::<String>("refusal")?),
            "input_image" => {
                let url: String = fields.take("image_url")?;
                // One that is named by the id of a file is none: no files are kept here.
                if !url.is_empty() {
                    self.images.push(media::image(&url)?.into());
                }
            }
            "input_file" => {
                return Err(Mismatch::Value(
                    "file inputs are not currently supported".into(),
                ));
            }
            other => {
                return Err(Mismatch::Value(format!("unknown content type: {other}")));
            }
        }
        Ok(())
    }
}

/// The conversation that the items come to.
pub fn conversation(instructions: Option<&str>, input: Input) -> Vec<Message> {
    let mut messages: Vec<Message> = instructions
        .map(|instructions| said("system", instructions))
        .into_iter()
        .collect();
    let mut thinking = String::new();
    let mut items = input.0.into_iter().peekable();
    while let Some(item) = items.next() {
        match item {
            Item::Reasoning(text) => thinking = text,
            Item::Message(mut message) if message.role == "assistant" => {
                message.thinking = std::mem::take(&mut thinking);
                let answered = match items.peek() {
                    Some(Item::Result(result)) => Some(result.tool_call_id.as_str()),
                    _ => None,
                };
                match messages.last_mut() {
                    Some(before) if answered.is_some_and(|id| has_called(before, id)) => {
                        add(before, message);
                    }
                    _ => messages.push(message),
                }
            }
            Item::Message(message) | Item::Result(message) => messages.push(message),
            Item::Call(call) => {
                if messages.last().is_none_or(|last| last.role != "assistant") {
                    messages.push(said("assistant", ""));
                }
                let caller = messages.last_mut().expect("there is one now");
                if !thinking.is_empty() {
                    caller.thinking = std::mem::take(&mut thinking);
                }
                let index = caller.tool_calls.len();
                caller.tool_calls.push(ToolCall { index, ..call });
            }
            Item::Nothing => {}
        }
    }
    if !thinking.is_empty() {
        messages.push(Message {
            thinking,
            ..said("assistant", "")
        });
    }
    name_tools(&mut messages);
    join_system(&mut messages);
    messages
}

/// Whether this is the message with the call of that id.
fn has_called(message: &Message, id: &str) -> bool {
    message.role == "assistant" && message.tool_calls.iter().any(|call| call.id == id)
}

/// What was said between a call and its result belongs to the message of the call, so that the result follows it.
fn add(caller: &mut Message, message: Message) {
    if !caller.content.is_empty() && !message.content.is_empty() {
        caller.content.push('\n');
    }
    caller.content.push_str(&message.content);
    caller.images += message.images;
    caller.image_files.extend(message.image_files);
    if !message.thinking.is_empty() {
        caller.thinking = message.thinking;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(input: Value) -> Result<Vec<Message>, String> {
        let input = Input::from_json(input).map_err(|error| error.to_string())?;
        Ok(conversation(Some("Be brief."), input))
    }

    /// Role, thinking, content and calls of each message after the instructions.
    fn check(input: Value, expected: &[(&str, &str, &str, &[&str])]) {
        let messages = read(input.clone()).unwrap();
        assert_eq!(messages[0], said("system", "Be brief."));
        let found: Vec<_> = messages[1..]
            .iter()
            .map(|message| {
                let calls = message.tool_calls.iter().map(|call| call.name.as_str());
                (
                    message.role.as_str(),
                    message.thinking.as_str(),
                    message.content.as_str(),
                    calls.collect::<Vec<_>>(),
                )
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(role, thinking, content, calls)| (*role, *thinking, *content, calls.to_vec()))
            .collect();
        assert_eq!(found, expected, "{input}");
    }

    #[test]
    fn items_come_to_messages() {
        check(json!("Hi"), &[("user", "", "Hi", &[])]);
        check(json!(""), &[]);
        check(
            json!([{"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]}]),
            &[("user", "", "ab", &[])],
        );
        let call = |id: &str, name: &str| json!({"type": "function_call", "call_id": id, "name": name, "arguments": "{}"});
        let result = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": [{"type": "input_text", "text": "2"}]});
        let said = |text: &str| json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]});
        let thought = json!({"type": "reasoning", "summary": [], "encrypted_content": "hm"});
        check(
            json!([
                thought,
                said("I add."),
                call("1", "add"),
                call("2", "sub"),
                result("1"),
                result("2")
            ]),
            &[
                ("assistant", "hm", "I add.", &["add", "sub"]),
                ("tool", "", "2", &[]),
                ("tool", "", "2", &[]),
            ],
        );
        // What is said between a call and its result is said with the call.
        check(
            json!([call("1", "add"), said("Adding."), result("1")]),
            &[
                ("assistant", "", "Adding.", &["add"]),
                ("tool", "", "2", &[]),
            ],
        );
        let summary =
            json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}]});
        check(
            json!([{"type": "web_search_call", "id": "ws"}, summary]),
            &[("assistant", "so", "", &[])],
        );
    }

    #[test]
    fn results_have_the_name_of_their_tool() {
        let input = json!([
            {"type": "function_call", "call_id": "1", "name": "add", "arguments": ""},
            {"type": "function_call_output", "call_id": "1", "output": "2"},
        ]);
        let messages = read(input).unwrap();
        assert_eq!(messages[2].tool_name, "add");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let check = |input: Value, expected: &str| {
            assert_eq!(read(input.clone()).unwrap_err(), expected, "{input}");
        };
        check(json!(1), "input must be a string or array");
        check(
            json!([{}]),
            "input[0]: input item missing required 'type' field",
        );
        check(
            json!([{"type": "item_reference"}]),
            "input[0]: unknown input item type: \"item_reference\"",
        );
        let content = |part: Value| json!([{"role": "user", "content": [part]}]);
        check(
            content(json!({"type": "x"})),
            "input[0]: content[0]: unknown content type: x",
        );
        check(
            content(json!({"type": "input_file", "file_id": "f"})),
            "input[0]: content[0]: file inputs are not currently supported",
        );
        check(
            content(json!({"type": "input_image", "image_url": "data:,x"})),
            "input[0]: content[0]: invalid image input",
        );
        check(
            json!([{"type": "function_call_output", "output": 1}]),
            "input[0]: output must be a string or array",
        );
        check(
            json!([{"type": "function_call", "arguments": "["}]),
            "input[0]: invalid tool call arguments",
        );
    }
}
