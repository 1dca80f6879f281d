//! Nemotron 3 and 3.5 Nano: Qwen 3 Coder's way of calling, with thoughts.

use serde_json::Value;

use super::images::Images;
use super::qwen35::HOW_TO_CALL;
use super::schema::{Parameters, Property};
use super::{Family, PARSER, Parser, Renderer, golang};
use crate::prompt::{Conversation, Effort, Message, PromptError, Think, Tool, ToolFormat};

pub(super) const FAMILY: Family = Family {
    renderers: &[
        Renderer {
            name: "nemotron-3-nano",
            render: |conversation| render(conversation, Version::V3),
        },
        Renderer {
            name: "nemotron-3.5-nano",
            render: |conversation| render(conversation, Version::V35),
        },
    ],
    parsers: &[
        Parser {
            name: "nemotron-3-nano",
            calls: Some(ToolFormat::QwenCoder),
            ..PARSER
        },
        Parser {
            name: "nemotron-3.5-nano",
            calls: Some(ToolFormat::QwenCoder),
            ..PARSER
        },
    ],
};

#[derive(Clone, Copy, Eq, PartialEq)]
enum Version {
    /// Takes `/think` and `/no_think` in what is said to it as a switch.
    V3,
    V35,
}

fn render(conversation: &Conversation<'_>, version: Version) -> Result<String, PromptError> {
    let (system, messages) = match conversation.messages.split_first() {
        Some((first, rest)) if first.role == "system" => (first.content.as_str(), rest),
        _ => ("", conversation.messages),
    };
    let system = match version {
        Version::V3 => without_switches(system),
        Version::V35 => system.to_owned(),
    };
    let mut prompt = format!("<|im_start|>system\n{system}");
    if !conversation.tools.is_empty() {
        if !system.is_empty() {
            prompt.push_str("\n\n");
        }
        declare(&mut prompt, conversation.tools);
    }
    prompt.push_str("<|im_end|>\n");
    let last_question = messages.iter().rposition(|message| message.role == "user");
    let is_reply = |index: Option<usize>| {
        let message = index.and_then(|index| messages.get(index));
        message.is_some_and(|message| message.role == "tool")
    };
    let mut images = Images::default();
    for (index, message) in messages.iter().enumerate() {
        match message.role.as_str() {
            "assistant" => {
                let is_old = last_question.is_some_and(|last| index < last);
                answer(&mut prompt, message, is_old, version);
            }
            role @ ("user" | "system") => {
                let mut content = images.place(message);
                match version {
                    Version::V3 => content = without_switches(&content).trim().to_owned(),
                    Version::V35 => {
                        let is_asked = conversation.think == Think::Level(Effort::Medium);
                        if is_asked && Some(index) == last_question {
                            content.push_str("\n\n{reasoning effort: efficient}");
                        }
                    }
                }
                prompt.push_str(&format!("<|im_start|>{role}\n{content}<|im_end|>\n"));
            }
            "tool" => {
                if index > 0 && !is_reply(Some(index - 1)) {
                    prompt.push_str("<|im_start|>user\n");
                }
                let content = images.place(message);
                prompt.push_str(&format!("<tool_response>\n{content}\n</tool_response>\n"));
                if !is_reply(Some(index + 1)) {
                    prompt.push_str("<|im_end|>\n");
                }
            }
            role => prompt.push_str(&format!(
                "<|im_start|>{role}\n{}<|im_end|>\n",
                message.content
            )),
        }
    }
    prompt.push_str("<|im_start|>assistant\n");
    prompt.push_str(match thinks(conversation, version) {
        true => "<think>\n",
        false => "<think></think>",
    });
    Ok(prompt)
}

fn thinks(conversation: &Conversation<'_>, version: Version) -> bool {
    let mut thinks = conversation.think != Think::Off;
    if version == Version::V35 {
        return thinks;
    }
    for message in conversation.messages {
        if matches!(message.role.as_str(), "user" | "system") {
            if message.content.replace("</think>", "").contains("/think") {
                thinks = true;
            } else if message.content.contains("/no_think") {
                thinks = false;
            }
        }
    }
    thinks
}

