//! Floating-point numbers in Go's notations (`strconv.FormatFloat`).

/// A notation, by its verb.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Notation {
    /// `%e`: with an exponent.
    Exponent,
    /// `%f`: without one.
    Plain,
    /// `%g`: with one where it is large.
    General,
    /// `%x`: in base 16, with a power of two.
    Hexadecimal,
    /// `%b`: a whole number and a power of two.
    Binary,
}

/// Bits of an f64 behind its leading one.
const MANTISSA_BITS: u32 = 52;

/// An f64 has no more decimal places than this; further ones are zeros.
const MAX_DECIMAL_PLACES: usize = 1_100;

/// The number with so many digits (after the point, but of all digits in [`Notation::General`]); without a precision,
/// with as many as it takes to read the same number back.
pub(super) fn format(number: f64, notation: Notation, precision: Option<usize>) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    match notation {
        Notation::Exponent => exponent(number, precision),
        Notation::Plain => plain(number, precision),
        Notation::General => general(number, precision),
        Notation::Hexadecimal => hexadecimal(number, precision),
        Notation::Binary => binary(number),
    }
}

fn plain(number: f64, precision: Option<usize>) -> String {
    let Some(precision) = precision else {
        return format!("{number}");
    };
    let places = precision.min(MAX_DECIMAL_PLACES);
    let mut text = format!("{number:.places$}");
    text.extend(std::iter::repeat_n('0', precision - places));
    text
}

fn exponent(number: f64, precision: Option<usize>) -> String {
    let (text, zeros) = match precision {
        Some(precision) => {
            let places = precision.min(MAX_DECIMAL_PLACES);
            (format!("{number:.places$e}"), precision - places)
        }
        None => (format!("{number:e}"), 0),
    };
    let (mantissa, power) = text.split_once('e').expect("the format writes one");
    let (sign, power) = match power.strip_prefix('-') {
        Some(power) => ('-', power),
        None => ('+', power),
    };
    format!("{mantissa}{}e{sign}{power:0>2}", "0".repeat(zeros))
}

fn general(number: f64, precision: Option<usize>) -> String {
    let significant = precision.map(|precision| precision.clamp(1, MAX_DECIMAL_PLACES));
    let text = match significant {
        Some(digits) => format!("{number:.places$e}", places = digits - 1),
        None => format!("{number:e}"),
    };
    let (mantissa, power) = text.split_once('e').expect("the format writes one");
    let power: i32 = power.parse().expect("the format writes a number");
    let digits = mantissa.trim_start_matches('-').replace('.', "");
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let threshold = match significant {
        None => 6,
        // A whole number whose digits are all there needs no exponent.
        Some(asked) => {
            let asked = i32::try_from(asked).unwrap_or(i32::MAX);
            if asked > count && count > power {
                count
            } else {
                asked
            }
        }
    };
    if power < -4 || power >= threshold {
        exponent(number, Some(digits.len() - 1))
    } else {
        let places = usize::try_from(count - 1 - power).unwrap_or(0);
        plain(number, Some(places))
    }
}

fn binary(number: f64) -> String {
    let bits = number.to_bits();
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let fraction = bits & ((1 << MANTISSA_BITS) - 1);
    let (mantissa, power) = match i64::try_from((bits >> MANTISSA_BITS) & 0x7ff).expect("11 bits") {
        0 => (fraction, 1),
        power => (fraction | 1 << MANTISSA_BITS, power),
    };
    format!(
        "{sign}{mantissa}p{:+}",
        power - 1023 - i64::from(MANTISSA_BITS)
    )
}

fn hexadecimal(number: f64, precision: Option<usize>) -> String {
    let bits = number.to_bits();
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let mut mantissa = bits & ((1 << MANTISSA_BITS) - 1);
    let mut power = i64::try_from((bits >> MANTISSA_BITS) & 0x7ff).expect("11 bits") - 1023;
    if power == -1023 {
        if mantissa == 0 {
            power = 0;
        } else {
            // Subnormal numbers are shown with a leading one like all others.
            let shift = mantissa.leading_zeros() - 11;
            mantissa <<= shift;
            power = -1022 - i64::from(shift);
        }
    } else {
        mantissa |= 1 << MANTISSA_BITS;
    }
    if let Some(kept) = precision
        .and_then(|digits| u32::try_from(digits).ok())
        .filter(|&digits| digits < 13)
    {
        let dropped = MANTISSA_BITS - 4 * kept;
        let half = 1 << (dropped - 1);
        let rest = mantissa & ((1 << dropped) - 1);
        mantissa >>= dropped;
        if rest > half || rest == half && mantissa & 1 == 1 {
            mantissa += 1;
        }
        mantissa <<= dropped;
        if mantissa >> (MANTISSA_BITS + 1) > 0 {
            mantissa >>= 1;
            power += 1;
        }
    }
    let leading = mantissa >> MANTISSA_BITS;
    let fraction = format!("{:013x}", mantissa & ((1 << MANTISSA_BITS) - 1));
    let fraction = match precision {
        None => fraction.trim_end_matches('0').to_owned(),
        Some(digits) if digits <= fraction.len() => fraction[..digits].to_owned(),
        Some(digits) => fraction.clone() + &"0".repeat(digits - fraction.len()),
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let power_sign = if power < 0 { '-' } else { '+' };
    format!(
        "{sign}0x{leading}{point}{fraction}p{power_sign}{:02}",
        power.abs()
    )
}
