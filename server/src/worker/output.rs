//! What a worker writes on its standard error, passed on to the server's log within bounds.
//!
//! It is read whatever becomes of it: a full pipe would stop the worker in the middle of a step, and a worker that writes without
//! end, by a fault or on purpose, would fill the disk that keeps the server's log.

use std::process::ChildStderr;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tracing::debug;

use crate::telemetry;

/// Longest line. The rest of it is dropped.
const MAX_LINE_BYTES: usize = 8 << 10;

/// What a worker may write at once: more than llama.cpp says of the largest model.
const BURST_BYTES: f64 = 256.0 * 1024.0;

/// What it may write in the long run.
const BYTES_PER_SECOND: f64 = 4.0 * 1024.0;

/// Bytes that are read at a time.
const PIECE_BYTES: usize = 16 << 10;

/// Passes on what comes from there until the worker's end, as a task of its own.
///
/// # Errors
/// When the pipe cannot be watched.
pub fn pass_on(output: ChildStderr) -> std::io::Result<()> {
    let mut output = tokio::process::ChildStderr::from_std(output)?;
    tokio::spawn(async move {
        let mut meter = Meter::new(Instant::now());
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match output.read(&mut piece).await {
                Ok(0) => break,
                Ok(length) => {
                    let lines = meter.take(&piece[..length], Instant::now());
                    lines.into_iter().for_each(telemetry::write);
                }
                Err(error) => {
                    debug!(%error, "a worker's output cannot be read");
                    break;
                }
            }
        }
        meter.end().into_iter().for_each(telemetry::write);
    });
    Ok(())
}

/// Cuts bytes into lines and counts what may pass.
#[derive(Debug)]
struct Meter {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Bytes that may pass now.
    allowance: f64,
    filled: Instant,
    dropped: u64,
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self {
            line: Vec::new(),
            allowance: BURST_BYTES,
            filled: now,
            dropped: 0,
        }
    }

    /// The lines, with their ends, that may pass of these bytes.
    fn take(&mut self, bytes: &[u8], now: Instant) -> Vec<Vec<u8>> {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.allowance = BURST_BYTES.min(passed.mul_add(BYTES_PER_SECOND, self.allowance));
        self.filled = now;
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = MAX_LINE_BYTES - self.line.len();
            let kept = &text[..text.len().min(room)];
            self.line.extend_from_slice(kept);
            self.dropped += bytes_of(text.len() - kept.len());
            if is_whole {
                self.finish(&mut lines);
            }
        }
        lines
    }

    /// What is left when nothing more comes.
    fn end(mut self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        if !self.line.is_empty() {
            self.finish(&mut lines);
        }
        // Whoever looks for the cause of a worker's end shall know that something is missing.
        self.tell_dropped(&mut lines);
        lines
    }

    fn finish(&mut self, lines: &mut Vec<Vec<u8>>) {
        let mut line = std::mem::take(&mut self.line);
        #[expect(clippy::cast_precision_loss, reason = "a line is a few kilobytes")]
        let cost = line.len() as f64 + 1.0;
        if cost > self.allowance {
            self.dropped += bytes_of(line.len() + 1);
            return;
        }
        self.allowance -= cost;
        self.tell_dropped(lines);
        line.push(b'\n');
        lines.push(line);
    }

    fn tell_dropped(&mut self, lines: &mut Vec<Vec<u8>>) {
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            lines.push(format!("... {dropped} bytes of a worker's output left out\n").into_bytes());
        }
    }
}

fn bytes_of(length: usize) -> u64 {
    length.try_into().expect("a length fits 64 bits")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn text(lines: &[Vec<u8>]) -> String {
        String::from_utf8(lines.concat()).unwrap()
    }

    #[test]
    fn lines_pass_as_they_are_however_they_arrive() {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        assert_eq!(text(&meter.take(b"one\ntw", now)), "one\n");
        assert_eq!(text(&meter.take(b"o\n\nthree", now)), "two\n\n");
        assert_eq!(text(&meter.end()), "three\n");
    }

    #[test]
    fn a_flood_is_cut_and_said_to_be() {
        let mut now = Instant::now();
        let mut meter = Meter::new(now);
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let passed: usize = (0..10_000).map(|_| meter.take(&line, now).len()).sum();
        assert_eq!(passed, 256);
        // After a while there is room for a little again.
        now += Duration::from_secs(1);
        let lines = meter.take(&line, now);
        let missing = (10_000 - 256) * 1024;
        let told = format!("... {missing} bytes of a worker's output left out\n");
        assert_eq!(text(&lines[..1]), told);
        assert_eq!(lines[1], line);
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        for _ in 0..1_000 {
            assert!(meter.take(&[b'y'; 10_000], now).is_empty());
            assert!(meter.line.capacity() <= 2 * MAX_LINE_BYTES);
        }
        let lines = meter.end();
        let told = format!(
            "... {} bytes of a worker's output left out\n",
            10_000_000 - MAX_LINE_BYTES
        );
        assert_eq!(text(&lines[..1]), told);
        assert_eq!(lines[1].len(), MAX_LINE_BYTES + 1);
    }

    proptest! {
        #[test]
        fn no_bytes_pass_that_were_not_written_and_none_beyond_the_bound(
            pieces in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..100), 0..50),
        ) {
            let now = Instant::now();
            let mut meter = Meter::new(now);
            let mut lines: Vec<Vec<u8>> = pieces.iter().flat_map(|piece| meter.take(piece, now)).collect();
            lines.extend(meter.end());
            let mut written = pieces.concat();
            if written.last().is_some_and(|byte| *byte != b'\n') {
                written.push(b'\n');
            }
            prop_assert_eq!(lines.concat(), written);
        }
    }
}
