//! FunctionGemma: Gemma's turns, with calls and declarations in a notation of their own.

use super::gemma;
use super::schema::Parameters;
use super::{Family, PARSER, Parser, Renderer};
use crate::prompt::parse::overlap;
use crate::prompt::parse::tools::{Called, Format, SoFar, Step};
use crate::prompt::{Conversation, Message, PromptError, Tool, ToolFormat};

pub(super) const FAMILY: Family = Family {
    renderers: &[Renderer {
        name: "functiongemma",
        render,
    }],
    parsers: &[Parser {
        name: "functiongemma",
        thinking: false,
        tags: None,
        calls: Some(ToolFormat::FunctionGemma),
        ..PARSER
    }],
};

const QUOTE: &str = "<escape>";
const DEFAULT_SYSTEM: &str = "You can do function calling with the following functions:";

fn render(conversation: &Conversation<'_>) -> Result<String, PromptError> {
    let (system, messages) = match conversation.messages.split_first() {
        Some((first, rest)) if matches!(first.role.as_str(), "system" | "developer") => {
            (first.content.as_str(), rest)
        }
        _ => ("", conversation.messages),
    };
    let tools = conversation.tools;
    let mut prompt = String::from("<bos>");
    if !system.is_empty() || !tools.is_empty() {
        prompt.push_str("<start_of_turn>developer\n");
        prompt.push_str(system.trim());
        if !tools.is_empty() {
            if !system.is_empty() {
                prompt.push('\n');
            }
            if system.trim() != DEFAULT_SYSTEM {
                prompt.push_str(DEFAULT_SYSTEM);
            }
        }
        for tool in tools {
            declare(&mut prompt, tool);
        }
        prompt.push_str("<end_of_turn>\n");
    }
    // A call, its replies and what the model says to them are one turn.
    let mut before = Before::Other;
    for (index, message) in messages.iter().enumerate() {
        let content = message.content.trim();
        match message.role.as_str() {
            "assistant" => {
                if before != Before::Reply {
                    prompt.push_str("<start_of_turn>model\n");
                }
                prompt.push_str(content);
                for call in &message.tool_calls {
                    let arguments = gemma::pairs(&call.arguments, QUOTE);
                    prompt.push_str(&format!("{OPEN}call:{}{{{arguments}}}{CLOSE}", call.name));
                }
                let is_answered = messages
                    .get(index + 1)
                    .is_some_and(|next| next.role == "tool");
                before = if !message.tool_calls.is_empty() && is_answered {
                    prompt.push_str("<start_function_response>");
                    Before::Call
                } else {
                    prompt.push_str("<end_of_turn>\n");
                    Before::Other
                };
            }
            "user" => {
                if before != Before::Reply {
                    prompt.push_str("<start_of_turn>user\n");
                }
                prompt.push_str(content);
                prompt.push_str("<end_of_turn>\n");
                before = Before::Other;
            }
            "tool" => {
                if before != Before::Call {
                    prompt.push_str("<start_function_response>");
                }
                let name = answered(messages, index);
                let content = &message.content;
                prompt.push_str(&format!(
                    "response:{name}{{{QUOTE}{content}{QUOTE}}}<end_function_response>"
                ));
                before = Before::Reply;
            }
            role => {
                prompt.push_str(&format!("<start_of_turn>{role}\n{content}<end_of_turn>\n"));
            }
        }
    }
    if before != Before::Reply {
        prompt.push_str("<start_of_turn>model\n");
    }
    Ok(prompt)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Before {
    Call,
    Reply,
    Other,
}

/// Which tool a reply is from: replies come in the order of the calls before them.
fn answered(messages: &[Message], reply: usize) -> &str {
    let calls = |message: &Message| message.role == "assistant" && !message.tool_calls.is_empty();
    let Some(asked) = messages[..reply].iter().rposition(calls) else {
        return "";
    };
    let earlier = messages[asked + 1..reply].iter();
    let place = earlier.filter(|message| message.role == "tool").count();
    let call = messages[asked].tool_calls.get(place);
    call.map_or("", |call| &call.name)
}

fn declare(prompt: &mut String, tool: &Tool) {
    prompt.push_str(&format!(
        "<start_function_declaration>declaration:{}{{description:{QUOTE}{}{QUOTE}",
        tool.name, tool.description
    ));
    let parameters = Parameters::of(tool);
    if parameters.properties.is_some() || !parameters.kind.is_empty() {
        let mut parts = Vec::new();
        let mut arguments: Vec<_> = parameters.arguments().iter().collect();
        arguments.sort_by(|a, b| a.0.cmp(&b.0));
        let arguments = arguments.into_iter().map(|(name, property)| {
            let kind = property.kinds.first().map(|kind| kind.to_uppercase());
            let kind = kind.map(|kind| format!(",type:{QUOTE}{kind}{QUOTE}"));
            format!(
                "{name}:{{description:{QUOTE}{}{QUOTE}{}}}",
                property.description,
                kind.unwrap_or_default()
            )
        });
        let arguments: Vec<String> = arguments.collect();
        if !arguments.is_empty() {
            parts.push(format!("properties:{{{}}}", arguments.join(",")));
        }
        if !parameters.required.is_empty() {
            let required = parameters.required.iter();
            let required: Vec<String> = required
                .map(|name| format!("{QUOTE}{name}{QUOTE}"))
                .collect();
            parts.push(format!("required:[{}]", required.join(",")));
        }
        if !parameters.kind.is_empty() {
            let kind = parameters.kind.to_uppercase();
            parts.push(format!("type:{QUOTE}{kind}{QUOTE}"));
        }
        prompt.push_str(&format!(",parameters:{{{}}}", parts.join(",")));
    }
    prompt.push_str("}<end_function_declaration>");
}

const OPEN: &str = "<start_function_call>";
const CLOSE: &str = "<end_function_call>";

/// Reads `<start_function_call>call:name{key:<escape>text<escape>,…}<end_function_call>`.
#[derive(Debug, Default)]
pub(in crate::prompt) struct FunctionGemma;

impl Format for FunctionGemma {
    fn step(&mut self, text: &str, _: SoFar) -> Step {
        match text.find(OPEN) {
            Some(0) => match text.find(CLOSE) {
                None => Step::Wait,
                Some(end) => match call(&text[OPEN.len()..end]) {
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

    fn mark(&self) -> Option<&'static str> {
        Some(OPEN)
    }
}

fn call(text: &str) -> Option<Called> {
    let call = text.trim().strip_prefix("call:")?;
    let brace = call.find('{')?;
    let (name, arguments) = call.split_at(brace);
    let arguments = gemma::arguments(arguments, QUOTE)?;
    let name = name.trim().to_owned();
    (!name.is_empty()).then_some(Called { name, arguments })
}
