//! Tool calls among content, whichever way they are written.

use std::fmt;

use serde_json::Value;

use super::{Part, bare, elements, llama, marked, mistral, overlap, prefixed};
use crate::prompt::families::{cohere, deepseek, functiongemma, gemma4, glm, kimi, lfm2, olmo3};
use crate::prompt::{Tool, ToolCall, ToolFormat};

/// Most bytes held back while a tool call is incomplete. Beyond it they are content.
const MAX_HELD_BYTES: usize = 4 << 20;

/// Random letters and digits in the id of a call.
const ID_LENGTH: usize = 8;

/// One way of writing tool calls.
pub(in crate::prompt) trait Format: fmt::Debug + Send {
    /// Judges the beginning of what has not been decided, which is never empty. After [`Step::Wait`] the same text is
    /// given again with more behind it, so a format may remember how far it has looked.
    fn step(&mut self, text: &str, so_far: SoFar) -> Step;

    /// The calls in a text that was undecided when the answer ended; if there are none, it is content.
    fn end(&mut self, _text: &str) -> Vec<Called> {
        Vec::new()
    }

    /// A mark with which calls begin and that nobody writes by chance.
    fn mark(&self) -> Option<&'static str> {
        None
    }
}

/// What came before the text that a format judges.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::prompt) struct SoFar {
    /// Content other than whitespace.
    pub(in crate::prompt) content: bool,
    /// A call, with nothing but whitespace and skipped text since.
    pub(in crate::prompt) call: bool,
}

/// What a format makes of the text. Lengths are in bytes and greater than zero.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::prompt) enum Step {
    /// It takes more text to decide.
    Wait,
    /// So much of it is content.
    Content(usize),
    /// So much of it only separates calls.
    Skip(usize),
    /// So much of it is these calls.
    Calls(Vec<Called>, usize),
}

/// A call as the model wrote it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::prompt) struct Called {
    /// The tool's name.
    pub(in crate::prompt) name: String,
    /// A JSON object.
    pub(in crate::prompt) arguments: Value,
}

impl Called {
    /// The same with its place among the calls of the answer and an id of its own.
    pub(super) fn name(self, index: usize) -> ToolCall {
        ToolCall {
            id: call_id(),
            index,
            name: self.name,
            arguments: self.arguments,
        }
    }
}

/// Takes content apart into content and calls.
#[derive(Debug)]
pub(super) struct ToolCalls {
    format: Box<dyn Format>,
    held: String,
    /// Whitespace that is content if content follows, and only surrounds a call if one follows.
    space: String,
    so_far: SoFar,
    calls: usize,
    /// More than [`MAX_HELD_BYTES`] were held back: everything from there on is content.
    overflowed: bool,
}

impl ToolCalls {
    pub(super) fn new(format: ToolFormat, tools: &[Tool]) -> Self {
        Self::of(reader(format, tools))
    }

    /// Reads calls behind a prefix, whatever they look like.
    pub(super) fn prefixed(prefix: &str, tools: &[Tool]) -> Self {
        Self::of(Box::new(prefixed::Prefixed::new(prefix, tools)))
    }

    fn of(format: Box<dyn Format>) -> Self {
        Self {
            format,
            held: String::new(),
            space: String::new(),
            so_far: SoFar::default(),
            calls: 0,
            overflowed: false,
        }
    }

