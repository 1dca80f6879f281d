//! Numbers, characters and texts as templates write them.

/// A constant whose type depends on how it is written and used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Number {
    /// As written.
    pub(super) text: String,
    /// What it is where no type is asked for.
    pub(super) value: Constant,
}

/// What a number stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Constant {
    Int(i64),
    Float(f64),
    /// Real and imaginary part.
    Complex(f64, f64),
    /// An integer that fits no `int`.
    Overflow,
}

/// How a number was marked by the lexer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Notation {
    /// `'a'`
    Char,
    /// `1+2i`
    Complex,
    /// Everything else.
    Plain,
}

impl Number {
    /// Reads a number.
    ///
    /// # Errors
    /// In Go's words.
    pub(super) fn parse(text: &str, notation: Notation) -> Result<Self, String> {
        let illegal = || format!("illegal number syntax: {}", super::quote::quoted_text(text));
        let value = match notation {
            Notation::Char => Constant::Int(char_constant(text)?),
            Notation::Complex => {
                let number = text.strip_suffix('i').ok_or_else(illegal)?;
                // The sign of the imaginary part is the last one that is not an exponent's.
                let split = number
                    .char_indices()
                    .rfind(|&(index, letter)| {
                        matches!(letter, '+' | '-')
                            && index > 0
                            && !number[..index].ends_with(['e', 'E', 'p', 'P'])
                    })
                    .map(|(index, _)| index)
                    .ok_or_else(illegal)?;
                let real = float(&number[..split]).ok_or_else(illegal)?;
                let imaginary = float(&number[split..]).ok_or_else(illegal)?;
                Constant::Complex(real, imaginary)
            }
            Notation::Plain => match text.strip_suffix('i').and_then(float) {
                Some(imaginary) => Constant::Complex(0.0, imaginary),
                None => plain(text)?,
            },
        };
        Ok(Self {
            text: text.to_owned(),
            value,
        })
    }
}

fn plain(text: &str) -> Result<Constant, String> {
    let quoted = || super::quote::quoted_text(text);
    let is_hexadecimal = text.len() > 2
        && (text.starts_with("0x") || text.starts_with("0X"))
        && !text.contains(['p', 'P']);
    let looks_like_float = !is_hexadecimal && text.contains(['.', 'e', 'E', 'p', 'P']);
    match integer(text) {
        Some(Ok(number)) if looks_like_float => Ok(Constant::Float(number as f64)),
        Some(Ok(number)) => Ok(Constant::Int(number)),
        Some(Err(())) => Ok(Constant::Overflow),
        None => match float(text) {
            Some(_) if !text.contains(['.', 'e', 'E', 'p', 'P']) => {
                Err(format!("integer overflow: {}", quoted()))
            }
            Some(number) if looks_like_float => Ok(Constant::Float(number)),
            Some(number) if number as i64 as f64 == number => Ok(Constant::Int(number as i64)),
            _ => Err(format!("illegal number syntax: {}", quoted())),
        },
    }
}

/// An integer in any of Go's bases, `Err` if it fits 64 bits only without a sign, none if it is no integer.
fn integer(text: &str) -> Option<Result<i64, ()>> {
    let (is_negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if !underscores_separate(unsigned) {
        return None;
    }
    let digits = unsigned.replace('_', "");
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = u64::from_str_radix(digits, base).ok()?;
    let signed = i128::from(number) * if is_negative { -1 } else { 1 };
    match i64::try_from(signed) {
        Ok(number) => Some(Ok(number)),
        // Only without a sign is it an unsigned number.
        Err(_) if unsigned.len() == text.len() => Some(Err(())),
        Err(_) => None,
    }
}

/// A decimal or hexadecimal floating-point number that is finite.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    if text.len() - unsigned.len() > 1 || !underscores_separate(unsigned) {
        return None;
    }
    let lower = unsigned.to_ascii_lowercase().replace('_', "");
    let number = match lower.strip_prefix("0x") {
        Some(digits) => hexadecimal_float(digits)?,
        None if lower.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.') => {
            lower.parse::<f64>().ok()?
        }
        None => return None,
    };
    let number = if text.starts_with('-') {
        -number
    } else {
        number
    };
    number.is_finite().then_some(number)
}

