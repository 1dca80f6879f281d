//! The thinking at the beginning of an answer, as Ollama's `thinking/parser.go` reads it.

use super::{Part, overlap};
use crate::prompt::Tags;

/// Reads thinking up to its closing mark and passes on everything after it.
#[derive(Debug)]
pub(super) struct Thinking {
    tags: Tags,
    /// The mark of a tool call, which ends thinking too: some models forget to close it first.
    call: Option<&'static str>,
    state: State,
    /// What has not been decided.
    held: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing but whitespace has been seen. If no opening mark follows, that whitespace is content.
    Opening,
    /// After the opening mark; whitespace is dropped.
    Beginning,
    /// In the thinking.
    Inside,
    /// After the closing mark; whitespace is dropped.
    Ending,
    /// In the content, for good.
    Done,
}

impl Thinking {
    /// A parser that is inside the thinking already if the prompt ends with the opening mark.
    pub(super) fn new(tags: &Tags, prompt_end: &str, call: Option<&'static str>) -> Self {
        let opened = prompt_end.trim_end().ends_with(&tags.open);
        Self {
            tags: tags.clone(),
            call,
            state: if opened {
                State::Beginning
            } else {
                State::Opening
            },
            held: String::new(),
        }
    }

    /// Takes the next piece, puts the thinking in it into `parts` and returns the content in it.
    pub(super) fn push(&mut self, text: &str, parts: &mut Vec<Part>) -> String {
        if self.state == State::Done && self.held.is_empty() {
            return text.to_owned();
        }
        self.held.push_str(text);
        loop {
            let before = self.state;
            match self.state {
                State::Opening => self.open(),
                State::Beginning | State::Ending => self.drop_whitespace(),
                State::Inside => self.think(parts),
                State::Done => return std::mem::take(&mut self.held),
            }
            if self.state == before {
                return String::new();
            }
        }
    }

    /// Ends the answer: what is held back is thinking or content after all.
    pub(super) fn finish(self, parts: &mut Vec<Part>) -> String {
        match self.state {
            State::Inside if !self.held.is_empty() => {
                parts.push(Part::Thinking(self.held));
                String::new()
            }
            _ => self.held,
        }
    }

    fn open(&mut self) {
        let trimmed = self.held.trim_start();
        if let Some(after) = trimmed.strip_prefix(self.tags.open.as_str()) {
            self.held = after.to_owned();
            self.state = State::Beginning;
        } else if !self.tags.open.starts_with(trimmed) {
            self.state = State::Done;
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

    fn think(&mut self, parts: &mut Vec<Part>) {
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
        if end > 0 {
            parts.push(Part::Thinking(self.held[..end].to_owned()));
        }
        self.held.drain(..content);
        self.state = next;
    }
}
