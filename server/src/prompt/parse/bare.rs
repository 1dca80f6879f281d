//! An answer that is JSON from its first character on: one call, several of them, or an array.

use super::json::{self, Extent, Scan};
use super::tools::{Format, SoFar, Step};

/// Reads the calls of models that mark them in no way. Only the names of tools that were offered tell such a call from
/// an answer that happens to be JSON.
#[derive(Debug)]
pub(super) struct Bare {
    names: Vec<String>,
    scan: Scan,
}

impl Bare {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self {
            names,
            scan: Scan::default(),
        }
    }
}

impl Format for Bare {
    fn step(&mut self, text: &str, so_far: SoFar) -> Step {
        if so_far.content {
            return Step::Content(text.len());
        }
        let json = text.trim_start();
        if json.len() < text.len() {
            return Step::Content(text.len() - json.len());
        }
        let extent = match json.as_bytes() {
            [b'{' | b'[', ..] if may_be_call(json) => self.scan.extent(json),
            [b',' | b';', ..] if so_far.call => return Step::Skip(1),
            _ => Extent::Broken,
        };
        let step = match extent {
            Extent::Open => return Step::Wait,
            Extent::Closed(end) => json::calls(&json[..end])
                .filter(|calls| calls.iter().all(|call| self.names.contains(&call.name)))
                .map(|calls| Step::Calls(calls, end)),
            Extent::Broken => None,
        };
        self.scan = Scan::default();
        step.unwrap_or(Step::Content(text.len()))
    }
}

/// Whether the first key, as far as it is there, is one that calls begin with. So an answer that is JSON for another
/// reason streams from its first key on instead of being held back to its end.
fn may_be_call(json: &str) -> bool {
    const KEYS: [&str; 6] = ["name", "function", "type", "id", "arguments", "parameters"];
    let first = json.trim_start_matches(|c: char| c == '[' || c == '{' || c.is_ascii_whitespace());
    let Some(key) = first.strip_prefix('"') else {
        return first.is_empty();
    };
    match key.split_once('"') {
        Some((key, _)) => KEYS.contains(&key),
        None => KEYS.iter().any(|known| known.starts_with(key)),
    }
}
