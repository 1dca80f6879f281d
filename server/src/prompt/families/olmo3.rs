//! Olmo 3 and its thinking variants: calls as in Python, one a line.

use serde_json::Value;

use super::{Family, PARSER, Parser, Renderer, golang, python_call, schema};
use crate::prompt::parse::overlap;
use crate::prompt::parse::tools::{Format, SoFar, Step};
use crate::prompt::{Conversation, Message, PromptError, ToolFormat};

pub(super) const FAMILY: Family = Family {
    renderers: &[
        Renderer {
            name: "olmo3",
            render: |conversation| {
                render(
                    conversation,
                    "You are a helpful function-calling AI assistant. ",
                )
            },
        },
        Renderer {
            name: "olmo3.1",
            render: |conversation| render(conversation, &format!("{OLMO} ")),
        },
        Renderer {
            name: "olmo3-think",
            render: |conversation| render_thinking(conversation, OLMO),
        },
        Renderer {
            name: "olmo3-32b-think",
            render: |conversation| render_thinking(conversation, "You are a helpful AI assistant."),
        },
    ],
    parsers: &[
        Parser {
            name: "olmo3",
            thinking: false,
            tags: None,
            calls: Some(ToolFormat::Olmo3),
            ..PARSER
        },
        Parser {
            name: "olmo3-think",
            tools: false,
            ..PARSER
        },
    ],
};

const OLMO: &str = "You are Olmo, a helpful AI assistant built by Ai2. Your date cutoff is December 2024, and your model weights are available at https://huggingface.co/allenai.";
const HOW_TO_CALL: &str = "You are provided with function signatures within <functions></functions> XML tags. You may call one or more functions to assist with the user query. Output any function calls within <function_calls></function_calls> XML tags. Do not make assumptions about what values to plug into functions.";

/// The first system message, and all that are none.
fn split<'a>(conversation: &Conversation<'a>) -> (Option<&'a str>, Vec<&'a Message>) {
    let (system, others): (Vec<_>, Vec<_>) = conversation
        .messages
        .iter()
        .partition(|message| message.role == "system");
    (
        system.first().map(|message| message.content.as_str()),
        others,
    )
}

fn render(conversation: &Conversation<'_>, default_system: &str) -> Result<String, PromptError> {
    let (system, messages) = split(conversation);
    let functions = (!conversation.tools.is_empty()).then(|| {
        let tools: Vec<Value> = conversation.tools.iter().map(schema::tool).collect();
        golang::json(&tools.into(), golang::SPACED)
    });
    let mut prompt = String::from("<|im_start|>system\n");
    match (system, functions) {
        (Some(system), None) => prompt.push_str(system),
        (Some(system), Some(functions)) => {
            prompt.push_str(&format!("{system}<functions>{functions}</functions>"));
        }
        (None, None) => prompt.push_str(&format!(
            "{default_system}You do not currently have access to any functions. <functions></functions>"
        )),
        (None, Some(functions)) => prompt.push_str(&format!(
            "{default_system}{HOW_TO_CALL}<functions>{functions}</functions>"
        )),
    }
    prompt.push_str("<|im_end|>\n");
    for (index, message) in messages.iter().enumerate() {
        let is_last = index + 1 == messages.len();
        match message.role.as_str() {
            "user" => turn(&mut prompt, "user", &message.content),
            "assistant" => {
                prompt.push_str("<|im_start|>assistant\n");
                prompt.push_str(&message.content);
                let calls: Vec<String> = message
                    .tool_calls
                    .iter()
                    .map(|call| format!("{}({})", call.name, arguments(&call.arguments)))
                    .collect();
                if !calls.is_empty() {
                    prompt.push_str(&format!("{OPEN}{}{CLOSE}", calls.join("\n")));
                }
                if !is_last || !calls.is_empty() {
                    prompt.push_str("<|im_end|>\n");
                }
            }
            "tool" => turn(&mut prompt, "environment", &message.content),
            _ => {}
        }
    }
    let is_begun = messages.last().is_some_and(|last| {
        last.role == "assistant" && last.tool_calls.is_empty() && !last.content.is_empty()
    });
    if !is_begun {
        prompt.push_str("<|im_start|>assistant\n");
    }
    Ok(prompt)
}

fn turn(prompt: &mut String, role: &str, content: &str) {
    prompt.push_str(&format!("<|im_start|>{role}\n{content}<|im_end|>\n"));
}

fn arguments(arguments: &Value) -> String {
    let arguments = golang::sorted_entries(arguments).into_iter();
    let arguments: Vec<String> = arguments
        .map(|(key, value)| {
            let value = golang::json(&golang::sorted(value), golang::COMPACT);
            format!("{key}={value}")
        })
        .collect();
    arguments.join(", ")
}

fn render_thinking(
    conversation: &Conversation<'_>,
    default_system: &str,
) -> Result<String, PromptError> {
    let (system, messages) = split(conversation);
    let system = system.map(|system| {
        format!(
            "{system} You do not currently have access to any functions. <functions></functions>"
        )
    });
    let mut prompt = String::new();
    turn(
        &mut prompt,
        "system",
        system.as_deref().unwrap_or(default_system),
    );
    for message in messages {
        if matches!(message.role.as_str(), "user" | "assistant") {
            turn(&mut prompt, &message.role, &message.content);
        }
    }
    prompt.push_str("<|im_start|>assistant\n<think>");
    Ok(prompt)
}

const OPEN: &str = "<function_calls>";
const CLOSE: &str = "</function_calls>";

/// Reads `<function_calls>name(key="value")</function_calls>`, one call a line.
#[derive(Debug, Default)]
pub(in crate::prompt) struct Olmo3;

impl Format for Olmo3 {
    fn step(&mut self, text: &str, _: SoFar) -> Step {
        match text.find(OPEN) {
            Some(0) => match text.find(CLOSE) {
                None => Step::Wait,
                Some(end) => match python_call::calls(&text[OPEN.len()..end]) {
                    Some(calls) => Step::Calls(calls, end + CLOSE.len()),
                    None => Step::Content(OPEN.len()),
                },
            },
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
