//! `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`, or `[TOOL_CALLS]name[CALL_ID]id[ARGS]{…}` once for each call,
//! where id and `[ARGS]` may be missing.

use serde_json::Value;

use super::json::{self, Extent, Scan};
use super::overlap;
use super::tools::{Called, Format, SoFar, Step};

const TAG: &str = "[TOOL_CALLS]";
const CALL_ID: &str = "[CALL_ID]";
const ARGUMENTS: &str = "[ARGS]";

/// Longest name of a tool, and longest id of a call, in bytes; what is longer is prose.
const MAX_NAME_BYTES: usize = 256;

/// Reads the calls of Mistral's models: with a list up to version 7 of their tokenizer, with a name from version 11 on.
#[derive(Debug, Default)]
pub(super) struct Mistral {
    scan: Scan,
}

impl Format for Mistral {
    fn step(&mut self, text: &str, _: SoFar) -> Step {
        match text.find(TAG) {
            Some(0) => self.tagged(text),
            Some(tag) => Step::Content(tag),
            None => match text.len() - overlap(text, TAG) {
                0 => Step::Wait,
                certain => Step::Content(certain),
            },
        }
    }

    fn mark(&self) -> Option<&'static str> {
        Some(TAG)
    }
}

impl Mistral {
    fn tagged(&mut self, text: &str) -> Step {
        let body = text[TAG.len()..].trim_start();
        let step = match head(body) {
            Head::Open => return Step::Wait,
            Head::Prose => None,
            Head::Call { name, json } => match self.scan.extent(json) {
                Extent::Open => return Step::Wait,
                Extent::Closed(end) => calls(name, &json[..end])
                    .map(|calls| Step::Calls(calls, text.len() - json.len() + end)),
                Extent::Broken => None,
            },
        };
        self.scan = Scan::default();
        step.unwrap_or(Step::Content(TAG.len()))
    }
}

/// What stands between the tag and the JSON.
enum Head<'a> {
    /// It takes more text to decide.
    Open,
    /// No call.
    Prose,
    /// The name of a tool, which is empty before a list of calls, and the JSON from its first bracket on.
    Call { name: &'a str, json: &'a str },
}

fn head(body: &str) -> Head<'_> {
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let length = body.find(|c| !in_name(c)).unwrap_or(body.len());
    let (name, rest) = body.split_at(length);
    if name.len() > MAX_NAME_BYTES {
        return Head::Prose;
    }
    let mut rest = rest.trim_start();
    if rest.is_empty() {
        return Head::Open;
    }
    if name.is_empty() {
        return match rest.starts_with(['[', '{']) {
            true => Head::Call { name, json: rest },
            false => Head::Prose,
        };
    }
    if let Some(id) = rest.strip_prefix(CALL_ID) {
        let length = id.find(|c| !in_name(c)).unwrap_or(id.len());
        if length > MAX_NAME_BYTES {
            return Head::Prose;
        }
        rest = &id[length..];
    }
    let json = rest.strip_prefix(ARGUMENTS).unwrap_or(rest).trim_start();
    if json.starts_with('{') {
        Head::Call { name, json }
    } else if json.is_empty() || ARGUMENTS.starts_with(rest) || CALL_ID.starts_with(rest) {
        Head::Open
    } else {
        Head::Prose
    }
}

fn calls(name: &str, json: &str) -> Option<Vec<Called>> {
    if name.is_empty() {
        return json::calls(json);
    }
    let arguments: Value = serde_json::from_str(json).ok()?;
    let name = name.to_owned();
    arguments
        .is_object()
        .then(|| vec![Called { name, arguments }])
}
