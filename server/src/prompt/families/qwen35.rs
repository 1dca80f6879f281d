//! Qwen 3.5, Qwen 3.8 and Ornith: Qwen's turns, calls as `<function=…>` with one element an argument.

use super::images::Images;
use super::qwen3_vl::{last_question, reply};
use super::{Family, PARSER, Parser, Renderer, golang, schema};
use crate::prompt::{Conversation, Effort, Message, PromptError, Think, ToolFormat};

pub(super) const FAMILY: Family = Family {
    renderers: &[
        Renderer {
            name: "qwen3.5",
            render: |conversation| render(conversation, Variant::Qwen35),
        },
        Renderer {
            name: "qwen3.8",
            render: render_38,
        },
        Renderer {
            name: "ornith",
            render: |conversation| render(conversation, Variant::Ornith),
        },
    ],
    parsers: &[
        Parser {
            name: "qwen3.5",
            calls: Some(ToolFormat::QwenCoder),
            ..PARSER
        },
        Parser {
            name: "ornith",
            calls: Some(ToolFormat::QwenCoder),
            ..PARSER
        },
    ],
};

#[derive(Clone, Copy, Eq, PartialEq)]
enum Variant {
    Qwen35,
    Qwen38,
    Ornith,
}

const MUCH: &str = "Reasoning effort is set to xhigh. Please think carefully through the task, validate key assumptions, consider plausible alternatives, and prioritize correctness, consistency, and clarity in the final answer.";

const LITTLE: &str = "Reasoning effort is set to low. Keep your thinking brief and focused, moving directly to the conclusion without unnecessary elaboration.";

/// How the model is told to write a call.
pub(super) const HOW_TO_CALL: &str = "\n\nIf you choose to call a function ONLY reply in the following format with NO suffix:\n\n<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can span\nmultiple lines\n</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within <tool_call></tool_call> XML tags\n- Required parameters MUST be specified\n- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after\n- If there is no function call available, answer the question like normal with your current knowledge and do not tell the user about function calls\n</IMPORTANT>";

/// Qwen 3.8 takes one system message at the front and no developer's, and refuses a conversation without a question.
fn render_38(conversation: &Conversation<'_>) -> Result<String, PromptError> {
    let folded;
    let messages = conversation.messages;
    let instructs = |message: &&Message| matches!(message.role.as_str(), "system" | "developer");
    if let Some(shown) = messages
        .iter()
        .filter(instructs)
        .find(|message| message.images > 0)
    {
        return Err(refused(&format!(
            "{} message cannot contain images",
            shown.role
        )));
    }
    let instructions: Vec<&Message> = messages.iter().filter(instructs).collect();
    let is_plain = match instructions.as_slice() {
        [] => true,
        [_] => messages[0].role == "system",
        _ => false,
    };
    let messages = if is_plain {
        messages
    } else {
        let words = instructions.iter().map(|message| message.content.trim());
        let words: Vec<&str> = words.filter(|words| !words.is_empty()).collect();
        let system = Message {
            role: "system".into(),
            content: words.join("\n\n"),
            ..Message::default()
        };
        let others = messages.iter().filter(|message| !instructs(message));
        folded = std::iter::once(system)
            .chain(others.cloned())
            .collect::<Vec<_>>();
        &folded
    };
    if messages.is_empty() {
        return Err(refused("no messages provided"));
    }
    let question = &messages[last_question(messages)];
    let content = Images::default().place(question);
    let is_reply = content.trim().starts_with("<tool_response>")
        && content.trim().ends_with("</tool_response>");
    if question.role != "user" || is_reply {
        return Err(refused("no user query found in messages"));
    }
    let conversation = Conversation {
        messages,
        bos_token: conversation.bos_token,
        eos_token: conversation.eos_token,
        now: conversation.now.clone(),
        ..*conversation
    };
    render(&conversation, Variant::Qwen38)
}

fn refused(words: &str) -> PromptError {
    PromptError::Refused(words.into())
}

/// What Qwen 3.8 is told about how much to think.
fn effort(think: Think) -> &'static str {
    match think {
        Think::Off | Think::On | Think::Level(Effort::Medium) => "",
        Think::Level(Effort::Low) => LITTLE,
        Think::Unset | Think::Level(Effort::High | Effort::Max) => MUCH,
    }
}

