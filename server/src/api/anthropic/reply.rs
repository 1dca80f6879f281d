//! How `/v1/messages` shows an answer: whole, and event by event.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ErrorRecord;
use crate::api::answer::{Cut, Delta, Ending};
use crate::api::blocks::{Block, Blocks, Change, Growth};
use crate::api::sse::{Narrator, Sent};
use crate::api::{Error, identity};
use crate::inference::generate::Finish;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What both forms of a message have in common.
pub struct Shown {
    id: String,
    model: String,
    /// The caller's own, without those that belong to the model.
    stop_sequences: Vec<String>,
}

/// The whole message.
#[derive(Serialize, ToSchema)]
pub struct MessageRecord<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<BlockRecord>,
    #[serde(flatten)]
    stop: Stop,
    usage: Usage,
}

/// Why a message ended; nothing while it has not.
#[derive(Default, Serialize, ToSchema)]
pub struct Stop {
    stop_reason: Option<&'static str>,
    stop_sequence: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Usage {
    /// Of the whole prompt, whether its results were still in the cache or not.
    input_tokens: u32,
    output_tokens: u32,
    /// Ours: only there if something was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_truncated: Option<Cut>,
}

/// An entry of `content`.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BlockRecord {
    Thinking {
        thinking: String,
        /// Clients expect one and send it back; nothing here is signed.
        signature: &'static str,
    },
    Text {
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        input: Value,
    },
}

/// An event of a stream.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event<'a> {
    MessageStart {
        message: MessageRecord<'a>,
    },
    ContentBlockStart {
        index: usize,
        content_block: BlockRecord,
    },
    ContentBlockDelta {
        index: usize,
        delta: DeltaRecord,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: Stop,
        usage: Usage,
    },
    MessageStop,
    /// Nothing has happened for a while.
    Ping,
    /// Why there will be no more.
    Error {
        error: ErrorRecord,
    },
}

#[derive(Serialize, ToSchema)]
#[serde(tag = "type")]
pub enum DeltaRecord {
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "text_delta")]
    Text { text: String },
    /// All of a call's arguments.
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
}

/// A reply.
pub fn json(value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("replies have string keys and finite numbers");
    (StatusCode::OK, [(header::CONTENT_TYPE, JSON)], body).into_response()
}

impl Shown {
    /// A message to come.
    pub fn new(model: String, stop_sequences: Vec<String>) -> Self {
        Self {
            id: identity::new("msg_"),
            model,
            stop_sequences,
        }
    }

    /// The whole message at once.
    pub fn whole(&self, blocks: &Blocks, ending: &Ending) -> Response {
        let content = blocks.all().iter().map(BlockRecord::whole).collect();
        let stop = self.stop(ending, blocks.has_call());
        json(&self.message(content, stop, Usage::of(ending)))
    }

    fn message(&self, content: Vec<BlockRecord>, stop: Stop, usage: Usage) -> MessageRecord<'_> {
        MessageRecord {
            id: &self.id,
            kind: "message",
            role: "assistant",
            model: &self.model,
            content,
            stop,
            usage,
        }
    }

    fn stop(&self, ending: &Ending, has_called: bool) -> Stop {
        let sequence = ending.stop.as_ref();
        let sequence = sequence.filter(|stop| self.stop_sequences.contains(stop));
        let reason = match (ending.finish, sequence) {
            (Finish::Length, _) => "max_tokens",
            (Finish::Stop, _) if has_called => "tool_use",
            (Finish::Stop, Some(_)) => "stop_sequence",
            (Finish::Stop, None) => "end_turn",
        };
        Stop {
            stop_reason: Some(reason),
            stop_sequence: sequence.filter(|_| reason == "stop_sequence").cloned(),
        }
    }
}

impl Usage {
    fn of(ending: &Ending) -> Self {
        Self {
            input_tokens: ending.usage.prompt_tokens,
            output_tokens: ending.usage.generated_tokens,
            prompt_truncated: ending.cut.if_any(),
        }
    }
}

