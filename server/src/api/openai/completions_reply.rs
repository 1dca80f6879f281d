//! How `/v1/completions` shows answers: whole, and as chunks that end with `[DONE]`.

use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ErrorBody;
use super::record::{self, FINGERPRINT, Usage, finish_reason};
use crate::api::answer::{Delta, Ending};
use crate::api::answers::Whole;
use crate::api::sse::{Narrator, Sent};
use crate::api::{Error, identity};
use crate::inference::generate::{Logprob, TokenLogprob};

/// What all parts of a reply have in common.
pub struct Shown {
    id: String,
    created: u64,
    model: String,
    /// What is put in front of each answer.
    echoes: Vec<String>,
    /// Answers to each prompt.
    choices: usize,
}

/// What an event of a stream holds.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum CompletionEvent<'a> {
    /// A part of the reply.
    Part(Completion<'a>),
    /// Why there will be no more.
    Failure(ErrorBody),
}

/// The whole reply, or a part of it.
#[derive(Serialize, ToSchema)]
pub struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: Vec<TextChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize, ToSchema)]
struct TextChoice {
    text: String,
    index: usize,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<TextLogprobs>,
}

/// One entry per token in each list.
#[derive(Debug, Default, PartialEq, Serialize, ToSchema)]
struct TextLogprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<f32>,
    top_logprobs: Vec<Map<String, Value>>,
    /// Where the token begins in the text, in characters.
    text_offset: Vec<usize>,
}

/// Counts the characters of an answer token by token.
#[derive(Clone, Debug, Default)]
struct Offset {
    characters: usize,
    /// Bytes of a character that is not complete yet.
    unfinished: Vec<u8>,
}

impl Shown {
    /// A reply with one answer for each of `echoes`, of which so many belong to one prompt.
    pub fn new(model: String, echoes: Vec<String>, choices: u32) -> Self {
        Self {
            id: identity::new("cmpl-"),
            created: record::now(),
            model,
            echoes,
            choices: usize::try_from(choices).expect("there are few choices"),
        }
    }

    /// All answers at once.
    pub fn whole(&self, answers: Vec<Whole>) -> Response {
        let mut usage = Usage::default();
        let choices = answers.into_iter().enumerate().map(|(index, answer)| {
            usage.add(&answer.ending, index % self.choices == 0);
            TextChoice {
                text: format!("{}{}", self.echoes[index], answer.said.content),
                index,
                finish_reason: Some(finish_reason(answer.ending.finish, false)),
                logprobs: Offset::default().logprobs(answer.said.logprobs),
            }
        });
        let choices = choices.collect();
        record::json(&self.completion(choices, Some(usage)))
    }

    fn completion(&self, choices: Vec<TextChoice>, usage: Option<Usage>) -> Completion<'_> {
        Completion {
            id: &self.id,
            object: "text_completion",
            created: self.created,
            model: &self.model,
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
        }
    }
}

impl Offset {
    /// The log probabilities of the next tokens; none if none were asked for.
    fn logprobs(&mut self, tokens: Vec<TokenLogprob>) -> Option<TextLogprobs> {
        if tokens.is_empty() {
            return None;
        }
        let mut told = TextLogprobs::default();
        for token in tokens {
            told.text_offset.push(self.characters);
            self.advance(&token.chosen.bytes);
            told.token_logprobs.push(token.chosen.logprob);
            let top = token.top.iter();
            told.top_logprobs
                .push(top.map(|it| (name(it), shortest(it.logprob))).collect());
            told.tokens.push(name(&token.chosen));
        }
        Some(told)
    }

    fn advance(&mut self, bytes: &[u8]) {
        self.unfinished.extend_from_slice(bytes);
        loop {
            match std::str::from_utf8(&self.unfinished) {
                Ok(text) => {
                    self.characters += text.chars().count();
                    self.unfinished.clear();
                    return;
                }
                Err(error) => {
                    let (valid, rest) = self.unfinished.split_at(error.valid_up_to());
                    let valid = std::str::from_utf8(valid).expect("it was found to be valid");
                    self.characters += valid.chars().count();
                    let Some(broken) = error.error_len() else {
                        self.unfinished = rest.to_vec();
                        return;
                    };
                    // What is no character is shown as one.
                    self.characters += 1;
                    self.unfinished = rest[broken..].to_vec();
                }
            }
        }
    }
}

