use std::{
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
};

use super::{Calibration, Level, Machine, Noise};
use crate::{
    client::{Client, Exchange, Request},
    stats,
};

/// Streams at once at which noise is measured.
const STREAMS: [usize; 3] = [1, 16, 64];
/// Tokens of each stream, one every [`GAP`].
const TOKENS: u64 = 32;
/// From the request to the first piece.
const FIRST: &str = "20ms";
/// From one piece to the next: 200 tokens per second and stream.
const GAP: &str = "5ms";
/// Longest time one stream may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why the noise is not known.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The mock did not start.
    #[error("cannot start the mock: {0}")]
    Mock(#[from] std::io::Error),
    /// The mock did not say where it listens.
    #[error("the mock did not say where it listens")]
    Silent,
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// Replies came without stamps.
    #[error("{0} of {1} streams came back whole; end what else runs and try again")]
    Incomplete(usize, usize),
}

/// Measures the noise with `requests` streams at each level. Takes some seconds.
///
/// # Errors
/// [`CalibrationError`] when the mock or the streams fail.
pub async fn measure(requests: usize) -> Result<Calibration, CalibrationError> {
    let (_mock, url) = start_mock().await?;
    let client = Client::new(url, TIMEOUT)?;
    let clock = Clock::new();
    let mut levels = Vec::new();
    for streams in STREAMS {
        // What opens connections and touches code for the first time is not counted.
        all(&client, streams, streams).await;
        let wanted = requests.max(streams);
        let exchanges = all(&client, streams, wanted).await;
        let stamped: Vec<Stamped> = exchanges
            .iter()
            .filter_map(|exchange| Stamped::read(exchange, &clock))
            .collect();
        if stamped.len() < wanted {
            return Err(CalibrationError::Incomplete(stamped.len(), wanted));
        }
        levels.extend(level(streams, &stamped));
    }
    Ok(Calibration {
        machine: Machine::here(),
        measured_at: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        levels,
    })
}

/// A mock in a process of its own, as a server would be. It ends when the handle is dropped.
async fn start_mock() -> Result<(Child, reqwest::Url), CalibrationError> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["mock", "--listen", "127.0.0.1:0", "--stamp"])
        .args(["--ttft", FIRST, "--itl", GAP])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().ok_or(CalibrationError::Silent)?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await?;
    let url = line
        .trim()
        .strip_prefix("listening on ")
        .and_then(|address| address.parse().ok())
        .ok_or(CalibrationError::Silent)?;
    Ok((child, url))
}

/// `count` streams, `streams` of them at a time.
async fn all(client: &Client, streams: usize, count: usize) -> Vec<Exchange> {
    let mut callers = JoinSet::new();
    for caller in 0..streams {
        let client = client.clone();
        let share = count / streams + usize::from(caller < count % streams);
        callers.spawn(async move {
            let body =
                json!({ "model": "tiny", "prompt": "x", "options": { "num_predict": TOKENS } });
            let request = Request {
                path: "/api/generate",
                body: body.to_string().into(),
            };
            let mut exchanges = Vec::new();
            for _ in 0..share {
                exchanges.push(client.post(&request).await);
            }
            exchanges
        });
    }
    callers.join_all().await.into_iter().flatten().collect()
}

/// Brings this process's stamps and the mock's onto one clock. Within seconds, wall clock and monotonic clock run alike.
struct Clock {
    instant: Instant,
    unix: Duration,
}

impl Clock {
    fn new() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            instant: Instant::now(),
            unix: unix.unwrap_or_default(),
        }
    }

    /// Nanoseconds of Unix time.
    fn unix_ns(&self, at: Instant) -> i128 {
        (self.unix + at.saturating_duration_since(self.instant)).as_nanos() as i128
    }
}

/// What the stamps of one stream say, in milliseconds.
#[derive(Debug, Clone, PartialEq)]
struct Stamped {
    way_there: f64,
    way_back: Vec<f64>,
}

impl Stamped {
    /// `None` for a stream that is not whole.
    fn read(exchange: &Exchange, clock: &Clock) -> Option<Self> {
        if exchange.failure.is_some() {
            return None;
        }
        let milliseconds = |ns: i128| ns as f64 / 1e6;
        let mut way_back = Vec::new();
        let mut arrived = None;
        for (at, bytes) in &exchange.reads {
            let line = std::str::from_utf8(bytes).ok()?;
            arrived = arrived.or(field(line, "arrived_ns"));
            way_back.push(milliseconds(clock.unix_ns(*at) - field(line, "sent_ns")?));
        }
        Some(Self {
            way_there: milliseconds(arrived? - clock.unix_ns(exchange.started)),
            way_back,
        })
    }
}

/// The last whole number under `name` in a line of JSON.
fn field(line: &str, name: &str) -> Option<i128> {
    let (_, rest) = line.rsplit_once(&format!("\"{name}\":"))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn level(streams: usize, stamped: &[Stamped]) -> Option<Level> {
    let latency = stamped
        .iter()
        .filter_map(|one| Some(one.way_there + one.way_back.first()?));
    let arrival: Vec<f64> = stamped
        .iter()
        .flat_map(|one| one.way_back.iter().skip(1).copied())
        .collect();
    Some(Level {
        streams,
        pieces: arrival.len() + stamped.len(),
        latency: noise(latency.collect())?,
        arrival: noise(arrival)?,
    })
}

fn noise(mut values: Vec<f64>) -> Option<Noise> {
    Some(Noise {
        p50: stats::nearest_rank(&mut values, 0.50)?,
        p99: stats::nearest_rank(&mut values, 0.99)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_found_in_a_line() {
        let line = r#"{"response":"a \"sent_ns\": 5","arrived_ns":17,"sent_ns":23}"#;
        assert_eq!(field(line, "sent_ns"), Some(23));
        assert_eq!(field(line, "arrived_ns"), Some(17));
        assert_eq!(field(line, "absent"), None);
    }

    #[test]
    fn the_way_there_counts_for_the_first_piece_only() {
        let stamped = vec![
            Stamped {
                way_there: 0.2,
                way_back: vec![0.1, 0.3, 0.5]
            };
            100
        ];
        let level = level(4, &stamped).unwrap();
        assert_eq!((level.streams, level.pieces), (4, 300));
        assert!((level.latency.p50 - 0.3).abs() < 1e-9);
        assert_eq!((level.arrival.p50, level.arrival.p99), (0.3, 0.5));
    }
}
