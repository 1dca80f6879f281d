//! Where JSON in an unfinished text ends, and the calls that are written in it.

use serde_json::Value;

use super::tools::{Called, Step};

/// Looks for the end of the JSON array or object that a text begins with; continues where it stopped when the same
/// text is given again with more behind it.
#[derive(Clone, Debug, Default)]
pub(in crate::prompt) struct Scan {
    seen: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

/// How far the JSON goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::prompt) enum Extent {
    /// Further than the text does.
    Open,
    /// So many bytes.
    Closed(usize),
    /// It is no JSON: there is a character that has no place in any.
    Broken,
}

impl Scan {
    /// Looks at the text, which begins with `{` or `[`.
    pub(in crate::prompt) fn extent(&mut self, text: &str) -> Extent {
        for &byte in &text.as_bytes()[self.seen..] {
            self.seen += 1;
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Extent::Closed(self.seen);
                    }
                }
                b',' | b':' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'E' => {}
                b'a'..=b'z' | b' ' | b'\n' | b'\r' | b'\t' => {}
                _ => return Extent::Broken,
            }
        }
        Extent::Open
    }
}

/// Judges a text that begins with a tag after which JSON is a call. If it is none, the tag is content and what follows
/// is judged anew.
pub(in crate::prompt) fn after_tag(scan: &mut Scan, text: &str, tag: &str) -> Step {
    let json = text[tag.len()..].trim_start();
    let extent = match json.chars().next() {
        None => return Step::Wait,
        Some('{' | '[') => scan.extent(json),
        Some(_) => Extent::Broken,
    };
    let called = match extent {
        Extent::Open => return Step::Wait,
        Extent::Closed(end) => {
            calls(&json[..end]).map(|calls| Step::Calls(calls, text.len() - json.len() + end))
        }
        Extent::Broken => None,
    };
    *scan = Scan::default();
    called.unwrap_or(Step::Content(tag.len()))
}

/// The calls that a complete piece of JSON stands for: one object or an array of them; none if it stands for anything
/// else.
pub(in crate::prompt) fn calls(text: &str) -> Option<Vec<Called>> {
    match serde_json::from_str(text).ok()? {
        Value::Array(items) if !items.is_empty() => items.into_iter().map(call).collect(),
        object @ Value::Object(_) => Some(vec![call(object)?]),
        _ => None,
    }
}

/// `{"name": …, "arguments": …}` with the spellings that models mix up: `parameters` for `arguments`, `function` or
/// `tool_name` for `name`, and the whole thing within `function` as clients see it.
fn call(value: Value) -> Option<Called> {
    let Value::Object(mut fields) = value else {
        return None;
    };
    let name = fields.remove("name").or_else(|| fields.remove("tool_name"));
    let name = match (name, fields.remove("function")) {
        (Some(Value::String(name)), _) | (None, Some(Value::String(name))) => name,
        (None, Some(inner @ Value::Object(_))) => return call(inner),
        _ => return None,
    };
    let given = fields
        .remove("arguments")
        .or_else(|| fields.remove("parameters"));
    let arguments = match given.unwrap_or(Value::Null) {
        Value::Null => Value::Object(serde_json::Map::new()),
        Value::String(text) => serde_json::from_str(&text).ok()?,
        other => other,
    };
    (arguments.is_object() && !name.is_empty()).then_some(Called { name, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_however_the_text_is_cut() {
        let check = |text: &str, expected| {
            let mut whole = Scan::default();
            assert_eq!(whole.extent(text), expected, "{text}");
            let mut pieces = Scan::default();
            let cut = (1..=text.len())
                .filter(|&end| text.is_char_boundary(end))
                .map(|end| pieces.extent(&text[..end]))
                .find(|&extent| extent != Extent::Open);
            assert_eq!(cut.unwrap_or(Extent::Open), expected, "{text}");
        };
        check(r#"{"a": [1, -2.5e+7, true, null]} and"#, Extent::Closed(31));
        check(r#"{"a}": "]\"}\\"}"#, Extent::Closed(16));
        check(r#"{"é": "}"#, Extent::Open);
        check("[[]", Extent::Open);
        check("{'a': 1}", Extent::Broken);
        check("{<", Extent::Broken);
    }

    #[test]
    fn arguments_become_an_object_or_the_call_is_none() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let called = calls(text).map(|mut calls| calls.remove(0));
            let called = called.map(|call| (call.name, call.arguments.to_string()));
            let expected = expected.map(|(name, arguments)| (name.into(), arguments.into()));
            assert_eq!(called, expected, "{text}");
        };
        check(
            r#"{"name":"f","arguments":{"b":1,"a":2}}"#,
            Some(("f", r#"{"b":1,"a":2}"#)),
        );
        check(r#"{"name":"f","parameters":{}}"#, Some(("f", "{}")));
        check(
            r#"{"name":"f","arguments":"{\"a\":1}"}"#,
            Some(("f", r#"{"a":1}"#)),
        );
        check(r#"{"name":"f"}"#, Some(("f", "{}")));
        check(r#"{"function":"f","parameters":{}}"#, Some(("f", "{}")));
        check(
            r#"{"type":"function","function":{"name":"f","arguments":{}}}"#,
            Some(("f", "{}")),
        );
        check(r#"[{"name":"f","arguments":null}]"#, Some(("f", "{}")));
        check(r#"{"name":"f","arguments":[1]}"#, None);
        check(r#"{"name":"f","arguments":"{"}"#, None);
        check(r#"{"name":"","arguments":{}}"#, None);
        check(r#"{"name":7}"#, None);
        check(r#"{"answer":42}"#, None);
        check("[]", None);
        check("[1]", None);
    }
}
