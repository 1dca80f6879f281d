//! JSON as Python's `json.dumps` prints it, which is what models saw when they were trained.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use super::number;

/// Arrays and objects within each other; beyond it a template is building a trap and not a prompt.
const MAX_DEPTH: usize = 200;

/// Longest text in bytes: a list that holds another one twice, thirty times over, is small until it is printed.
const MAX_BYTES: usize = super::MAX_PROMPT_BYTES;

/// Most spaces of a level.
const MAX_INDENT: usize = 32;

/// How JSON is laid out.
pub(super) struct Style {
    /// `\u00e9` instead of `é`.
    pub(super) ensure_ascii: bool,
    /// Spaces of each level, one item a line; none: all in one line.
    pub(super) indent: Option<usize>,
    /// Between items.
    pub(super) item_separator: String,
    /// Between a key and its value.
    pub(super) key_separator: String,
    /// Keys in order of their code points instead of as they come.
    pub(super) sort_keys: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            ensure_ascii: false,
            indent: None,
            item_separator: ", ".into(),
            key_separator: ": ".into(),
            sort_keys: false,
        }
    }
}

/// A template's value as JSON.
///
/// # Errors
/// For values that JSON does not have, as in Python.
pub(super) fn dump(value: &Value, style: &Style) -> Result<String, Error> {
    let mut text = String::new();
    Printer {
        style,
        text: &mut text,
    }
    .value(value, 0)?;
    Ok(text)
}

/// The caller's JSON on one line with spaces after separators.
pub(super) fn dump_spaced(value: &serde_json::Value) -> String {
    dump(&to_value(value), &Style::default()).expect("JSON has only what JSON has")
}

/// The caller's JSON as a template's value, keys in their order.
pub(super) fn to_value(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => number
            .as_i64()
            .map(Value::from)
            .or_else(|| number.as_u64().map(Value::from))
            .or_else(|| number.as_f64().map(number::of_json))
            .expect("a JSON number is one of these"),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(to_value).collect(),
        Json::Object(entries) => Value::from_pairs(
            entries
                .iter()
                .map(|(key, value)| (key.as_str(), to_value(value))),
        ),
    }
}

struct Printer<'a> {
    style: &'a Style,
    text: &'a mut String,
}

impl Printer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH || self.text.len() > MAX_BYTES {
            return Err(Error::new(
                ErrorKind::BadSerialization,
                "the value is nested too deeply or too large",
            ));
        }
        match value.kind() {
            ValueKind::None => self.text.push_str("null"),
            ValueKind::Bool => self
                .text
                .push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.text.push_str(&literal(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.map(|item| (None, item)).collect();
                self.container(['[', ']'], items, depth)?;
            }
            ValueKind::Map => {
                let mut entries = Vec::new();
                for key in value.try_iter()? {
                    let entry = value.get_item(&key)?;
                    entries.push((Some(key_text(&key)?), entry));
                }
                if self.style.sort_keys {
                    entries.sort_by(|a, b| a.0.cmp(&b.0));
                }
                self.container(['{', '}'], entries, depth)?;
            }
            ValueKind::Plain if number::float(value).is_some() => {
                self.text.push_str(&literal(value));
            }
            kind => {
                return Err(Error::new(
                    ErrorKind::BadSerialization,
                    format!("a value of type {kind} is not JSON serializable"),
                ));
            }
        }
        Ok(())
    }

    fn container(
        &mut self,
        [open, close]: [char; 2],
        items: Vec<(Option<String>, Value)>,
        depth: usize,
    ) -> Result<(), Error> {
        self.text.push(open);
        let empty = items.is_empty();
        for (index, (key, value)) in items.into_iter().enumerate() {
            if index > 0 {
                self.text.push_str(&self.style.item_separator);
            }
            self.line(depth + 1);
            if let Some(key) = key {
                self.string(&key);
                self.text.push_str(&self.style.key_separator);
            }
            self.value(&value, depth + 1)?;
        }
        if !empty {
            self.line(depth);
        }
        self.text.push(close);
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = self.style.indent {
            let indent = indent.min(MAX_INDENT);
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                control if control < ' ' => self.escape(control),
                other if self.style.ensure_ascii && (other > '~') => self.escape(other),
                other => self.text.push(other),
            }
        }
        self.text.push('"');
    }

    fn escape(&mut self, character: char) {
        for unit in character.encode_utf16(&mut [0; 2]) {
            self.text.push_str(&format!("\\u{unit:04x}"));
        }
    }
}

/// Keys that are not strings are printed as such, as in Python.
fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::None => Ok("null".into()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.into()),
        ValueKind::Number => Ok(literal(key)),
        kind => Err(Error::new(
            ErrorKind::BadSerialization,
            format!("keys must be strings, numbers, booleans or none, not {kind}"),
        )),
    }
}

fn literal(value: &Value) -> String {
    match number::float(value) {
        None => value.to_string(),
        Some(float) if float.is_nan() => "NaN".into(),
        Some(f64::INFINITY) => "Infinity".into(),
        Some(f64::NEG_INFINITY) => "-Infinity".into(),
        Some(float) => number::repr(float),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, style: &Style, expected: &str) {
        let value = serde_json::from_str(json).unwrap();
        assert_eq!(dump(&to_value(&value), style).unwrap(), expected);
    }

    #[test]
    fn prints_as_python_does() {
        let plain = Style::default();
        check(
            "{\"b\":[1,2.0],\"a\":{}}",
            &plain,
            r#"{"b": [1, 2.0], "a": {}}"#,
        );
        check(
            "[1e100,1e-7,0.0001,123456789012345680.0]",
            &plain,
            "[1e+100, 1e-07, 0.0001, 1.2345678901234568e+17]",
        );
        check(
            "[18446744073709551615,-9223372036854775808,-0.0]",
            &plain,
            "[18446744073709551615, -9223372036854775808, -0.0]",
        );
        check(
            r#""<é>&'\u0001\u007f\n\"\\""#,
            &plain,
            "\"<é>&'\\u0001\u{7f}\\n\\\"\\\\\"",
        );
        check("[null,true,false,[]]", &plain, "[null, true, false, []]");
    }

    #[test]
    fn keeps_to_the_style() {
        let indented = Style {
            indent: Some(2),
            item_separator: ",".into(),
            ..Style::default()
        };
        check(
            "{\"a\":[1,2],\"b\":[]}",
            &indented,
            "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": []\n}",
        );
        let sorted = Style {
            sort_keys: true,
            ensure_ascii: true,
            ..Style::default()
        };
        check(
            "{\"b\":\"é😀\",\"a\":1}",
            &sorted,
            "{\"a\": 1, \"b\": \"\\u00e9\\ud83d\\ude00\"}",
        );
    }
}
