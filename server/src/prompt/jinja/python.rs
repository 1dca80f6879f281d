//! What chat templates expect because Hugging Face renders them in Python: its functions, and how it reads a template's
//! text and prints values. The filters and methods have files of their own.

use jiff::fmt::strtime;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, escape_formatter};

use super::{filters, methods, number, repeat};

/// The words of a template that refuses a conversation.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub(super) String);

/// Gives an environment everything but `strftime_now`, which depends on the conversation.
pub(super) fn install(environment: &mut Environment<'static>) {
    minijinja_contrib::add_to_environment(environment);
    environment.set_unknown_method_callback(methods::call);
    environment.set_formatter(print);
    filters::install(environment);
    repeat::install(environment);
    environment.add_function("raise_exception", raise_exception);
    // The engine's own addition to Jinja, which shows more of the state than a template needs.
    environment.remove_global("debug");
}

/// Prints a value where the template does.
fn print(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match number::float(value).filter(|float| float.is_finite()) {
        Some(float) => Ok(output.write_str(&number::repr(float))?),
        None => escape_formatter(output, state, value),
    }
}

/// The text as the engine is to parse it: Python's newlines, and no tags that only transformers knows.
pub(super) fn prepare(source: &str) -> String {
    with_known_tags(&source.replace("\r\n", "\n").replace('\r', "\n"))
}

/// `{% generation %}` marks, for training, what the assistant wrote. It is no part of Jinja and prints nothing, so it
/// becomes a condition that always holds; that keeps what its dashes say about whitespace. And a line break after
/// `{% raw %}` is part of the text, where the engine drops it.
fn with_known_tags(source: &str) -> String {
    let mut rest = source;
    let mut text = String::with_capacity(source.len());
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start + "{%".len());
        text.push_str(before);
        let length = tag.find("%}").unwrap_or(tag.len());
        let (inside, after) = tag.split_at(length);
        let word = inside.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        rest = after;
        match word {
            "generation" => text.push_str(&inside.replace(word, "if true")),
            "endgeneration" => text.push_str(&inside.replace(word, "endif")),
            _ => text.push_str(inside),
        }
        if word == "raw"
            && let Some(raw) = after.strip_prefix("%}")
            && raw.starts_with('\n')
            && !inside.ends_with('-')
        {
            text.push_str("%}\n");
            rest = raw;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_those_of_the_engine() {
        let check = |source: &str, expected: &str| {
            assert_eq!(with_known_tags(source), expected);
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
        check("{% raw %}\na", "{% raw %}\n\na");
        check("{% raw -%}\na{% raw %}b", "{% raw -%}\na{% raw %}b");
    }
}
