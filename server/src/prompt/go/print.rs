//! Values as text, the way Go's `fmt` prints them: `print`, `println`, `printf` and every action.

use super::float::{self, Notation};
use super::marshal;
use super::quote::{self, Escapes};
use super::value::{Held, List, ListKind, Map, Record, Value};

/// Longest text that printing makes, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// Largest width and precision, as in Go.
const MAX_NUMBER: usize = 1_000_000;

/// What Go prints is a pointer's address, which nobody can use and which is another one each time.
const ADDRESS: &str = "0xc000000000";

/// The text is longer than any prompt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooLong;

/// The values one after the other; a blank between two of which neither is a text.
pub(super) fn print(values: &[Value]) -> Result<Vec<u8>, TooLong> {
    let mut printer = Printer::default();
    let mut before_is_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !is_text && !before_is_text {
            printer.out.push(b' ');
        }
        printer.argument(value, 'v')?;
        before_is_text = is_text;
    }
    Ok(printer.out)
}

/// The values with blanks between them and a line feed at the end.
pub(super) fn println(values: &[Value]) -> Result<Vec<u8>, TooLong> {
    let mut printer = Printer::default();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            printer.out.push(b' ');
        }
        printer.argument(value, 'v')?;
    }
    printer.out.push(b'\n');
    Ok(printer.out)
}

/// The format with its verbs replaced by the values.
pub(super) fn printf(format: &[u8], values: &[Value]) -> Result<Vec<u8>, TooLong> {
    let mut formatting = Formatting {
        printer: Printer::default(),
        format,
        position: 0,
        values,
        next: 0,
        is_reordered: false,
        is_index_good: true,
    };
    formatting.run()?;
    Ok(formatting.printer.out)
}

#[derive(Default)]
struct Printer {
    out: Vec<u8>,
    flags: Flags,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    width: Option<usize>,
    precision: Option<usize>,
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%+v`
    names: bool,
    /// `%#v`
    syntax: bool,
}

impl Printer {
    /// A value that was given to be printed.
    fn argument(&mut self, value: &Value, verb: char) -> Result<(), TooLong> {
        match (value, verb) {
            (Value::Nil, 'T' | 'v') => self.pad("<nil>"),
            (Value::Nil, _) => self.bad_verb(value, verb)?,
            (_, 'T') => {
                let name = value.type_name();
                self.text(name.as_bytes());
            }
            (Value::List(_) | Value::Map(_) | Value::Record(_) | Value::Properties(_), 'p') => {
                self.out.extend_from_slice(ADDRESS.as_bytes());
            }
            // Only errors can be wrapped.
            (Value::List(_) | Value::Map(_) | Value::Record(_) | Value::Properties(_), 'w') => {
                self.bad_verb(value, verb)?;
            }
            _ => self.value(value, verb, 0)?,
        }
        self.bounded()
    }

    fn bounded(&self) -> Result<(), TooLong> {
        if self.out.len() > MAX_BYTES {
            Err(TooLong)
        } else {
            Ok(())
        }
    }

