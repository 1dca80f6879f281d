//! Poolside's Laguna: elements for turns, GLM's notation for calls.

use serde_json::Value;

use super::{Family, PARSER, Parser, Renderer, golang, schema};
use crate::prompt::{Conversation, Message, PromptError, ToolFormat};

pub(super) const FAMILY: Family = Family {
    renderers: &[
        Renderer {
            name: "laguna",
            render,
        },
        Renderer {
            name: "poolside-v1",
            render: render_v8,
        },
    ],
    parsers: &[
        Parser {
            name: "laguna",
            calls: Some(ToolFormat::Glm),
            drops: true,
            ..PARSER
        },
        Parser {
            name: "poolside-v1",
            calls: Some(ToolFormat::Glm),
            drops: true,
            ..PARSER
        },
    ],
};

const BEGIN: &str = "〈|EOS|〉";
const DEFAULT_SYSTEM: &str = "You are a helpful, conversationally-fluent assistant made by Poolside. You are here to be helpful to users through natural language conversations.";
const TOOLS: &str = "### Tools\n\nYou may call functions to assist with the user query.\nAll available function signatures are listed below:\n<available_tools>\n";

/// The system's words, and the messages that remain.
fn split<'a>(conversation: &Conversation<'a>) -> (&'a str, &'a [Message]) {
    match conversation.messages.split_first() {
        Some((first, rest)) if first.role == "system" => (&first.content, rest),
        _ => (DEFAULT_SYSTEM, conversation.messages),
    }
}

fn declare(prompt: &mut String, conversation: &Conversation<'_>) {
    prompt.push_str(TOOLS);
    for tool in conversation.tools {
        prompt.push_str(&golang::json(&schema::tool(tool), golang::SPACED));
        prompt.push('\n');
    }
    prompt.push_str("</available_tools>");
}

fn argument(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => golang::json(&golang::sorted(other), golang::SPACED),
    }
}

fn render(conversation: &Conversation<'_>) -> Result<String, PromptError> {
    let thinks = conversation.think.is_wanted();
    let (system, messages) = split(conversation);
    let has_tools = !conversation.tools.is_empty();
    let mut prompt = String::from(BEGIN);
    if !system.trim().is_empty() || has_tools {
        prompt.push_str("<system>\n");
        if !system.trim().is_empty() {
            prompt.push('\n');
            prompt.push_str(system.trim_end());
        }
        if has_tools {
            prompt.push_str("\n\n");
            declare(&mut prompt, conversation);
            prompt.push_str("\n\n");
            if thinks {
                prompt.push_str("Wrap your thinking in '<think>', '</think>' tags, followed by a function call. ");
            }
            prompt.push_str("For each function call, return an unescaped XML-like object with function name and arguments within '<tool_call>' and '</tool_call>' tags, like here:\n");
            if thinks {
                prompt.push_str("<think> your thoughts here </think>\n");
            }
            prompt.push_str("<tool_call>function-name\n<arg_key>argument-key</arg_key>\n<arg_value>value-of-argument-key</arg_value>\n</tool_call>");
        }
        prompt.push_str("\n</system>\n");
    }
    for (index, message) in messages.iter().enumerate() {
        let is_last = index + 1 == messages.len();
        match message.role.as_str() {
            "assistant" => answer(&mut prompt, message, is_last),
            role @ ("user" | "system") => {
                prompt.push_str(&format!("<{role}>\n{}\n</{role}>\n", message.content));
            }
            "tool" => prompt.push_str(&format!(
                "<tool_response>\n{}\n</tool_response>\n",
                message.content
            )),
            _ => {}
        }
    }
    let last = conversation.messages.last();
    if last.is_none_or(|last| last.role != "assistant") {
        prompt.push_str("<assistant>\n");
        prompt.push_str(if thinks { "<think>" } else { "</think>" });
    }
    Ok(prompt)
}

fn answer(prompt: &mut String, message: &Message, is_last: bool) {
    let (thoughts, content) = match message.content.rsplit_once("</think>") {
        None => (message.thinking.as_str(), message.content.as_str()),
        Some((_, content)) => {
            let (before, _) = message.content.split_once("</think>").expect("it is there");
            let before = before.trim_end_matches('\n');
            let before = before
                .rsplit_once("<think>")
                .map_or(before, |(_, thoughts)| thoughts);
            let thoughts = match message.thinking.as_str() {
                "" => before.trim_start_matches('\n'),
                thoughts => thoughts,
            };
            (thoughts, content.trim_start_matches('\n'))
        }
    };
    let (thoughts, content) = (thoughts.trim(), content.trim());
    prompt.push_str("<assistant>\n");
    if !thoughts.is_empty() {
        prompt.push_str(&format!("<think>\n{thoughts}\n"));
    }
    prompt.push_str("</think>\n");
    if !content.is_empty() {
        prompt.push_str(content);
        prompt.push('\n');
    }
    for call in &message.tool_calls {
        prompt.push_str(&format!("<tool_call>{}\n", call.name));
        for (key, value) in golang::entries(&call.arguments) {
            let value = argument(value);
            prompt.push_str(&format!(
                "<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n"
            ));
        }
        prompt.push_str("</tool_call>\n");
    }
    let is_empty = thoughts.is_empty() && content.is_empty() && message.tool_calls.is_empty();
    if !is_last || is_empty {
        prompt.push_str("</assistant>\n");
    }
}

fn render_v8(conversation: &Conversation<'_>) -> Result<String, PromptError> {
    let thinks = conversation.think.is_wanted();
    let (system, messages) = split(conversation);
    let has_tools = !conversation.tools.is_empty();
    let mut prompt = String::from(BEGIN);
    let has_system = !system.trim().is_empty();
    if has_system || has_tools || thinks {
        prompt.push_str("<system>");
        if has_system {
            prompt.push_str(system.trim_end());
        }
        if has_tools {
            if has_system {
                prompt.push_str("\n\n");
            }
            declare(&mut prompt, conversation);
        }
        prompt.push_str("</system>\n");
    }
    for message in messages {
        match message.role.as_str() {
            role @ ("user" | "system") => {
                prompt.push_str(&format!("<{role}>{}</{role}>\n", message.content));
            }
            "assistant" => {
                prompt.push_str("<assistant>");
                if thinks {
                    prompt.push_str(&format!("<think>{}", message.thinking));
                }
                prompt.push_str("</think>");
                prompt.push_str(&message.content);
                for call in &message.tool_calls {
                    prompt.push_str(&format!("<tool_call>{}", call.name));
                    for (key, value) in golang::entries(&call.arguments) {
                        let value = argument(value);
                        prompt.push_str(&format!(
                            "<arg_key>{key}</arg_key><arg_value>{value}</arg_value>"
                        ));
                    }
                    prompt.push_str("</tool_call>");
                }
                prompt.push_str("</assistant>\n");
            }
            "tool" => prompt.push_str(&format!(
                "<tool_response>{}</tool_response>\n",
                message.content
            )),
            _ => {}
        }
    }
    prompt.push_str("<assistant>");
    prompt.push_str(if thinks { "<think>" } else { "</think>" });
    Ok(prompt)
}
