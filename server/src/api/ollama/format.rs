//! `format`: what shape the answer is to have.

use serde_json::Value;

use crate::api::Error;

/// Lets pass what asks for no shape.
///
/// # Errors
/// For a shape, which cannot be kept yet, and for what is none. A shape that was silently dropped would be worse: the
/// caller parses the answer.
pub fn check(format: &Value) -> Result<(), Error> {
    match format {
        Value::Null => Ok(()),
        Value::String(text) if text.is_empty() => Ok(()),
        Value::String(text) if text == "json" => Err(unsupported()),
        Value::Object(_) => Err(unsupported()),
        other => Err(Error::BadRequest(format!(
            "invalid format: {other}; expected \"json\" or a valid JSON Schema object"
        ))),
    }
}

fn unsupported() -> Error {
    Error::NotImplemented("structured output is not supported yet".into())
}