    fn value(&mut self, value: &Value, verb: char, depth: usize) -> Result<(), TooLong> {
        if matches!(verb, 'v' | 's' | 'x' | 'X' | 'q')
            && !self.flags.syntax
            && let Some(text) = marshal::own_text(value)
        {
            self.text_by_verb(value, text.as_bytes(), verb)?;
            return self.bounded();
        }
        match value {
            Value::Nil if verb == 'v' => self.out.extend_from_slice(b"<nil>"),
            Value::Nil => self.bad_verb(value, verb)?,
            Value::Bool(truth) if matches!(verb, 't' | 'v') => self.pad(&truth.to_string()),
            Value::Bool(_) => self.bad_verb(value, verb)?,
            Value::Int(number) => self.integer(value, number.unsigned_abs(), *number < 0, verb)?,
            Value::Byte(byte) => {
                if verb == 'v' && self.flags.syntax {
                    self.out.extend_from_slice(format!("{byte:#x}").as_bytes());
                } else {
                    self.integer(value, u64::from(*byte), false, verb)?;
                }
            }
            Value::Float(number) => self.float(value, *number, verb)?,
            Value::Complex(real, imaginary) => self.complex(value, *real, *imaginary, verb)?,
            Value::Text(text) => self.text_by_verb(value, text, verb)?,
            Value::List(list) => self.list(list, verb, depth)?,
            Value::Map(map) => self.map(map, verb, depth)?,
            Value::Record(record) => self.record(record, verb, depth)?,
            Value::Properties(None) => self.pad("<nil>"),
            Value::Properties(Some(_)) if depth == 0 => {
                self.out
                    .extend_from_slice(format!("&{{{ADDRESS}}}").as_bytes());
            }
            Value::Properties(Some(_)) => self.out.extend_from_slice(ADDRESS.as_bytes()),
        }
        self.bounded()
    }

    fn bad_verb(&mut self, value: &Value, verb: char) -> Result<(), TooLong> {
        self.push(&format!("%!{verb}("));
        if let Value::Nil = value {
            self.push("<nil>");
        } else {
            self.push(&value.type_name());
            self.out.push(b'=');
            self.without_methods(value)?;
        }
        self.out.push(b')');
        Ok(())
    }

    /// Within a complaint a value does not print itself.
    fn without_methods(&mut self, value: &Value) -> Result<(), TooLong> {
        match value {
            Value::List(list) => self.list(list, 'v', 0),
            Value::Map(map) => self.map(map, 'v', 0),
            Value::Record(record) => self.record(record, 'v', 0),
            _ => self.value(value, 'v', 0),
        }
    }

    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn pad(&mut self, text: &str) {
        self.pad_bytes(text.as_bytes());
    }

    fn pad_bytes(&mut self, text: &[u8]) {
        let letters = text
            .utf8_chunks()
            .map(|chunk| chunk.valid().chars().count() + chunk.invalid().len())
            .sum();
        let padding = self.flags.width.unwrap_or(0).saturating_sub(letters);
        if self.flags.minus {
            self.out.extend_from_slice(text);
            self.fill(padding, b' ');
        } else {
            self.fill(padding, if self.flags.zero { b'0' } else { b' ' });
            self.out.extend_from_slice(text);
        }
    }

    fn fill(&mut self, count: usize, byte: u8) {
        self.out.extend(std::iter::repeat_n(byte, count));
    }

