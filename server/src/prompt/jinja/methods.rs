//! Methods of Python's strings, lists and dictionaries that `pycompat` lacks or knows less of; all others are left to it.

use minijinja::value::{Tuple, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

use super::arguments::{is_true, named, text, unless_none, whole};

/// Calls a method that the engine does not know.
pub(super) fn call(
    state: &mut State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let found = match value.kind() {
        ValueKind::String => of_string(state, value, name, args)?,
        ValueKind::Seq => of_list(value, name, args)?,
        ValueKind::Map if name == "copy" => {
            let () = from_args(args)?;
            Some(value.clone())
        }
        _ => None,
    };
    match found {
        Some(found) => Ok(found),
        None => pycompat::unknown_method_callback(state, value, name, args),
    }
}

fn of_list(value: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match name {
        "copy" => {
            let () = from_args(args)?;
            Ok(Some(value.clone()))
        }
        "index" => {
            let (sought,): (&Value,) = from_args(args)?;
            let place = value.try_iter()?.position(|item| item == *sought);
            let place = place.ok_or_else(|| failed("the value is not in the list"))?;
            Ok(Some(Value::from(place)))
        }
        _ => Ok(None),
    }
}

fn of_string(
    state: &mut State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Option<Value>, Error> {
    let string = value.as_str().expect("its kind is that of strings");
    let made = match name {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(string.strip_prefix(prefix).unwrap_or(string))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(string.strip_suffix(suffix).unwrap_or(string))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            partition(string, separator, name == "rpartition")
        }
        "split" | "rsplit" => {
            let [separator, splits] = named(args, ["sep", "maxsplit"])?;
            let separator = unless_none(separator);
            let separator = separator.as_ref().map(text).transpose()?;
            split(string, separator, whole(splits)?, name == "rsplit")?
        }
        "splitlines" => {
            let [keeps_ends] = named(args, ["keepends"])?;
            let lines = lines(string, is_true(keeps_ends.as_ref()));
            lines.into_iter().map(Value::from).collect()
        }
        "find" | "rfind" | "index" | "rindex" => find(string, name, args)?,
        "count" => {
            let (sought, from, to): (&str, Option<i64>, Option<i64>) = from_args(args)?;
            let (_, part) = part(string, from, to);
            Value::from(part.matches(sought).count())
        }
        "startswith" | "endswith" => {
            let (sought, from, to): (&Value, Option<i64>, Option<i64>) = from_args(args)?;
            let part = Value::from(part(string, from, to).1);
            pycompat::unknown_method_callback(state, &part, name, std::slice::from_ref(sought))?
        }
        "swapcase" => {
            let () = from_args(args)?;
            let swap = |letter: char| match letter.is_uppercase() {
                true => letter.to_lowercase().to_string(),
                false => letter.to_uppercase().to_string(),
            };
            Value::from(string.chars().map(swap).collect::<String>())
        }
        "casefold" => {
            let () = from_args(args)?;
            Value::from(string.to_uppercase().to_lowercase())
        }
        "isdecimal" => {
            let () = from_args(args)?;
            let is_decimal = |letter: char| letter.is_ascii_digit();
            Value::from(!string.is_empty() && string.chars().all(is_decimal))
        }
        "center" | "ljust" | "rjust" => {
            let (width, fill): (i64, Option<&str>) = from_args(args)?;
            let side = match name {
                "center" => Side::Both,
                "ljust" => Side::Right,
                _ => Side::Left,
            };
            Value::from(pad(string, width, fill.unwrap_or(" "), side)?)
        }
        "zfill" => {
            let (width,): (i64,) = from_args(args)?;
            let digits = string.strip_prefix(['-', '+']).unwrap_or(string);
            let sign = &string[..string.len() - digits.len()];
            let width = width.saturating_sub(i64::from(!sign.is_empty()));
            Value::from(sign.to_owned() + &pad(digits, width, "0", Side::Left)?)
        }
        _ => return Ok(None),
    };
    Ok(Some(made))
}

/// The part of a text from one place to another, and the first place. Places count characters, negative ones from the
/// end.
fn part(text: &str, from: Option<i64>, to: Option<i64>) -> (usize, &str) {
    if (from, to) == (None, None) {
        return (0, text);
    }
    let length = text.chars().count();
    let place = |place: i64| {
        let distance = usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX);
        match place < 0 {
            true => length.saturating_sub(distance),
            false => distance.min(length),
        }
    };
    let from = place(from.unwrap_or(0));
    let to = to.map_or(length, place).max(from);
    let byte = |place| {
        let mut letters = text.char_indices();
        letters.nth(place).map_or(text.len(), |(byte, _)| byte)
    };
    (from, &text[byte(from)..byte(to)])
}

