//! The functions, filters and methods that chat templates expect because Hugging Face renders them in Python.

use jiff::fmt::strtime;
use minijinja::value::{Kwargs, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

use super::json::{self, Style};

/// The words of a template that refuses a conversation.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub(super) String);

/// Gives an environment everything but `strftime_now`, which depends on the conversation.
pub(super) fn install(environment: &mut Environment<'static>) {
    minijinja_contrib::add_to_environment(environment);
    environment.set_unknown_method_callback(method);
    environment.add_filter("tojson", to_json);
    environment.add_test("sequence", is_sequence);
    environment.add_function("raise_exception", raise_exception);
    // The engine's own addition to Jinja, which shows more of the state than a template needs.
    environment.remove_global("debug");
}

/// The text as the engine is to parse it: Python's newlines, and no tags that only transformers knows.
pub(super) fn prepare(source: &str) -> String {
    without_generation_tags(&source.replace("\r\n", "\n").replace('\r', "\n"))
}

/// `{% generation %}` marks, for training, what the assistant wrote. It is no part of Jinja and prints nothing, so it
/// becomes a condition that always holds; that keeps what its dashes say about whitespace.
fn without_generation_tags(source: &str) -> String {
    let mut rest = source;
    let mut text = String::with_capacity(source.len());
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start + "{%".len());
        text.push_str(before);
        let length = tag.find("%}").unwrap_or(tag.len());
        let (inside, after) = tag.split_at(length);
        let word = inside.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        match word {
            "generation" => text.push_str(&inside.replace(word, "if true")),
            "endgeneration" => text.push_str(&inside.replace(word, "endif")),
            _ => text.push_str(inside),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// `strftime_now(format)`: the given moment as C's `strftime` prints it.
pub(super) fn strftime(now: &jiff::Zoned) -> Value {
    let now = now.clone();
    Value::from_function(move |format: &str| {
        strtime::format(format, &now)
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
    })
}

fn raise_exception(words: &str) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, words.to_owned())
        .with_source(Raised(words.to_owned())))
}

/// Python calls everything a sequence that has a length and items.
fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Map | ValueKind::String
    )
}

/// `tojson(ensure_ascii, indent, separators, sort_keys)` as transformers defines it: unlike Jinja's own it escapes
/// nothing for HTML.
fn to_json(value: &Value, positional: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let argument = |place: usize, name: &str| -> Result<Option<Value>, Error> {
        let value = match positional.get(place) {
            Some(value) => Some(value.clone()),
            None => named.get::<Option<Value>>(name)?,
        };
        Ok(value.filter(|value| !value.is_none()))
    };
    let mut style = Style {
        ensure_ascii: argument(0, "ensure_ascii")?.is_some_and(|value| value.is_true()),
        indent: argument(1, "indent")?.map(usize::try_from).transpose()?,
        sort_keys: argument(3, "sort_keys")?.is_some_and(|value| value.is_true()),
        ..Style::default()
    };
    if style.indent.is_some() {
        style.item_separator = ",".into();
    }
    if let Some(separators) = argument(2, "separators")? {
        style.item_separator = separators.get_item_by_index(0)?.to_string();
        style.key_separator = separators.get_item_by_index(1)?.to_string();
    }
    named.assert_all_used()?;
    json::dump(value, &style)
}

/// The methods of Python's strings that templates use and `pycompat` lacks; all others are left to it.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if value.kind() == ValueKind::String {
        let text = value.as_str().unwrap_or_default();
        match name {
            "removeprefix" => {
                let (prefix,): (&str,) = from_args(args)?;
                return Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)));
            }
            "removesuffix" => {
                let (suffix,): (&str,) = from_args(args)?;
                return Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)));
            }
            "partition" => {
                let (separator,): (&str,) = from_args(args)?;
                let (before, after) = text.split_once(separator).unwrap_or((text, ""));
                let found = &text[before.len()..text.len() - after.len()];
                return Ok([before, found, after]
                    .into_iter()
                    .map(Value::from)
                    .collect());
            }
            "rsplit" => {
                let (separator, splits): (&str, Option<usize>) = from_args(args)?;
                let pieces = splits.map_or(usize::MAX, |splits| splits.saturating_add(1));
                let mut parts: Vec<Value> =
                    text.rsplitn(pieces, separator).map(Value::from).collect();
                parts.reverse();
                return Ok(Value::from(parts));
            }
            _ => {}
        }
    }
    pycompat::unknown_method_callback(state, value, name, args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_tags_become_conditions() {
        let check = |source: &str, expected: &str| {
            assert_eq!(without_generation_tags(source), expected);
        };
        check(
            "a{% generation %}b{% endgeneration %}c",
            "a{% if true %}b{% endif %}c",
        );
        check(
            "{%- generation -%}{%+endgeneration%}",
            "{%- if true -%}{%+endif%}",
        );
        check(
            "{% set generation = 1 %}{{ generation }}",
            "{% set generation = 1 %}{{ generation }}",
        );
        check("{% broken", "{% broken");
    }
}
