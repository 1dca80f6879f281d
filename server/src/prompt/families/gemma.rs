//! How Gemma's models write the arguments of a call: `{key:value,…}` with bare keys and marks for quotes.

use serde_json::{Map, Value};

use super::golang;
use super::typed::number;

/// Lists and objects within each other; what is deeper is no call.
const MAX_DEPTH: usize = 64;

/// A value as the model writes it, strings between `quote` marks.
pub(super) fn value(value: &Value, quote: &str) -> String {
    match value {
        Value::String(text) => format!("{quote}{text}{quote}"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| self::value(item, quote)).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(_) => format!("{{{}}}", pairs(value, quote)),
        scalar => golang::display(scalar),
    }
}

/// The entries of an object without its braces, in order of their keys.
pub(super) fn pairs(object: &Value, quote: &str) -> String {
    let pairs = golang::sorted_entries(object).into_iter();
    let pairs: Vec<String> = pairs
        .map(|(key, entry)| format!("{key}:{}", value(entry, quote)))
        .collect();
    pairs.join(",")
}

/// Reads an object with its braces. Forgives what models get wrong: quotes of other kinds, a quote or a brace that is
/// missing at the very end, and text without quotes.
pub(super) fn arguments(text: &str, quote: &str) -> Option<Value> {
    let mut reader = Reader {
        rest: text.trim(),
        quote,
    };
    let value = reader.object(0)?;
    reader.rest.trim().is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
    quote: &'a str,
}

impl<'a> Reader<'a> {
    fn eat(&mut self, mark: &str) -> bool {
        self.rest = self.rest.trim_start();
        let after = self.rest.strip_prefix(mark);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH || !self.eat("{") {
            return None;
        }
        let mut object = Map::new();
        while !self.eat("}") {
            if self.rest.is_empty() {
                // Only the last brace of all may be missing, and not where the arguments had hardly begun.
                return (depth == 0 && !object.is_empty()).then_some(Value::Object(object));
            }
            let key = self.key()?;
            let value = self.value(depth)?;
            object.insert(key, value);
            self.eat(",");
        }
        Some(Value::Object(object))
    }

    fn key(&mut self) -> Option<String> {
        let key = match self.string() {
            Some(key) => key,
            None => {
                let end = self.rest.find(':')?;
                let (key, rest) = self.rest.split_at(end);
                self.rest = rest;
                key.trim().to_owned()
            }
        };
        (self.eat(":") && !key.is_empty()).then_some(key)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('{') {
            return self.object(depth + 1);
        }
        if self.eat("[") {
            return self.list(depth + 1);
        }
        if let Some(text) = self.string() {
            return Some(Value::String(text));
        }
        let end = self.rest.find([',', '}', ']']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(match word.trim() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            word => number(word).unwrap_or_else(|| word.into()),
        })
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut items = Vec::new();
        while !self.eat("]") {
            if self.rest.is_empty() {
                return None;
            }
            items.push(self.value(depth)?);
            self.eat(",");
        }
        Some(Value::Array(items))
    }

    /// A text between quotes, if one stands here.
    fn string(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        if let Some(inside) = self.rest.strip_prefix(self.quote) {
            let text = match inside.split_once(self.quote) {
                Some((text, rest)) => {
                    self.rest = rest;
                    text
                }
                None => {
                    let inside = inside.trim_end();
                    let text = inside.strip_suffix(['}', ']']).unwrap_or(inside);
                    self.rest = &inside[text.len()..];
                    text
                }
            };
            return Some(text.to_owned());
        }
        if self.rest.starts_with('"') {
            let mut json = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
            let text = json.next()?.ok()?;
            self.rest = &self.rest[json.byte_offset()..];
            return Some(text);
        }
        let inside = self.rest.strip_prefix('\'')?;
        let mut escaped = false;
        let end = inside.find(|character| {
            let ends = character == '\'' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        })?;
        self.rest = &inside[end + 1..];
        self.rest = self.rest.strip_prefix(self.quote).unwrap_or(self.rest);
        Some(inside[..end].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let given = json!({"b": [1, 2.5, "x, {y}"], "a": {"k": "v:1", "n": null}, "t": true, "e": {}, "l": []});
        let written = format!("{{{}}}", pairs(&given, "<q>"));
        assert_eq!(
            written,
            "{a:{k:<q>v:1<q>,n:null},b:[1,2.5,<q>x, {y}<q>],e:{},l:[],t:true}"
        );
        assert_eq!(arguments(&written, "<q>"), Some(given));
    }

    #[test]
    fn what_models_get_wrong_is_forgiven() {
        let check = |text: &str, expected: Option<Value>| {
            assert_eq!(arguments(text, "<q>"), expected, "{text}");
        };
        check("{}", Some(json!({})));
        check(
            "{ city : 'Lima' , n: 3 }",
            Some(json!({"city": "Lima", "n": 3})),
        );
        check("{\"a\": \"b\\\"\"}", Some(json!({"a": "b\""})));
        check("{a:<q>b}", Some(json!({"a": "b"})));
        check("{a:<q>b<q>", Some(json!({"a": "b"})));
        check("{a:b c,d:1}", Some(json!({"a": "b c", "d": 1})));
        check("{a:[1,", None);
        check("{a", None);
        check("{", None);
        check("a:1", None);
        check("{a:1} and", None);
    }
}
