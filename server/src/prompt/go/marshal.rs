//! Values as JSON, the way Go's `encoding/json` writes them, and the values that print themselves as JSON.

use std::fmt::Write;

use super::float::{self, Notation};
use super::value::{List, ListKind, MapKind, Record, Value};

/// What a value prints itself as, if its type has a `String` method.
pub(super) fn own_text(value: &Value) -> Option<String> {
    match value {
        Value::List(list) => match list.kind {
            ListKind::Tools => Some(json(value)),
            ListKind::Types => Some(types(list)),
            _ => None,
        },
        Value::Map(map) => match map.kind {
            MapKind::Arguments | MapKind::Properties if map.is_nil => Some("{}".into()),
            MapKind::Arguments | MapKind::Properties => Some(json(value)),
            MapKind::Any => None,
        },
        Value::Record(record) if record.shape.prints_json => Some(json(value)),
        _ => None,
    }
}

/// One type as itself, several as a list.
fn types(list: &List) -> String {
    let names = list.items().iter().map(|item| match item {
        Value::Text(name) => String::from_utf8_lossy(name).into_owned(),
        _ => String::new(),
    });
    let names: Vec<String> = names.collect();
    match names.as_slice() {
        [] => String::new(),
        [name] => name.clone(),
        names => format!("[{}]", names.join(" ")),
    }
}

/// What `json.Marshal` writes; nothing for what it refuses.
pub(super) fn json(value: &Value) -> String {
    let mut out = String::new();
    match write(&mut out, value) {
        Some(()) => out,
        None => String::new(),
    }
}

fn write(out: &mut String, value: &Value) -> Option<()> {
    match value {
        Value::Nil | Value::Properties(None) => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Int(number) => write!(out, "{number}").ok()?,
        Value::Byte(byte) => write!(out, "{byte}").ok()?,
        Value::Float(number) => out.push_str(&number_text(*number)?),
        Value::Complex(..) => return None,
        Value::Text(text) => write_text(out, text),
        Value::List(list) => write_list(out, list)?,
        Value::Map(map) if map.is_nil => out.push_str("null"),
        Value::Map(map) => write_object(out, map.entries.iter())?,
        Value::Properties(Some(entries)) => {
            write_object(out, entries.iter().map(|(key, value)| (key, value)))?;
        }
        Value::Record(record) => write_record(out, record)?,
    }
    Some(())
}

fn write_list(out: &mut String, list: &List) -> Option<()> {
    match (list.kind, list.items()) {
        (ListKind::Types, [only]) => return write(out, only),
        // Bytes are base64, of which nothing gives nothing.
        (ListKind::Image, _) if !list.is_nil => out.push_str("\"\""),
        (_, _) if list.is_nil => out.push_str("null"),
        (_, items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(out, item)?;
            }
            out.push(']');
        }
    }
    Some(())
}

fn write_object<'v>(
    out: &mut String,
    entries: impl Iterator<Item = (&'v String, &'v Value)>,
) -> Option<()> {
    out.push('{');
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(out, key.as_bytes());
        out.push(':');
        write(out, value)?;
    }
    out.push('}');
    Some(())
}

fn write_record(out: &mut String, record: &Record) -> Option<()> {
    out.push('{');
    let mut is_first = true;
    for (field, value) in record.shape.fields.iter().zip(record.fields.iter()) {
        if field.omit_empty && is_empty(value) {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(',');
        }
        write_text(out, field.json.as_bytes());
        out.push(':');
        write(out, value)?;
    }
    out.push('}');
    Some(())
}

fn is_empty(value: &Value) -> bool {
    !matches!(value, Value::Record(_)) && !value.is_true()
}

fn number_text(number: f64) -> Option<String> {
    if !number.is_finite() {
        return None;
    }
    let size = number.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return Some(float::format(number, Notation::Plain, None));
    }
    let text = float::format(number, Notation::Exponent, None);
    // Small exponents are written with one digit.
    Some(text.replace("e-0", "e-"))
}

fn write_text(out: &mut String, text: &[u8]) {
    out.push('"');
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' | '\\' => {
                    out.push('\\');
                    out.push(letter);
                }
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..'\x20' => {
                    let number = u32::from(letter);
                    write!(out, "\\u{number:04x}").expect("strings take everything");
                }
                _ => out.push(letter),
            }
        }
        for _ in chunk.invalid() {
            out.push_str("\\ufffd");
        }
    }
    out.push('"');
}
