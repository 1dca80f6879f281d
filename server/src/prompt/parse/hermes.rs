//! `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, any number of them, before, between and after content.

use super::json::{self, Scan};
use super::overlap;
use super::tools::{Format, SoFar, Step};

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// Reads the calls of Hermes, Qwen 2.5, Qwen 3 and those trained after them.
#[derive(Debug, Default)]
pub(super) struct Hermes {
    scan: Scan,
    /// A call was read; its closing mark may follow.
    unclosed: bool,
}

impl Format for Hermes {
    fn step(&mut self, text: &str, _: SoFar) -> Step {
        if self.unclosed {
            let trimmed = text.trim_start();
            if trimmed.starts_with(CLOSE) {
                self.unclosed = false;
                return Step::Skip(text.len() - trimmed.len() + CLOSE.len());
            }
            if CLOSE.starts_with(trimmed) {
                return Step::Wait;
            }
            self.unclosed = false;
        }
        match text.find(OPEN) {
            // A call is complete with its JSON: nobody has to wait for the closing mark.
            Some(0) => {
                let step = json::after_tag(&mut self.scan, text, OPEN);
                self.unclosed = matches!(step, Step::Calls(..));
                step
            }
            Some(start) => Step::Content(start),
            None => match text.len() - overlap(text, OPEN) {
                0 => Step::Wait,
                certain => Step::Content(certain),
            },
        }
    }

    fn mark(&self) -> Option<&'static str> {
        Some(OPEN)
    }
}
