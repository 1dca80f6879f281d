//! Texts and characters in Go's quotes, as `strconv` and `fmt` write them.

use std::fmt::Write;

/// A text in double quotes.
pub(super) fn quoted_text(text: &str) -> String {
    quoted(text.as_bytes(), Escapes::Unprintable)
}

/// What is escaped beside quotes and backslashes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Escapes {
    /// What cannot be printed.
    Unprintable,
    /// That, and everything beyond ASCII.
    NonAscii,
}

/// Bytes in double quotes; those that are not UTF-8 as `\xNN`.
pub(super) fn quoted(text: &[u8], escapes: Escapes) -> String {
    let mut out = String::from("\"");
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            escape(&mut out, letter, '"', escapes);
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("strings take everything");
        }
    }
    out.push('"');
    out
}

/// A character in single quotes.
pub(super) fn quoted_char(letter: char, escapes: Escapes) -> String {
    let mut out = String::from("'");
    escape(&mut out, letter, '\'', escapes);
    out.push('\'');
    out
}

/// A character as `%#U` shows it.
pub(super) fn code_point(letter: char) -> String {
    let number = u32::from(letter);
    if is_printable(letter) {
        format!("U+{number:04X} '{letter}'")
    } else {
        format!("U+{number:04X}")
    }
}

/// Whether a text can stand between back quotes.
pub(super) fn can_back_quote(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| {
        text.chars().all(|letter| {
            letter != '\u{feff}'
                && (letter == '\t' || letter >= ' ')
                && !matches!(letter, '`' | '\x7f')
        })
    })
}

/// Whether Go deems a character printable: letters, marks, numbers, punctuation, symbols and the ASCII space.
pub(super) fn is_printable(letter: char) -> bool {
    if letter.is_ascii() {
        return letter == ' ' || letter.is_ascii_graphic();
    }
    // Rust's own judgement on characters within a text is the same rule.
    let mut after_letter = String::from("a");
    after_letter.push(letter);
    after_letter.escape_debug().count() == 2
}

fn escape(out: &mut String, letter: char, quote: char, escapes: Escapes) {
    if letter == quote || letter == '\\' {
        out.push('\\');
        out.push(letter);
        return;
    }
    let is_shown = match escapes {
        Escapes::Unprintable => is_printable(letter),
        Escapes::NonAscii => letter.is_ascii() && is_printable(letter),
    };
    if is_shown {
        out.push(letter);
        return;
    }
    let number = u32::from(letter);
    match letter {
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        _ => match number {
            0..0x20 | 0x7f => write!(out, "\\x{number:02x}"),
            0x80..0x1_0000 => write!(out, "\\u{number:04x}"),
            _ => write!(out, "\\U{number:08x}"),
        }
        .expect("strings take everything"),
    }
}
