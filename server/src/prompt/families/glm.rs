//! GLM 4.6, 4.7 and GLM OCR: arguments of calls as pairs of `<arg_key>` and `<arg_value>`.

use serde_json::{Map, Value};

use super::images::Images;
use super::typed::{self, Kinds};
use super::{Family, PARSER, Parser, Renderer, golang, schema};
use crate::prompt::parse::overlap;
use crate::prompt::parse::tools::{Called, Format, SoFar, Step};
use crate::prompt::{Conversation, Message, PromptError, Think, Tool, ToolFormat};

pub(super) const FAMILY: Family = Family {
    renderers: &[
        Renderer {
            name: "glm-4.7",
            render,
        },
        Renderer {
            name: "glm-ocr",
            render: render_ocr,
        },
    ],
    parsers: &[
        Parser {
            name: "glm-4.7",
            calls: Some(ToolFormat::Glm),
            ..PARSER
        },
        Parser {
            name: "glm-ocr",
            thinking: false,
            calls: Some(ToolFormat::Glm),
            ..PARSER
        },
    ],
};

fn declare(prompt: &mut String, tools: &[Tool]) {
    if tools.is_empty() {
        return;
    }
    prompt.push_str("<|system|>\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>\n");
    for tool in tools {
        prompt.push_str(&golang::json(&schema::tool(tool), golang::SPACED));
        prompt.push('\n');
    }
    prompt.push_str("</tools>\n\nFor each function call, output the function name and arguments within the following XML format:\n<tool_call>{function-name}<arg_key>{arg-key-1}</arg_key><arg_value>{arg-value-1}</arg_value><arg_key>{arg-key-2}</arg_key><arg_value>{arg-value-2}</arg_value>...</tool_call>");
}

fn call(prompt: &mut String, name: &str, arguments: &Value) {
    prompt.push_str(&format!("<tool_call>{name}"));
    for (key, value) in golang::entries(arguments) {
        let value = match value {
            Value::String(text) => text.clone(),
            other => golang::json(&golang::sorted(other), golang::COMPACT),
        };
        prompt.push_str(&format!(
            "<arg_key>{key}</arg_key><arg_value>{value}</arg_value>"
        ));
    }
    prompt.push_str("</tool_call>");
}

fn begins_replies(messages: &[Message], index: usize) -> bool {
    index == 0 || messages[index - 1].role != "tool"
}

fn render(conversation: &Conversation<'_>) -> Result<String, PromptError> {
    let messages = conversation.messages;
    let mut prompt = String::from("[gMASK]<sop>");
    declare(&mut prompt, conversation.tools);
    for (index, message) in messages.iter().enumerate() {
        match message.role.as_str() {
            "user" => prompt.push_str(&format!("<|user|>{}", message.content)),
            "assistant" => {
                prompt.push_str("<|assistant|>");
                if !message.thinking.is_empty() {
                    prompt.push_str(&format!("<think>{}", message.thinking));
                }
                prompt.push_str("</think>");
                prompt.push_str(&message.content);
                for called in &message.tool_calls {
                    call(&mut prompt, &called.name, &called.arguments);
                }
            }
            "tool" => {
                if begins_replies(messages, index) {
                    prompt.push_str("<|observation|>");
                }
                prompt.push_str(&format!(
                    "<tool_response>{}</tool_response>",
                    message.content
                ));
            }
            "system" => prompt.push_str(&format!("<|system|>{}", message.content)),
            _ => {}
        }
    }
    prompt.push_str("<|assistant|>");
    prompt.push_str(match conversation.think {
        Think::Off => "</think>",
        _ => "<think>",
    });
    Ok(prompt)
}

fn render_ocr(conversation: &Conversation<'_>) -> Result<String, PromptError> {
    let messages = conversation.messages;
    let is_off = conversation.think == Think::Off;
    let mut prompt = String::from("[gMASK]<sop>");
    declare(&mut prompt, conversation.tools);
    let mut images = Images::default();
    for (index, message) in messages.iter().enumerate() {
        match message.role.as_str() {
            "user" => {
                prompt.push_str(&format!("<|user|>\n{}", images.place(message)));
                if is_off && !message.content.ends_with("/nothink") {
                    prompt.push_str("/nothink");
                }
            }
            "assistant" => {
                prompt.push_str(&format!(
                    "<|assistant|>\n<think>{}</think>",
                    message.thinking.trim()
                ));
                if !message.content.is_empty() {
                    prompt.push_str(&format!("\n{}", message.content.trim()));
                }
                for called in &message.tool_calls {
                    prompt.push('\n');
                    call(&mut prompt, &called.name, &called.arguments);
                }
                prompt.push('\n');
            }
            "tool" => {
                if begins_replies(messages, index) {
                    prompt.push_str("<|observation|>");
                }
                let content = images.place(message);
                prompt.push_str(&format!("\n<tool_response>\n{content}\n</tool_response>\n"));
            }
            "system" => prompt.push_str(&format!("<|system|>\n{}\n", message.content)),
            _ => {}
        }
    }
    prompt.push_str("<|assistant|>\n");
    if is_off {
        prompt.push_str("<think></think>\n");
    }
    Ok(prompt)
}

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";
const KEY: &str = "<arg_key>";
const KEY_END: &str = "</arg_key>";
const VALUE: &str = "<arg_value>";
const VALUE_END: &str = "</arg_value>";

