//! Cogito: DeepSeek's turns with a system message of its own.

use super::{Family, PARSER, Parser, Renderer, deepseek, golang, schema};
use crate::prompt::{Conversation, PromptError, ToolFormat};

pub(super) const FAMILY: Family = Family {
    renderers: &[Renderer {
        name: "cogito",
        render,
    }],
    parsers: &[Parser {
        name: "cogito",
        calls: Some(ToolFormat::DeepSeek),
        ..PARSER
    }],
};

const DEFAULT_SYSTEM: &str = "You are Cogito, an AI assistant created by Deep Cogito, which is an AI research lab based in San Francisco.";

fn render(conversation: &Conversation<'_>) -> Result<String, PromptError> {
    let thinks = conversation.think.is_wanted();
    let (system, messages) = match conversation.messages.split_first() {
        Some((first, rest)) if first.role == "system" => (first.content.as_str(), rest),
        _ => ("", conversation.messages),
    };
    let mut prompt = String::from(deepseek::BEGIN);
    if thinks {
        prompt.push_str("Enable deep thinking subroutine.\n\n");
    }
    prompt.push_str(DEFAULT_SYSTEM);
    if !system.is_empty() {
        prompt.push_str("\n\n");
        prompt.push_str(system);
        if thinks {
            prompt.push_str("\n\n");
        }
    }
    if !conversation.tools.is_empty() {
        prompt.push_str("\nYou have the following functions available:\n");
        for tool in conversation.tools {
            let tool = golang::json(&schema::tool(tool), golang::INDENTED);
            prompt.push_str(&format!("```json\n{tool}\n```\n"));
        }
    }
    for (index, message) in messages.iter().enumerate() {
        match message.role.as_str() {
            "user" => prompt.push_str(&format!("<｜User｜>{}<｜Assistant｜>", message.content)),
            "assistant" => {
                prompt.push_str(&message.content);
                for (place, call) in message.tool_calls.iter().enumerate() {
                    prompt.push_str(match place {
                        0 => "<｜tool▁calls▁begin｜>",
                        _ => "\n",
                    });
                    let arguments =
                        golang::json(&golang::arguments(&call.arguments), golang::COMPACT);
                    prompt.push_str(&format!(
                        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{}\n```json\n{arguments}\n```<｜tool▁call▁end｜>",
                        call.name
                    ));
                }
                if !message.tool_calls.is_empty() {
                    prompt.push_str("<｜tool▁calls▁end｜>");
                }
                prompt.push_str(deepseek::END);
            }
            "tool" => {
                let is_reply = |index: Option<usize>| {
                    let message = index.and_then(|index| messages.get(index));
                    message.is_some_and(|message| message.role == "tool")
                };
                if !is_reply(index.checked_sub(1)) {
                    prompt.push_str("<｜tool▁outputs▁begin｜>");
                }
                prompt.push_str(&format!(
                    "<｜tool▁output▁begin｜>{}<｜tool▁output▁end｜>",
                    message.content
                ));
                prompt.push_str(match is_reply(Some(index + 1)) {
                    true => "\n",
                    false => "<｜tool▁outputs▁end｜>",
                });
            }
            _ => {}
        }
    }
    // Roles that are unknown print nothing, and change nothing about whose turn it is.
    let spoke = messages
        .iter()
        .rfind(|message| matches!(message.role.as_str(), "user" | "assistant" | "tool"));
    if spoke.is_none_or(|message| message.role != "user") {
        prompt.push_str("<｜Assistant｜>");
    }
    if thinks {
        prompt.push_str("<think>\n");
    }
    Ok(prompt)
}
