//! Cohere's Command models: turns of text, thoughts and actions, each between marks of its own.

use std::collections::HashMap;

use serde_json::json;

use super::{Family, PARSER, Parser, Renderer, golang, schema};
use crate::prompt::parse::json::{self as read, Scan};
use crate::prompt::parse::overlap;
use crate::prompt::parse::tools::{Called, Format, SoFar, Step};
use crate::prompt::{Conversation, Message, PromptError, Think, Tool, ToolFormat};

pub(super) const FAMILY: Family = Family {
    renderers: &[Renderer {
        name: "cohere",
        render,
    }],
    parsers: &[Parser {
        name: "cohere",
        tags: Some(("<|START_THINKING|>", "<|END_THINKING|>")),
        calls: Some(ToolFormat::Cohere),
        ..PARSER
    }],
};

fn render(conversation: &Conversation<'_>) -> Result<String, PromptError> {
    let is = |message: &Message, role: &str| message.role.eq_ignore_ascii_case(role);
    let (system, messages) = match conversation.messages.split_first() {
        Some((first, rest)) if is(first, "system") => (first.content.as_str(), rest),
        _ => ("", conversation.messages),
    };
    let mut prompt = String::from("<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|><|START_TEXT|>");
    if !system.is_empty() {
        prompt.push_str(system);
        prompt.push_str("\n\n\n\n");
    }
    declare(&mut prompt, conversation.tools);
    prompt.push_str("<|END_TEXT|><|END_OF_TURN_TOKEN|>");
    let mut ids = Ids::default();
    let mut index = 0;
    while let Some(message) = messages.get(index) {
        index += 1;
        match message.role.to_ascii_lowercase().as_str() {
            "system" => turn(&mut prompt, "SYSTEM", &message.content),
            "user" => turn(&mut prompt, "USER", &message.content),
            "assistant" | "chatbot" => {
                let is_last = index == messages.len();
                answer(&mut prompt, message, is_last, &mut ids);
                if is_last && message.tool_calls.is_empty() {
                    return Ok(prompt);
                }
            }
            "tool" => {
                prompt.push_str("<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|><|START_TOOL_RESULT|>[");
                reply(&mut prompt, message, &ids);
                while let Some(next) = messages.get(index).filter(|next| is(next, "tool")) {
                    index += 1;
                    prompt.push(',');
                    reply(&mut prompt, next, &ids);
                }
                prompt.push_str("\n\n]<|END_TOOL_RESULT|><|END_OF_TURN_TOKEN|>");
            }
            _ => {}
        }
    }
    prompt.push_str("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_THINKING|>");
    if conversation.think == Think::Off {
        prompt.push_str("<|END_THINKING|>");
    }
    Ok(prompt)
}

fn declare(prompt: &mut String, tools: &[Tool]) {
    prompt.push_str("# Available Tools\n```json\n[\n");
    if tools.is_empty() {
        prompt.push_str("\n\n");
    }
    for (index, tool) in tools.iter().enumerate() {
        let declaration = json!({
            "name": tool.name,
            "description": tool.description,
            "parameters": schema::Parameters::of(tool).json(),
            "responses": null,
        });
        prompt.push_str("\n    ");
        prompt.push_str(&golang::json(&declaration, golang::SPACED));
        prompt.push_str(if index + 1 < tools.len() {
            ",\n\n"
        } else {
            "\n\n"
        });
    }
    prompt.push_str("\n]\n```");
}

fn turn(prompt: &mut String, speaker: &str, content: &str) {
    prompt.push_str(&format!(
        "<|START_OF_TURN_TOKEN|><|{speaker}_TOKEN|><|START_TEXT|>{content}<|END_TEXT|><|END_OF_TURN_TOKEN|>"
    ));
}

/// Calls are numbered through the conversation, whatever ids they came with.
#[derive(Default)]
struct Ids<'a> {
    next: usize,
    known: HashMap<&'a str, usize>,
}

