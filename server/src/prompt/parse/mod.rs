//! A model's answer, as it arrives, taken apart into thinking, content and tool calls.
//!
//! Each file that is not named below knows one way of writing tool calls and nothing of the others; those of a single
//! family stand with it in `families/`.

mod bare;
pub(super) mod channels;
mod elements;
pub(super) mod json;
mod llama;
mod marked;
mod mistral;
mod prefixed;
#[cfg(test)]
mod tests;
mod thinking;
pub(super) mod tools;

use super::families::{glimmer, harmony};
use super::{Think, Tool, ToolCall, ToolFormat, Traits};
use channels::{Channels, Said};
use thinking::{Piece, Thinking};
use tools::ToolCalls;

/// A piece of an answer. Neighbouring pieces of the same kind belong together.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// What the model thinks.
    Thinking(String),
    /// What it says.
    Content(String),
    /// A tool it calls.
    ToolCall(ToolCall),
}

/// What was asked, as far as it decides how to read the answer.
#[derive(Clone, Copy, Debug)]
pub struct Expectations<'a> {
    /// How the model marks the parts of its answers.
    pub traits: &'a Traits,
    /// The prompt, or at least its end: it may have begun the thinking already.
    pub prompt_end: &'a str,
    /// Whether the model was asked to think. If it was told not to, its thinking is content like everything else.
    pub think: Think,
    /// The tools it was offered. Without tools, tool calls are content like everything else.
    pub tools: &'a [Tool],
}

/// Takes an answer apart while it arrives. However the answer is cut into pieces, the parts are the same, and no byte
/// of it is lost but the marks, the whitespace around them, and what a tool call is written in.
#[derive(Debug)]
pub struct OutputParser {
    thinking: Option<Thinking>,
    tools: Option<ToolCalls>,
    /// Of an answer that consists of messages; then there is nothing of the others.
    channels: Option<Box<dyn Channels>>,
    calls: usize,
    /// The caller asked for no thoughts and is shown none.
    drops_thinking: bool,
    marks: Vec<String>,
}

impl OutputParser {
    /// A parser for one answer.
    #[must_use]
    pub fn new(expectations: Expectations<'_>) -> Self {
        let Expectations {
            traits,
            prompt_end,
            think,
            tools,
        } = expectations;
        let channels = match traits.tools {
            Some(ToolFormat::Harmony) => {
                let harmony = harmony::Harmony::new(prompt_end, tools);
                Some(Box::new(harmony) as Box<dyn Channels>)
            }
            Some(ToolFormat::Glimmer) => Some(Box::new(glimmer::Glimmer::new(tools, think)) as _),
            _ => None,
        };
        let tools = match traits.tools {
            _ if channels.is_some() => None,
            Some(format) if traits.is_named || !tools.is_empty() => {
                Some(ToolCalls::new(format, tools))
            }
            Some(_) => None,
            None => {
                let prefix = traits.call_prefix.as_ref().filter(|_| !tools.is_empty());
                prefix.map(|prefix| ToolCalls::prefixed(&prefix.text, tools))
            }
        };
        let drops_thinking = think == Think::Off && traits.drops_unwanted_thinking;
        let thinking = match &traits.thinking {
            _ if channels.is_some() => None,
            Some(tags) if think != Think::Off || drops_thinking => {
                let call = tools.as_ref().and_then(ToolCalls::mark);
                Some(Thinking::new(tags, prompt_end, call, traits))
            }
            _ => None,
        };
        Self {
            thinking,
            tools,
            channels,
            calls: 0,
            drops_thinking,
            marks: traits.marks(),
        }
    }

    /// Names of control tokens that the parser has to see as text, where others are not shown.
    #[must_use]
    pub fn marks(&self) -> &[String] {
        &self.marks
    }

    /// Takes the next piece of the answer and returns what is certain by now.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        if let Some(channels) = &mut self.channels {
            let said = channels.push(text);
            return self.named(said);
        }
        let mut parts = Vec::new();
        match &mut self.thinking {
            Some(thinking) => {
                for piece in thinking.push(text) {
                    self.take(piece, &mut parts);
                }
            }
            None => self.speak(text, &mut parts),
        }
        parts
    }

    /// Ends the answer and returns what was held back.
    pub fn finish(mut self) -> Vec<Part> {
        if let Some(mut channels) = self.channels.take() {
            let said = channels.finish();
            return self.named(said);
        }
        let mut parts = Vec::new();
        if let Some(piece) = self.thinking.take().and_then(Thinking::finish) {
            self.take(piece, &mut parts);
        }
        if let Some(tools) = self.tools.take() {
            tools.finish(&mut parts);
        }
        parts
    }

    fn named(&mut self, said: Vec<Said>) -> Vec<Part> {
        let part = |said| match said {
            Said::Thinking(thought) => Part::Thinking(thought),
            Said::Content(content) => Part::Content(content),
            Said::Call(called) => {
                self.calls += 1;
                Part::ToolCall(called.name(self.calls - 1))
            }
        };
        said.into_iter().map(part).collect()
    }

    fn take(&mut self, piece: Piece, parts: &mut Vec<Part>) {
        match piece {
            Piece::Thinking(_) if self.drops_thinking => {}
            Piece::Thinking(thought) => parts.push(Part::Thinking(thought)),
            Piece::Content(content) => self.speak(&content, parts),
        }
    }

    fn speak(&mut self, content: &str, parts: &mut Vec<Part>) {
        match &mut self.tools {
            Some(tools) => tools.push(content, parts),
            None if content.is_empty() => {}
            None => parts.push(Part::Content(content.to_owned())),
        }
    }
}

/// How many bytes at the end of `text` could be the beginning of `mark`.
pub(super) fn overlap(text: &str, mark: &str) -> usize {
    (1..=mark.len().min(text.len()))
        .rev()
        .find(|&length| mark.is_char_boundary(length) && text.ends_with(&mark[..length]))
        .unwrap_or(0)
}
