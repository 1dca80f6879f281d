//! `format` and `grammar`: what shape the answer is to have.

use serde_json::Value;

use crate::api::Error;
use crate::api::shape::Format;
use crate::inference::generate::Grammar;

/// Reads both fields. `grammar` is ours: an object with one of `regex`, `gbnf` and `lark`. It is a field of its own
/// because every object in `format` is a JSON Schema.
///
/// # Errors
/// For what is no shape, in Ollama's words where Ollama has some.
pub fn read(format: &Value, grammar: &Value) -> Result<Format, Error> {
    let format = match format {
        Value::Null => Format::Free,
        Value::String(text) if text.is_empty() => Format::Free,
        Value::String(text) if text == "json" => Format::Json,
        Value::Object(schema) => Format::Schema(schema.clone()),
        other => {
            return Err(Error::BadRequest(format!(
                "invalid format: {other}; expected \"json\" or a valid JSON Schema object"
            )));
        }
    };
    match (grammar, format) {
        (Value::Null, format) => Ok(format),
        (grammar, Format::Free) => read_grammar(grammar).map(Format::Grammar),
        _ => Err(Error::BadRequest(
            "an answer has one shape: give format or grammar".into(),
        )),
    }
}

fn read_grammar(grammar: &Value) -> Result<Grammar, Error> {
    let mut entries = grammar.as_object().into_iter().flatten();
    let entry = (entries.next(), entries.next());
    match entry {
        (Some((kind, Value::String(text))), None) => match kind.as_str() {
            "regex" => Some(Grammar::Regex(text.clone())),
            "gbnf" => Some(Grammar::Gbnf(text.clone())),
            "lark" => Some(Grammar::Lark(text.clone())),
            _ => None,
        },
        _ => None,
    }
    .ok_or_else(|| {
        Error::BadRequest(
            "invalid grammar: expected an object with the text of one of \"regex\", \"gbnf\" and \"lark\""
                .into(),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(format: Value, grammar: Value, expected: Result<Format, &str>) {
        let found = read(&format, &grammar).map_err(|error| error.to_string());
        let what = format!("{format} {grammar}");
        assert_eq!(found, expected.map_err(str::to_owned), "{what}");
    }

    #[test]
    fn formats_are_read_as_ollama_does() {
        let none = || Value::Null;
        check(none(), none(), Ok(Format::Free));
        check(json!(""), none(), Ok(Format::Free));
        check(json!("json"), none(), Ok(Format::Json));
        let schema = json!({"type": "object"});
        let map = schema.as_object().unwrap().clone();
        check(schema, none(), Ok(Format::Schema(map)));
        let invalid = "invalid format: \"xml\"; expected \"json\" or a valid JSON Schema object";
        check(json!("xml"), none(), Err(invalid));
        let invalid = "invalid format: 1; expected \"json\" or a valid JSON Schema object";
        check(json!(1), none(), Err(invalid));
    }

    #[test]
    fn a_grammar_is_one_of_three_kinds_and_no_second_shape() {
        let regex = Format::Grammar(Grammar::Regex("a+".into()));
        check(json!(""), json!({"regex": "a+"}), Ok(regex));
        let invalid = "invalid grammar: expected an object with the text of one of \"regex\", \"gbnf\" and \"lark\"";
        let none = || Value::Null;
        check(none(), json!({"yacc": "a"}), Err(invalid));
        check(none(), json!({"regex": 1}), Err(invalid));
        check(none(), json!({"regex": "a", "lark": "b"}), Err(invalid));
        check(none(), json!("a+"), Err(invalid));
        let twice = "an answer has one shape: give format or grammar";
        check(json!("json"), json!({"regex": "a+"}), Err(twice));
    }
}
