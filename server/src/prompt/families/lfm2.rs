//! LFM2: turns between `<|im_start|>` and `<|im_end|>`, calls as in Python between marks.

use super::images::Images;
use super::{Family, PARSER, Parser, Renderer, golang, python_call, schema};
use crate::prompt::parse::overlap;
use crate::prompt::parse::tools::{Called, Format, SoFar, Step};
use crate::prompt::{Conversation, PromptError, Tool, ToolCall, ToolFormat};

pub(super) const FAMILY: Family = Family {
    renderers: &[
        Renderer {
            name: "lfm2",
            render: |conversation| render(conversation, false),
        },
        Renderer {
            name: "lfm2-thinking",
            render: |conversation| render(conversation, true),
        },
    ],
    parsers: &[
        Parser {
            name: "lfm2",
            thinking: false,
            tags: None,
            calls: Some(ToolFormat::Lfm2),
            ..PARSER
        },
        Parser {
            name: "lfm2-thinking",
            calls: Some(ToolFormat::Lfm2),
            ..PARSER
        },
    ],
};

const REPLY: &str = "<|tool_response_start|>";

fn render(conversation: &Conversation<'_>, can_think: bool) -> Result<String, PromptError> {
    let messages = conversation.messages;
    let (system, first) = match messages.first() {
        Some(first) if first.role == "system" => (first.content.clone(), 1),
        _ => (String::new(), 0),
    };
    let system = with_tools(system, conversation.tools);
    let mut prompt = String::from("<|startoftext|>");
    if !system.is_empty() {
        prompt.push_str(&format!("<|im_start|>system\n{system}<|im_end|>\n"));
    }
    let keeps_thoughts = can_think && conversation.think.is_wanted();
    let last_answer = messages
        .iter()
        .rposition(|message| message.role == "assistant");
    let mut images = Images::default();
    for (index, message) in messages.iter().enumerate() {
        let mut content = images.place(message);
        if index < first {
            continue;
        }
        let is_last = index + 1 == messages.len();
        if message.role == "assistant" {
            if !message.tool_calls.is_empty() && !content.contains(OPEN) {
                let calls = calls(&message.tool_calls);
                let gap = if content.trim().is_empty() { "" } else { "\n" };
                content = format!("{calls}{gap}{content}");
            }
            if can_think && !message.thinking.is_empty() && !content.contains("</think>") {
                content = format!("<think>{}</think>{content}", message.thinking);
            }
            if !keeps_thoughts
                && Some(index) != last_answer
                && let Some((_, said)) = content.rsplit_once("</think>")
            {
                content = said.trim().to_owned();
            }
        }
        if message.role == "tool" && !content.contains(REPLY) {
            content = format!("{REPLY}{content}<|tool_response_end|>");
        }
        prompt.push_str(&format!("<|im_start|>{}\n{content}", message.role));
        if !(is_last && message.role == "assistant") {
            prompt.push_str("<|im_end|>\n");
        }
    }
    if messages.last().is_none_or(|last| last.role != "assistant") {
        prompt.push_str("<|im_start|>assistant\n");
    }
    Ok(prompt)
}

fn with_tools(mut system: String, tools: &[Tool]) -> String {
    if tools.is_empty() {
        return system;
    }
    if !system.is_empty() {
        system.push('\n');
    }
    let tools: Vec<String> = tools
        .iter()
        .map(|tool| golang::json(&schema::function(tool), golang::PYTHON))
        .collect();
    system.push_str(&format!(
        "List of tools: <|tool_list_start|>[{}]<|tool_list_end|>",
        tools.join(", ")
    ));
    system
}

fn calls(calls: &[ToolCall]) -> String {
    let calls: Vec<String> = calls
        .iter()
        .map(|call| {
            let arguments = golang::sorted_entries(&call.arguments).into_iter();
            let arguments: Vec<String> = arguments
                .map(|(key, value)| {
                    let value = golang::json(&golang::sorted(value), golang::PYTHON);
                    format!("{key}={value}")
                })
                .collect();
            format!("{}({})", call.name, arguments.join(","))
        })
        .collect();
    format!("{OPEN}[{}]{CLOSE}", calls.join(","))
}

const OPEN: &str = "<|tool_call_start|>";
const CLOSE: &str = "<|tool_call_end|>";

/// Reads `<|tool_call_start|>[name(key="value"), …]<|tool_call_end|>`, and an answer that is such a list without the
/// marks if every name in it is that of a tool on offer.
#[derive(Debug)]
pub(in crate::prompt) struct Lfm2 {
    names: Vec<String>,
}

impl Lfm2 {
    pub(in crate::prompt) fn new(tools: &[Tool]) -> Self {
        Self {
            names: tools.iter().map(|tool| tool.name.clone()).collect(),
        }
    }

    /// Whether a text may turn out to be calls without marks: it begins with the name of a tool, or with what may
    /// become one.
    fn may_be_bare(&self, text: &str) -> bool {
        let text = text.trim_start();
        let text = text.strip_prefix('[').unwrap_or(text).trim_start();
        self.names.iter().any(|name| {
            name.starts_with(text)
                || text
                    .strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('('))
        })
    }

    fn bare(&self, text: &str) -> Vec<Called> {
        let calls = python_call::calls(text).unwrap_or_default();
        let are_known = calls.iter().all(|call| self.names.contains(&call.name));
        if are_known { calls } else { Vec::new() }
    }
}

impl Format for Lfm2 {
    fn step(&mut self, text: &str, so_far: SoFar) -> Step {
        match text.find(OPEN) {
            Some(0) => match text.find(CLOSE) {
                None => Step::Wait,
                Some(end) => match python_call::calls(&text[OPEN.len()..end]) {
                    Some(calls) => Step::Calls(calls, end + CLOSE.len()),
                    None => Step::Content(OPEN.len()),
                },
            },
            Some(start) => Step::Content(start),
            None if !so_far.content && self.may_be_bare(text) => Step::Wait,
            None => match text.len() - overlap(text, OPEN) {
                0 => Step::Wait,
                certain => Step::Content(certain),
            },
        }
    }

    fn end(&mut self, text: &str) -> Vec<Called> {
        self.bare(text)
    }

    fn mark(&self) -> Option<&'static str> {
        Some(OPEN)
    }
}
