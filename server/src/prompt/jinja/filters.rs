//! Jinja's filters and tests where the engine's own differ from those of Python.

use minijinja::value::{Kwargs, Rest, StringInput, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value, tests};

use super::arguments::{given, is_true, text, unless_none, whole};
use super::json::{self, Style};
use super::methods::{self, Side};
use super::number;

/// Puts them in place of the engine's.
pub(super) fn install(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", to_json);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("e", escape);
    environment.add_filter("escape", escape);
    environment.add_filter("indent", indent);
    environment.add_filter("truncate", truncate);
    environment.add_filter("center", center);
    environment.add_filter("wordcount", word_count);
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", is_iterable);
    environment.add_test("callable", is_callable);
    environment.add_test("number", |value: &Value| {
        tests::is_number(value) || number::float(value).is_some()
    });
    environment.add_test("float", |value: &Value| number::float(value).is_some());
}

/// `tojson(ensure_ascii, indent, separators, sort_keys)` as transformers defines it: unlike Jinja's own it escapes
/// nothing for HTML.
fn to_json(value: &Value, args: Rest<Value>, others: Kwargs) -> Result<String, Error> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ensure_ascii, indent, separators, sort_keys] = given(&args, &others, names)?;
    let mut style = Style {
        ensure_ascii: is_true(ensure_ascii.as_ref()),
        indent: unless_none(indent).map(usize::try_from).transpose()?,
        sort_keys: is_true(sort_keys.as_ref()),
        ..Style::default()
    };
    if style.indent.is_some() {
        style.item_separator = ",".into();
    }
    if let Some(separators) = unless_none(separators) {
        style.item_separator = separators.get_item_by_index(0)?.to_string();
        style.key_separator = separators.get_item_by_index(1)?.to_string();
    }
    json::dump(value, &style)
}

/// `default(default_value, boolean)`.
fn default(value: &Value, args: Rest<Value>, others: Kwargs) -> Result<Value, Error> {
    let [other, is_lax] = given(&args, &others, ["default_value", "boolean"])?;
    let is_missing = value.is_undefined() || is_true(is_lax.as_ref()) && !value.is_true();
    match is_missing {
        true => Ok(other.unwrap_or_else(|| Value::from(""))),
        false => Ok(value.clone()),
    }
}

/// `int(default, base)`: what cannot be read as a number is the default.
fn int(value: &Value, args: Rest<Value>, others: Kwargs) -> Result<Value, Error> {
    let [default, base] = given(&args, &others, ["default", "base"])?;
    let base = whole(base)?.unwrap_or(10);
    let found = match value.kind() {
        ValueKind::String => whole_number(text(value)?, base),
        ValueKind::Bool => Some(Value::from(i64::from(value.is_true()))),
        ValueKind::Number if value.is_integer() => Some(value.clone()),
        _ => number::float(value).and_then(truncated),
    };
    Ok(found.or(default).unwrap_or_else(|| Value::from(0)))
}

fn whole_number(text: &str, base: i64) -> Option<Value> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let prefix = match base {
        16 => ["0x", "0X"],
        8 => ["0o", "0O"],
        2 => ["0b", "0B"],
        _ => ["", ""],
    };
    let plain = prefix.iter().find_map(|prefix| digits.strip_prefix(prefix));
    let base = u32::try_from(base)
        .ok()
        .filter(|base| (2..=36).contains(base))?;
    let Ok(size) = i128::from_str_radix(plain.unwrap_or(digits), base) else {
        return text.parse().ok().and_then(truncated);
    };
    Some(Value::from(match text.starts_with('-') {
        true => -size,
        false => size,
    }))
}

fn truncated(float: f64) -> Option<Value> {
    // Beyond this the engine has no whole numbers.
    let is_near = float.abs() < 1e38;
    #[expect(clippy::cast_possible_truncation, reason = "that is what is asked for")]
    let whole = float as i128;
    is_near.then(|| Value::from(whole))
}

