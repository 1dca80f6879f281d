//! `info` of `/api/create`: what a request says of a model, field by field.

use serde_json::{Map, Value};

use crate::api::Error;
use crate::store::Info;

/// What the fields say; others are passed over.
///
/// # Errors
/// When a field is of another type.
pub fn info(fields: &Map<String, Value>) -> Result<Info, Error> {
    let text = |key: &str| match fields.get(key) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(wrong(key, "a string")),
    };
    let number = |key: &str| match fields.get(key) {
        None => Ok(None),
        Some(Value::Number(number)) => whole(number.as_f64().unwrap_or(f64::NAN))
            .map(Some)
            .ok_or_else(|| wrong(key, "a non-negative integer")),
        Some(_) => Err(wrong(key, "a number")),
    };
    let capabilities = fields.get("capabilities").and_then(Value::as_array);
    Ok(Info {
        capabilities: capabilities
            .into_iter()
            .flatten()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect(),
        model_family: text("model_family")?,
        base_name: text("base_name")?,
        quantization_level: text("quantization_level")?,
        parameter_size: text("parameter_size")?,
        context_length: number("context_length")?,
        embedding_length: number("embedding_length")?,
    })
}

fn wrong(key: &str, kind: &str) -> Error {
    Error::BadRequest(format!("info field {key:?} must be {kind}"))
}

/// A number of JSON without a fraction, as long as it is exact.
fn whole(number: f64) -> Option<u64> {
    let is_whole = number.fract() == 0.0 && (0.0..9e15).contains(&number);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole, not negative, and below 2^53"
    )]
    is_whole.then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(fields: Value) -> String {
        let error = info(fields.as_object().unwrap()).unwrap_err();
        error.to_string()
    }

    #[test]
    fn fields_are_read_or_refused_in_ollamas_words() {
        let fields = json!({
            "capabilities": ["vision", 3], "model_family": "llama", "context_length": 4096.0, "other": [],
        });
        let read = info(fields.as_object().unwrap()).unwrap();
        assert_eq!(read.capabilities, ["vision"]);
        assert_eq!(read.model_family, "llama");
        assert_eq!(read.context_length, Some(4096));
        let text = "info field \"base_name\" must be a string";
        assert_eq!(refusal(json!({"base_name": 1})), text);
        let number = "info field \"context_length\" must be a number";
        assert_eq!(refusal(json!({"context_length": "1"})), number);
        for odd in [json!(-1), json!(1.5), json!(1e300)] {
            let text = "info field \"embedding_length\" must be a non-negative integer";
            assert_eq!(refusal(json!({"embedding_length": odd})), text);
        }
    }
}
