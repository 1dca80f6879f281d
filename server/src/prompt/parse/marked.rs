//! JSON between marks, any number of times, before, between and after content: `<tool_call>{"name": …, "arguments":
//! {…}}</tool_call>` and its relatives.

use super::json::{self, Scan};
use super::overlap;
use super::tools::{Format, SoFar, Step};

/// Reads one call, or a list of them, after each opening mark.
#[derive(Debug)]
pub(super) struct Marked {
    /// What may stand before the JSON; the first is the one models are taught.
    open: &'static [&'static str],
    /// What may stand after it; it is no part of the content.
    close: &'static [&'static str],
    scan: Scan,
    /// A call was read; its closing mark may follow.
    unclosed: bool,
}

impl Marked {
    /// The calls of Hermes, Qwen 2.5, Qwen 3 and those trained after them.
    pub(super) fn hermes() -> Self {
        Self::new(&["<tool_call>"], &["</tool_call>"])
    }

    /// The calls of Granite 3 and Phi 4 mini.
    pub(super) fn granite() -> Self {
        Self::new(
            &["<|tool_call|>", "<tool_call>"],
            &["<|/tool_call|>", "</tool_call>"],
        )
    }

    /// The calls of Phi 4 and Firefunction.
    pub(super) fn functools() -> Self {
        Self::new(&["functools"], &[])
    }

    /// The calls of Apriel, and of MiniMax M1, which writes one a line.
    pub(super) fn listed() -> Self {
        Self::new(&["<tool_calls>"], &["</tool_calls>"])
    }

    /// The calls of Nemotron Nano 2.
    pub(super) fn toolcall() -> Self {
        Self::new(&["<TOOLCALL>"], &["</TOOLCALL>"])
    }

    fn new(open: &'static [&'static str], close: &'static [&'static str]) -> Self {
        Self {
            open,
            close,
            scan: Scan::default(),
            unclosed: false,
        }
    }
}

impl Format for Marked {
    fn step(&mut self, text: &str, _: SoFar) -> Step {
        if self.unclosed {
            let trimmed = text.trim_start();
            if trimmed.is_empty() {
                return Step::Wait;
            }
            if trimmed.starts_with(['{', '[']) {
                // A further call between the same marks.
                return match json::after_tag(&mut self.scan, trimmed, "") {
                    Step::Calls(calls, length) => {
                        Step::Calls(calls, text.len() - trimmed.len() + length)
                    }
                    Step::Wait => Step::Wait,
                    Step::Content(_) | Step::Skip(_) => {
                        self.unclosed = false;
                        Step::Content(text.len() - trimmed.len() + 1)
                    }
                };
            }
            for close in self.close {
                if trimmed.starts_with(close) {
                    self.unclosed = false;
                    return Step::Skip(text.len() - trimmed.len() + close.len());
                }
                if close.starts_with(trimmed) {
                    return Step::Wait;
                }
            }
            self.unclosed = false;
        }
        let found = self
            .open
            .iter()
            .filter_map(|open| Some((text.find(open)?, *open)));
        match found.min() {
            // A call is complete with its JSON: nobody has to wait for the closing mark.
            Some((0, open)) => {
                let step = json::after_tag(&mut self.scan, text, open);
                self.unclosed = matches!(step, Step::Calls(..));
                step
            }
            Some((start, _)) => Step::Content(start),
            None => {
                let held = self.open.iter().map(|open| overlap(text, open)).max();
                match text.len() - held.unwrap_or(0) {
                    0 => Step::Wait,
                    certain => Step::Content(certain),
                }
            }
        }
    }

    fn mark(&self) -> Option<&'static str> {
        self.open.first().copied()
    }
}
