//! `think`: whether, or how much, a model is to think before it answers.

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, Type};

use crate::api::json::{FromJson, Mismatch};
use crate::api::openapi::describe;
use crate::prompt::{Effort, Think};

/// The field as typed. Absent is [`Think::Unset`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ThinkField(pub Think);

impl FromJson for ThinkField {
    const GO_TYPE: &'static str = "ThinkValue";

    fn schema() -> RefOr<Schema> {
        describe::either([
            describe::value(Type::Boolean),
            describe::words(["high", "medium", "low", "max"]),
        ])
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let think = match value {
            Value::Null => Think::Unset,
            Value::Bool(true) => Think::On,
            Value::Bool(false) => Think::Off,
            Value::String(text) => Think::Level(match text.as_str() {
                "low" => Effort::Low,
                "medium" => Effort::Medium,
                "high" => Effort::High,
                "max" => Effort::Max,
                _ => {
                    return Err(Mismatch::Value(format!(
                        "invalid think value: {text:?} (must be \"high\", \"medium\", \"low\", \"max\", true, or false)"
                    )));
                }
            }),
            Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return Err(Mismatch::Value(
                    "think must be a boolean or string (\"high\", \"medium\", \"low\", \"max\", true, or false)".into(),
                ));
            }
        };
        Ok(Self(think))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: Value, expected: Result<Think, &str>) {
        let read = ThinkField::from_json(value.clone());
        let read = read.map(|field| field.0).map_err(|error| error.to_string());
        assert_eq!(read, expected.map_err(str::to_owned), "{value}");
    }

    #[test]
    fn booleans_and_levels_are_read() {
        check(json!(null), Ok(Think::Unset));
        check(json!(true), Ok(Think::On));
        check(json!(false), Ok(Think::Off));
        check(json!("low"), Ok(Think::Level(Effort::Low)));
        check(json!("max"), Ok(Think::Level(Effort::Max)));
    }

    #[test]
    fn other_values_are_refused_in_ollama_s_words() {
        let invalid = "invalid think value: \"hard\" (must be \"high\", \"medium\", \"low\", \"max\", true, or false)";
        check(json!("hard"), Err(invalid));
        let kind = "think must be a boolean or string (\"high\", \"medium\", \"low\", \"max\", true, or false)";
        check(json!(1), Err(kind));
        check(json!({}), Err(kind));
    }
}
