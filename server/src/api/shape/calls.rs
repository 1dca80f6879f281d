//! Tool calls as grammars, in the ways of writing them that `prompt/parse/` reads.

use serde_json::{Map, Value};

use crate::inference::generate::{Calls, Grammar, Opening, Thoughts};
use crate::prompt::{
    Arguments, CallOpening, CallPrefix, CallSyntax, Expectations, Think, Tool, ToolFormat, Traits,
};

/// Most calls in one answer that is forced to have some: a model that knows no end must not write calls for ever.
const MAX_CALLS: u32 = 32;

/// Most tools whose calls are watched for. Of more, a call is not held to anything unless it was demanded.
const MAX_WATCHED: usize = 512;

/// Most bytes of the schemas of tools whose calls are watched for. Of more, a call is held to the names alone.
const MAX_WATCHED_BYTES: usize = super::MAX_GRAMMAR_BYTES;

/// Most characters of the prompt's end that can belong to the mark of a call.
const MAX_BEFORE: usize = 64;

/// One call of one of the tools, or several.
pub(super) fn demanded(traits: &Traits, tools: &[&Tool], one_call: bool) -> Grammar {
    let format = traits.tools.unwrap_or(ToolFormat::Bare);
    let writing = Writing {
        format,
        most: if one_call { 1 } else { MAX_CALLS },
        literal: |text| Grammar::Marks(text.into()),
        arguments: &schema,
        // The model is past everything that could go wrong.
        rest: Some(Grammar::Regex("(?s:.*)".into())),
    };
    match (traits.tools, &traits.call_prefix) {
        (None, Some(prefix)) => behind(prefix, &writing, tools),
        _ => writing.calls(&format.call_syntax(), tools),
    }
}

/// Calls behind a prefix, as the template writes them or, where that is not known, in a way that is read behind any.
fn behind(prefix: &CallPrefix, writing: &Writing<'_>, tools: &[&Tool]) -> Grammar {
    let way = way_behind(prefix);
    if let Some(list) = prefix.text.strip_suffix('[') {
        let before = format!("{list}[");
        return writing.calls(
            &CallSyntax {
                before: &before,
                ..way
            },
            tools,
        );
    }
    if prefix.text == "{" {
        return writing.calls(&way, tools);
    }
    // What closes an element closes this one; behind other prefixes nothing has to.
    let name = prefix
        .text
        .strip_prefix('<')
        .and_then(|text| text.strip_suffix('>'));
    let is_word = |name: &&str| {
        name.chars()
            .all(|letter| letter.is_alphanumeric() || letter == '_')
    };
    let close = match name.filter(is_word) {
        Some(name) => format!("}}\n</{name}>"),
        None => "}".into(),
    };
    let open = format!("{}\n{}", prefix.text, way.open);
    let syntax = CallSyntax {
        open: &open,
        close: &close,
        separator: Some("\n"),
        ..way
    };
    writing.calls(&syntax, tools)
}

/// What stands behind a prefix.
fn way_behind(prefix: &CallPrefix) -> CallSyntax<'static> {
    let is_list = prefix.text.ends_with('[');
    CallSyntax {
        middle: match prefix.arguments {
            Some("parameters") => "\", \"parameters\": ",
            _ => "\", \"arguments\": ",
        },
        separator: is_list.then_some(", "),
        after: if is_list { "]" } else { "" },
        ..ToolFormat::Bare.call_syntax()
    }
}

/// A mark, the ways of calling behind it, and what else an [`Opening`] has.
struct Opened<'a> {
    mark: &'a str,
    ways: Vec<CallSyntax<'a>>,
    close: Option<&'a str>,
    is_last: bool,
}

/// How calls begin that can be told from text before they are over.
fn openings(traits: &Traits) -> Vec<Opened<'_>> {
    let of_format = |opening: &'static CallOpening| Opened {
        mark: opening.mark,
        ways: opening.ways.to_vec(),
        close: opening.close,
        is_last: opening.is_last,
    };
    match (traits.tools, &traits.call_prefix) {
        (Some(format), _) => format.call_openings().iter().map(of_format).collect(),
        (None, Some(prefix)) if prefix.arguments.is_some() && prefix.text.len() > 1 => {
            vec![Opened {
                mark: &prefix.text,
                ways: vec![way_behind(prefix)],
                close: None,
                is_last: false,
            }]
        }
        (None, _) => Vec::new(),
    }
}

