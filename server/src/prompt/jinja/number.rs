//! Floats as Python prints them: the engine agrees but for very large and very small ones.

use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Object, ObjectRepr, ValueKind};

/// Python's `repr` of a finite float. Rust agrees with it on where exponents begin and not on how they look.
pub(super) fn repr(float: f64) -> String {
    let text = format!("{float:?}");
    match text.split_once('e') {
        None => text,
        Some((mantissa, exponent)) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{digits:0>2}")
        }
    }
}

/// A float of the caller's JSON. One that Python prints with an exponent becomes a [`Float`]: the engine prints values
/// in many places, and always without.
pub(super) fn of_json(float: f64) -> Value {
    if format!("{float:?}").contains('e') {
        Value::from_object(Float(float))
    } else {
        Value::from(float)
    }
}

/// The number that a value is, if it is a float.
pub(super) fn float(value: &Value) -> Option<f64> {
    if let Some(Float(float)) = value.downcast_object_ref() {
        return Some(*float);
    }
    (value.kind() == ValueKind::Number && !value.is_integer())
        .then(|| f64::try_from(value.clone()).expect("a number that is no integer is a float"))
}

/// A float that is printed with an exponent. It is for printing: the engine does not calculate with it.
#[derive(Debug)]
struct Float(f64);

impl Object for Float {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr(self.0))
    }
}