/// The number with no more digits than it needs: as a 64-bit number it would get some that say nothing.
fn shortest(number: f32) -> Value {
    let text = number.to_string();
    text.parse::<f64>()
        .expect("a number's text is a number")
        .into()
}

/// A token as a name: its text, or its bytes where these are no text.
fn name(token: &Logprob) -> String {
    match std::str::from_utf8(&token.bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let escaped = token.bytes.iter().map(|byte| format!("\\x{byte:02x}"));
            format!("bytes:{}", escaped.collect::<String>())
        }
    }
}

/// The reply as chunks.
pub struct Narrated {
    shown: Shown,
    include_usage: bool,
    usage: Usage,
    offsets: Vec<Offset>,
}

impl Narrated {
    /// Nothing told yet.
    pub fn new(shown: Shown, include_usage: bool) -> Self {
        Self {
            offsets: vec![Offset::default(); shown.echoes.len()],
            shown,
            include_usage,
            usage: Usage::default(),
        }
    }

    fn chunk(&mut self, index: usize, delta: Delta, finish_reason: Option<&'static str>) -> Sent {
        let choice = TextChoice {
            text: delta.content,
            index,
            finish_reason,
            logprobs: self.offsets[index].logprobs(delta.logprobs),
        };
        Sent::data(&CompletionEvent::Part(
            self.shown.completion(vec![choice], None),
        ))
    }
}

impl Narrator for Narrated {
    fn opening(&mut self) -> Vec<Sent> {
        let echoes = std::mem::take(&mut self.shown.echoes);
        let echoes = echoes.into_iter().enumerate();
        let told = echoes.filter(|(_, echo)| !echo.is_empty());
        told.map(|(index, content)| {
            let delta = Delta {
                content,
                ..Delta::default()
            };
            self.chunk(index, delta, None)
        })
        .collect()
    }

    /// Thinking has no place in a completion.
    fn delta(&mut self, index: usize, delta: Delta) -> Vec<Sent> {
        if delta.content.is_empty() && delta.logprobs.is_empty() {
            return Vec::new();
        }
        vec![self.chunk(index, delta, None)]
    }

    fn ending(&mut self, index: usize, tail: Delta, ending: Ending) -> Vec<Sent> {
        let is_first = index.is_multiple_of(self.shown.choices);
        self.usage.add(&ending, is_first);
        let reason = finish_reason(ending.finish, false);
        vec![self.chunk(index, tail, Some(reason))]
    }

    fn closing(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        if self.include_usage {
            let usage = self.shown.completion(Vec::new(), Some(self.usage));
            sent.push(Sent::data(&CompletionEvent::Part(usage)));
        }
        sent.push(Sent::word("[DONE]"));
        sent
    }

    fn failure(&mut self, error: &Error) -> Vec<Sent> {
        let failure = CompletionEvent::Failure(record::failure(error));
        vec![Sent::data(&failure), Sent::word("[DONE]")]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_are_told_with_the_characters_before_them() {
        let token = |bytes: &[u8]| TokenLogprob {
            chosen: Logprob {
                bytes: bytes.to_vec(),
                logprob: -0.5,
            },
            top: vec![Logprob {
                bytes: bytes.to_vec(),
                logprob: -0.5,
            }],
        };
        let mut offset = Offset::default();
        let first = offset.logprobs(vec![token("né".as_bytes()), token(b"\xe2\x82")]);
        let first = first.unwrap();
        assert_eq!(first.text_offset, [0, 2]);
        assert_eq!(first.tokens, ["né", "bytes:\\xe2\\x82"]);
        assert_eq!(first.token_logprobs, [-0.5, -0.5]);
        assert_eq!(json!(first.top_logprobs[0]), json!({"né": -0.5}));
        let second = offset.logprobs(vec![token(b"\xac"), token(b"\xff"), token(b"x")]);
        assert_eq!(second.unwrap().text_offset, [2, 3, 4]);
        assert_eq!(offset.logprobs(Vec::new()), None);
    }
}
