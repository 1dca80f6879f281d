//! Gemma 4: one model turn for calls, their replies and the answer, thoughts in a channel.

use super::images::Images;
use super::schema::{Parameters, Property};
use super::{Family, PARSER, Parser, Renderer, gemma, golang};
use crate::prompt::parse::overlap;
use crate::prompt::parse::tools::{Called, Format, SoFar, Step};
use crate::prompt::{Conversation, Message, PromptError, Tool, ToolFormat};
use serde_json::{Map, Value};

pub(super) const FAMILY: Family = Family {
    renderers: &[
        Renderer {
            name: "gemma4",
            render: |conversation| render(conversation, Size::Small),
        },
        Renderer {
            name: "gemma4-small",
            render: |conversation| render(conversation, Size::Small),
        },
        Renderer {
            name: "gemma4-large",
            render: |conversation| render(conversation, Size::Large),
        },
    ],
    parsers: &[
        Parser {
            name: "gemma4",
            tags: Some(THOUGHT),
            calls: Some(ToolFormat::Gemma4),
            reopens: true,
            drops: true,
            ..PARSER
        },
        Parser {
            name: "gemma4-no-thinking",
            thinking: false,
            tags: Some(THOUGHT),
            calls: Some(ToolFormat::Gemma4),
            reopens: true,
            drops: true,
            ..PARSER
        },
    ],
};

const THOUGHT: (&str, &str) = ("<|channel>thought", "<channel|>");
const QUOTE: &str = "<|\"|>";

#[derive(Clone, Copy, Eq, PartialEq)]
enum Size {
    Small,
    /// Is shown an empty thought if it is not to think.
    Large,
}

/// Fewest parameters of a model with the prompts of the large ones.
const LARGE_FROM: f64 = 12e9;

/// The renderer that `gemma4` means: the name of a model or else its parameter count, like `4.3B`, tells its size.
#[must_use]
pub fn resolve(name: &str, parameters: &str) -> &'static str {
    let name = name.to_lowercase();
    let says = |sizes: &[&str]| sizes.iter().any(|size| name.contains(size));
    let count = parameters
        .char_indices()
        .next_back()
        .and_then(|(end, unit)| {
            let unit = match unit.to_ascii_uppercase() {
                'B' => 1e9,
                'M' => 1e6,
                'K' => 1e3,
                _ => return None,
            };
            Some(parameters[..end].parse::<f64>().ok()? * unit)
        });
    let is_large = if says(&["e2b", "e4b"]) {
        false
    } else {
        says(&["12b", "26b", "31b"]) || count.is_some_and(|count| count >= LARGE_FROM)
    };
    if is_large {
        "gemma4-large"
    } else {
        "gemma4-small"
    }
}

fn render(conversation: &Conversation<'_>, size: Size) -> Result<String, PromptError> {
    let thinks = conversation.think.is_wanted();
    let (system, messages) = match conversation.messages.split_first() {
        Some((first, rest)) if matches!(first.role.as_str(), "system" | "developer") => {
            (Some(first.content.trim()), rest)
        }
        _ => (None, conversation.messages),
    };
    let mut prompt = String::from("<bos>");
    if system.is_some() || !conversation.tools.is_empty() || thinks {
        prompt.push_str("<|turn>system\n");
        if thinks {
            prompt.push_str("<|think|>\n");
        }
        prompt.push_str(system.unwrap_or_default());
        for tool in conversation.tools {
            declare(&mut prompt, tool);
        }
        prompt.push_str("<turn|>\n");
    }
    let ending = turns(&mut prompt, messages);
    match ending {
        Ending::Turn => {
            prompt.push_str("<|turn>model\n");
            if size == Size::Large && !thinks {
                prompt.push_str("<|channel>thought\n<channel|>");
            }
        }
        Ending::Replies if thinks => prompt.push_str("<|channel>thought\n"),
        Ending::Replies | Ending::Calls => {}
    }
    Ok(prompt)
}

/// What a conversation ends with.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Ending {
    Turn,
    Calls,
    Replies,
}

