//! Kimi K2: its prompts come from templates, its calls have the tool's name and number in their id.

use serde_json::Value;

use crate::prompt::parse::tools::{Called, Format, SoFar, Step, between_marks};

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
        between_marks(text, &MARKS, (CALL, CALL_END), call)
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