/// `float(default)`.
fn float(value: &Value, args: Rest<Value>, others: Kwargs) -> Result<Value, Error> {
    let [default] = given(&args, &others, ["default"])?;
    let found = match value.kind() {
        ValueKind::String => text(value)?.trim().parse().ok(),
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        _ => number::float(value),
    };
    let found = found.map(Value::from).or(default);
    Ok(found.unwrap_or_else(|| Value::from(0.0)))
}

/// Escapes for HTML as Python's `markupsafe` does.
fn escape(value: &Value) -> Value {
    if value.is_safe() {
        return value.clone();
    }
    let mut escaped = String::new();
    for character in value.to_string().chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    Value::from_safe_string(escaped)
}

/// `indent(width, first, blank)`, where the width may be a text to put in front.
fn indent(value: StringInput<'_>, args: Rest<Value>, others: Kwargs) -> Result<Value, Error> {
    let [width, first, blank] = given(&args, &others, ["width", "first", "blank"])?;
    let width = width.unwrap_or_else(|| Value::from(4));
    let (fill, times) = match width.as_str() {
        Some(fill) => (fill, 1),
        None => (
            " ",
            usize::try_from(i64::try_from(width.clone())?).unwrap_or(0),
        ),
    };
    // A last line break is no line of its own in Python but one here: its filter adds one before it splits.
    let with_end = value.as_str().to_owned() + "\n";
    let lines = methods::lines(&with_end, false);
    let bytes = lines.len().saturating_mul(fill.len().saturating_mul(times));
    if bytes > super::MAX_PROMPT_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "the text becomes too long",
        ));
    }
    let front = fill.repeat(times);
    let mut text = String::with_capacity(with_end.len() + bytes);
    for (index, line) in lines.into_iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let is_indented = match index {
            0 => is_true(first.as_ref()),
            _ => !line.is_empty() || is_true(blank.as_ref()),
        };
        if is_indented {
            text.push_str(&front);
        }
        text.push_str(line);
    }
    Ok(value.preserve_safety(text))
}

/// `truncate(length, killwords, end, leeway)`.
fn truncate(value: StringInput<'_>, args: Rest<Value>, others: Kwargs) -> Result<Value, Error> {
    let [length, kill_words, end, leeway] =
        given(&args, &others, ["length", "killwords", "end", "leeway"])?;
    let length = whole(length)?.unwrap_or(255);
    let leeway = whole(unless_none(leeway))?.unwrap_or(5);
    let end = end.unwrap_or_else(|| Value::from("..."));
    let end = text(&end)?;
    let whole_text = value.as_str();
    let count = |text: &str| i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if count(whole_text) <= length.saturating_add(leeway) {
        return Ok(value.preserve_safety(whole_text.to_owned()));
    }
    let kept = usize::try_from(length.saturating_sub(count(end))).unwrap_or(0);
    let cut: String = whole_text.chars().take(kept).collect();
    let cut = match is_true(kill_words.as_ref()) {
        true => cut.as_str(),
        false => cut
            .rsplit_once(' ')
            .map_or(cut.as_str(), |(words, _)| words),
    };
    Ok(value.preserve_safety(cut.to_owned() + end))
}

/// `center(width)`.
fn center(value: StringInput<'_>, args: Rest<Value>, others: Kwargs) -> Result<Value, Error> {
    let [width] = given(&args, &others, ["width"])?;
    let width = whole(width)?.unwrap_or(80);
    let text = methods::pad(value.as_str(), width, " ", Side::Both)?;
    Ok(value.preserve_safety(text))
}

/// `wordcount`: runs of letters, digits and underscores.
fn word_count(value: StringInput<'_>) -> usize {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let words = value.as_str().split(|letter| !is_word(letter));
    words.filter(|word| !word.is_empty()).count()
}

/// Python calls everything a sequence that has a length and items, and what is undefined passes for anything.
fn is_sequence(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Undefined | ValueKind::Seq | ValueKind::Map | ValueKind::String
    )
}

/// The engine goes through `none` as through an empty list; templates ask first.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

fn is_callable(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Undefined => true,
        ValueKind::Plain => number::float(value).is_none(),
        _ => false,
    }
}
