//! Qwen 3 Coder: tools as XML, calls as `<function=…>` with one element an argument.

use std::collections::BTreeMap;

use serde_json::Value;

use super::qwen35::HOW_TO_CALL;
use super::schema::Parameters;
use super::{Family, PARSER, Parser, Renderer, golang};
use crate::prompt::{Conversation, Message, PromptError, Tool, ToolFormat};

pub(super) const FAMILY: Family = Family {
    renderers: &[Renderer {
        name: "qwen3-coder",
        render,
    }],
    parsers: &[Parser {
        name: "qwen3-coder",
        thinking: false,
        tags: None,
        calls: Some(ToolFormat::QwenCoder),
        ..PARSER
    }],
};

const DEFAULT_SYSTEM: &str =
    "You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks.";

fn render(conversation: &Conversation<'_>) -> Result<String, PromptError> {
    let is_system = |message: &&Message| message.role == "system";
    let messages: Vec<&Message> = conversation
        .messages
        .iter()
        .filter(|message| !is_system(message))
        .collect();
    let said = conversation.messages.iter().filter(is_system);
    let system = said
        .map(|message| message.content.as_str())
        .find(|words| !words.is_empty());
    let mut prompt = String::new();
    if system.is_some() || !conversation.tools.is_empty() {
        prompt.push_str("<|im_start|>system\n");
        prompt.push_str(system.unwrap_or(DEFAULT_SYSTEM));
        if !conversation.tools.is_empty() {
            prompt
                .push_str("\n\n# Tools\n\nYou have access to the following functions:\n\n<tools>");
            for tool in conversation.tools {
                declare(&mut prompt, tool);
            }
            prompt.push_str("\n</tools>");
            prompt.push_str(HOW_TO_CALL);
        }
        prompt.push_str("<|im_end|>\n");
    }
    let is_reply = |index: Option<usize>| {
        let message = index.and_then(|index| messages.get(index));
        message.is_some_and(|message| message.role == "tool")
    };
    for (index, message) in messages.iter().enumerate() {
        let is_last = index + 1 == messages.len();
        match message.role.as_str() {
            "assistant" => {
                prompt.push_str("<|im_start|>assistant\n");
                prompt.push_str(&message.content);
                if !message.tool_calls.is_empty() {
                    if !message.content.is_empty() {
                        prompt.push('\n');
                    }
                    for call in &message.tool_calls {
                        prompt.push_str(&format!("\n<tool_call>\n<function={}>", call.name));
                        for (name, value) in golang::entries(&call.arguments) {
                            let value = golang::display(value);
                            prompt
                                .push_str(&format!("\n<parameter={name}>\n{value}\n</parameter>"));
                        }
                        prompt.push_str("\n</function>\n</tool_call>");
                    }
                }
                if !is_last || !message.tool_calls.is_empty() {
                    prompt.push_str("<|im_end|>\n");
                }
            }
            "tool" => {
                if !is_reply(index.checked_sub(1)) {
                    prompt.push_str("<|im_start|>user");
                }
                prompt.push_str(&format!(
                    "\n<tool_response>\n{}\n</tool_response>",
                    message.content
                ));
                if !is_reply(Some(index + 1)) {
                    prompt.push_str("<|im_end|>\n");
                }
            }
            role => prompt.push_str(&format!(
                "<|im_start|>{role}\n{}<|im_end|>\n",
                message.content
            )),
        }
        if is_last && message.role != "assistant" {
            prompt.push_str("<|im_start|>assistant\n");
        }
    }
    Ok(prompt)
}

fn declare(prompt: &mut String, tool: &Tool) {
    let parameters = Parameters::of(tool);
    prompt.push_str(&format!("\n<function>\n<name>{}</name>", tool.name));
    if !tool.description.is_empty() {
        prompt.push_str(&format!(
            "\n<description>{}</description>",
            tool.description
        ));
    }
    prompt.push_str("\n<parameters>");
    for (name, property) in parameters.arguments() {
        prompt.push_str(&format!("\n<parameter>\n<name>{name}</name>"));
        if !property.kinds.is_empty() {
            let kind = match property.kind_json() {
                Value::String(kind) => kind,
                kinds => golang::json(&kinds, golang::COMPACT),
            };
            prompt.push_str(&format!("\n<type>{kind}</type>"));
        }
        if !property.description.is_empty() {
            prompt.push_str(&format!(
                "\n<description>{}</description>",
                property.description
            ));
        }
        others(prompt, &property.json(), &["type", "description"]);
        prompt.push_str("\n</parameter>");
    }
    others(prompt, &parameters.json(), &["type", "properties"]);
    prompt.push_str("\n</parameters>\n</function>");
}

/// What else a schema says, one element a key. Ollama prints them in no particular order; here it is that of the keys.
fn others(prompt: &mut String, schema: &Value, told: &[&str]) {
    let keys: BTreeMap<&str, &Value> = golang::entries(schema).collect();
    for (key, value) in keys {
        if !told.contains(&key) && !value.is_null() {
            let value = golang::display(value);
            prompt.push_str(&format!("\n<{key}>{value}</{key}>"));
        }
    }
}
