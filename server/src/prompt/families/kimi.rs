//! Kimi K2: its prompts come from templates, its calls have the tool's name and number in their id.

use serde_json::Value;

use crate::prompt::parse::overlap;
use crate::prompt::parse::tools::{Called, Format, SoFar, Step};

const SECTION: &str = "<|tool_calls_section_begin|>";
const SECTION_END: &str = "<|tool_calls_section_end|>";
const CALL: &str = "<|tool_call_begin|>";
const ARGUMENTS: &str = "<|tool_call_argument_begin|>";
const CALL_END: &str = "<|tool_call_end|>";

const MARKS: [&str; 3] = [SECTION, SECTION_END, CALL];

/// Reads `<|tool_call_begin|>functions.name:0<|tool_call_argument_begin|>{…}<|tool_call_end|>`, any number of them in a
/// section.
#[derive(Debug, Default)]
pub(in crate::prompt) struct Kimi;

impl Format for Kimi {
    fn step(&mut self, text: &str, _: SoFar) -> Step {
        let found = MARKS
            .into_iter()
            .filter_map(|mark| Some((text.find(mark)?, mark)))
            .min();
        match found {
            Some((0, CALL)) => match text.find(CALL_END) {
                None => Step::Wait,
                Some(end) => match call(&text[CALL.len()..end]) {
                    Some(call) => Step::Calls(vec![call], end + CALL_END.len()),
                    None => Step::Content(CALL.len()),
                },
            },
            Some((0, mark)) => Step::Skip(mark.len()),
            Some((start, _)) => Step::Content(start),
            None => {
                let held = MARKS.into_iter().map(|mark| overlap(text, mark)).max();
                match text.len() - held.unwrap_or(0) {
                    0 => Step::Wait,
                    certain => Step::Content(certain),
                }
            }
        }
    }

    fn mark(&self) -> Option<&'static str> {
        Some(SECTION)
    }
}

fn call(text: &str) -> Option<Called> {
    let (id, json) = text.split_once(ARGUMENTS)?;
    let id = id.trim();
    let name = id.rsplit_once(':').map_or(id, |(name, _)| name);
    let name = name.strip_prefix("functions.").unwrap_or(name).to_owned();
    let arguments: Value = serde_json::from_str(json.trim()).ok()?;
    (arguments.is_object() && !name.is_empty()).then_some(Called { name, arguments })
}
