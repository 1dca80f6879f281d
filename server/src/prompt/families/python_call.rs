//! Calls written as in Python: `[first(a="x", b=[1, None]), second()]`.

use serde_json::{Map, Value};

use super::typed::number;
use crate::prompt::parse::tools::Called;

/// Lists and objects within each other; what is deeper is no call.
const MAX_DEPTH: usize = 64;

/// All calls of a text: separated by commas or line breaks, in brackets or not. None if it is anything else.
pub(in crate::prompt) fn calls(text: &str) -> Option<Vec<Called>> {
    let text = text.trim();
    let inside = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let mut reader = Reader {
        rest: inside.unwrap_or(text).trim_start(),
    };
    let mut calls = Vec::new();
    while !reader.rest.is_empty() {
        calls.push(reader.call()?);
        reader.eat(",");
        reader.rest = reader.rest.trim_start();
    }
    (!calls.is_empty()).then_some(calls)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn eat(&mut self, mark: &str) -> bool {
        self.rest = self.rest.trim_start();
        let after = self.rest.strip_prefix(mark);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// A name, which is not empty.
    fn name(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start();
        let in_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
        let end = self.rest.find(|c| !in_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then_some(name)
    }

    fn call(&mut self) -> Option<Called> {
        let name = self.name()?.to_owned();
        if !self.eat("(") {
            return None;
        }
        let mut arguments = Map::new();
        while !self.eat(")") {
            let key = self.name()?.to_owned();
            if !self.eat("=") {
                return None;
            }
            arguments.insert(key, self.value(0)?);
            if !self.eat(",") && !self.rest.trim_start().starts_with(')') {
                return None;
            }
        }
        Some(Called {
            name,
            arguments: Value::Object(arguments),
        })
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            '"' | '\'' => self.string().map(Value::String),
            '[' => {
                self.eat("[");
                let mut items = Vec::new();
                while !self.eat("]") {
                    items.push(self.value(depth + 1)?);
                    if !self.eat(",") && !self.rest.trim_start().starts_with(']') {
                        return None;
                    }
                }
                Some(Value::Array(items))
            }
            '{' => {
                self.eat("{");
                let mut object = Map::new();
                while !self.eat("}") {
                    self.rest = self.rest.trim_start();
                    let key = match self.rest.starts_with(['"', '\'']) {
                        true => self.string()?,
                        false => self.name()?.to_owned(),
                    };
                    if !self.eat(":") {
                        return None;
                    }
                    object.insert(key, self.value(depth + 1)?);
                    if !self.eat(",") && !self.rest.trim_start().starts_with('}') {
                        return None;
                    }
                }
                Some(Value::Object(object))
            }
            _ => {
                let end = self
                    .rest
                    .find([',', ')', ']', '}', '\n'])
                    .unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                Some(match word.trim() {
                    "" => return None,
                    "true" | "True" => Value::Bool(true),
                    "false" | "False" => Value::Bool(false),
                    "null" | "None" | "nil" => Value::Null,
                    word => number(word).unwrap_or_else(|| word.into()),
                })
            }
        }
    }

    /// A text between quotes of either kind, with JSON's and Python's ways of writing characters.
    fn string(&mut self) -> Option<String> {
        let quote = self.rest.chars().next()?;
        let mut characters = self.rest.char_indices().skip(1);
        let mut text = String::new();
        while let Some((at, character)) = characters.next() {
            if character == quote {
                self.rest = &self.rest[at + 1..];
                return Some(text);
            }
            if character != '\\' {
                text.push(character);
                continue;
            }
            let (_, escaped) = characters.next()?;
            match escaped {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'u' => {
                    let digits = self.rest.get(at + 2..at + 6)?;
                    let code = u32::from_str_radix(digits, 16).ok()?;
                    text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    characters.nth(3)?;
                }
                '\\' | '"' | '\'' | '/' => text.push(escaped),
                other => text.extend(['\\', other]),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_are_read_or_not_at_all() {
        let check = |text: &str, expected: Option<Vec<(&str, Value)>>| {
            let calls = calls(text);
            let found = calls.map(|calls| {
                let calls = calls.into_iter();
                calls
                    .map(|call| (call.name, call.arguments))
                    .collect::<Vec<_>>()
            });
            let expected = expected.map(|calls| {
                let calls = calls.into_iter();
                calls
                    .map(|(name, arguments)| (name.to_owned(), arguments))
                    .collect::<Vec<_>>()
            });
            assert_eq!(found, expected, "{text}");
        };
        check("f()", Some(vec![("f", json!({}))]));
        check(
            "[f(a='x, (y)', b=\"it's \\\"1\\\"\\n\"), g.h(n=-1.5, t=True, z=None,)]",
            Some(vec![
                ("f", json!({"a": "x, (y)", "b": "it's \"1\"\n"})),
                ("g.h", json!({"n": -1.5, "t": true, "z": null})),
            ]),
        );
        check(
            "f(a=[1, 'b', {}], o={'k': [false], j: 1})\ng(x=word)",
            Some(vec![
                ("f", json!({"a": [1, "b", {}], "o": {"k": [false], "j": 1}})),
                ("g", json!({"x": "word"})),
            ]),
        );
        check("f(a='\\u00e9\\q')", Some(vec![("f", json!({"a": "é\\q"}))]));
        for none in [
            "", "[]", "f", "f(", "f(a)", "f(a=)", "f(a=1", "f(a='x)", "f() and", "f(a=[1)", "1+1",
        ] {
            check(none, None);
        }
    }
}
