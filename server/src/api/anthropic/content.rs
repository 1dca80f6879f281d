//! Messages as Anthropic's clients send them: a text, or blocks.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::media;
use crate::prompt::{Message, ToolCall};

/// Between the texts of one message, but for what the assistant said: that is put together as it was written.
const BETWEEN_TEXTS: &str = "\n\n";

/// An entry of `messages`: the messages that it comes to, for results of tools are messages of their own.
#[derive(Debug, Default)]
pub struct MessageField(pub Vec<Message>);

/// `system`: a text, or blocks of which the texts count.
#[derive(Debug, Default)]
pub struct System(pub String);

/// Texts and images of a block.
#[derive(Debug, Default)]
struct Content {
    text: String,
    images: Vec<Arc<[u8]>>,
}

impl FromJson for System {
    const GO_TYPE: &'static str = "string";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => Ok(Self(text)),
            Value::Array(blocks) => {
                let texts = blocks
                    .iter()
                    .filter_map(|block| block.get("text")?.as_str());
                let texts: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
                Ok(Self(texts.join(BETWEEN_TEXTS)))
            }
            other => Err(Mismatch::new(&other, Self::GO_TYPE)),
        }
    }
}

impl FromJson for MessageField {
    const GO_TYPE: &'static str = "MessageParam";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let role = fields.take::<String>("role")?.to_lowercase();
        let blocks = match fields.take::<Value>("content")? {
            Value::Null => Vec::new(),
            Value::String(text) => vec![serde_json::json!({"type": "text", "text": text})],
            Value::Array(blocks) => blocks,
            other => return Err(Mismatch::new(&other, "[]ContentBlock")),
        };
        let mut message = Message {
            role: role.clone(),
            ..Message::default()
        };
        let mut results = Vec::new();
        for block in blocks {
            take(block, &mut message, &mut results)?;
        }
        let is_empty = message.content.is_empty()
            && message.thinking.is_empty()
            && message.images == 0
            && message.tool_calls.is_empty();
        let own = (!is_empty).then_some(message);
        // What the user says after a call comes after its result.
        Ok(Self(if role == "user" {
            results.into_iter().chain(own).collect()
        } else {
            own.into_iter().chain(results).collect()
        }))
    }
}

/// Adds a block to the message that it belongs to, or to the results of tools.
fn take(block: Value, message: &mut Message, results: &mut Vec<Message>) -> Result<(), Mismatch> {
    let mut fields = Fields::of("ContentBlock", block)?;
    let kind: String = fields.take("type")?;
    match kind.as_str() {
        "text" => {
            let text: String = fields.take("text")?;
            add(message, &text);
        }
        "image" => {
            message.image_files.push(image(&mut fields)?);
            message.images += 1;
        }
        "document" => {
            let text = document(&mut fields)?;
            add(message, &text);
        }
        "thinking" => message.thinking = fields.take("thinking")?,
        "tool_use" | "server_tool_use" => {
            let missing = |field| {
                let text = format!("tool_use block missing required '{field}' field");
                Mismatch::Value(text)
            };
            let id: String = fields.take("id")?;
            let name: String = fields.take("name")?;
            if kind == "tool_use" && id.is_empty() {
                return Err(missing("id"));
            }
            if kind == "tool_use" && name.is_empty() {
                return Err(missing("name"));
            }
            let input: Map<String, Value> = fields.take("input")?;
            message.tool_calls.push(ToolCall {
                id,
                index: message.tool_calls.len(),
                name,
                arguments: Value::Object(input),
            });
        }
        "tool_result" | "web_search_tool_result" => {
            let content = Content::read(fields.take("content")?)?;
            results.push(Message {
                role: "tool".into(),
                content: content.text,
                images: content.images.len(),
                image_files: content.images,
                tool_call_id: fields.take("tool_use_id")?,
                ..Message::default()
            });
        }
        // As in Ollama. Most of these say nothing to any other model than the one that wrote them.
        other => tracing::debug!(block = other, "a block of this type is passed over"),
    }
    Ok(())
}

fn add(message: &mut Message, text: &str) {
    if message.role != "assistant" && !message.content.is_empty() && !text.is_empty() {
        message.content.push_str(BETWEEN_TEXTS);
    }
    message.content.push_str(text);
}

/// The file of a block's image.
fn image(fields: &mut Fields) -> Result<Arc<[u8]>, Mismatch> {
    let source: Option<Map<String, Value>> = fields.take("source")?;
    let source = source.ok_or_else(|| Mismatch::Value("invalid image source".into()))?;
    let text = |name| source.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = text("type");
    if kind != "base64" {
        return Err(Mismatch::Value(format!(
            "invalid image source type: {kind}. Only base64 images are supported."
        )));
    }
    media::base64(text("data"))
        .map(Arc::from)
        .map_err(|error| Mismatch::Value(format!("invalid base64 image data: {error}")))
}

