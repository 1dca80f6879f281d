//! Tool calls as grammars, in the ways of writing them that `prompt/parse/` reads.

use serde_json::{Map, Value};

use crate::inference::generate::Grammar;
use crate::prompt::{Arguments, CallSyntax, Tool, ToolFormat};

/// Most calls in one answer that is forced to have some: a model that knows no end must not write calls for ever.
const MAX_CALLS: u32 = 32;

/// One call of one of the tools, or several.
pub(super) fn grammar(format: Option<ToolFormat>, tools: &[&Tool], one_call: bool) -> Grammar {
    let most = if one_call { 1 } else { MAX_CALLS };
    match format {
        Some(ToolFormat::Hermes) => Grammar::Repeat {
            item: Box::new(surrounded(
                "<tool_call>\n",
                object(tools, "arguments"),
                "\n</tool_call>",
            )),
            separator: "\n".into(),
            least: 1,
            most,
        },
        Some(ToolFormat::Mistral) => {
            let list = Grammar::Repeat {
                item: Box::new(object(tools, "arguments")),
                separator: ", ".into(),
                least: 1,
                most,
            };
            surrounded("[TOOL_CALLS][", list, "]")
        }
        // These models call one tool at a time.
        Some(ToolFormat::Llama) => object(tools, "parameters"),
        Some(ToolFormat::Bare) | None => object(tools, "arguments"),
        Some(other) => described(other.call_syntax(), tools, most),
    }
}

/// Calls by the description of their format. Arguments in a notation of a family's own are left to the model, which
/// then is past everything that could go wrong.
fn described(syntax: CallSyntax, tools: &[&Tool], most: u32) -> Grammar {
    let head = |tool: &Tool| Grammar::Text([syntax.open, &tool.name, syntax.middle].concat());
    let calls = tools.iter().map(|tool| {
        Grammar::Sequence(match syntax.arguments {
            Arguments::Json => vec![
                head(tool),
                Grammar::JsonSchema(arguments(&tool.parameters)),
                Grammar::Text(syntax.close.into()),
            ],
            Arguments::Own => vec![head(tool), Grammar::Regex("(?s:.*)".into())],
        })
    });
    let call = Grammar::Choice(calls.collect());
    match (syntax.arguments, syntax.separator) {
        (Arguments::Own, _) => Grammar::Sequence(vec![Grammar::Text(syntax.before.into()), call]),
        (Arguments::Json, None) => surrounded(syntax.before, call, syntax.after),
        (Arguments::Json, Some(separator)) => {
            let calls = Grammar::Repeat {
                item: Box::new(call),
                separator: separator.into(),
                least: 1,
                most,
            };
            surrounded(syntax.before, calls, syntax.after)
        }
    }
}

/// `{"name": …, "<key>": {…}}`, with arguments that the tool's own schema accepts.
fn object(tools: &[&Tool], key: &str) -> Grammar {
    let calls = tools.iter().map(|tool| {
        let name = Value::String(tool.name.clone());
        surrounded(
            &format!("{{\"name\": {name}, \"{key}\": "),
            Grammar::JsonSchema(arguments(&tool.parameters)),
            "}",
        )
    });
    Grammar::Choice(calls.collect())
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

fn surrounded(before: &str, inner: Grammar, after: &str) -> Grammar {
    Grammar::Sequence(vec![
        Grammar::Text(before.into()),
        inner,
        Grammar::Text(after.into()),
    ])
}
