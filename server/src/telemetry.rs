//! Log lines: to standard error, for people by default, as JSON on request.
//!
//! A server's lines go through a bounded queue and a thread of their own: where nobody takes them, because a disk is full or a
//! pipe is not read, lines are lost and counted, and no request waits for them.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

/// Lines that wait to be written.
const WAITING_LINES: usize = 4_096;

/// How long the end of the process waits for the lines that are left.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The way to the writing thread, in a process that has one.
static QUEUE: OnceLock<SyncSender<Entry>> = OnceLock::new();

/// Lines that found no place in the queue and have not been told of.
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Entry {
    Line(Vec<u8>),
    /// Everything before this has been written.
    Flush(SyncSender<()>),
}

/// Starts logging: the lines that `filter` lets through (directives such as `info` or `chaski=debug`), for people or as one JSON
/// object each.
pub fn init(filter: &str, is_json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| "warn,chaski=info".into());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lines)
        .with_ansi(io::stderr().is_terminal())
        // It would complain on standard error, and panic where that is what fails.
        .log_internal_errors(false)
        .with_target(false);
    // A second call, in tests, changes nothing.
    let _ = if is_json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
}

/// From now on lines are written by a thread of their own. For servers.
pub fn queue() {
    let (sender, entries) = sync_channel(WAITING_LINES);
    if QUEUE.set(sender).is_ok() {
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&entries))
            .expect("the system has room for one more thread");
    }
}

/// Writes a line, with its end, as it is: of whoever has no log of its own.
pub fn write(line: Vec<u8>) {
    let Some(queue) = QUEUE.get() else {
        put(&line);
        return;
    };
    if queue.try_send(Entry::Line(line)).is_err() {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits a moment for what has been logged to be written: the process is about to end.
pub fn flush() {
    let Some(queue) = QUEUE.get() else { return };
    let (done, written) = sync_channel(1);
    let deadline = Instant::now() + FLUSH_LIMIT;
    while queue.try_send(Entry::Flush(done.clone())).is_err() {
        if Instant::now() > deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    // Whoever still does not read by then will not.
    let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
}

fn write_all(entries: &Receiver<Entry>) {
    for entry in entries {
        match entry {
            Entry::Line(line) => {
                let dropped = DROPPED.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    put(format!("... {dropped} lines of the log left out\n").as_bytes());
                }
                put(&line);
            }
            Entry::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// A log that cannot be written is nobody's reason to stop.
fn put(line: &[u8]) {
    let _ = io::stderr().lock().write_all(line);
}

/// Takes one line at a time, as the subscriber writes them.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        write(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