/// The text of a document that is one.
fn document(fields: &mut Fields) -> Result<String, Mismatch> {
    let source: Map<String, Value> = fields.take("source")?;
    let mut source = Fields::of("DocumentSource", Value::Object(source))?;
    let kind: String = source.take("type")?;
    match kind.as_str() {
        "text" => source.take("data"),
        "content" => Ok(Content::read(source.take("content")?)?.text),
        _ => Err(Mismatch::Value(format!(
            "invalid document source type: {kind}. Only text documents are supported."
        ))),
    }
}

impl Content {
    /// The content of a tool's result: a text, or blocks of texts and images. What is neither is told as JSON, so that the
    /// model sees it.
    fn read(value: Value) -> Result<Self, Mismatch> {
        let mut content = Self::default();
        match value {
            Value::Null => {}
            Value::String(text) => content.text = text,
            Value::Array(blocks) => {
                for block in blocks {
                    content.take(block)?;
                }
            }
            other => content.text = other.to_string(),
        }
        Ok(content)
    }

    fn take(&mut self, block: Value) -> Result<(), Mismatch> {
        let mut fields = Fields::of("ContentBlock", block)?;
        let kind: String = fields.take("type")?;
        match kind.as_str() {
            "text" => self.text.push_str(&fields.take::<String>("text")?),
            "image" => {
                self.images.push(image(&mut fields)?);
            }
            "web_search_result" => {
                let title: String = fields.take("title")?;
                let url: String = fields.take("url")?;
                self.text.push_str(&format!("- {title}: {url}\n"));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::conversation::said;

    fn read(message: Value) -> Result<Vec<Message>, String> {
        let field = MessageField::from_json(message);
        field
            .map(|field| field.0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn contents_are_texts_or_blocks() {
        let check = |message: Value, expected: &[Message]| {
            assert_eq!(read(message.clone()).unwrap(), expected, "{message}");
        };
        check(
            json!({"role": "user", "content": "Hi"}),
            &[said("user", "Hi")],
        );
        let text = |text: &str| json!({"type": "text", "text": text});
        check(
            json!({"role": "user", "content": [text("a"), text("b")]}),
            &[said("user", "a\n\nb")],
        );
        check(
            json!({"role": "assistant", "content": [text("a"), text("b"), {"type": "redacted_thinking"}]}),
            &[said("assistant", "ab")],
        );
        let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}});
        let seen = Message {
            images: 1,
            image_files: vec![b"hi".as_slice().into()],
            ..said("user", "what?")
        };
        check(
            json!({"role": "user", "content": [image, text("what?")]}),
            &[seen],
        );
        let document = json!({"type": "document", "source": {"type": "text", "data": "once"}});
        check(
            json!({"role": "user", "content": [document]}),
            &[said("user", "once")],
        );
        check(json!({"role": "user", "content": []}), &[]);
    }

    #[test]
    fn calls_are_part_of_a_message_and_results_are_messages() {
        let thought = json!({"type": "thinking", "thinking": "hm", "signature": "x"});
        let call = json!({"type": "tool_use", "id": "a", "name": "add", "input": {"x": 1}});
        let asked = read(json!({"role": "assistant", "content": [thought, call]})).unwrap();
        assert_eq!(asked[0].thinking, "hm");
        assert_eq!(asked[0].tool_calls[0].arguments, json!({"x": 1}));

        let result = json!({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "2"}]});
        let next = json!({"type": "text", "text": "And now?"});
        let answered = read(json!({"role": "user", "content": [next, result]})).unwrap();
        let roles: Vec<(&str, &str)> = answered
            .iter()
            .map(|message| (message.role.as_str(), message.content.as_str()))
            .collect();
        assert_eq!(roles, [("tool", "2"), ("user", "And now?")]);
        assert_eq!(answered[0].tool_call_id, "a");
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_ollama_s_words() {
        let check = |block: Value, expected: &str| {
            let message = json!({"role": "user", "content": [block]});
            assert_eq!(read(message).unwrap_err(), expected, "{block}");
        };
        check(json!({"type": "image"}), "invalid image source");
        check(
            json!({"type": "image", "source": {"type": "url", "url": "https://example.com"}}),
            "invalid image source type: url. Only base64 images are supported.",
        );
        check(
            json!({"type": "tool_use", "name": "add"}),
            "tool_use block missing required 'id' field",
        );
        check(
            json!({"type": "tool_use", "id": "a"}),
            "tool_use block missing required 'name' field",
        );
        check(
            json!({"type": "document", "source": {"type": "base64"}}),
            "invalid document source type: base64. Only text documents are supported.",
        );
    }

    #[test]
    fn the_system_s_blocks_are_one_text() {
        let check = |value: Value, expected: &str| {
            assert_eq!(System::from_json(value).unwrap().0, expected);
        };
        check(json!("Be brief."), "Be brief.");
        check(
            json!([{"type": "text", "text": "a", "cache_control": {}}, {"type": "text", "text": "b"}]),
            "a\n\nb",
        );
    }
}
