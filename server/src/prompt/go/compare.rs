//! `eq`, `lt` and their kin, by Go's rules on which values may be compared.

use std::cmp::Ordering;
use std::rc::Rc;

use super::print;
use super::value::{Held, Value};

/// Whether the first equals any of the others.
pub(super) fn equal(first: &Held, others: &[Held]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        if pair_equal(&first.value, &other.value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the first comes before the second.
pub(super) fn less(first: &Held, second: &Held) -> Result<bool, String> {
    const INVALID: &str = "invalid type for comparison";
    let (first, second) = (&first.value, &second.value);
    let kinds = (
        Kind::of(first).ok_or(INVALID)?,
        Kind::of(second).ok_or(INVALID)?,
    );
    match (first, second) {
        (Value::Text(first), Value::Text(second)) => Ok(first < second),
        (Value::Float(first), Value::Float(second)) => Ok(first < second),
        (Value::Bool(_), Value::Bool(_)) | (Value::Complex(..), Value::Complex(..)) => {
            Err(INVALID.into())
        }
        _ => match (integer(first), integer(second)) {
            (Some(first), Some(second)) => Ok(first.cmp(&second) == Ordering::Less),
            _ => {
                debug_assert_ne!(kinds.0, kinds.1);
                Err(incompatible(first, second))
            }
        },
    }
}

/// Whether the first comes before the second or equals it.
pub(super) fn less_or_equal(first: &Held, second: &Held) -> Result<bool, String> {
    Ok(less(first, second)? || equal(first, std::slice::from_ref(second))?)
}

/// Kinds of values that have an order, or at least an equality, of their own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Bool,
    Complex,
    Int,
    Float,
    Text,
    Unsigned,
}

impl Kind {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(_) => Some(Self::Bool),
            Value::Complex(..) => Some(Self::Complex),
            Value::Int(_) => Some(Self::Int),
            Value::Float(_) => Some(Self::Float),
            Value::Text(_) => Some(Self::Text),
            Value::Byte(_) => Some(Self::Unsigned),
            Value::Nil
            | Value::List(_)
            | Value::Map(_)
            | Value::Record(_)
            | Value::Properties(_) => None,
        }
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Byte(byte) => Some(i64::from(*byte)),
        _ => None,
    }
}

fn incompatible(first: &Value, second: &Value) -> String {
    let (first, second) = (first.type_name(), second.type_name());
    format!("incompatible types for comparison: {first} and {second}")
}

fn pair_equal(first: &Value, second: &Value) -> Result<bool, String> {
    if let (Some(first), Some(second)) = (integer(first), integer(second)) {
        return Ok(first == second);
    }
    match (Kind::of(first), Kind::of(second)) {
        (None, None) => composite_equal(first, second),
        (one, other) if one != other => match (first, second) {
            (Value::Nil, _) | (_, Value::Nil) => Ok(false),
            _ => Err(incompatible(first, second)),
        },
        _ => Ok(match (first, second) {
            (Value::Bool(first), Value::Bool(second)) => first == second,
            (Value::Float(first), Value::Float(second)) => first == second,
            (Value::Text(first), Value::Text(second)) => first == second,
            (Value::Complex(a, b), Value::Complex(c, d)) => a == c && b == d,
            _ => false,
        }),
    }
}

fn composite_equal(first: &Value, second: &Value) -> Result<bool, String> {
    let kinds = (shape(first), shape(second));
    if kinds.0 != kinds.1 && kinds.0 != Shape::Nothing && kinds.1 != Shape::Nothing {
        return Err(format!(
            "non-comparable types {}: {}, {}: {}",
            shown(first, b"%s"),
            first.type_name(),
            second.type_name(),
            shown(second, b"%v"),
        ));
    }
    if is_nil(first) || is_nil(second) {
        return Ok(is_nil(first) == is_nil(second));
    }
    match (first, second) {
        (Value::Record(first), Value::Record(second)) if second.is_pointer => {
            Ok(Rc::ptr_eq(&first.fields, &second.fields))
        }
        (Value::Properties(Some(first)), Value::Properties(Some(second))) => {
            Ok(Rc::ptr_eq(first, second))
        }
        _ => Err(format!(
            "non-comparable type {}: {}",
            shown(second, b"%s"),
            second.type_name()
        )),
    }
}

/// What kind of thing a value is that has no [`Kind`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    Nothing,
    List,
    Map,
    Record,
    Pointer,
}

fn shape(value: &Value) -> Shape {
    match value {
        Value::List(_) => Shape::List,
        Value::Map(_) => Shape::Map,
        Value::Record(record) if !record.is_pointer => Shape::Record,
        Value::Record(_) | Value::Properties(_) => Shape::Pointer,
        _ => Shape::Nothing,
    }
}

fn is_nil(value: &Value) -> bool {
    match value {
        Value::Nil | Value::Properties(None) => true,
        Value::List(list) => list.is_nil,
        Value::Map(map) => map.is_nil,
        _ => false,
    }
}

fn shown(value: &Value, verb: &[u8]) -> String {
    let text = print::printf(verb, std::slice::from_ref(value)).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}
