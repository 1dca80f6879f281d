//! `keep_alive`: seconds, or a duration as Go writes it.

use std::time::Duration;

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, Type};

use crate::api::json::{FromJson, Mismatch};
use crate::api::openapi::describe;
use crate::duration::KeepAlive;

/// The field as typed. Absent: what the server was started with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KeepAliveField(pub Option<KeepAlive>);

impl KeepAliveField {
    /// Whether the caller wants the model gone once nothing runs on it.
    pub fn is_zero(self) -> bool {
        matches!(self.0, Some(KeepAlive::For(Duration::ZERO)))
    }
}

impl FromJson for KeepAliveField {
    const GO_TYPE: &'static str = "Duration";

    fn schema() -> RefOr<Schema> {
        describe::either([describe::value(Type::Number), describe::value(Type::String)])
    }

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let unsupported = |kind: &str| Mismatch::Value(format!("Unsupported type: '{kind}'"));
        let keep_alive = match &value {
            Value::Null => return Ok(Self(None)),
            Value::Number(number) => KeepAlive::from_seconds(number.as_f64().unwrap_or_default()),
            Value::String(text) => {
                KeepAlive::parse(text).ok_or_else(|| Mismatch::Value(mistake(text)))?
            }
            Value::Bool(_) => return Err(unsupported("bool")),
            Value::Array(_) => return Err(unsupported("[]interface {}")),
            Value::Object(_) => return Err(unsupported("map[string]interface {}")),
        };
        Ok(Self(Some(keep_alive)))
    }
}

/// What Go's `time.ParseDuration` says of a text that is no duration.
fn mistake(text: &str) -> String {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = |letter: char| letter.is_ascii_digit() || letter == '.';
    if !unsigned.starts_with(|letter: char| letter.is_ascii_digit()) {
        return format!("time: invalid duration {text:?}");
    }
    if unsigned.ends_with(is_number) {
        return format!("time: missing unit in duration {text:?}");
    }
    let unknown = unsigned
        .split(is_number)
        .find(|unit| !unit.is_empty() && KeepAlive::parse(&format!("1{unit}")).is_none());
    match unknown {
        Some(unit) => format!("time: unknown unit {unit:?} in duration {text:?}"),
        None => format!("time: invalid duration {text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: Value, expected: Result<Option<KeepAlive>, &str>) {
        let read = KeepAliveField::from_json(value.clone());
        let read = read.map(|field| field.0).map_err(|error| error.to_string());
        assert_eq!(read, expected.map_err(str::to_owned), "{value}");
    }

    #[test]
    fn seconds_and_go_durations_are_read() {
        let lasts = |milliseconds| Ok(Some(KeepAlive::For(Duration::from_millis(milliseconds))));
        check(json!(300), lasts(300_000));
        check(json!(0.5), lasts(500));
        check(json!(0), lasts(0));
        check(json!("0"), lasts(0));
        check(json!("0s"), lasts(0));
        check(json!("10m"), lasts(600_000));
        check(json!("1h30m"), lasts(5_400_000));
        check(json!("300ms"), lasts(300));
        check(json!("+1.5s"), lasts(1_500));
        check(json!("1000000ns1000µs"), lasts(2));
        check(json!(-1), Ok(Some(KeepAlive::Forever)));
        check(json!("-1s"), Ok(Some(KeepAlive::Forever)));
        check(json!("-1m"), Ok(Some(KeepAlive::Forever)));
        check(json!(1e300), Ok(Some(KeepAlive::Forever)));
        check(json!(null), Ok(None));
    }

    #[test]
    fn what_go_refuses_is_refused_in_its_words() {
        check(json!("300"), Err("time: missing unit in duration \"300\""));
        check(json!(""), Err("time: invalid duration \"\""));
        check(json!("-"), Err("time: invalid duration \"-\""));
        check(json!("m"), Err("time: invalid duration \"m\""));
        check(json!("1.2.3s"), Err("time: invalid duration \"1.2.3s\""));
        check(
            json!("5 m"),
            Err("time: unknown unit \" m\" in duration \"5 m\""),
        );
        check(
            json!("5d"),
            Err("time: unknown unit \"d\" in duration \"5d\""),
        );
        check(json!(true), Err("Unsupported type: 'bool'"));
        check(json!([1]), Err("Unsupported type: '[]interface {}'"));
        check(
            json!({}),
            Err("Unsupported type: 'map[string]interface {}'"),
        );
    }
}
