//! DeepSeek V3 and R1: full-width bars in the names of its marks.

use serde_json::Value;

use super::{Family, PARSER, Parser, Renderer, golang};
use crate::prompt::parse::tools::{Called, Format, SoFar, Step, between_marks};
use crate::prompt::{Conversation, Message, PromptError, ToolFormat};

pub(super) const FAMILY: Family = Family {
    renderers: &[Renderer {
        name: "deepseek3.1",
        render,
    }],
    parsers: &[Parser {
        name: "deepseek3",
        calls: Some(ToolFormat::DeepSeek),
        ..PARSER
    }],
};

pub(super) const BEGIN: &str = "<｜begin▁of▁sentence｜>";
pub(super) const END: &str = "<｜end▁of▁sentence｜>";

const HOW_TO_CALL: &str = "\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>tool_call_arguments<｜tool▁call▁end｜>{{additional_tool_calls}}<｜tool▁calls▁end｜>\n\nWhere:\n\n- `tool_call_name` must be an exact match to one of the available tools\n- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema\n- For multiple tool calls, chain them directly without separators or spaces\n";

fn render(conversation: &Conversation<'_>) -> Result<String, PromptError> {
    let messages = conversation.messages;
    let thinks = conversation.think.is_wanted();
    let system = messages.iter().filter(|message| message.role == "system");
    let system: Vec<&str> = system.map(|message| message.content.as_str()).collect();
    let mut prompt = BEGIN.to_owned() + &system.join("\n\n");
    if !conversation.tools.is_empty() {
        prompt.push_str("\n\n## Tools\nYou have access to the following tools:\n");
        for tool in conversation.tools {
            let parameters = super::schema::Parameters::of(tool).json();
            prompt.push_str(&format!(
                "\n### {}\nDescription: {}\n\nParameters: {}\n",
                tool.name,
                tool.description,
                golang::json(&parameters, golang::COMPACT)
            ));
        }
        prompt.push_str(HOW_TO_CALL);
    }
    let last_question = messages.iter().rposition(|message| message.role == "user");
    let mut before = Before::Nothing;
    for (index, message) in messages.iter().enumerate() {
        match message.role.as_str() {
            "user" => {
                prompt.push_str("<｜User｜>");
                prompt.push_str(&message.content);
                before = Before::Question;
            }
            "assistant" => {
                let is_new = last_question.is_none_or(|last| index > last);
                answer(&mut prompt, message, before, thinks && is_new);
                before = Before::Nothing;
            }
            "tool" => {
                prompt.push_str(&format!(
                    "<｜tool▁output▁begin｜>{}<｜tool▁output▁end｜>",
                    message.content
                ));
                before = Before::Reply;
            }
            _ => {}
        }
    }
    if before == Before::Question {
        prompt.push_str("<｜Assistant｜>");
        prompt.push_str(if thinks { "<think>" } else { "</think>" });
    }
    Ok(prompt)
}

/// What an answer answers.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Before {
    Nothing,
    Question,
    Reply,
}

fn answer(prompt: &mut String, message: &Message, before: Before, thinks: bool) {
    if !message.tool_calls.is_empty() {
        if before == Before::Question {
            prompt.push_str("<｜Assistant｜></think>");
        }
        prompt.push_str(&message.content);
        prompt.push_str(CALLS_BEGIN);
        for call in &message.tool_calls {
            let arguments = golang::json(&golang::arguments(&call.arguments), golang::COMPACT);
            prompt.push_str(&format!(
                "{CALL_BEGIN}{}{SEPARATOR}{arguments}{CALL_END}",
                call.name
            ));
        }
        prompt.push_str(CALLS_END);
    } else {
        if before == Before::Question {
            let shows_thoughts = thinks && !message.thinking.is_empty();
            prompt.push_str("<｜Assistant｜>");
            prompt.push_str(if shows_thoughts {
                "<think>"
            } else {
                "</think>"
            });
        }
        let content = message.content.as_str();
        let cut = content
            .split_once("</think>")
            .filter(|_| before != Before::Reply);
        prompt.push_str(cut.map_or(content, |(_, content)| content));
    }
    prompt.push_str(END);
}

const CALLS_BEGIN: &str = "<｜tool▁calls▁begin｜>";
const CALLS_END: &str = "<｜tool▁calls▁end｜>";
const CALL_BEGIN: &str = "<｜tool▁call▁begin｜>";
const CALL_END: &str = "<｜tool▁call▁end｜>";
const SEPARATOR: &str = "<｜tool▁sep｜>";

/// All marks, in the order in which they may be looked for: none begins another.
const MARKS: [&str; 8] = [
    CALLS_BEGIN,
    CALLS_END,
    CALL_BEGIN,
    CALL_END,
    "<｜tool▁output▁begin｜>",
    "<｜tool▁output▁end｜>",
    "<｜tool▁outputs▁begin｜>",
    "<｜tool▁outputs▁end｜>",
];

/// The same with the one within a call.
pub(in crate::prompt) const ALL_MARKS: [&str; 9] = [
    MARKS[0], MARKS[1], MARKS[2], MARKS[3], MARKS[4], MARKS[5], MARKS[6], MARKS[7], SEPARATOR,
];

/// Reads `name<｜tool▁sep｜>{…}` as DeepSeek V3.1 writes it and `function<｜tool▁sep｜>name` with the JSON in a fence, as
/// V3, R1 and Cogito do, each between marks of its own and all of them between another pair.
#[derive(Debug, Default)]
pub(in crate::prompt) struct DeepSeek;

impl Format for DeepSeek {
    fn step(&mut self, text: &str, _: SoFar) -> Step {
        between_marks(text, &MARKS, (CALL_BEGIN, CALL_END), call)
    }

    fn mark(&self) -> Option<&'static str> {
        Some(CALLS_BEGIN)
    }
}

fn call(text: &str) -> Option<Called> {
    let (before, after) = text.split_once(SEPARATOR)?;
    let fenced = after.split_once("```json");
    let (name, json) = match fenced {
        Some((name, fenced)) => (
            name,
            fenced.rsplit_once("```").map_or(fenced, |(json, _)| json),
        ),
        None => (before, after),
    };
    let arguments: Value = serde_json::from_str(json.trim()).ok()?;
    let name = name.trim().to_owned();
    (arguments.is_object() && !name.is_empty()).then_some(Called { name, arguments })
}
