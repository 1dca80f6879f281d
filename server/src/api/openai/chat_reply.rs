//! How `/v1/chat/completions` shows answers: whole, and as chunks that end with `[DONE]`.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::ErrorBody;
use super::record::{self, FINGERPRINT, Usage, finish_reason};
use super::tools::ToolCallRecord;
use crate::api::answer::{Delta, Ending};
use crate::api::answers::Whole;
use crate::api::logprob::LogprobRecord;
use crate::api::sse::{Narrator, Sent};
use crate::api::{Error, identity};

/// What all parts of a reply have in common.
#[derive(Clone, Debug)]
pub struct Shown {
    id: String,
    created: u64,
    model: String,
    choices: usize,
}

/// The whole reply.
#[derive(Serialize, ToSchema)]
pub struct ChatCompletion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: Vec<Choice>,
    usage: Usage,
    #[serde(rename = "_debug_info", skip_serializing_if = "Option::is_none")]
    debug_info: Option<DebugInfo>,
}

#[derive(Serialize, ToSchema)]
struct Choice {
    index: usize,
    message: MessageRecord,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Logprobs>,
}

#[derive(Default, Serialize, ToSchema)]
struct MessageRecord {
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reasoning: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallRecord>,
}

#[derive(Serialize, ToSchema)]
struct Logprobs {
    content: Vec<LogprobRecord>,
}

/// What `_debug_render_only` asks for.
#[derive(Serialize, ToSchema)]
struct DebugInfo {
    rendered_template: String,
}

/// What an event of a stream holds.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum ChatEvent<'a> {
    /// A part of the reply.
    Part(Chunk<'a>),
    /// Why there will be no more.
    Failure(ErrorBody),
}

/// A part of the reply.
#[derive(Serialize, ToSchema)]
pub struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize, ToSchema)]
struct ChunkChoice {
    index: usize,
    delta: DeltaRecord,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Logprobs>,
}

#[derive(Default, Serialize, ToSchema)]
struct DeltaRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reasoning: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallRecord>,
}

impl Shown {
    /// A reply with so many answers to come.
    pub fn new(model: String, choices: u32) -> Self {
        Self {
            id: identity::new("chatcmpl-"),
            created: record::now(),
            model,
            choices: usize::try_from(choices).expect("there are few choices"),
        }
    }

    /// All answers at once.
    pub fn whole(&self, answers: Vec<Whole>) -> Response {
        let mut usage = Usage::default();
        let choices = answers.into_iter().enumerate().map(|(index, answer)| {
            usage.add(&answer.ending, index == 0);
            Choice::of(index, answer)
        });
        let choices = choices.collect();
        record::json(&self.completion(choices, usage, None))
    }

    /// The prompt, instead of answers.
    pub fn prompt(&self, rendered_template: String) -> Response {
        let debug_info = Some(DebugInfo { rendered_template });
        record::json(&self.completion(Vec::new(), Usage::default(), debug_info))
    }

    fn completion(
        &self,
        choices: Vec<Choice>,
        usage: Usage,
        debug_info: Option<DebugInfo>,
    ) -> ChatCompletion<'_> {
        ChatCompletion {
            id: &self.id,
            object: "chat.completion",
            created: self.created,
            model: &self.model,
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
            debug_info,
        }
    }

    fn chunk(&self, choices: Vec<ChunkChoice>, usage: Option<Usage>) -> Sent {
        Sent::data(&ChatEvent::Part(Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
        }))
    }
}

impl Choice {
    fn of(index: usize, answer: Whole) -> Self {
        let Whole { said, ending } = answer;
        let has_called = !said.tool_calls.is_empty();
        Self {
            index,
            message: MessageRecord {
                role: "assistant",
                content: said.content,
                reasoning: said.thinking,
                tool_calls: said.tool_calls.into_iter().map(Into::into).collect(),
            },
            finish_reason: Some(finish_reason(ending.finish, has_called)),
            logprobs: Logprobs::of(said.logprobs),
        }
    }
}

impl Logprobs {
    fn of(logprobs: Vec<crate::inference::generate::TokenLogprob>) -> Option<Self> {
        (!logprobs.is_empty()).then(|| Self {
            content: logprobs.into_iter().map(Into::into).collect(),
        })
    }
}

/// The reply as chunks.
pub struct Narrated {
    shown: Shown,
    include_usage: bool,
    usage: Usage,
    told: Vec<Told>,
}

/// What has been told of one answer.
#[derive(Clone, Default)]
struct Told {
    has_begun: bool,
    has_called: bool,
}

impl Narrated {
    /// Nothing told yet.
    pub fn new(shown: Shown, include_usage: bool) -> Self {
        Self {
            told: vec![Told::default(); shown.choices],
            shown,
            include_usage,
            usage: Usage::default(),
        }
    }

    /// A chunk of answer `index`. The first has the role, as clients expect.
    fn chunk(&mut self, index: usize, delta: DeltaRecord, logprobs: Option<Logprobs>) -> Sent {
        let told = &mut self.told[index];
        let role = (!told.has_begun).then_some("assistant");
        told.has_begun = true;
        told.has_called |= !delta.tool_calls.is_empty();
        let choice = ChunkChoice {
            index,
            delta: DeltaRecord { role, ..delta },
            finish_reason: None,
            logprobs,
        };
        self.shown.chunk(vec![choice], None)
    }
}