impl BlockRecord {
    fn whole(block: &Block) -> Self {
        match block {
            Block::Thinking(text) => Self::Thinking {
                thinking: text.clone(),
                signature: "",
            },
            Block::Text { text, .. } => Self::Text { text: text.clone() },
            Block::Call(call) => Self::ToolUse {
                id: call.id.clone(),
                name: call.name.clone(),
                input: call.arguments.clone(),
            },
        }
    }

    /// The block without its contents, which are yet to come.
    fn begun(block: &Block) -> Self {
        match Self::whole(block) {
            Self::Thinking { signature, .. } => Self::Thinking {
                thinking: String::new(),
                signature,
            },
            Self::Text { .. } => Self::Text {
                text: String::new(),
            },
            Self::ToolUse { id, name, .. } => Self::ToolUse {
                id,
                name,
                input: Value::Object(Map::new()),
            },
        }
    }
}

impl Event<'_> {
    fn sent(&self) -> Sent {
        let name = match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Ping => "ping",
            Self::Error { .. } => "error",
        };
        Sent::named(name, self)
    }
}

/// The message as events.
pub struct Narrated {
    shown: Shown,
    prompt_tokens: u32,
    blocks: Blocks,
}

impl Narrated {
    /// Nothing told yet.
    pub fn new(shown: Shown, prompt_tokens: u32) -> Self {
        Self {
            shown,
            prompt_tokens,
            blocks: Blocks::default(),
        }
    }

    fn tell(&self, changes: Vec<Change>) -> Vec<Sent> {
        let mut sent = Vec::new();
        for change in changes {
            match change {
                Change::Opened(index) => {
                    let content_block = BlockRecord::begun(&self.blocks.all()[index]);
                    let event = Event::ContentBlockStart {
                        index,
                        content_block,
                    };
                    sent.push(event.sent());
                }
                Change::Grown(index, growth) => sent.push(self.grown(index, growth)),
                Change::Closed(index) => {
                    if let Block::Call(call) = &self.blocks.all()[index] {
                        let partial_json = call.arguments.to_string();
                        let delta = DeltaRecord::InputJson { partial_json };
                        sent.push(Event::ContentBlockDelta { index, delta }.sent());
                    }
                    sent.push(Event::ContentBlockStop { index }.sent());
                }
            }
        }
        sent
    }

    fn grown(&self, index: usize, growth: Growth) -> Sent {
        let delta = match self.blocks.all()[index] {
            Block::Thinking(_) => DeltaRecord::Thinking {
                thinking: growth.text,
            },
            Block::Text { .. } | Block::Call(_) => DeltaRecord::Text { text: growth.text },
        };
        Event::ContentBlockDelta { index, delta }.sent()
    }
}

impl Narrator for Narrated {
    fn opening(&mut self) -> Vec<Sent> {
        let usage = Usage {
            input_tokens: self.prompt_tokens,
            output_tokens: 0,
            prompt_truncated: None,
        };
        let message = self.shown.message(Vec::new(), Stop::default(), usage);
        vec![Event::MessageStart { message }.sent()]
    }

    fn delta(&mut self, _: usize, delta: Delta) -> Vec<Sent> {
        let changes = self.blocks.add(delta);
        self.tell(changes)
    }

    fn ending(&mut self, _: usize, tail: Delta, ending: Ending) -> Vec<Sent> {
        let mut changes = self.blocks.add(tail);
        changes.extend(self.blocks.finish());
        let mut sent = self.tell(changes);
        let end = Event::MessageDelta {
            delta: self.shown.stop(&ending, self.blocks.has_call()),
            usage: Usage::of(&ending),
        };
        sent.push(end.sent());
        sent.push(Event::MessageStop.sent());
        sent
    }

    fn closing(&mut self) -> Vec<Sent> {
        Vec::new()
    }

