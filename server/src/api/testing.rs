//! Scripted answers, and streams read back, for the tests of the dialects.

use std::time::Duration;

use futures::{StreamExt, stream};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Error;
use super::answer::{Cut, Delta, Ending, Piece};
use super::sse::{Narrator, Numbered, narrate};
use crate::inference;
use crate::inference::generate::{Finish, Usage};
use crate::prompt::ToolCall;

/// A server-sent event as a client reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What it holds; a word that is no JSON is a text.
    pub data: Value,
}

/// What a stream is made of: parts, and how it ends.
#[derive(Clone, Debug)]
pub struct Script {
    /// Thinking, content and the number of calls of each part.
    pub parts: Vec<(String, String, usize)>,
    /// None: it fails.
    pub finish: Option<Finish>,
}

impl Script {
    /// One answer with these parts.
    pub fn of(parts: &[(&str, &str, usize)], finish: Option<Finish>) -> Self {
        let parts = parts.iter();
        Self {
            parts: parts
                .map(|(thinking, content, calls)| {
                    ((*thinking).to_owned(), (*content).to_owned(), *calls)
                })
                .collect(),
            finish,
        }
    }

    /// Any answer.
    pub fn any() -> impl Strategy<Value = Self> {
        let text = || prop_oneof![Just(String::new()), "[a-c]{1,3}"];
        let parts = prop::collection::vec((text(), text(), 0..3usize), 0..8);
        let finish = prop_oneof![
            3 => Just(Some(Finish::Stop)),
            1 => Just(Some(Finish::Length)),
            1 => Just(None),
        ];
        (parts, finish).prop_map(|(parts, finish)| Self { parts, finish })
    }

    /// The text of one kind: 0 is thinking, 1 content.
    pub fn text(&self, kind: usize) -> String {
        let parts = self.parts.iter();
        parts
            .map(|part| if kind == 0 { &part.0 } else { &part.1 })
            .cloned()
            .collect()
    }

    /// How many calls there are.
    pub fn calls(&self) -> usize {
        self.parts.iter().map(|part| part.2).sum()
    }

    fn pieces(&self, choice: usize) -> Vec<Numbered> {
        let mut index = 0;
        let mut pieces: Vec<Numbered> = Vec::new();
        for (thinking, content, calls) in &self.parts {
            let mut call = || {
                index += 1;
                ToolCall {
                    id: format!("call_{index}"),
                    index: index - 1,
                    name: "add".into(),
                    arguments: json!({"x": index}),
                }
            };
            let delta = Delta {
                content: content.clone(),
                thinking: thinking.clone(),
                tool_calls: (0..*calls).map(|_| call()).collect(),
                logprobs: Vec::new(),
            };
            if !delta.is_empty() {
                pieces.push((choice, Ok(Piece::Delta(delta))));
            }
        }
        pieces.push((
            choice,
            match self.finish {
                Some(finish) => Ok(Piece::Ending(Delta::default(), ending(finish))),
                None => Err(Error::Inference(inference::Error::WorkerLost)),
            },
        ));
        pieces
    }
}

/// An ending with 3 tokens of prompt, of which 1 was cached, and 5 of answer.
pub fn ending(finish: Finish) -> Ending {
    Ending {
        finish,
        stop: None,
        cut: Cut::default(),
        usage: Usage {
            prompt_tokens: 3,
            cached_tokens: 1,
            generated_tokens: 5,
            ..Usage::default()
        },
        thinking_tokens: 0,
        context: Vec::new(),
        total: Duration::from_secs(1),
        load: Duration::from_secs(1),
    }
}

/// What a client reads when these answers are told, part by part in turns.
pub fn told(scripts: &[Script], narrator: impl Narrator) -> Vec<Read> {
    let mut answers: Vec<_> = scripts
        .iter()
        .enumerate()
        .map(|(choice, script)| script.pieces(choice).into_iter())
        .collect();
    let mut pieces = Vec::new();
    loop {
        let before = pieces.len();
        pieces.extend(answers.iter_mut().filter_map(Iterator::next));
        if pieces.len() == before {
            break;
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let bytes: Vec<u8> = runtime
        .block_on(narrate(stream::iter(pieces), narrator, Duration::MAX).collect::<Vec<_>>())
        .concat();
    read(std::str::from_utf8(&bytes).unwrap())
}

fn read(text: &str) -> Vec<Read> {
    let Some(text) = text.strip_suffix("\n\n") else {
        assert_eq!(text, "", "the last event is not complete");
        return Vec::new();
    };
    text.split("\n\n")
        .map(|event| {
            let (name, data) = match event.split_once('\n') {
                Some((name, data)) => (Some(name.strip_prefix("event: ").unwrap()), data),
                None => (None, event),
            };
            let data = data.strip_prefix("data: ").unwrap();
            Read {
                name: name.map(str::to_owned),
                data: serde_json::from_str(data).unwrap_or_else(|_| data.into()),
            }
        })
        .collect()
}
