//! `{"name": …, "parameters": {…}}`: bare, or after `<|python_tag|>`, which makes it a call whatever its name.

use super::bare::Bare;
use super::json::{self, Scan};
use super::overlap;
use super::tools::{Format, SoFar, Step};

const TAG: &str = "<|python_tag|>";

/// Reads the calls of Llama 3.
#[derive(Debug)]
pub(super) struct Llama {
    bare: Bare,
    scan: Scan,
}

impl Llama {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self {
            bare: Bare::new(names),
            scan: Scan::default(),
        }
    }
}

impl Format for Llama {
    fn step(&mut self, text: &str, so_far: SoFar) -> Step {
        match text.find(TAG) {
            Some(0) => json::after_tag(&mut self.scan, text, TAG),
            Some(tag) => match self.bare.step(&text[..tag], so_far) {
                // JSON that a tag cuts off is not going to end.
                Step::Wait => Step::Content(tag),
                step => step,
            },
            None => match text.len() - overlap(text, TAG) {
                0 => Step::Wait,
                certain => self.bare.step(&text[..certain], so_far),
            },
        }
    }

    fn mark(&self) -> Option<&'static str> {
        Some(TAG)
    }
}