fn hexadecimal_float(digits: &str) -> Option<f64> {
    let (mantissa, exponent) = digits.split_once('p')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    // More digits than an f64 holds exactly are nothing that templates have.
    if all.is_empty() || significant.len() > 13 {
        return None;
    }
    let number = u64::from_str_radix(&all, 16).ok()?;
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?.checked_mul(4)?)?;
    Some(number as f64 * f64::powi(2.0, shift))
}

/// Underscores stand only between digits, or between a base's prefix and a digit.
fn underscores_separate(text: &str) -> bool {
    let bytes = text.as_bytes();
    let prefixed = matches!(bytes, [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', ..]);
    let digits = if prefixed { &bytes[2..] } else { bytes };
    let mut before_is_digit = prefixed;
    for (index, byte) in digits.iter().enumerate() {
        let is_digit = if prefixed {
            byte.is_ascii_hexdigit()
        } else {
            byte.is_ascii_digit()
        };
        if *byte == b'_' {
            let after_is_digit = digits.get(index + 1).is_some_and(u8::is_ascii_hexdigit);
            if !(before_is_digit && after_is_digit) {
                return false;
            }
        }
        before_is_digit = is_digit;
    }
    true
}

fn char_constant(text: &str) -> Result<i64, String> {
    const INVALID: &str = "invalid syntax";
    let inner = text.strip_prefix('\'').ok_or(INVALID)?;
    let (piece, rest) = unquote_char(inner, '\'').ok_or(INVALID)?;
    if rest != "'" {
        return Err(format!("malformed character constant: {text}"));
    }
    Ok(match piece {
        Piece::Char(letter) => i64::from(u32::from(letter)),
        Piece::Byte(byte) => i64::from(byte),
    })
}

/// What a text in double or back quotes stands for.
///
/// # Errors
/// In Go's words.
pub(super) fn unquote(quoted: &str) -> Result<Vec<u8>, String> {
    const INVALID: &str = "invalid syntax";
    if let Some(raw) = quoted
        .strip_prefix('`')
        .and_then(|text| text.strip_suffix('`'))
    {
        return Ok(raw.replace('\r', "").into_bytes());
    }
    let mut rest = quoted
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .ok_or(INVALID)?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = unquote_char(rest, '"').ok_or(INVALID)?;
        match piece {
            Piece::Char(letter) => {
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes())
            }
            Piece::Byte(byte) => out.push(byte),
        }
        rest = after;
    }
    Ok(out)
}

enum Piece {
    Char(char),
    /// One that was written as `\x` or in octal digits.
    Byte(u8),
}

fn unquote_char(text: &str, quote: char) -> Option<(Piece, &str)> {
    let mut letters = text.chars();
    let first = letters.next()?;
    if first == quote {
        return None;
    }
    if first != '\\' {
        return Some((Piece::Char(first), letters.as_str()));
    }
    let escape = letters.next()?;
    let rest = letters.as_str();
    let plain = |letter| Some((Piece::Char(letter), rest));
    match escape {
        'a' => plain('\x07'),
        'b' => plain('\x08'),
        'f' => plain('\x0c'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\x0b'),
        '\\' => plain('\\'),
        '\'' | '"' if escape == quote => plain(escape),
        'x' => {
            let number = digits(rest, 2, 16)?;
            Some((Piece::Byte(u8::try_from(number).ok()?), &rest[2..]))
        }
        'u' => Some((
            Piece::Char(char::from_u32(digits(rest, 4, 16)?)?),
            &rest[4..],
        )),
        'U' => Some((
            Piece::Char(char::from_u32(digits(rest, 8, 16)?)?),
            &rest[8..],
        )),
        '0'..='7' => {
            let number = digits(&text[1..], 3, 8)?;
            Some((Piece::Byte(u8::try_from(number).ok()?), &text[4..]))
        }
        _ => None,
    }
}

fn digits(text: &str, count: usize, base: u32) -> Option<u32> {
    let digits = text.get(..count)?;
    digits
        .bytes()
        .all(|digit| char::from(digit).is_digit(base))
        .then(|| u32::from_str_radix(digits, base).ok())?
}