fn render(conversation: &Conversation<'_>, variant: Variant) -> Result<String, PromptError> {
    let Conversation { messages, .. } = *conversation;
    let thinks = conversation.think != Think::Off;
    let mut prompt = String::new();
    system(&mut prompt, conversation, variant);
    let last_question = last_question(messages);
    let mut images = Images::default();
    for (index, message) in messages.iter().enumerate() {
        let content = images.place(message);
        let content = content.trim();
        let is_last = index + 1 == messages.len();
        match message.role.as_str() {
            "system" if index == 0 => {}
            role @ ("user" | "system") => {
                prompt.push_str(&format!("<|im_start|>{role}\n{content}<|im_end|>\n"));
            }
            "assistant" => {
                let shows_thoughts =
                    variant != Variant::Qwen35 || (thinks && index > last_question);
                answer(&mut prompt, message, content, shows_thoughts, variant);
                if !is_last {
                    prompt.push_str("<|im_end|>\n");
                }
            }
            "tool" => reply(&mut prompt, messages, index, content),
            role if variant == Variant::Qwen38 => {
                prompt.push_str(&format!("<|im_start|>{role}\n{content}<|im_end|>\n"));
            }
            _ => {}
        }
        if is_last && message.role != "assistant" {
            prompt.push_str("<|im_start|>assistant\n");
            prompt.push_str(match thinks {
                true => "<think>\n",
                false => "<think>\n\n</think>\n\n",
            });
        }
    }
    Ok(prompt)
}

fn system(prompt: &mut String, conversation: &Conversation<'_>, variant: Variant) {
    let first = conversation.messages.first();
    let system = first.filter(|first| first.role == "system");
    let words = system.map(|system| Images::default().place(system));
    let words = words.as_deref().map(str::trim);
    let effort = match variant {
        Variant::Qwen38 => effort(conversation.think),
        Variant::Qwen35 | Variant::Ornith => "",
    };
    let parts: Vec<&str> = if conversation.tools.is_empty() {
        let parts = [effort, words.unwrap_or_default()];
        parts.into_iter().filter(|part| !part.is_empty()).collect()
    } else {
        Vec::new()
    };
    if !conversation.tools.is_empty() {
        prompt.push_str("<|im_start|>system\n");
        if !effort.is_empty() {
            prompt.push_str(effort);
            prompt.push_str("\n\n");
        }
        prompt.push_str("# Tools\n\nYou have access to the following functions:\n\n<tools>");
        for tool in conversation.tools {
            prompt.push('\n');
            prompt.push_str(&golang::json(&schema::tool(tool), golang::SPACED));
        }
        prompt.push_str("\n</tools>");
        prompt.push_str(HOW_TO_CALL);
        if let Some(words) = words.filter(|words| !words.is_empty()) {
            prompt.push_str("\n\n");
            prompt.push_str(words);
        }
        prompt.push_str("<|im_end|>\n");
    } else if !parts.is_empty() || (words.is_some() && variant != Variant::Qwen38) {
        prompt.push_str(&format!(
            "<|im_start|>system\n{}<|im_end|>\n",
            parts.join("\n\n")
        ));
    }
}

fn answer(
    prompt: &mut String,
    message: &Message,
    content: &str,
    shows_thoughts: bool,
    variant: Variant,
) {
    let (thoughts, content) = split_thoughts(message, content, shows_thoughts, variant);
    prompt.push_str("<|im_start|>assistant\n");
    if shows_thoughts {
        prompt.push_str(&format!("<think>\n{thoughts}\n</think>\n\n"));
    }
    prompt.push_str(content);
    for (place, call) in message.tool_calls.iter().enumerate() {
        match place {
            0 if content.trim().is_empty() => {}
            0 => prompt.push_str("\n\n"),
            _ => prompt.push('\n'),
        }
        prompt.push_str(&format!("<tool_call>\n<function={}>\n", call.name));
        for (name, value) in golang::entries(&call.arguments) {
            let value = golang::display(value);
            prompt.push_str(&format!("<parameter={name}>\n{value}\n</parameter>\n"));
        }
        prompt.push_str("</function>\n</tool_call>");
    }
}

/// Thoughts may be in a field of their own or, but for Qwen 3.8, at the front of the content.
fn split_thoughts<'a>(
    message: &'a Message,
    content: &'a str,
    shows_thoughts: bool,
    variant: Variant,
) -> (&'a str, &'a str) {
    if shows_thoughts && !message.thinking.is_empty() {
        return (message.thinking.trim(), content);
    }
    match content.split_once("</think>") {
        Some((before, after)) if variant != Variant::Qwen38 => {
            let thoughts = before
                .rsplit_once("<think>")
                .map_or(before, |(_, thoughts)| thoughts);
            (thoughts.trim(), after.trim_start_matches('\n'))
        }
        _ => ("", content),
    }
}