/// Calls of the tools on offer in an answer that may have none; none if calls look like any other text.
pub(super) fn offered(expectations: Expectations<'_>) -> Option<Calls> {
    let Expectations {
        traits,
        prompt_end,
        think,
        tools,
    } = expectations;
    let format = traits.tools.unwrap_or(ToolFormat::Bare);
    let openings = openings(traits);
    if openings.is_empty() || tools.is_empty() {
        return None;
    }
    if tools.len() > MAX_WATCHED {
        tracing::info!(
            tools = tools.len(),
            "calls of so many tools are not held to them"
        );
        return None;
    }
    let bytes: usize = tools
        .iter()
        .map(|tool| arguments(&tool.parameters).len())
        .sum();
    let writing = Writing {
        format,
        most: MAX_CALLS,
        literal: loosely,
        arguments: match bytes > MAX_WATCHED_BYTES {
            true => &|_| Grammar::Json,
            false => &schema,
        },
        rest: None,
    };
    let tools: Vec<&Tool> = tools.iter().collect();
    let opening = |opening: &Opened<'_>| {
        let ways = opening.ways.iter().map(|way| writing.calls(way, &tools));
        Opening {
            mark: opening.mark.into(),
            grammar: Grammar::Sequence(vec![Grammar::Space, Grammar::Choice(ways.collect())]),
            close: opening.close.map(str::to_owned),
            is_last: opening.is_last,
        }
    };
    // Of answers that consist of messages the prompt has begun the first, and nobody opens a call in a thought.
    let has_messages = format == ToolFormat::Harmony;
    let is_thinking = think != Think::Off || traits.drops_unwanted_thinking;
    let tags = traits
        .thinking
        .as_ref()
        .filter(|_| is_thinking && !has_messages);
    Some(Calls {
        before: match prompt_end.char_indices().rev().nth(MAX_BEFORE) {
            _ if !has_messages => String::new(),
            Some((start, _)) => prompt_end[start..].to_owned(),
            None => prompt_end.to_owned(),
        },
        thoughts: tags.map(|tags| Thoughts {
            open: tags.open.clone(),
            close: tags.close.clone(),
            are_begun: prompt_end.trim_end().ends_with(&tags.open),
            come_again: traits.reopens_thinking,
        }),
        openings: openings.iter().map(opening).collect(),
    })
}

/// How calls become a grammar.
struct Writing<'a> {
    format: ToolFormat,
    /// Most calls.
    most: u32,
    /// The text of a format.
    literal: fn(&str) -> Grammar,
    /// The arguments of a tool.
    arguments: &'a dyn Fn(&Tool) -> Grammar,
    /// What follows the name where the arguments are in a notation of the family's own.
    rest: Option<Grammar>,
}

impl Writing<'_> {
    fn calls(&self, syntax: &CallSyntax<'_>, tools: &[&Tool]) -> Grammar {
        let calls = tools.iter().map(|tool| self.call(syntax, tool));
        let call = Grammar::Choice(calls.collect());
        let literal = self.literal;
        match (syntax.arguments, syntax.separator) {
            (Arguments::Own, _) => {
                let rest = self.rest.iter().cloned();
                sequence([literal(syntax.before), call].into_iter().chain(rest))
            }
            (Arguments::Json, None) => {
                sequence([literal(syntax.before), call, literal(syntax.after)])
            }
            (Arguments::Json, Some(separator)) => {
                let calls = Grammar::Repeat {
                    item: Box::new(call),
                    separator: Box::new(literal(separator)),
                    least: 1,
                    most: self.most,
                };
                sequence([literal(syntax.before), calls, literal(syntax.after)])
            }
        }
    }

    fn call(&self, syntax: &CallSyntax<'_>, tool: &Tool) -> Grammar {
        let literal = self.literal;
        let name = match syntax.arguments {
            Arguments::Json if syntax.open.ends_with('"') => {
                let json = Value::from(tool.name.as_str()).to_string();
                Grammar::Text(json[1..json.len() - 1].to_owned())
            }
            _ => match &self.format.call_names(&tool.name)[..] {
                [name] => Grammar::Text(name.clone()),
                names => Grammar::Choice(names.iter().cloned().map(Grammar::Text).collect()),
            },
        };
        let head = [literal(syntax.open), name, literal(syntax.middle)];
        match syntax.arguments {
            Arguments::Own => sequence(head),
            Arguments::Json => {
                let tail = [(self.arguments)(tool), literal(syntax.close)];
                sequence(head.into_iter().chain(tail))
            }
        }
    }
}

/// The parts that are not empty, one after the other.
fn sequence(parts: impl IntoIterator<Item = Grammar>) -> Grammar {
    let is_something = |part: &Grammar| match part {
        Grammar::Marks(text) => !text.is_empty(),
        Grammar::Sequence(parts) => !parts.is_empty(),
        _ => true,
    };
    let mut parts: Vec<Grammar> = parts.into_iter().filter(is_something).collect();
    match parts.len() {
        1 => parts.remove(0),
        _ => Grammar::Sequence(parts),
    }
}

/// A text of a format as models may vary it: with any whitespace or none where it has some, and with any number where it
/// has one.
fn loosely(text: &str) -> Grammar {
    let kind = |letter: char| (letter.is_whitespace(), letter.is_ascii_digit());
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|letter| kind(letter) != kind(first));
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        parts.push(match kind(first) {
            (true, _) => Grammar::Space,
            (_, true) => Grammar::Digits,
            _ => Grammar::Marks(part.into()),
        });
        rest = after;
    }
    sequence(parts)
}

fn schema(tool: &Tool) -> Grammar {
    Grammar::JsonSchema(arguments(&tool.parameters))
}

/// The schema of a tool's arguments, which are an object even where the schema does not say so.
fn arguments(parameters: &Value) -> String {
    let mut schema = match parameters {
        Value::Object(parameters) => parameters.clone(),
        _ => Map::new(),
    };
    schema.insert("type".into(), "object".into());
    Value::Object(schema).to_string()
}