    /// Without padding by zeros.
    fn pad_with_blanks(&mut self, text: &str) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(text);
        self.flags.zero = zero;
    }

    fn text_by_verb(&mut self, value: &Value, text: &[u8], verb: char) -> Result<(), TooLong> {
        match verb {
            'v' if self.flags.syntax => self.quoted(text),
            'v' | 's' => self.text(text),
            'q' => self.quoted(text),
            'x' | 'X' => self.hexadecimal(text, verb == 'X'),
            _ => self.bad_verb(value, verb)?,
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8]) {
        let text = self.truncated(text).to_vec();
        self.pad_bytes(&text);
    }

    /// As many characters as the precision says.
    fn truncated<'b>(&self, text: &'b [u8]) -> &'b [u8] {
        let Some(precision) = self.flags.precision else {
            return text;
        };
        let mut kept = 0;
        let mut left = precision;
        for chunk in text.utf8_chunks() {
            let letters = chunk.valid().chars().map(char::len_utf8);
            for length in letters.chain(chunk.invalid().iter().map(|_| 1)) {
                if left == 0 {
                    return &text[..kept];
                }
                left -= 1;
                kept += length;
            }
        }
        text
    }

    fn quoted(&mut self, text: &[u8]) {
        let text = self.truncated(text).to_vec();
        if self.flags.sharp && quote::can_back_quote(&text) {
            self.pad_bytes(&[b"`", text.as_slice(), b"`"].concat());
        } else {
            self.pad(&quote::quoted(&text, self.escapes()));
        }
    }

    fn escapes(&self) -> Escapes {
        if self.flags.plus {
            Escapes::NonAscii
        } else {
            Escapes::Unprintable
        }
    }

    fn hexadecimal(&mut self, text: &[u8], is_upper: bool) {
        let text = &text[..self.flags.precision.unwrap_or(text.len()).min(text.len())];
        let prefix = match (self.flags.sharp, is_upper) {
            (false, _) => "",
            (true, false) => "0x",
            (true, true) => "0X",
        };
        let mut out = String::new();
        for (index, byte) in text.iter().enumerate() {
            if self.flags.space && index > 0 {
                out.push(' ');
            }
            if index == 0 || self.flags.space {
                out.push_str(prefix);
            }
            out.push_str(&if is_upper {
                format!("{byte:02X}")
            } else {
                format!("{byte:02x}")
            });
        }
        self.pad(&out);
    }

    fn integer(
        &mut self,
        value: &Value,
        number: u64,
        is_negative: bool,
        verb: char,
    ) -> Result<(), TooLong> {
        let (digits, prefix) = match verb {
            'v' | 'd' => (number.to_string(), ""),
            'b' => (
                format!("{number:b}"),
                if self.flags.sharp { "0b" } else { "" },
            ),
            'o' => (format!("{number:o}"), ""),
            'O' => (format!("{number:o}"), "0o"),
            'x' => (
                format!("{number:x}"),
                if self.flags.sharp { "0x" } else { "" },
            ),
            'X' => (
                format!("{number:X}"),
                if self.flags.sharp { "0X" } else { "" },
            ),
            'c' | 'q' | 'U' => {
                self.letter(number, is_negative, verb);
                return Ok(());
            }
            _ => return self.bad_verb(value, verb),
        };
        let sign = match (is_negative, self.flags.plus, self.flags.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        };
        let count = match (self.flags.precision, self.flags.width) {
            (Some(0), width) if number == 0 => {
                self.fill(width.unwrap_or(0), b' ');
                return Ok(());
            }
            (Some(precision), _) => precision,
            (None, Some(width)) if self.flags.zero && !self.flags.minus => {
                width.saturating_sub(sign.len())
            }
            (None, _) => 0,
        };
        let mut digits = format!("{}{digits}", "0".repeat(count.saturating_sub(digits.len())));
        if matches!(verb, 'o' | 'O') && self.flags.sharp && !digits.starts_with('0') {
            digits.insert(0, '0');
        }
        self.pad_with_blanks(&format!("{sign}{prefix}{digits}"));
        Ok(())
    }

    fn letter(&mut self, number: u64, is_negative: bool, verb: char) {
        let number = if is_negative {
            number.wrapping_neg()
        } else {
            number
        };
        let letter = u32::try_from(number)
            .ok()
            .and_then(char::from_u32)
            .unwrap_or(char::REPLACEMENT_CHARACTER);
        match verb {
            'c' => self.pad(&letter.to_string()),
            'q' => self.pad(&quote::quoted_char(letter, self.escapes())),
            _ => {
                let digits = self.flags.precision.unwrap_or(0).max(4);
                let mut text = format!("U+{number:0digits$X}");
                let is_shown = u32::try_from(number)
                    .is_ok_and(|number| number == u32::from(letter))
                    && quote::is_printable(letter);
                if self.flags.sharp && is_shown {
                    text.push_str(&format!(" '{letter}'"));
                }
                self.pad_with_blanks(&text);
            }
        }
    }

    fn float(&mut self, value: &Value, number: f64, verb: char) -> Result<(), TooLong> {
        let (notation, default) = match verb {
            'v' | 'g' | 'G' => (Notation::General, None),
            'f' | 'F' => (Notation::Plain, Some(6)),
            'e' | 'E' => (Notation::Exponent, Some(6)),
            'x' | 'X' => (Notation::Hexadecimal, None),
            'b' => (Notation::Binary, None),
            _ => return self.bad_verb(value, verb),
        };
        let mut text = float::format(number, notation, self.flags.precision.or(default));
        if !text.starts_with(['+', '-']) {
            text.insert(0, '+');
        }
        if number.is_finite() {
            if self.flags.sharp && notation != Notation::Binary {
                text = self.with_point(text, notation);
            }
            if matches!(verb, 'G' | 'E' | 'X') {
                text.make_ascii_uppercase();
            }
        }
        if self.flags.space && text.starts_with('+') && !self.flags.plus {
            text.replace_range(..1, " ");
        }
        if !number.is_finite() {
            let is_bare = number.is_nan() && !self.flags.space && !self.flags.plus;
            self.pad_with_blanks(&text[usize::from(is_bare)..]);
            return Ok(());
        }
        if !self.flags.plus && text.starts_with('+') {
            self.pad(&text[1..]);
            return Ok(());
        }
        let width = self.flags.width.unwrap_or(0);
        if self.flags.zero && !self.flags.minus && width > text.len() {
            // The zeros stand between the sign and the digits.
            self.push(&text[..1]);
            self.fill(width - text.len(), b'0');
            self.push(&text[1..]);
        } else {
            self.pad(&text);
        }
        Ok(())
    }

    /// `%#g` and its kin always have a point, and all the digits they were asked for.
    fn with_point(&self, text: String, notation: Notation) -> String {
        let mark = if notation == Notation::Hexadecimal {
            'p'
        } else {
            'e'
        };
        let (digits, tail) = match text.find(mark) {
            Some(index) => (text[..index].to_owned(), text[index..].to_owned()),
            None => (text, String::new()),
        };
        let mut missing = match notation {
            Notation::General | Notation::Hexadecimal => self.flags.precision.unwrap_or(6),
            Notation::Plain | Notation::Exponent | Notation::Binary => 0,
        };
        let significant = digits[1..]
            .trim_start_matches(['0', '.'])
            .chars()
            .filter(|letter| *letter != '.')
            .count();
        missing = missing.saturating_sub(significant);
        let mut out = digits;
        if !out.contains('.') {
            if out.len() == 2 && out.ends_with('0') {
                missing = missing.saturating_sub(1);
            }
            out.push('.');
        }
        out.push_str(&"0".repeat(missing));
        out + &tail
    }

    fn complex(
        &mut self,
        value: &Value,
        real: f64,
        imaginary: f64,
        verb: char,
    ) -> Result<(), TooLong> {
        if !matches!(
            verb,
            'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E'
        ) {
            return self.bad_verb(value, verb);
        }
        self.out.push(b'(');
        self.float(value, real, verb)?;
        let plus = std::mem::replace(&mut self.flags.plus, true);
        self.float(value, imaginary, verb)?;
        self.flags.plus = plus;
        self.push("i)");
        Ok(())
    }

    fn list(&mut self, list: &List, verb: char, depth: usize) -> Result<(), TooLong> {
        if list.kind == ListKind::Image && matches!(verb, 's' | 'q' | 'x' | 'X') {
            return self.text_by_verb(&Value::List(list.clone()), &[], verb);
        }
        if self.flags.syntax {
            self.push(&Value::List(list.clone()).type_name());
            if list.is_nil {
                self.push("(nil)");
                return Ok(());
            }
        }
        let (open, close, between) = self.marks("[", "]");
        self.push(open);
        for (index, item) in list.items().iter().enumerate() {
            if index > 0 {
                self.push(between);
            }
            self.element(&list.kind.held(item.clone()), verb, depth)?;
        }
        self.push(close);
        Ok(())
    }

    fn map(&mut self, map: &Map, verb: char, depth: usize) -> Result<(), TooLong> {
        if self.flags.syntax {
            self.push(&Value::Map(map.clone()).type_name());
            if map.is_nil {
                self.push("(nil)");
                return Ok(());
            }
        }
        let (open, close, between) = self.marks("map[", "]");
        self.push(open);
        for (index, (key, item)) in map.entries.iter().enumerate() {
            if index > 0 {
                self.push(between);
            }
            self.value(&Value::text(key), verb, depth + 1)?;
            self.out.push(b':');
            self.element(&map.kind.held(item.clone()), verb, depth)?;
        }
        self.push(close);
        Ok(())
    }

    fn record(&mut self, record: &Record, verb: char, depth: usize) -> Result<(), TooLong> {
        if record.is_pointer && depth > 0 {
            self.push(ADDRESS);
            return Ok(());
        }
        if record.is_pointer {
            self.out.push(b'&');
        }
        if self.flags.syntax {
            self.push(record.shape.name);
        }
        let (_, _, between) = self.marks("", "");
        self.out.push(b'{');
        for (index, (field, item)) in record
            .shape
            .fields
            .iter()
            .zip(record.fields.iter())
            .enumerate()
        {
            if index > 0 {
                self.push(between);
            }
            if self.flags.names || self.flags.syntax {
                self.push(field.name);
                self.out.push(b':');
            }
            let held = Held {
                value: item.clone(),
                is_interface: field.is_interface,
            };
            self.element(&held, verb, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn element(&mut self, held: &Held, verb: char, depth: usize) -> Result<(), TooLong> {
        match held.value {
            Value::Nil if self.flags.syntax => self.push("interface {}(nil)"),
            Value::Nil => self.push("<nil>"),
            _ => self.value(&held.value, verb, depth + 1)?,
        }
        Ok(())
    }

    /// Brackets and separator of lists and maps.
    fn marks(
        &self,
        open: &'static str,
        close: &'static str,
    ) -> (&'static str, &'static str, &'static str) {
        if self.flags.syntax {
            ("{", "}", ", ")
        } else {
            (open, close, " ")
        }
    }
}

struct Formatting<'a> {
    printer: Printer,
    format: &'a [u8],
    position: usize,
    values: &'a [Value],
    /// The value for the next verb.
    next: usize,
    is_reordered: bool,
    is_index_good: bool,
}

impl Formatting<'_> {
    fn run(&mut self) -> Result<(), TooLong> {
        while self.position < self.format.len() {
            let rest = &self.format[self.position..];
            let plain = rest
                .iter()
                .position(|byte| *byte == b'%')
                .unwrap_or(rest.len());
            self.printer.out.extend_from_slice(&rest[..plain]);
            self.position += plain;
            if self.position < self.format.len() {
                self.position += 1;
                if !self.verb()? {
                    break;
                }
            }
            self.printer.bounded()?;
        }
        self.extra()
    }

    fn current(&self) -> Option<u8> {
        self.format.get(self.position).copied()
    }

    /// What stands behind a percent sign. False if nothing does.
    fn verb(&mut self) -> Result<bool, TooLong> {
        self.is_index_good = true;
        self.printer.flags = Flags::default();
        self.signs();
        let mut after_index = self.index();
        after_index = self.width(after_index);
        after_index = self.precision(after_index);
        if !after_index {
            self.index();
        }
        let Some(verb) = self.letter() else {
            self.printer.push("%!(NOVERB)");
            return Ok(false);
        };
        if verb == '%' {
            self.printer.out.push(b'%');
        } else if !self.is_index_good {
            self.printer.push(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(value) = self.values.get(self.next) {
            if verb == 'v' {
                let flags = &mut self.printer.flags;
                flags.syntax = std::mem::take(&mut flags.sharp);
                flags.names = std::mem::take(&mut flags.plus);
            }
            self.next += 1;
            self.printer.argument(value, verb)?;
        } else {
            self.printer.push(&format!("%!{verb}(MISSING)"));
        }
        Ok(true)
    }

    fn signs(&mut self) {
        while let Some(byte) = self.current() {
            let flags = &mut self.printer.flags;
            match byte {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => break,
            }
            self.position += 1;
        }
    }

    fn width(&mut self, after_index: bool) -> bool {
        if self.current() == Some(b'*') {
            self.position += 1;
            match self.number_of_value() {
                Some(width) => {
                    if width < 0 {
                        self.printer.flags.minus = true;
                        self.printer.flags.zero = false;
                    }
                    self.printer.flags.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => self.printer.push("%!(BADWIDTH)"),
            }
            return false;
        }
        self.printer.flags.width = self.number();
        if after_index && self.printer.flags.width.is_some() {
            self.is_index_good = false;
        }
        after_index
    }

    fn precision(&mut self, after_index: bool) -> bool {
        if self.current() != Some(b'.') || self.position + 1 >= self.format.len() {
            return after_index;
        }
        self.position += 1;
        if after_index {
            self.is_index_good = false;
        }
        let after_index = self.index();
        if self.current() == Some(b'*') {
            self.position += 1;
            match self.number_of_value().map(usize::try_from) {
                Some(Ok(precision)) => self.printer.flags.precision = Some(precision),
                _ => self.printer.push("%!(BADPREC)"),
            }
            return false;
        }
        self.printer.flags.precision = Some(self.number().unwrap_or(0));
        after_index
    }

    fn number(&mut self) -> Option<usize> {
        let digits = self.format[self.position..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return None;
        }
        let text = std::str::from_utf8(&self.format[self.position..self.position + digits])
            .expect("digits are ASCII");
        match text.parse::<usize>() {
            // One digit more than too many is where Go looks.
            Ok(number) if number / 10 <= MAX_NUMBER => {
                self.position += digits;
                Some(number)
            }
            _ => {
                self.position = self.format.len();
                None
            }
        }
    }

    fn number_of_value(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        match value {
            Value::Int(number) if number.unsigned_abs() <= MAX_NUMBER as u64 => Some(*number),
            Value::Byte(byte) => Some(i64::from(*byte)),
            _ => None,
        }
    }

    /// Reads `[n]`, and tells whether there was one.
    fn index(&mut self) -> bool {
        if self.current() != Some(b'[') {
            return false;
        }
        self.is_reordered = true;
        let rest = &self.format[self.position..];
        let Some(end) = rest.iter().position(|byte| *byte == b']') else {
            self.is_index_good = false;
            self.position += 1;
            return false;
        };
        let number = std::str::from_utf8(&rest[1..end])
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse::<usize>().ok());
        self.position += end + 1;
        match number.and_then(|number| number.checked_sub(1)) {
            Some(index) if index < self.values.len() => {
                self.next = index;
                true
            }
            _ => {
                self.is_index_good = false;
                number.is_some()
            }
        }
    }

    fn letter(&mut self) -> Option<char> {
        let rest = &self.format[self.position..];
        let chunk = rest.utf8_chunks().next()?;
        let letter = chunk.valid().chars().next();
        self.position += letter.map_or(1, char::len_utf8);
        Some(letter.unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Values that no verb asked for.
    fn extra(&mut self) -> Result<(), TooLong> {
        if self.is_reordered || self.next >= self.values.len() {
            return Ok(());
        }
        self.printer.flags = Flags::default();
        self.printer.push("%!(EXTRA ");
        for (index, value) in self.values[self.next..].iter().enumerate() {
            if index > 0 {
                self.printer.push(", ");
            }
            if let Value::Nil = value {
                self.printer.push("<nil>");
            } else {
                self.printer.push(&value.type_name());
                self.printer.out.push(b'=');
                self.printer.argument(value, 'v')?;
            }
        }
        self.printer.out.push(b')');
        Ok(())
    }
}
