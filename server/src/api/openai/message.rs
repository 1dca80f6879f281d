//! Messages as OpenAI's clients send them.

use serde_json::{Map, Value};

use super::settings::go_type;
use super::tools::ToolCallField;
use crate::api::conversation::{join_system, name_tools};
use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::media;
use crate::prompt::Message;

/// Between the texts of one message: what Ollama's templates put between neighbours of one role.
const BETWEEN_TEXTS: &str = "\n\n";

/// An entry of `messages`.
#[derive(Debug, Default)]
pub struct MessageField {
    message: Message,
    audio: usize,
}

/// Messages, and what of them needs a model that hears.
#[derive(Debug, Default)]
pub struct Messages {
    /// The messages.
    pub messages: Vec<Message>,
    /// How many recordings belong to them.
    pub audio: usize,
}

impl FromJson for MessageField {
    const GO_TYPE: &'static str = "Message";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let role = fields.take::<String>("role")?.to_lowercase();
        let content: Value = fields.take("content")?;
        let tool_calls: Option<Vec<ToolCallField>> = fields.take("tool_calls")?;
        let reasoning: String = fields.take("reasoning")?;
        let reasoning_content: String = fields.take("reasoning_content")?;
        let name: String = fields.take("name")?;

        let mut field = Self::default();
        match content {
            Value::String(text) => field.message.content = text,
            Value::Array(parts) => {
                for part in parts {
                    field.take_part(part)?;
                }
            }
            // Whoever calls tools need not say anything.
            _ if tool_calls.is_some() => {}
            other => {
                let found = go_type(&other);
                let text = format!("invalid message content type: {found}");
                return Err(Mismatch::Value(text));
            }
        }
        let is_tool = role == "tool";
        let tool_calls = tool_calls.into_iter().flatten().enumerate();
        field.message = Message {
            // What OpenAI calls the messages of whoever builds upon its models; templates know the older name.
            role: if role == "developer" {
                "system".into()
            } else {
                role
            },
            // What others than Ollama call it.
            thinking: if reasoning.is_empty() {
                reasoning_content
            } else {
                reasoning
            },
            tool_calls: tool_calls
                .map(|(index, field)| {
                    let mut call = field.0;
                    call.index = index;
                    call
                })
                .collect(),
            tool_name: if is_tool { name } else { String::new() },
            tool_call_id: fields.take("tool_call_id")?,
            ..field.message
        };
        Ok(field)
    }
}

impl MessageField {
    fn take_part(&mut self, part: Value) -> Result<(), Mismatch> {
        let invalid = || Mismatch::Value("invalid message format".into());
        let Value::Object(mut part) = part else {
            return Err(invalid());
        };
        let kind = part.get("type").and_then(Value::as_str).map(str::to_owned);
        match kind.as_deref() {
            Some("text" | "refusal") => {
                let name = kind.as_deref().expect("it was matched");
                let Some(Value::String(text)) = part.swap_remove(name) else {
                    return Err(invalid());
                };
                if !self.message.content.is_empty() && !text.is_empty() {
                    self.message.content.push_str(BETWEEN_TEXTS);
                }
                self.message.content.push_str(&text);
            }
            Some("image_url") => {
                let url = match part.swap_remove("image_url") {
                    Some(Value::Object(mut image)) => image.swap_remove("url"),
                    url => url,
                };
                let Some(Value::String(url)) = url else {
                    return Err(invalid());
                };
                self.message.image_files.push(media::image(&url)?.into());
                self.message.images += 1;
            }
            Some("input_audio") => {
                let Some(Value::Object(audio)) = part.swap_remove("input_audio") else {
                    return Err(Mismatch::Value("invalid input_audio format".into()));
                };
                check_audio(&audio)?;
                self.audio += 1;
            }
            _ => return Err(invalid()),
        }
        Ok(())
    }
}

fn check_audio(audio: &Map<String, Value>) -> Result<(), Mismatch> {
    let Some(Value::String(data)) = audio.get("data") else {
        return Err(Mismatch::Value(
            "invalid input_audio format: missing data".into(),
        ));
    };
    media::base64(data)
        .map(|_| ())
        .map_err(|error| Mismatch::Value(format!("invalid input_audio base64 data: {error}")))
}