    fn failure(&mut self, error: &Error) -> Vec<Sent> {
        let error = ErrorRecord::new(error.status(), error.refusal().text);
        vec![Event::Error { error }.sent()]
    }

    fn silence(&mut self) -> Vec<Sent> {
        vec![Event::Ping.sent()]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::api::testing::{Read, Script, ending, told};

    fn tell(script: &Script) -> Vec<Read> {
        let shown = Shown::new("tiny".into(), Vec::new());
        told(std::slice::from_ref(script), Narrated::new(shown, 3))
    }

    #[test]
    fn events_come_in_anthropic_s_order() {
        let script = Script::of(
            &[("hm", "", 0), ("", "yes", 0), ("", "", 1)],
            Some(Finish::Stop),
        );
        let read = tell(&script);
        let mut data: Vec<Value> = read.iter().map(|read| read.data.clone()).collect();
        data[0]["message"]["id"] = json!("msg");
        let expected = json!([
            {"type": "message_start", "message": {
                "id": "msg", "type": "message", "role": "assistant", "model": "tiny", "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 3, "output_tokens": 0},
            }},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "yes"}},
            {"type": "content_block_stop", "index": 1},
            {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "call_1", "name": "add", "input": {}}},
            {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"x\":1}"}},
            {"type": "content_block_stop", "index": 2},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"input_tokens": 3, "output_tokens": 5}},
            {"type": "message_stop"},
        ]);
        assert_eq!(json!(data), expected);
    }

    #[test]
    fn reasons_are_told_and_only_the_caller_s_own_stop_sequences() {
        let shown = Shown::new("tiny".into(), vec!["END".into()]);
        let check =
            |finish, stop: Option<&str>, has_called, reason: &str, sequence: Option<&str>| {
                let ending = Ending {
                    stop: stop.map(str::to_owned),
                    ..ending(finish)
                };
                let stop = shown.stop(&ending, has_called);
                assert_eq!(
                    (stop.stop_reason, stop.stop_sequence.as_deref()),
                    (Some(reason), sequence)
                );
            };
        check(Finish::Stop, None, false, "end_turn", None);
        check(Finish::Stop, Some("<|im_end|>"), false, "end_turn", None);
        check(
            Finish::Stop,
            Some("END"),
            false,
            "stop_sequence",
            Some("END"),
        );
        check(Finish::Stop, None, true, "tool_use", None);
        check(Finish::Length, None, true, "max_tokens", None);
    }

    proptest! {
        #[test]
        fn every_block_that_is_opened_is_closed_and_one_event_is_the_last(script in Script::any()) {
            let read = tell(&script);
            for event in &read {
                prop_assert_eq!(event.data["type"].as_str(), event.name.as_deref());
            }
            let names: Vec<&str> = read.iter().map(|read| read.name.as_deref().unwrap()).collect();
            prop_assert_eq!(names[0], "message_start");
            let terminal = |name: &&str| ["message_stop", "error"].contains(name);
            prop_assert_eq!(names.iter().position(terminal), Some(names.len() - 1));
            prop_assert_eq!(names.last() == Some(&"error"), script.finish.is_none());

            let (mut open, mut next) = (None, 0u64);
            for event in &read {
                let index = event.data["index"].as_u64();
                match event.name.as_deref().unwrap() {
                    "content_block_start" => {
                        prop_assert_eq!((open, index), (None, Some(next)));
                        open = index;
                        next += 1;
                    }
                    "content_block_delta" => prop_assert_eq!(open, index),
                    "content_block_stop" => prop_assert_eq!(open.take(), index),
                    _ => {}
                }
            }
            prop_assert!(open.is_none() || script.finish.is_none());
            let told = |field: &str| -> String {
                read.iter().filter_map(|read| read.data["delta"][field].as_str()).collect()
            };
            prop_assert_eq!(told("thinking"), script.text(0));
            prop_assert_eq!(told("text"), script.text(1));
        }
    }
}