fn answer<'a>(prompt: &mut String, message: &'a Message, is_last: bool, ids: &mut Ids<'a>) {
    prompt.push_str("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>");
    if !message.tool_calls.is_empty() {
        prompt.push_str("\n            \n                ");
    }
    if !message.thinking.is_empty() {
        prompt.push_str(&format!(
            "<|START_THINKING|>{}<|END_THINKING|>",
            message.thinking
        ));
    }
    if message.tool_calls.is_empty() {
        prompt.push_str("<|START_TEXT|>");
        prompt.push_str(&message.content);
        if !is_last {
            prompt.push_str("<|END_TEXT|><|END_OF_TURN_TOKEN|>");
        }
        return;
    }
    prompt.push_str("<|START_ACTION|>[");
    for (place, call) in message.tool_calls.iter().enumerate() {
        let number = ids.next;
        ids.next += 1;
        if !call.id.is_empty() {
            ids.known.entry(&call.id).or_insert(number);
        }
        if place > 0 {
            prompt.push(',');
        }
        let arguments = golang::json(&golang::arguments(&call.arguments), golang::SPACED);
        prompt.push_str(&format!(
            "\n\n    {{\"tool_call_id\": \"{number}\", \"tool_name\": \"{}\", \"parameters\": {arguments}}}",
            call.name
        ));
    }
    prompt.push_str("\n\n]<|END_ACTION|><|END_OF_TURN_TOKEN|>");
}

fn reply(prompt: &mut String, message: &Message, ids: &Ids<'_>) {
    let id = match ids.known.get(message.tool_call_id.as_str()) {
        Some(number) => number.to_string(),
        None => message.tool_call_id.clone(),
    };
    let content = golang::json(&json!({"content": message.content}), golang::SPACED);
    prompt.push_str(&format!(
        "\n    {{\n        \"tool_call_id\": \"{id}\",\n        \"results\": {{\n\n            \n            \"0\": {content}\n\n        }},\n        \"is_error\": null\n    }}"
    ));
}

const ACTION: &str = "<|START_ACTION|>";
const ACTION_END: &str = "<|END_ACTION|>";

/// Marks around what is said, which say nothing themselves. Older templates of the family say `RESPONSE`.
const SAID: [&str; 6] = [
    "<|START_TEXT|>",
    "<|END_TEXT|>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
    ACTION_END,
    "<|END_OF_TURN_TOKEN|>",
];

/// All of them. The end of a turn is left out: it ends the answer.
pub(in crate::prompt) const MARKS: [&str; 6] =
    [SAID[0], SAID[1], SAID[2], SAID[3], ACTION, ACTION_END];

/// Reads `<|START_ACTION|>[{"tool_call_id": …, "tool_name": …, "parameters": {…}}, …]<|END_ACTION|>`.
#[derive(Debug, Default)]
pub(in crate::prompt) struct Cohere {
    scan: Scan,
}

impl Format for Cohere {
    fn step(&mut self, text: &str, _: SoFar) -> Step {
        let marks = || SAID.into_iter().chain([ACTION]);
        let found = marks()
            .filter_map(|mark| Some((text.find(mark)?, mark)))
            .min();
        match found {
            Some((0, ACTION)) => match read::after_tag(&mut self.scan, text, ACTION) {
                // The list may be malformed and single calls in it may be not.
                Step::Content(_) => match text.find(ACTION_END) {
                    None => Step::Wait,
                    Some(end) => match scattered(&text[ACTION.len()..end]) {
                        calls if calls.is_empty() => Step::Content(ACTION.len()),
                        calls => Step::Calls(calls, end),
                    },
                },
                step => step,
            },
            Some((0, mark)) => Step::Skip(mark.len()),
            Some((start, _)) => Step::Content(start),
            None => {
                let held = marks().map(|mark| overlap(text, mark)).max();
                match text.len() - held.unwrap_or(0) {
                    0 => Step::Wait,
                    certain => Step::Content(certain),
                }
            }
        }
    }

    fn end(&mut self, text: &str) -> Vec<Called> {
        text.strip_prefix(ACTION).map_or_else(Vec::new, scattered)
    }

    fn mark(&self) -> Option<&'static str> {
        Some(ACTION)
    }
}

/// The calls among the objects of a text, wherever they stand in it.
fn scattered(text: &str) -> Vec<Called> {
    let mut calls = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        rest = &rest[start..];
        let length = match Scan::default().extent(rest) {
            read::Extent::Closed(end) => end,
            read::Extent::Open | read::Extent::Broken => 1,
        };
        let found = read::calls(&rest[..length]);
        calls.extend(found.into_iter().flatten());
        rest = &rest[length..];
    }
    calls
}