impl Narrator for Narrated {
    /// Clients take a chunk for either thinking or an answer, so that one with both is told as two.
    fn delta(&mut self, index: usize, delta: Delta) -> Vec<Sent> {
        let mut logprobs = Logprobs::of(delta.logprobs);
        let is_answer = !(delta.content.is_empty() && delta.tool_calls.is_empty());
        let mut sent = Vec::new();
        if is_answer && !delta.thinking.is_empty() {
            let thought = DeltaRecord {
                reasoning: delta.thinking,
                ..DeltaRecord::default()
            };
            sent.push(self.chunk(index, thought, logprobs.take()));
            let said = DeltaRecord {
                content: Some(delta.content),
                tool_calls: delta.tool_calls.into_iter().map(Into::into).collect(),
                ..DeltaRecord::default()
            };
            sent.push(self.chunk(index, said, None));
            return sent;
        }
        let delta = DeltaRecord {
            role: None,
            content: Some(delta.content),
            reasoning: delta.thinking,
            tool_calls: delta.tool_calls.into_iter().map(Into::into).collect(),
        };
        sent.push(self.chunk(index, delta, logprobs));
        sent
    }

    fn ending(&mut self, index: usize, tail: Delta, ending: Ending) -> Vec<Sent> {
        let mut sent = Vec::new();
        // Even an answer without a word begins with a role.
        if !tail.is_empty() || !self.told[index].has_begun {
            sent = self.delta(index, tail);
        }
        self.usage.add(&ending, index == 0);
        let last = ChunkChoice {
            index,
            delta: DeltaRecord::default(),
            finish_reason: Some(finish_reason(ending.finish, self.told[index].has_called)),
            logprobs: None,
        };
        sent.push(self.shown.chunk(vec![last], None));
        sent
    }

    fn closing(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        if self.include_usage {
            sent.push(self.shown.chunk(Vec::new(), Some(self.usage)));
        }
        sent.push(Sent::word("[DONE]"));
        sent
    }

    fn failure(&mut self, error: &Error) -> Vec<Sent> {
        let failure = ChatEvent::Failure(record::failure(error));
        vec![Sent::data(&failure), Sent::word("[DONE]")]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::testing::{Read, Script, told};
    use crate::inference::generate::Finish;

    fn tell(scripts: &[Script], include_usage: bool) -> Vec<Read> {
        let choices = u32::try_from(scripts.len()).unwrap();
        let shown = Shown::new("tiny".into(), choices);
        told(scripts, Narrated::new(shown, include_usage))
    }

    /// Choices of the chunks, without what all chunks have.
    fn choices(read: &[Read]) -> Vec<Value> {
        let chunks = read.iter().filter(|read| read.data.is_object());
        chunks.map(|read| read.data["choices"].clone()).collect()
    }

    #[test]
    fn a_stream_has_the_parts_that_clients_expect() {
        let script = Script::of(&[("hm", "", 0), ("!", "yes", 1)], Some(Finish::Stop));
        let read = tell(&[script], true);
        let call = json!({"id": "call_1", "index": 0, "type": "function", "function": {"name": "add", "arguments": "{\"x\":1}"}});
        let choice = |delta: Value, reason: Value| json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
        let expected = [
            choice(
                json!({"role": "assistant", "content": "", "reasoning": "hm"}),
                Value::Null,
            ),
            choice(json!({"reasoning": "!"}), Value::Null),
            choice(json!({"content": "yes", "tool_calls": [call]}), Value::Null),
            choice(json!({}), json!("tool_calls")),
            json!([]),
        ];
        assert_eq!(choices(&read), expected);
        let usage = json!({
            "prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 1},
        });
        assert_eq!(read[4].data["usage"], usage);
        assert_eq!(read[5].data, "[DONE]");
        let first = &read[0].data;
        for chunk in &read[..5] {
            for field in ["id", "created", "model", "object", "system_fingerprint"] {
                assert_eq!(chunk.data[field], first[field]);
            }
        }
    }

    #[test]
    fn an_answer_without_a_word_has_a_role_and_an_end() {
        let read = tell(&[Script::of(&[], Some(Finish::Length))], false);
        let choice = |delta: Value, reason: Value| json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
        let expected = [
            choice(json!({"role": "assistant", "content": ""}), Value::Null),
            choice(json!({}), json!("length")),
        ];
        assert_eq!(choices(&read), expected);
        assert_eq!(read[2].data, "[DONE]");
    }

    proptest! {
        #[test]
        fn every_stream_ends_with_done_and_loses_nothing(scripts in prop::collection::vec(Script::any(), 1..4)) {
            let read = tell(&scripts, false);
            let (done, chunks) = read.split_last().unwrap();
            prop_assert_eq!(&done.data, "[DONE]");
            prop_assert!(read.iter().all(|read| read.name.is_none()));
            if scripts.iter().any(|script| script.finish.is_none()) {
                let failures = chunks.iter().filter(|chunk| chunk.data.get("error").is_some());
                prop_assert_eq!(failures.count(), 1);
                let last = &chunks.last().unwrap().data;
                prop_assert!(last["error"]["message"].is_string());
                return Ok(());
            }
            for (index, script) in scripts.iter().enumerate() {
                let own: Vec<&Value> = chunks
                    .iter()
                    .map(|chunk| &chunk.data["choices"][0])
                    .filter(|choice| choice["index"] == index)
                    .collect();
                let text = |field: &str| -> String {
                    own.iter().filter_map(|choice| choice["delta"][field].as_str()).collect()
                };
                prop_assert_eq!(text("reasoning"), script.text(0));
                prop_assert_eq!(text("content"), script.text(1));
                prop_assert_eq!(text("role"), "assistant");
                prop_assert!(own[0]["delta"]["role"].is_string());
                let calls: usize = own.iter().filter_map(|choice| Some(choice["delta"]["tool_calls"].as_array()?.len())).sum();
                prop_assert_eq!(calls, script.calls());
                let ends: Vec<bool> = own.iter().map(|choice| choice["finish_reason"].is_string()).collect();
                prop_assert_eq!(ends.iter().position(|end| *end), Some(own.len() - 1));
            }
        }
    }
}