/// Reads `<tool_call>name<arg_key>key</arg_key><arg_value>value</arg_value>…</tool_call>`.
#[derive(Debug)]
pub(in crate::prompt) struct Glm {
    kinds: Kinds,
    required: Vec<(String, Vec<String>)>,
}

impl Glm {
    pub(in crate::prompt) fn new(tools: &[Tool]) -> Self {
        let required = tools.iter();
        Self {
            kinds: Kinds::of(tools),
            required: required
                .map(|tool| (tool.name.clone(), schema::Parameters::of(tool).required))
                .collect(),
        }
    }
}

impl Format for Glm {
    fn step(&mut self, text: &str, _: SoFar) -> Step {
        match text.find(OPEN) {
            Some(0) => match text.find(CLOSE) {
                None => Step::Wait,
                Some(end) => match self.call(&text[OPEN.len()..end]) {
                    Some(call) => Step::Calls(vec![call], end + CLOSE.len()),
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

    /// Only the closing mark itself may be missing: a call that was cut anywhere else might do something that was not
    /// meant.
    fn end(&mut self, text: &str) -> Vec<Called> {
        let inside = text
            .strip_prefix(OPEN)
            .map(|inside| inside[..inside.len() - overlap(inside, CLOSE)].trim_end());
        let whole = inside.filter(|inside| !inside.contains(KEY) || inside.ends_with(VALUE_END));
        let call = whole.and_then(|inside| self.call(inside)).filter(|call| {
            let required = self.required.iter().find(|(name, _)| *name == call.name);
            required.is_some_and(|(_, names)| {
                names.iter().all(|name| call.arguments.get(name).is_some())
            })
        });
        call.into_iter().collect()
    }

    fn mark(&self) -> Option<&'static str> {
        Some(OPEN)
    }
}

impl Glm {
    fn call(&self, text: &str) -> Option<Called> {
        let (name, arguments) = strict(text).or_else(|| forgiving(text))?;
        let typed = arguments.into_iter().map(|(key, value)| {
            let kinds = self.kinds.of_argument(name, key);
            (key.to_owned(), typed::value(typed::line(value), kinds))
        });
        Some(Called {
            name: name.to_owned(),
            arguments: Value::Object(typed.collect::<Map<_, _>>()),
        })
    }
}

/// A name, and keys with the texts of their values.
type Written<'a> = (&'a str, Vec<(&'a str, &'a str)>);

/// Reads a call with all its tags.
fn strict(text: &str) -> Option<Written<'_>> {
    let (name, mut rest) = text.split_at(text.find(KEY).unwrap_or(text.len()));
    let name = name.trim();
    let mut arguments = Vec::new();
    while let Some(inside) = rest.trim_start().strip_prefix(KEY) {
        let (key, after) = inside.split_once(KEY_END)?;
        let inside = after.trim_start().strip_prefix(VALUE)?;
        let (value, after) = inside.split_once(VALUE_END)?;
        let has_tags = |text: &str| {
            [KEY, KEY_END, VALUE, VALUE_END]
                .iter()
                .any(|tag| text.contains(tag))
        };
        if has_tags(key) || has_tags(value) {
            return None;
        }
        arguments.push((key.trim(), value));
        rest = after;
    }
    let has_tags = name.contains('<') || name.is_empty();
    (rest.trim().is_empty() && !has_tags).then_some((name, arguments))
}

/// Reads a call from which tags are missing: the texts between those that are there take turns as key and value.
fn forgiving(text: &str) -> Option<Written<'_>> {
    let tag_at = |text: &str| {
        [KEY, KEY_END, VALUE, VALUE_END]
            .into_iter()
            .filter_map(|tag| Some((text.find(tag)?, tag)))
            .min()
    };
    let (at, first) = tag_at(text)?;
    let (head, mut rest) = text.split_at(at);
    let mut texts = Vec::new();
    // Names have no spaces in them, so what follows one is the first key.
    let name = match head.trim_start().split_once(char::is_whitespace) {
        Some((name, key)) if first != KEY => {
            texts.push(key);
            name
        }
        _ => head.trim(),
    };
    while let Some((at, tag)) = tag_at(rest) {
        debug_assert_eq!(at, 0, "the text before a tag was taken");
        let inside = &rest[tag.len()..];
        let next = tag_at(inside);
        let end = next.map_or(inside.len(), |(end, _)| end);
        let (between, after) = inside.split_at(end);
        let opens = tag == KEY || tag == VALUE;
        let closes = next.is_some_and(|(_, next)| {
            (tag == KEY && next == KEY_END) || (tag == VALUE && next == VALUE_END)
        });
        if !between.trim().is_empty() || (opens && closes) {
            texts.push(between);
        }
        rest = after;
    }
    if name.is_empty() || name.contains('<') {
        return None;
    }
    let pairs = texts
        .chunks(2)
        .map(|pair| (pair[0].trim(), pair.get(1).copied().unwrap_or_default()));
    let pairs: Vec<_> = pairs.collect();
    pairs
        .iter()
        .all(|(key, _)| !key.is_empty())
        .then_some((name, pairs))
}