fn find(string: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let (sought, from, to): (&str, Option<i64>, Option<i64>) = from_args(args)?;
    let (skipped, part) = part(string, from, to);
    let byte = match name {
        "find" | "index" => part.find(sought),
        _ => part.rfind(sought),
    };
    match byte.map(|byte| skipped + part[..byte].chars().count()) {
        Some(place) => Ok(Value::from(place)),
        None if matches!(name, "find" | "rfind") => Ok(Value::from(-1)),
        None => Err(failed("substring not found")),
    }
}

fn partition(string: &str, separator: &str, is_last: bool) -> Value {
    let cut = match is_last {
        true => string.rsplit_once(separator),
        false => string.split_once(separator),
    };
    let parts = match (cut, is_last) {
        (Some((before, after)), _) => [before, separator, after],
        (None, true) => ["", "", string],
        (None, false) => [string, "", ""],
    };
    Value::from(Tuple::from(parts.map(Value::from)))
}

/// The pieces between separators, of which whitespace is one where none is named; no more cuts than `splits`, from the
/// end if `is_last`.
fn split(
    string: &str,
    separator: Option<&str>,
    splits: Option<i64>,
    is_last: bool,
) -> Result<Value, Error> {
    let splits = splits.and_then(|splits| usize::try_from(splits).ok());
    let splits = splits.unwrap_or(usize::MAX);
    let mut pieces: Vec<&str> = match separator {
        Some("") => return Err(failed("empty separator")),
        Some(separator) if is_last => string
            .rsplitn(splits.saturating_add(1), separator)
            .collect(),
        Some(separator) => string.splitn(splits.saturating_add(1), separator).collect(),
        None => between_spaces(string, splits, is_last),
    };
    if is_last {
        pieces.reverse();
    }
    Ok(pieces.into_iter().map(Value::from).collect())
}

/// The words of a text in the order in which they are cut off it; what is left after the last cut stays in one.
fn between_spaces(string: &str, splits: usize, is_last: bool) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = string;
    loop {
        rest = match is_last {
            true => rest.trim_end(),
            false => rest.trim_start(),
        };
        if rest.is_empty() {
            return pieces;
        }
        let cut = match is_last {
            _ if pieces.len() == splits => None,
            true => rest.rsplit_once(char::is_whitespace).map(|(a, b)| (b, a)),
            false => rest.split_once(char::is_whitespace),
        };
        let (piece, others) = cut.unwrap_or((rest, ""));
        pieces.push(piece);
        rest = others;
    }
}

/// The lines of a text, with all that Python deems the end of one.
pub(super) fn lines(text: &str, keeps_ends: bool) -> Vec<&str> {
    const ENDS: [char; 10] = [
        '\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}',
        '\u{2029}',
    ];
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(ENDS) {
        let ending = &rest[end..];
        let after = ending.strip_prefix("\r\n").or(ending.strip_prefix(ENDS));
        let after = after.expect("it begins with one of the ends");
        let line = match keeps_ends {
            true => &rest[..rest.len() - after.len()],
            false => &rest[..end],
        };
        lines.push(line);
        rest = after;
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// Where a text is filled up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Left,
    Right,
    Both,
}

/// A text filled up to so many characters.
pub(super) fn pad(text: &str, width: i64, fill: &str, side: Side) -> Result<String, Error> {
    let width = usize::try_from(width).unwrap_or(0);
    let missing = width.saturating_sub(text.chars().count());
    if missing.saturating_mul(fill.len()) > super::MAX_PROMPT_BYTES {
        return Err(failed("the text becomes too long"));
    }
    let left = match side {
        Side::Left => missing,
        Side::Right => 0,
        // As Python rounds it.
        Side::Both => missing / 2 + (missing & width & 1),
    };
    Ok([&fill.repeat(left), text, &fill.repeat(missing - left)].concat())
}

/// An error that a method of Python's would raise.
fn failed(words: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, words)
}