/// Replies belong to the model's turn before them, and neighbouring messages of the model are one turn.
fn turns(prompt: &mut String, messages: &[Message]) -> Ending {
    let last_question = messages.iter().rposition(|message| message.role == "user");
    let mut images = Images::default();
    let mut ending = Ending::Turn;
    let mut speaker = "";
    for (index, message) in messages.iter().enumerate() {
        if message.role == "tool" {
            continue;
        }
        let is_model = message.role == "assistant";
        let following = &messages[index + 1..];
        let next = following.iter().find(|message| message.role != "tool");
        if !(is_model && speaker == "assistant") {
            let role = if is_model { "model" } else { &message.role };
            prompt.push_str(&format!("<|turn>{role}\n"));
        }
        let is_new = last_question.is_none_or(|last| index > last);
        if is_model && is_new && !message.thinking.is_empty() {
            prompt.push_str(&format!(
                "<|channel>thought\n{}\n<channel|>",
                message.thinking
            ));
        }
        ending = Ending::Turn;
        for call in &message.tool_calls {
            let arguments = gemma::pairs(&call.arguments, QUOTE);
            prompt.push_str(&format!("{OPEN}call:{}{{{arguments}}}{CLOSE}", call.name));
            ending = Ending::Calls;
        }
        if ending == Ending::Calls {
            for reply in following
                .iter()
                .take_while(|message| message.role == "tool")
            {
                let name = answered(reply, message);
                let content = images.place(reply);
                prompt.push_str(&format!(
                    "{RESPONSE}response:{name}{{value:{QUOTE}{content}{QUOTE}}}<tool_response|>"
                ));
                ending = Ending::Replies;
            }
        }
        let content = match is_model {
            true => without_thoughts(&message.content),
            false => message.content.trim().to_owned(),
        };
        let speaks = !content.is_empty() || message.images > 0;
        prompt.push_str(&images.place_in(&content, message.images));
        let goes_on = is_model
            && next.is_some_and(|next| next.role == "assistant")
            && ending != Ending::Calls;
        match ending {
            Ending::Calls => prompt.push_str(RESPONSE),
            Ending::Replies if !speaks && next.is_none() => {}
            _ if goes_on => {}
            _ => prompt.push_str("<turn|>\n"),
        }
        speaker = &message.role;
    }
    ending
}

/// Content without the thoughts that a client left in it.
fn without_thoughts(content: &str) -> String {
    let mut said = String::new();
    let mut rest = content;
    while let Some((before, thought)) = rest.split_once("<|channel>") {
        said.push_str(before);
        rest = thought
            .split_once("<channel|>")
            .map_or("", |(_, after)| after);
    }
    said.push_str(rest);
    said.trim().to_owned()
}

/// Which tool a reply is from.
fn answered<'a>(reply: &'a Message, asked: &'a Message) -> &'a str {
    let by_id = asked
        .tool_calls
        .iter()
        .find(|call| !reply.tool_call_id.is_empty() && call.id == reply.tool_call_id);
    match by_id {
        Some(call) => &call.name,
        None if reply.tool_name.is_empty() => "unknown",
        None => &reply.tool_name,
    }
}

fn quoted(text: &str) -> String {
    format!("{QUOTE}{text}{QUOTE}")
}

fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.into_iter().map(quoted).collect();
    format!("[{}]", items.join(","))
}

fn declare(prompt: &mut String, tool: &Tool) {
    prompt.push_str(&format!(
        "<|tool>declaration:{}{{description:{}",
        tool.name,
        quoted(&tool.description)
    ));
    let parameters = Parameters::of(tool);
    if parameters.properties.is_some() || !parameters.kind.is_empty() {
        let mut parts = Vec::new();
        if !parameters.arguments().is_empty() {
            let arguments = Value::Object(declared(parameters.arguments()));
            parts.push(format!("properties:{{{}}}", properties(&arguments)));
        }
        if !parameters.required.is_empty() {
            let required = parameters.required.iter().map(String::as_str);
            parts.push(format!("required:{}", list(required)));
        }
        if !parameters.kind.is_empty() {
            parts.push(format!("type:{}", quoted(&parameters.kind.to_uppercase())));
        }
        prompt.push_str(&format!(",parameters:{{{}}}", parts.join(",")));
    }
    prompt.push_str("}<tool|>");
}

