//! JSON and numbers as Go prints them, because models that name a renderer were published with prompts that Go printed.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// How JSON is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    /// A space after each comma and colon.
    pub(super) spaced: bool,
    /// `<`, `>` and `&` as they are, not as `\u003c`.
    pub(super) html: bool,
    /// Four spaces for each level, one item a line.
    pub(super) indented: bool,
}

/// As `json.Marshal` prints it.
pub(super) const COMPACT: Layout = Layout {
    spaced: false,
    html: false,
    indented: false,
};

/// With a space after each comma and colon.
pub(super) const SPACED: Layout = Layout {
    spaced: true,
    ..COMPACT
};

/// With spaces, and nothing escaped for HTML: as Python prints it.
pub(super) const PYTHON: Layout = Layout {
    html: true,
    ..SPACED
};

/// Four spaces for each level.
pub(super) const INDENTED: Layout = Layout {
    indented: true,
    ..COMPACT
};

/// A value with the keys of all its objects in order of their bytes: what a value of no declared type comes to in Go.
pub(super) fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            entries
                .into_iter()
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect()
        }
        other => other.clone(),
    }
}

/// The arguments of a call: the keys of the object itself as they came, those within it in order.
pub(super) fn arguments(value: &Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), sorted(value)))
            .collect(),
        _ => Value::Object(serde_json::Map::new()),
    }
}

/// The entries of a call's arguments, as they came.
pub(super) fn entries(arguments: &Value) -> impl Iterator<Item = (&str, &Value)> {
    arguments
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value))
}

/// The same in order of their keys.
pub(super) fn sorted_entries(arguments: &Value) -> Vec<(&str, &Value)> {
    let mut found: Vec<_> = entries(arguments).collect();
    found.sort_by_key(|(key, _)| *key);
    found
}

/// A value as JSON, keys as they come.
pub(super) fn json(value: &Value, layout: Layout) -> String {
    let mut text = String::new();
    Printer {
        layout,
        text: &mut text,
    }
    .value(value, 0);
    text
}

/// A scalar as `fmt` prints it for `%v`, and a container as JSON. Whole numbers keep all their digits, where Go would
/// turn to exponents from 10^21 on.
pub(super) fn display(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) => {
            let text = self::number(number);
            match text.split_once("e-") {
                // Go writes two digits of an exponent here and one in JSON.
                Some((digits, exponent)) if exponent.len() == 1 => format!("{digits}e-0{exponent}"),
                _ => text,
            }
        }
        Value::Bool(value) => value.to_string(),
        Value::Array(_) | Value::Object(_) => json(&sorted(value), COMPACT),
    }
}

/// A number as `encoding/json` prints it.
pub(super) fn number(number: &Number) -> String {
    if number.is_i64() || number.is_u64() {
        return number.to_string();
    }
    let value = number.as_f64().expect("a JSON number is one of the three");
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return value.to_string();
    }
    // Rust writes 1e21 where Go writes 1e+21.
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

struct Printer<'a> {
    layout: Layout,
    text: &'a mut String,
}

impl Printer<'_> {
    fn value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Null => self.text.push_str("null"),
            Value::Bool(value) => self.text.push_str(if *value { "true" } else { "false" }),
            Value::Number(value) => self.text.push_str(&number(value)),
            Value::String(value) => self.string(value),
            Value::Array(items) => {
                self.text.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.item(index, depth + 1);
                    self.value(item, depth + 1);
                }
                self.close(']', items.is_empty(), depth);
            }
            Value::Object(entries) => {
                self.text.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    self.item(index, depth + 1);
                    self.string(key);
                    self.text.push(':');
                    if self.layout.spaced || self.layout.indented {
                        self.text.push(' ');
                    }
                    self.value(value, depth + 1);
                }
                self.close('}', entries.is_empty(), depth);
            }
        }
    }

    /// What stands in front of an item.
    fn item(&mut self, index: usize, depth: usize) {
        if index > 0 {
            self.text.push(',');
        }
        if self.layout.indented {
            self.line(depth);
        } else if index > 0 && self.layout.spaced {
            self.text.push(' ');
        }
    }

    fn close(&mut self, bracket: char, is_empty: bool, depth: usize) {
        if self.layout.indented && !is_empty {
            self.line(depth);
        }
        self.text.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n("    ", depth));
    }

    fn string(&mut self, value: &str) {
        self.text.push('"');
        for character in value.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                '<' | '>' | '&' if !self.layout.html => self.escape(character),
                '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => self.escape(character),
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
    }

    fn escape(&mut self, character: char) {
        write!(self.text, "\\u{:04x}", u32::from(character)).expect("a string takes any text");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_laid_out_as_go_does_it() {
        let value = json!({"b": [1, 2.0, {"z": "<é\n\u{1}\u{2028}>", "a": null}], "a": {}});
        assert_eq!(
            json(&value, COMPACT),
            r#"{"b":[1,2,{"z":"\u003cé\n\u0001\u2028\u003e","a":null}],"a":{}}"#
        );
        assert_eq!(
            json(&arguments(&value), PYTHON),
            r#"{"b": [1, 2, {"a": null, "z": "<é\n\u0001\u2028>"}], "a": {}}"#
        );
        assert_eq!(
            json(&json!({"a": [1, []], "b": {}}), INDENTED),
            "{\n    \"a\": [\n        1,\n        []\n    ],\n    \"b\": {}\n}"
        );
    }

    #[test]
    fn numbers_are_those_of_go() {
        let check = |text: &str, expected: &str| {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(display(&value), expected);
        };
        check("1000000", "1000000");
        check("1.50", "1.5");
        check("1e21", "1e+21");
        check("1e-7", "1e-07");
        check("0.0", "0");
        check("-2.5e22", "-2.5e+22");
        check("9007199254740993", "9007199254740993");
    }
}