fn without_switches(text: &str) -> String {
    let kept = text.split("</think>");
    let kept = kept.map(|part| part.replace("/think", "").replace("/no_think", ""));
    kept.collect::<Vec<_>>().join("</think>")
}

fn answer(prompt: &mut String, message: &Message, is_old: bool, version: Version) {
    let said = &message.content;
    let has_tags = said.contains("<think>") || said.contains("</think>");
    let content = match (message.thinking.as_str(), version) {
        ("", _) if has_tags => said.clone(),
        ("", _) => format!("<think></think>{said}"),
        (thoughts, Version::V35) => format!("<think>\n{thoughts}</think>{said}"),
        (thoughts, Version::V3) => format!("<think>\n{thoughts}\n</think>\n{said}"),
    };
    let after_thoughts = || content.rsplit_once("</think>").map(|(_, said)| said);
    prompt.push_str("<|im_start|>assistant\n");
    if message.tool_calls.is_empty() {
        let said = after_thoughts().filter(|_| is_old && content.contains("<think>"));
        match said {
            Some(said) => prompt.push_str(format!("<think></think>{said}").trim()),
            None => prompt.push_str(content.trim()),
        }
    } else {
        let content = if is_old {
            let said = after_thoughts().or_else(|| Some(content.split_once("<think>")?.0));
            format!("<think></think>{}", said.unwrap_or(&content).trim())
        } else {
            content.clone()
        };
        prompt.push_str(content.trim());
        prompt.push('\n');
    }
    for call in &message.tool_calls {
        prompt.push_str(&format!("<tool_call>\n<function={}>\n", call.name));
        for (name, value) in golang::entries(&call.arguments) {
            let value = python(value);
            prompt.push_str(&format!("<parameter={name}>\n{value}\n</parameter>\n"));
        }
        prompt.push_str("</function>\n</tool_call>\n");
    }
    prompt.push_str("<|im_end|>\n");
}

/// A scalar as Python's `str` prints it, and a container as JSON.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Array(_) | Value::Object(_) => json(&golang::sorted(value)),
        scalar => golang::display(scalar),
    }
}

fn json(value: &Value) -> String {
    golang::json(value, golang::PYTHON)
}

fn declare(prompt: &mut String, tools: &[Tool]) {
    prompt.push_str("# Tools\n\nYou have access to the following functions:\n\n<tools>");
    for tool in tools {
        let parameters = Parameters::of(tool);
        prompt.push_str(&format!("\n<function>\n<name>{}</name>", tool.name));
        if !tool.description.is_empty() {
            element(prompt, "description", tool.description.trim());
        }
        prompt.push_str("\n<parameters>");
        for (name, property) in parameters.arguments() {
            argument(prompt, name, property);
        }
        if let Some(definitions) = &parameters.definitions {
            element(prompt, "$defs", &python(definitions));
        }
        if let Some(items) = &parameters.items {
            element(prompt, "items", &python(items));
        }
        if !parameters.required.is_empty() {
            element(prompt, "required", &json(&parameters.required.into()));
        }
        prompt.push_str("\n</parameters>\n</function>");
    }
    prompt.push_str("\n</tools>");
    prompt.push_str(HOW_TO_CALL);
}

fn argument(prompt: &mut String, name: &str, property: &Property) {
    prompt.push_str(&format!("\n<parameter>\n<name>{name}</name>"));
    match property.kinds.as_slice() {
        [] => {}
        [kind] => element(prompt, "type", kind),
        kinds => {
            let kinds: Vec<String> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
            element(prompt, "type", &format!("[{}]", kinds.join(", ")));
        }
    }
    if !property.description.is_empty() {
        element(prompt, "description", property.description.trim());
    }
    let schema = property.json();
    for key in ["enum", "anyOf", "items", "properties", "required"] {
        if let Some(value) = schema.get(key) {
            element(prompt, key, &json(value));
        }
    }
    prompt.push_str("\n</parameter>");
}

fn element(prompt: &mut String, tag: &str, content: &str) {
    prompt.push_str(&format!("\n<{tag}>{content}</{tag}>"));
}
