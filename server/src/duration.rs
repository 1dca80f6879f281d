//! Durations as Go writes them (`1h30m`, `300ms`), which is how Ollama's users and clients do.

use std::time::Duration;

/// How long a model stays loaded after its last request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeepAlive {
    /// This long; zero unloads it with the request.
    For(Duration),
    /// Until it is unloaded.
    Forever,
}

/// Ollama's five minutes.
impl Default for KeepAlive {
    fn default() -> Self {
        Self::For(Duration::from_secs(300))
    }
}

impl KeepAlive {
    /// From a number of seconds; negative is forever.
    #[must_use]
    pub fn from_seconds(seconds: f64) -> Self {
        if seconds < 0.0 {
            return Self::Forever;
        }
        Duration::try_from_secs_f64(seconds).map_or(Self::Forever, Self::For)
    }

    /// From a Go duration; negative is forever. `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match parse_signed(text)? {
            Signed::Positive(duration) => Self::For(duration),
            Signed::Negative => Self::Forever,
        })
    }

    /// Like [`KeepAlive::parse`], and a bare number is seconds.
    #[must_use]
    pub fn parse_or_seconds(text: &str) -> Option<Self> {
        match text.parse::<i64>() {
            Ok(seconds) if seconds < 0 => Some(Self::Forever),
            Ok(seconds) => Some(Self::For(Duration::from_secs(seconds.unsigned_abs()))),
            Err(_) => Self::parse(text),
        }
    }
}

/// A duration or a bare number of seconds; anything negative is zero. `None` if it is neither.
#[must_use]
pub fn parse_or_seconds(text: &str) -> Option<Duration> {
    match KeepAlive::parse_or_seconds(text)? {
        KeepAlive::For(duration) => Some(duration),
        KeepAlive::Forever => Some(Duration::ZERO),
    }
}

/// A duration as Go reads it, with no more units than it needs: `1h30m`, `90ms`.
#[must_use]
pub fn text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let below = duration.subsec_nanos();
    let mut text = String::new();
    for (amount, unit) in [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ] {
        if amount > 0 {
            text += &format!("{amount}{unit}");
        }
    }
    match below {
        0 if text.is_empty() => text += "0s",
        0 => {}
        below if below % 1_000_000 == 0 => text += &format!("{}ms", below / 1_000_000),
        below => text += &format!("{below}ns"),
    }
    text
}

enum Signed {
    Positive(Duration),
    Negative,
}

/// Go's `time.ParseDuration`: an optional sign, then numbers with units, or a lone `0`.
fn parse_signed(text: &str) -> Option<Signed> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(Signed::Positive(Duration::ZERO));
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, length) = UNITS
            .iter()
            .find(|(name, _)| rest.starts_with(name))
            .map(|(name, s)| (*s, name.len()))?;
        seconds += number * unit;
        rest = &rest[length..];
    }
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    Some(if negative && !duration.is_zero() {
        Signed::Negative
    } else {
        Signed::Positive(duration)
    })
}

/// Unit names, longer before those they begin with, and their seconds.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("\u{b5}s", 1e-6),
    ("\u{3bc}s", 1e-6),
    ("ms", 1e-3),
    ("h", 3600.0),
    ("m", 60.0),
    ("s", 1.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        let check = |text: &str, expected: Option<KeepAlive>| {
            assert_eq!(KeepAlive::parse(text), expected, "{text}")
        };
        let seconds = |s: f64| Some(KeepAlive::For(Duration::from_secs_f64(s)));
        check("10m", seconds(600.0));
        check("1h30m", seconds(5400.0));
        check("300ms", seconds(0.3));
        check("1.5s", seconds(1.5));
        check("0", seconds(0.0));
        check("-1s", Some(KeepAlive::Forever));
        check("-0s", seconds(0.0));
        check("300", None);
        check("", None);
        check("-", None);
        check("m", None);
        check("1d", None);
        check("1..2s", None);
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let check = |duration: Duration, expected: &str| {
            assert_eq!(text(duration), expected);
            assert_eq!(parse_or_seconds(expected), Some(duration), "{expected}");
        };
        check(Duration::ZERO, "0s");
        check(Duration::from_secs(30), "30s");
        check(Duration::from_secs(300), "5m");
        check(Duration::from_secs(5430), "1h30m30s");
        check(Duration::from_millis(90), "90ms");
        check(Duration::from_millis(61_500), "1m1s500ms");
        check(Duration::from_nanos(1), "1ns");
    }

    #[test]
    fn numbers_are_seconds() {
        assert_eq!(
            KeepAlive::from_seconds(0.5),
            KeepAlive::For(Duration::from_millis(500))
        );
        assert_eq!(KeepAlive::from_seconds(-1.0), KeepAlive::Forever);
        assert_eq!(KeepAlive::from_seconds(1e300), KeepAlive::Forever);
        assert_eq!(
            KeepAlive::parse_or_seconds("300"),
            Some(KeepAlive::For(Duration::from_secs(300)))
        );
        assert_eq!(KeepAlive::parse_or_seconds("-1"), Some(KeepAlive::Forever));
    }
}