/// The arguments as a schema: several types become one text that lists them, as in the model's own template.
fn declared(arguments: &[(String, Property)]) -> Map<String, Value> {
    let of_property = |property: &Property| {
        let Value::Object(mut schema) = property.json() else {
            unreachable!("a schema is an object");
        };
        schema.remove("anyOf");
        let kinds = match property.kinds.is_empty() {
            true => simple_alternatives(property),
            false => property.kinds.clone(),
        };
        match kinds.as_slice() {
            [] => {}
            [kind] => {
                schema.insert("type".into(), kind.as_str().into());
            }
            kinds => {
                let kinds: Vec<String> = kinds
                    .iter()
                    .map(|kind| format!("'{}'", kind.to_uppercase()))
                    .collect();
                schema.insert("type".into(), format!("[{}]", kinds.join(", ")).into());
            }
        }
        if let Some(parts) = &property.properties {
            schema.insert("properties".into(), declared(parts).into());
        }
        Value::Object(schema)
    };
    let arguments = arguments.iter();
    arguments
        .map(|(name, property)| (name.clone(), of_property(property)))
        .collect()
}

/// The types of alternatives that differ in nothing else.
fn simple_alternatives(property: &Property) -> Vec<String> {
    let mut kinds: Vec<String> = Vec::new();
    for branch in &property.any_of {
        let is_simple = branch.any_of.is_empty()
            && !branch.kinds.is_empty()
            && branch.items.is_none()
            && branch.description.is_empty()
            && branch.choices.is_empty()
            && branch.properties.is_none()
            && branch.required.is_empty();
        if !is_simple {
            return Vec::new();
        }
        for kind in &branch.kinds {
            if !kinds.contains(kind) {
                kinds.push(kind.clone());
            }
        }
    }
    kinds
}

/// What a schema's `properties` come to, without the braces.
fn properties(schemas: &Value) -> String {
    let schemas = golang::sorted_entries(schemas).into_iter();
    let is_keyword = |name: &str| {
        matches!(
            name,
            "description" | "type" | "properties" | "required" | "nullable"
        )
    };
    let written: Vec<String> = schemas
        .filter(|(name, schema)| !is_keyword(name) && schema.is_object())
        .map(|(name, schema)| format!("{name}:{{{}}}", property(schema)))
        .collect();
    written.join(",")
}

fn property(schema: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(description) = schema["description"]
        .as_str()
        .filter(|text| !text.is_empty())
    {
        parts.push(format!("description:{}", quoted(description)));
    }
    let kinds = kinds(&schema["type"]);
    let kind = kinds.first().map(String::as_str);
    match kind {
        Some("STRING") => {
            let choices = schema["enum"].as_array().into_iter().flatten();
            let choices: Vec<String> = choices.map(golang::display).collect();
            if !choices.is_empty() {
                let choices = choices.iter().map(String::as_str);
                parts.push(format!("enum:{}", list(choices)));
            }
        }
        Some("ARRAY") => {
            if let Some(items) = schema["items"]
                .as_object()
                .filter(|items| !items.is_empty())
            {
                parts.push(format!("items:{{{}}}", items_of(items)));
            }
        }
        _ => {}
    }
    if schema["nullable"] == Value::Bool(true) {
        parts.push("nullable:true".into());
    }
    if kind == Some("OBJECT") {
        let nested = match schema["properties"].is_object() {
            true => &schema["properties"],
            false => schema,
        };
        parts.push(format!("properties:{{{}}}", properties(nested)));
        let required = strings(&schema["required"]);
        if !required.is_empty() {
            parts.push(format!("required:{}", list(required)));
        }
    }
    parts.extend(kind_part(&kinds));
    parts.join(",")
}