impl From<Vec<MessageField>> for Messages {
    /// Tools' replies that name only the call they answer get the name of its tool.
    fn from(fields: Vec<MessageField>) -> Self {
        let audio = fields.iter().map(|field| field.audio).sum();
        let mut messages: Vec<Message> = fields.into_iter().map(|field| field.message).collect();
        name_tools(&mut messages);
        join_system(&mut messages);
        Self { messages, audio }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::prompt::ToolCall;

    fn read(messages: Value) -> Result<Messages, String> {
        let fields = Vec::<MessageField>::from_json(messages);
        fields
            .map(Messages::from)
            .map_err(|error| error.to_string())
    }

    fn check(message: Value, expected: Message) {
        let read = read(json!([message])).unwrap().messages;
        assert_eq!(read, [expected], "{message}");
    }

    #[test]
    fn contents_are_texts_or_parts() {
        let said = |role: &str, content: &str| Message {
            role: role.into(),
            content: content.into(),
            ..Message::default()
        };
        check(json!({"role": "User", "content": "hi"}), said("user", "hi"));
        check(
            json!({"role": "developer", "content": "be brief"}),
            said("system", "be brief"),
        );
        let parts = json!([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]);
        check(
            json!({"role": "user", "content": parts}),
            said("user", "one\n\ntwo"),
        );
        let image =
            json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}});
        let seen = Message {
            images: 2,
            image_files: vec![b"hi".as_slice().into(); 2],
            ..said("user", "what?")
        };
        let bare = json!({"type": "image_url", "image_url": "data:;base64,aGk="});
        let parts = json!([image, {"type": "text", "text": "what?"}, bare]);
        check(json!({"role": "user", "content": parts}), seen);
        let heard =
            json!({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}});
        let heard = read(json!([{"role": "user", "content": [heard]}])).unwrap();
        assert_eq!(heard.audio, 1);
    }

    #[test]
    fn calls_and_their_results_find_each_other() {
        let messages = json!([
            {"role": "assistant", "content": null, "reasoning": "hm", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "add", "arguments": "{\"x\": 1}"}},
                {"id": "b", "type": "function", "function": {"name": "stop", "arguments": ""}},
            ]},
            {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "2"}]},
            {"role": "tool", "tool_call_id": "b", "name": "given", "content": "done"},
        ]);
        let read = read(messages).unwrap().messages;
        let call = |id: &str, index, name: &str, arguments| ToolCall {
            id: id.into(),
            index,
            name: name.into(),
            arguments,
        };
        assert_eq!(read[0].thinking, "hm");
        let calls = [
            call("a", 0, "add", json!({"x": 1})),
            call("b", 1, "stop", json!({})),
        ];
        assert_eq!(read[0].tool_calls, calls);
        let results: Vec<(&str, &str, &str)> = read[1..]
            .iter()
            .map(|reply| {
                (
                    reply.tool_name.as_str(),
                    reply.tool_call_id.as_str(),
                    reply.content.as_str(),
                )
            })
            .collect();
        assert_eq!(results, [("add", "a", "2"), ("given", "b", "done")]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_ollama_s_words() {
        let check = |message: Value, expected: &str| {
            let error = read(json!([message])).unwrap_err();
            assert_eq!(error, expected, "{message}");
        };
        check(
            json!({"role": "user"}),
            "invalid message content type: <nil>",
        );
        check(
            json!({"role": "user", "content": 1}),
            "invalid message content type: float64",
        );
        let part = |part: Value| json!({"role": "user", "content": [part]});
        for nonsense in [
            json!("text"),
            json!({"type": "text"}),
            json!({"type": "video"}),
            json!({"type": "image_url", "image_url": {}}),
        ] {
            check(part(nonsense), "invalid message format");
        }
        check(
            part(json!({"type": "image_url", "image_url": "https://example.com/a.png"})),
            "image URLs are not currently supported, please use base64 encoded data instead",
        );
        check(
            part(json!({"type": "image_url", "image_url": "data:image/tiff;base64,aGk="})),
            "invalid image input",
        );
        check(
            part(json!({"type": "input_audio"})),
            "invalid input_audio format",
        );
        check(
            part(json!({"type": "input_audio", "input_audio": {}})),
            "invalid input_audio format: missing data",
        );
        let call = json!({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]});
        check(call, "invalid tool call arguments");
    }
}
