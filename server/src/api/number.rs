//! Numbers with a fraction, in requests.

use serde_json::Value;

use super::json::{FromJson, Mismatch};

/// A number that an engine can compute with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Float(pub f64);

impl FromJson for Float {
    const GO_TYPE: &'static str = "float64";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let number = value
            .as_f64()
            .ok_or_else(|| Mismatch::new(&value, Self::GO_TYPE))?;
        if number.abs() > f64::from(f32::MAX) {
            return Err(Mismatch::Value(format!("{value} is out of range")));
        }
        Ok(Self(number))
    }
}