/// What the items of a list are, key by key.
fn items_of(items: &Map<String, Value>) -> String {
    let mut entries: Vec<_> = items.iter().filter(|(_, value)| !value.is_null()).collect();
    entries.sort_by_key(|(key, _)| *key);
    let parts = entries
        .into_iter()
        .filter_map(|(key, value)| match key.as_str() {
            "properties" => Some(format!("properties:{{{}}}", properties(value))),
            "required" => Some(format!("required:{}", list(strings(value)))),
            "type" => kind_part(&kinds(value)),
            _ => Some(format!("{key}:{}", plain(value))),
        });
    parts.collect::<Vec<_>>().join(",")
}

/// Any other part of a schema: like an argument, but with quotes around keys.
fn plain(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(_) => {
            let entries = golang::sorted_entries(value).into_iter();
            let entries: Vec<String> = entries
                .map(|(key, value)| format!("{}:{}", quoted(key), plain(value)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
        scalar => gemma::value(scalar, QUOTE),
    }
}

fn kinds(schema: &Value) -> Vec<String> {
    match schema {
        Value::String(kind) => vec![kind.to_uppercase()],
        kinds => strings(kinds).into_iter().map(str::to_uppercase).collect(),
    }
}

fn kind_part(kinds: &[String]) -> Option<String> {
    match kinds {
        [] => None,
        [kind] => Some(format!("type:{}", quoted(kind))),
        kinds => Some(format!("type:{}", list(kinds.iter().map(String::as_str)))),
    }
}

fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

const OPEN: &str = "<|tool_call>";
const CLOSE: &str = "<tool_call|>";
const RESPONSE: &str = "<|tool_response>";

/// Reads `<|tool_call>call:name{key:<|"|>text<|"|>,…}<tool_call|>`.
#[derive(Debug, Default)]
pub(in crate::prompt) struct Gemma4 {
    /// A call was read: further marks at this place are noise that some models make.
    after_call: bool,
}

impl Format for Gemma4 {
    fn step(&mut self, text: &str, _: SoFar) -> Step {
        if self.after_call {
            let trimmed = text.trim_start();
            let space = text.len() - trimmed.len();
            for noise in [CLOSE, RESPONSE] {
                if trimmed.starts_with(noise) {
                    return Step::Skip(space + noise.len());
                }
                if noise.starts_with(trimmed) {
                    return Step::Wait;
                }
            }
            self.after_call = false;
        }
        match text.find(OPEN) {
            Some(0) => match text.find(CLOSE) {
                None => Step::Wait,
                Some(end) => match call(&text[OPEN.len()..end]) {
                    Some(call) => {
                        self.after_call = true;
                        Step::Calls(vec![call], end + CLOSE.len())
                    }
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

    /// The model may stop before the closing mark.
    fn end(&mut self, text: &str) -> Vec<Called> {
        let unclosed = text.strip_prefix(OPEN).and_then(call);
        unclosed.into_iter().collect()
    }

    fn mark(&self) -> Option<&'static str> {
        Some(OPEN)
    }
}

fn call(text: &str) -> Option<Called> {
    let call = text.strip_prefix("call:")?;
    let (name, arguments) = call.split_at(call.find('{')?);
    let arguments = gemma::arguments(arguments, QUOTE)?;
    let name = name.trim().to_owned();
    (!name.is_empty()).then_some(Called { name, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_or_the_size_of_a_model_tells_its_renderer() {
        let check = |name: &str, parameters: &str, expected: &str| {
            assert_eq!(resolve(name, parameters), expected, "{name} {parameters}");
        };
        check("gemma4:E4B", "27B", "gemma4-small");
        check("gemma4:31b-it", "", "gemma4-large");
        check("mine", "12.0B", "gemma4-large");
        check("mine", "4.3B", "gemma4-small");
        check("mine", "12000M", "gemma4-large");
        check("mine", "", "gemma4-small");
        check("mine", "é", "gemma4-small");
    }
}
