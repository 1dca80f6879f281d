//! Texts and pairs of texts, in the forms in which callers write them.

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, Type};

use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::openapi::describe;
use crate::inference::encode::Input;

/// What callers call the texts of a request.
pub const TEXTS: &[&str] = &["input", "inputs", "text", "texts"];

/// A text, a pair (`{"text": ..., "text_pair": ...}`), or a list whose items are texts or pairs, the latter also written as
/// lists of two.
#[derive(Debug, Default, PartialEq)]
pub struct Inputs(pub Vec<Input>);

impl FromJson for Inputs {
    const GO_TYPE: &'static str = "texts or pairs of texts";

    fn schema() -> RefOr<Schema> {
        let item = || {
            describe::either([
                <String as FromJson>::schema(),
                describe::list(<String as FromJson>::schema()),
                describe::value(Type::Object),
            ])
        };
        describe::either([item(), describe::list(item())])
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        Ok(Self(match value {
            Value::Array(items) => items.into_iter().map(item).collect::<Result<_, _>>()?,
            one => vec![item(one)?],
        }))
    }
}

/// One of the texts or pairs.
fn item(value: Value) -> Result<Input, Mismatch> {
    match value {
        Value::String(text) => Ok(Input::Text(text)),
        Value::Array(texts) => texts_of(texts),
        Value::Object(_) => {
            let mut fields = Fields::of("Input", value)?;
            let text: Option<String> = fields.take("text")?;
            let pair: Option<String> = fields.take("text_pair")?;
            match (text, pair) {
                (Some(text), None) => Ok(Input::Text(text)),
                (Some(text), Some(pair)) => Ok(Input::Pair(text, pair)),
                (None, _) => Err(invalid()),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Err(invalid()),
    }
}

/// One or two texts in a list.
pub fn texts_of(texts: Vec<Value>) -> Result<Input, Mismatch> {
    let mut texts = texts.into_iter();
    match (texts.next(), texts.next(), texts.next()) {
        (Some(Value::String(text)), None, None) => Ok(Input::Text(text)),
        (Some(Value::String(first)), Some(Value::String(second)), None) => {
            Ok(Input::Pair(first, second))
        }
        _ => Err(invalid()),
    }
}

/// What is told of anything else.
pub fn invalid() -> Mismatch {
    Mismatch::Value("input must be a text, a pair of texts, or a list of texts or pairs".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> Input {
        Input::Text(text.into())
    }

    fn pair(first: &str, second: &str) -> Input {
        Input::Pair(first.into(), second.into())
    }

    #[test]
    fn texts_and_pairs_are_read_in_every_form() {
        let check = |value: Value, expected: &[Input]| {
            assert_eq!(Inputs::from_json(value).unwrap().0, expected);
        };
        check(json!("a"), &[text("a")]);
        check(json!([]), &[]);
        check(json!(["a", "b"]), &[text("a"), text("b")]);
        check(json!([["a", "b"], ["c"]]), &[pair("a", "b"), text("c")]);
        check(json!({"text": "a", "text_pair": "b"}), &[pair("a", "b")]);
        check(
            json!([{"text": "a"}, {"text": "a", "text_pair": "b"}, "c"]),
            &[text("a"), pair("a", "b"), text("c")],
        );
    }

    #[test]
    fn what_is_neither_is_refused() {
        for value in [
            json!(1),
            json!([1]),
            json!([["a", "b", "c"]]),
            json!([[]]),
            json!([["a", 1]]),
            json!({"text_pair": "b"}),
            json!([null]),
        ] {
            let error = Inputs::from_json(value.clone()).unwrap_err().to_string();
            assert_eq!(error, invalid().to_string(), "{value}");
        }
    }
}
