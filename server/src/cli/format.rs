//! Numbers, times and tables as Ollama prints them.

use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};
use unicode_width::UnicodeWidthStr;

const COLUMN_GAP: &str = "    ";

/// Further ahead than this is never.
const FOREVER: Duration = Duration::from_secs(21 * 365 * 24 * 3600);

/// Go's zero time, which stands for none.
const ZERO_TIME: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// A size in decimal units: `1.3 GB`.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    // A float is exact enough for one digit behind the point.
    let in_units = |unit: u64, name| format!("{:.1} {name}", bytes as f64 / unit as f64);
    match bytes {
        1_000_000_001.. => in_units(1_000_000_000, "GB"),
        1_000_001.. => in_units(1_000_000, "MB"),
        1_001.. => in_units(1_000, "KB"),
        _ => format!("{bytes} B"),
    }
}

/// How far a point in time is from `now`: `4 minutes from now`, `2 hours ago`, `Forever`, `Never`.
#[must_use]
pub fn human_time(time: Timestamp, now: Timestamp) -> String {
    if time == ZERO_TIME {
        return "Never".into();
    }
    let distance = now.duration_since(time);
    let text = human_duration(distance.unsigned_abs());
    if !distance.is_negative() {
        format!("{text} ago")
    } else if distance.unsigned_abs() >= FOREVER {
        "Forever".into()
    } else {
        format!("{text} from now")
    }
}

fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let hours = (seconds + 1800) / 3600;
    match (seconds, seconds / 60, hours) {
        (0, ..) => "Less than a second".into(),
        (1, ..) => "1 second".into(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".into(),
        (_, minutes @ 2..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".into(),
        (_, _, 0..48) => format!("{hours} hours"),
        (_, _, 48..336) => format!("{} days", hours / 24),
        (_, _, 336..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, 1440..17_520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// A duration as Go prints it: `1m2.5s`, `35.2ms`.
#[must_use]
pub fn go_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let fraction = |unit: u128| {
        let digits = unit.ilog10() as usize;
        let text = format!("{}.{:0digits$}", nanoseconds / unit, nanoseconds % unit);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanoseconds {
        0 => "0s".into(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(1_000_000)),
        _ => {
            let minutes = duration.as_secs() / 60;
            let rest = duration - Duration::from_secs(minutes * 60);
            let whole = rest.as_secs();
            let part = format!("{:09}", rest.subsec_nanos());
            let part = part.trim_end_matches('0');
            let point = if part.is_empty() { "" } else { "." };
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{whole}{point}{part}s"),
                (0, minutes) => format!("{minutes}m{whole}{point}{part}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{whole}{point}{part}s"),
            }
        }
    }
}

/// Reads RFC 3339, for fields of replies.
pub fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(de::Error::custom)
}

/// Writes rows with their columns below one another, each as wide as its longest cell.
///
/// # Errors
/// When it cannot be written.
pub fn table(out: &mut dyn Write, rows: &[Vec<String>]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width_of).collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let padding = " ".repeat(width - cell.width());
            line = line + cell + &padding + COLUMN_GAP;
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal() {
        let check = |bytes, expected: &str| assert_eq!(human_bytes(bytes), expected);
        check(0, "0 B");
        check(1_000, "1000 B");
        check(1_001, "1.0 KB");
        check(999_949, "999.9 KB");
        check(1_048_576, "1.0 MB");
        check(1_321_098_329, "1.3 GB");
        check(42_000_000_000_000, "42000.0 GB");
    }

    #[test]
    fn times_are_told_from_now() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let check = |seconds: i64, expected: &str| {
            let time = Timestamp::from_second(now.as_second() + seconds).unwrap();
            assert_eq!(human_time(time, now), expected, "{seconds}");
        };
        let (hour, day) = (3600, 86400);
        check(0, "Less than a second ago");
        check(-1, "1 second ago");
        check(-59, "59 seconds ago");
        check(-60, "About a minute ago");
        check(299, "4 minutes from now");
        check(59 * 60, "59 minutes from now");
        check(-hour, "About an hour ago");
        check(-(hour + 1800), "2 hours ago");
        check(-47 * hour, "47 hours ago");
        check(-2 * day, "2 days ago");
        check(-13 * day, "13 days ago");
        check(-14 * day, "2 weeks ago");
        check(-60 * day, "2 months ago");
        check(-729 * day, "24 months ago");
        check(-800 * day, "2 years ago");
        check(20 * 365 * day, "20 years from now");
        check(21 * 365 * day, "Forever");
        assert_eq!(
            human_time("0001-01-01T00:00:00Z".parse().unwrap(), now),
            "Never"
        );
    }

    #[test]
    fn durations_are_gos() {
        let check = |nanoseconds, expected: &str| {
            assert_eq!(go_duration(Duration::from_nanos(nanoseconds)), expected);
        };
        check(0, "0s");
        check(999, "999ns");
        check(1_500, "1.5µs");
        check(35_200_001, "35.200001ms");
        check(1_000_000_000, "1s");
        check(1_234_567_890, "1.23456789s");
        check(60_000_000_000, "1m0s");
        check(62_500_000_000, "1m2.5s");
        check(3_600_000_000_000, "1h0m0s");
        check(3_661_000_000_001, "1h1m1.000000001s");
    }

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [["NAME", "SIZE"], ["tiny:latest", "3 B"], ["模型", "12 GB"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let mut out = Vec::new();
        table(&mut out, &rows).unwrap();
        let expected = "NAME           SIZE\ntiny:latest    3 B\n模型           12 GB\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
