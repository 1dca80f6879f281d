//! A model's answer, as it arrives, taken apart into thinking, content and tool calls.
//!
//! Each file that is not named below knows one way of writing tool calls and nothing of the others.

mod bare;
mod hermes;
mod json;
mod llama;
mod mistral;
#[cfg(test)]
mod tests;
mod thinking;
mod tools;

use super::{Think, Tool, ToolCall, Traits};
use thinking::Thinking;
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
        let tools = match traits.tools {
            Some(format) if !tools.is_empty() => Some(ToolCalls::new(format, tools)),
            _ => None,
        };
        let thinking = match &traits.thinking {
            Some(tags) if think != Think::Off => {
                let call = tools.as_ref().and_then(ToolCalls::mark);
                Some(Thinking::new(tags, prompt_end, call))
            }
            _ => None,
        };
        Self { thinking, tools }
    }

    /// Takes the next piece of the answer and returns what is certain by now.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        let mut parts = Vec::new();
        let content = match &mut self.thinking {
            Some(thinking) => thinking.push(text, &mut parts),
            None => text.to_owned(),
        };
        self.speak(&content, &mut parts);
        parts
    }

    /// Ends the answer and returns what was held back.
    pub fn finish(mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        if let Some(thinking) = self.thinking.take() {
            let content = thinking.finish(&mut parts);
            self.speak(&content, &mut parts);
        }
        if let Some(tools) = self.tools.take() {
            tools.finish(&mut parts);
        }
        parts
    }

    fn speak(&mut self, content: &str, parts: &mut Vec<Part>) {
        if content.is_empty() {
            return;
        }
        match &mut self.tools {
            Some(tools) => tools.push(content, parts),
            None => parts.push(Part::Content(content.to_owned())),
        }
    }
}

/// How many bytes at the end of `text` could be the beginning of `mark`.
fn overlap(text: &str, mark: &str) -> usize {
    (1..=mark.len().min(text.len()))
        .rev()
        .find(|&length| mark.is_char_boundary(length) && text.ends_with(&mark[..length]))
        .unwrap_or(0)
}
