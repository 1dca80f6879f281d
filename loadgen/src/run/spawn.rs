//! Servers that loadgen starts itself: from the start of the process to its first reply, and its end.

use std::{
    io::{self, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::client::Client;

/// How long a server may take until it answers.
const LONGEST_START: Duration = Duration::from_secs(120);
/// How long it may take to end after it was asked to.
const LONGEST_END: Duration = Duration::from_secs(10);
/// Between two looks: what a start is measured to.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Of what it wrote last, so much is shown when it does not start.
const LAST_WORDS: usize = 2_000;

/// The process groups that are running, so that they can be ended when there is no time to end them well.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A running server of ours. It is ended when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    group: Pid,
    /// The last of what it wrote to its standard error.
    words: Arc<Mutex<Vec<u8>>>,
    /// From the start of the process to its first reply.
    pub start_to_ready: Duration,
}

impl Server {
    /// Runs `command` with a shell and waits until something answers at `path`, and not that it is still loading (503).
    ///
    /// # Errors
    /// In words, when it ends or says nothing in time.
    pub(super) async fn start(command: &str, client: &Client, path: &str) -> Result<Self, String> {
        let started = Instant::now();
        // `exec`, so that no shell stands between: its memory would count, and it would not pass signals on.
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A group of its own: Ctrl-C means loadgen, and what the server starts ends with it.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("sh: {error}"))?;
        let words = listen(&mut child);
        let group = Pid::from_child(&child);
        running().push(group);
        let mut server = Self {
            child,
            group,
            words,
            start_to_ready: Duration::ZERO,
        };
        loop {
            let answered = client.get(path).await.status;
            if answered.is_some_and(|status| status != StatusCode::SERVICE_UNAVAILABLE) {
                server.start_to_ready = started.elapsed();
                return Ok(server);
            }
            if let Some(status) = server.ended() {
                return Err(format!("it ended with {status}{}", server.last_words()));
            }
            if started.elapsed() >= LONGEST_START {
                let last = server.last_words();
                return Err(format!("no answer within {LONGEST_START:?}{last}"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// Asks it to end and waits until it has; ends it otherwise.
    pub(super) async fn stop(mut self) {
        // It may have ended by itself.
        let _ = kill_process_group(self.group, Signal::TERM);
        let asked = Instant::now();
        while self.ended().is_none() && asked.elapsed() < LONGEST_END {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    fn last_words(&self) -> String {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&words);
        let mut lines = text.lines().rev().filter(|line| !line.trim().is_empty());
        lines.next().map_or(String::new(), |line| {
            format!("; its last words: {}", line.trim())
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
        running().retain(|group| *group != self.group);
    }
}

/// Ends every server of ours at once, for a process that is about to exit.
pub fn end_all() {
    for group in running().drain(..) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn running() -> std::sync::MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads what the child writes, so that it never waits for a reader, and keeps the end of it.
fn listen(child: &mut Child) -> Arc<Mutex<Vec<u8>>> {
    let words = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&words);
    if let Some(mut stderr) = child.stderr.take() {
        thread::spawn(move || -> io::Result<()> {
            let mut piece = [0; 4096];
            loop {
                let read = stderr.read(&mut piece)?;
                if read == 0 {
                    return Ok(());
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&piece[..read]);
                let surplus = kept.len().saturating_sub(LAST_WORDS);
                kept.drain(..surplus);
            }
        });
    }
    words
}
