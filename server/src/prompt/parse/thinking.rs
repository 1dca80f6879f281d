//! The thinking at the beginning of an answer, as Ollama's `thinking/parser.go` reads it; of some families it may begin
//! again later.

use super::overlap;
use crate::prompt::{Tags, Traits};

/// Reads thinking up to its closing mark and passes on everything after it.
#[derive(Debug)]
pub(super) struct Thinking {
    tags: Tags,
    /// The mark of a tool call, which ends thinking too: some models forget to close it first.
    call: Option<&'static str>,
    /// Whitespace before the closing mark is dropped. Templates keep it, as in Ollama.
    trims: bool,
    /// Thinking may begin again after content.
    reopens: bool,
    state: State,
    /// What has not been decided.
    held: String,
}

/// A piece of an answer.
pub(super) enum Piece {
    /// What the model thinks.
    Thinking(String),
    /// What is left, in which there may be calls.
    Content(String),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing but whitespace has been seen. If no opening mark follows, that whitespace is content.
    Opening,
    /// The prompt ended with the opening mark, which some models repeat.
    Opened,
    /// After the opening mark; whitespace is dropped.
    Beginning,
    /// In the thinking.
    Inside,
    /// After the closing mark; whitespace is dropped.
    Ending,
    /// In the content.
    Done,
}

impl Thinking {
    /// A parser that is inside the thinking already if the prompt ends with the opening mark.
    pub(super) fn new(
        tags: &Tags,
        prompt_end: &str,
        call: Option<&'static str>,
        traits: &Traits,
    ) -> Self {
        let opened = prompt_end.trim_end().ends_with(&tags.open);
        Self {
            tags: tags.clone(),
            call,
            trims: traits.is_named,
            reopens: traits.reopens_thinking,
            state: if opened {
                State::Opened
            } else {
                State::Opening
            },
            held: String::new(),
        }
    }

    /// Takes the next text of the answer and returns what is certain by now.
    pub(super) fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        let mut pieces = Vec::new();
        loop {
            let before = self.state;
            match self.state {
                State::Opening | State::Opened => self.open(),
                State::Beginning | State::Ending => self.drop_whitespace(),
                State::Inside => self.think(&mut pieces),
                State::Done => self.speak(&mut pieces),
            }
            if self.state == before {
                return pieces;
            }
        }
    }

    /// Ends the answer: what is held back is thinking or content after all.
    pub(super) fn finish(self) -> Option<Piece> {
        let held = match self.state {
            State::Opened => self.held.trim_start(),
            _ => self.held.as_str(),
        };
        if held.is_empty() {
            return None;
        }
        let held = held.to_owned();
        Some(match self.state {
            State::Inside | State::Opened => Piece::Thinking(held),
            State::Opening | State::Beginning | State::Ending | State::Done => Piece::Content(held),
        })
    }

    fn open(&mut self) {
        let trimmed = self.held.trim_start();
        if let Some(after) = trimmed.strip_prefix(self.tags.open.as_str()) {
            self.held = after.to_owned();
            self.state = State::Beginning;
        } else if !self.tags.open.starts_with(trimmed) {
            self.state = match self.state {
                State::Opened => State::Beginning,
                _ => State::Done,
            };
        }
    }

    fn drop_whitespace(&mut self) {
        self.held = self.held.trim_start().to_owned();
        if !self.held.is_empty() {
            self.state = match self.state {
                State::Beginning => State::Inside,
                _ => State::Done,
            };
        }
    }

    fn think(&mut self, pieces: &mut Vec<Piece>) {
        let close = self.held.find(&self.tags.close);
        let call = self.call.and_then(|call| self.held.find(call));
        let (end, content, next) = match (close, call) {
            (Some(close), call) if call.is_none_or(|call| close < call) => {
                (close, close + self.tags.close.len(), State::Ending)
            }
            (_, Some(call)) => (call, call, State::Done),
            _ => {
                let mark = overlap(&self.held, &self.tags.close)
                    .max(self.call.map_or(0, |call| overlap(&self.held, call)));
                let end = self.held.len() - mark;
                (end, end, State::Inside)
            }
        };
        let thought = match self.trims {
            true => self.held[..end].trim_end(),
            false => &self.held[..end],
        };
        // Whitespace stays until it is known what follows it.
        let content = if next == State::Inside {
            thought.len()
        } else {
            content
        };
        if !thought.is_empty() {
            pieces.push(Piece::Thinking(thought.to_owned()));
        }
        self.held.drain(..content);
        self.state = next;
    }

    /// Passes content on up to where thinking begins again.
    fn speak(&mut self, pieces: &mut Vec<Piece>) {
        let open = self.tags.open.as_str();
        let found = self.reopens.then(|| self.held.find(open)).flatten();
        let (end, after) = match found {
            Some(start) => (start, start + open.len()),
            None => {
                let held = if self.reopens {
                    overlap(&self.held, open)
                } else {
                    0
                };
                let end = self.held.len() - held;
                (end, end)
            }
        };
        if end > 0 {
            pieces.push(Piece::Content(self.held[..end].to_owned()));
        }
        self.held.drain(..after);
        if found.is_some() {
            self.state = State::Beginning;
        }
    }
}
