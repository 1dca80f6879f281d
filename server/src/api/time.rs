//! Points in time as clients read them.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What Ollama shows for "never": as far ahead as Go's durations reach.
const FOREVER: Duration = Duration::from_nanos(i64::MAX.unsigned_abs());

/// Go's zero time.
const ZERO: &str = "0001-01-01T00:00:00Z";

/// Now, in UTC with nanoseconds: `created_at`.
pub fn now() -> String {
    Timestamp::now().to_string()
}

/// RFC 3339 with this machine's offset from UTC.
pub fn local(time: SystemTime) -> String {
    // Only a clock millennia ahead is out of range.
    let timestamp = Timestamp::try_from(time).unwrap_or(Timestamp::MAX);
    let offset = TimeZone::system().to_offset(timestamp);
    timestamp.display_with_offset(offset).to_string()
}

/// When a model leaves, as `/api/ps` tells it: clients take a date that nobody will live to see for "never", and Go's
/// zero time for "not before its requests have ended".
pub fn expiry(expires_at: Option<SystemTime>, forever: bool) -> String {
    match expires_at {
        Some(time) => local(time),
        None if forever => local(SystemTime::now() + FOREVER),
        None => ZERO.to_owned(),
    }
}

/// A duration in nanoseconds, never 0: clients take that for "not measured".
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos())
        .unwrap_or(u64::MAX)
        .max(1)
}