    /// See [`Format::mark`].
    pub(super) fn mark(&self) -> Option<&'static str> {
        self.format.mark()
    }

    /// Takes the next piece of content.
    pub(super) fn push(&mut self, text: &str, parts: &mut Vec<Part>) {
        self.held.push_str(text);
        while !self.held.is_empty() {
            if self.held.len() > MAX_HELD_BYTES || self.overflowed {
                self.overflowed = true;
                self.content(self.held.len(), parts);
                return;
            }
            match self.format.step(&self.held, self.so_far) {
                Step::Wait => return,
                Step::Content(length) => self.content(length, parts),
                Step::Skip(length) => drop(self.held.drain(..length)),
                Step::Calls(calls, length) => {
                    self.held.drain(..length);
                    self.space.clear();
                    self.so_far.call = true;
                    for call in calls {
                        parts.push(Part::ToolCall(self.name(call)));
                    }
                }
            }
        }
    }

    /// Ends the answer: what is held back is content after all.
    pub(super) fn finish(mut self, parts: &mut Vec<Part>) {
        if !self.held.is_empty() && !self.overflowed {
            let calls = self.format.end(&self.held);
            if !calls.is_empty() {
                self.held.clear();
                self.space.clear();
                self.so_far.call = true;
            }
            for call in calls {
                parts.push(Part::ToolCall(self.name(call)));
            }
        }
        self.content(self.held.len(), parts);
        if !self.space.is_empty() && !self.so_far.call {
            parts.push(Part::Content(self.space));
        }
    }

    fn content(&mut self, length: usize, parts: &mut Vec<Part>) {
        let text: String = self.held.drain(..length).collect();
        let said = text.trim_end();
        if !said.is_empty() {
            let mut content = std::mem::take(&mut self.space);
            content.push_str(said);
            let content = match self.so_far.call {
                true => content.trim_start().to_owned(),
                false => content,
            };
            self.so_far = SoFar {
                content: true,
                call: false,
            };
            parts.push(Part::Content(content));
        }
        self.space.push_str(&text[said.len()..]);
    }

    fn name(&mut self, called: Called) -> ToolCall {
        let index = self.calls;
        self.calls += 1;
        called.name(index)
    }
}

/// What reads a format.
fn reader(format: ToolFormat, tools: &[Tool]) -> Box<dyn Format> {
    let names = || tools.iter().map(|tool| tool.name.clone()).collect();
    match format {
        ToolFormat::Hermes => Box::new(marked::Marked::hermes()),
        ToolFormat::Llama => Box::new(llama::Llama::new(names())),
        ToolFormat::Mistral => Box::new(mistral::Mistral::default()),
        ToolFormat::Bare => Box::new(bare::Bare::new(names())),
        ToolFormat::QwenCoder => Box::new(elements::Elements::functions(tools)),
        ToolFormat::Invoke => Box::new(elements::Elements::invokes(tools)),
        ToolFormat::Kimi => Box::new(kimi::Kimi),
        ToolFormat::Listed => Box::new(marked::Marked::listed()),
        ToolFormat::Toolcall => Box::new(marked::Marked::toolcall()),
        ToolFormat::Glm => Box::new(glm::Glm::new(tools)),
        ToolFormat::DeepSeek => Box::new(deepseek::DeepSeek),
        ToolFormat::Cohere => Box::new(cohere::Cohere::default()),
        ToolFormat::FunctionGemma => Box::new(functiongemma::FunctionGemma),
        ToolFormat::Gemma4 => Box::new(gemma4::Gemma4::default()),
        ToolFormat::Lfm2 => Box::new(lfm2::Lfm2::new(tools)),
        ToolFormat::Olmo3 => Box::new(olmo3::Olmo3),
        ToolFormat::Granite => Box::new(marked::Marked::granite()),
        // Not reached: such answers are taken apart as a whole.
        ToolFormat::Harmony | ToolFormat::Glimmer => Box::new(bare::Bare::new(names())),
        ToolFormat::Functools => Box::new(marked::Marked::functools()),
    }
}

/// `call_` and eight random letters and digits.
fn call_id() -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let random =
        (0..ID_LENGTH).map(|_| char::from(ALPHABET[rand::random_range(0..ALPHABET.len())]));
    "call_".chars().chain(random).collect()
}

/// A step of a format whose calls stand between `begin` and `end`, beside other marks that say nothing themselves. None of
/// `marks`, of which `begin` is one, may begin another.
pub(in crate::prompt) fn between_marks(
    text: &str,
    marks: &[&str],
    (begin, end): (&str, &str),
    call: impl FnOnce(&str) -> Option<Called>,
) -> Step {
    let found = marks
        .iter()
        .filter_map(|mark| Some((text.find(mark)?, *mark)))
        .min();
    match found {
        Some((0, mark)) if mark == begin => match text.find(end) {
            None => Step::Wait,
            Some(at) => match call(&text[begin.len()..at]) {
                Some(call) => Step::Calls(vec![call], at + end.len()),
                None => Step::Content(begin.len()),
            },
        },
        Some((0, mark)) => Step::Skip(mark.len()),
        Some((start, _)) => Step::Content(start),
        None => {
            let held = marks.iter().map(|mark| overlap(text, mark)).max();
            match text.len() - held.unwrap_or(0) {
                0 => Step::Wait,
                certain => Step::Content(certain),
            }
        }
    }
}
