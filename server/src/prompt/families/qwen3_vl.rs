//! Qwen 3 VL: turns between `<|im_start|>` and `<|im_end|>`, calls as JSON between `<tool_call>` and `</tool_call>`.

use super::images::Images;
use super::{Family, PARSER, Parser, Renderer, golang, schema};
use crate::prompt::{Conversation, Message, PromptError, Think, ToolFormat};

pub(super) const FAMILY: Family = Family {
    renderers: &[
        Renderer {
            name: "qwen3-vl-instruct",
            render: |conversation| render(conversation, false),
        },
        Renderer {
            name: "qwen3-vl-thinking",
            render: |conversation| render(conversation, true),
        },
    ],
    parsers: &[
        Parser {
            name: "qwen3-vl-instruct",
            thinking: false,
            tags: None,
            calls: Some(ToolFormat::Hermes),
            ..PARSER
        },
        Parser {
            name: "qwen3-vl-thinking",
            calls: Some(ToolFormat::Hermes),
            ..PARSER
        },
    ],
};

const TOOLS: &str = "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>";

const HOW_TO_CALL: &str = "\n</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n";

fn render(conversation: &Conversation<'_>, thinks: bool) -> Result<String, PromptError> {
    let Conversation {
        messages, tools, ..
    } = *conversation;
    let thinks = match conversation.think {
        Think::Unset => thinks,
        think => think.is_wanted(),
    };
    let system = messages.first().filter(|first| first.role == "system");
    let mut prompt = String::new();
    if !tools.is_empty() {
        prompt.push_str("<|im_start|>system\n");
        if let Some(system) = system {
            prompt.push_str(&system.content);
            prompt.push_str("\n\n");
        }
        prompt.push_str(TOOLS);
        for tool in tools {
            prompt.push('\n');
            prompt.push_str(&golang::json(&schema::tool(tool), golang::SPACED));
        }
        prompt.push_str(HOW_TO_CALL);
    } else if let Some(system) = system {
        prompt.push_str(&format!(
            "<|im_start|>system\n{}<|im_end|>\n",
            system.content
        ));
    }
    let last_question = last_question(messages);
    let mut images = Images::default();
    for (index, message) in messages.iter().enumerate() {
        let content = images.place(message);
        let is_last = index + 1 == messages.len();
        match message.role.as_str() {
            "system" if index == 0 => {}
            role @ ("user" | "system") => {
                prompt.push_str(&format!("<|im_start|>{role}\n{content}<|im_end|>\n"));
            }
            "assistant" => {
                prompt.push_str("<|im_start|>assistant\n");
                let thoughts = message.thinking.trim_matches('\n');
                if thinks && index > last_question && (is_last || !message.thinking.is_empty()) {
                    prompt.push_str(&format!("<think>\n{thoughts}"));
                    if !content.is_empty() {
                        prompt.push_str("\n</think>\n\n");
                        prompt.push_str(content.trim_start_matches('\n'));
                    }
                } else {
                    prompt.push_str(&content);
                }
                for (place, call) in message.tool_calls.iter().enumerate() {
                    if place > 0 || !content.is_empty() {
                        prompt.push('\n');
                    }
                    let arguments =
                        golang::json(&golang::arguments(&call.arguments), golang::SPACED);
                    prompt.push_str(&format!(
                        "<tool_call>\n{{\"name\": \"{}\", \"arguments\": {arguments}}}\n</tool_call>",
                        call.name
                    ));
                }
                if !is_last {
                    prompt.push_str("<|im_end|>\n");
                }
            }
            "tool" => reply(&mut prompt, messages, index, &content),
            _ => {}
        }
        if is_last && message.role != "assistant" {
            prompt.push_str("<|im_start|>assistant\n");
            if thinks {
                prompt.push_str("<think>\n");
            }
        }
    }
    Ok(prompt)
}

/// A tool's reply; neighbouring ones share a turn.
pub(super) fn reply(prompt: &mut String, messages: &[Message], index: usize, content: &str) {
    let is_reply = |index: Option<usize>| {
        index
            .and_then(|index| messages.get(index))
            .is_some_and(|message| message.role == "tool")
    };
    if !is_reply(index.checked_sub(1)) {
        prompt.push_str("<|im_start|>user");
    }
    prompt.push_str(&format!("\n<tool_response>\n{content}\n</tool_response>"));
    if !is_reply(Some(index + 1)) {
        prompt.push_str("<|im_end|>\n");
    }
}

/// Where the user last asked something; replies of tools may have come in the user's name.
pub(super) fn last_question(messages: &[Message]) -> usize {
    let asks = |message: &Message| {
        let content = Images::default().place(message);
        let content = content.trim();
        message.role == "user"
            && !(content.starts_with("<tool_response>") && content.ends_with("</tool_response>"))
    };
    let last = messages.iter().rposition(asks);
    last.unwrap_or(messages.len().saturating_sub(1))
}
