//! How far a long operation has come: spinners and bars on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::client::Lines;
use super::console::Console;
use super::error::Error;

const TICK: Duration = Duration::from_millis(100);

/// A line of the streams of pull, push and create.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ProgressLine {
    /// What is being done.
    pub status: String,
    /// The blob that is moved, if one is.
    pub digest: String,
    /// Its bytes.
    pub total: u64,
    /// Those that have been moved.
    pub completed: u64,
}

/// The progress of one operation.
pub struct Progress<'a> {
    shown: Shown<'a>,
    status: String,
    transfers: HashMap<String, Option<ProgressBar>>,
}

enum Shown<'a> {
    Animated {
        bars: MultiProgress,
        spinner: Option<ProgressBar>,
    },
    Lines(&'a mut dyn Write),
}

impl<'a> Progress<'a> {
    /// Progress on the standard error of this console.
    pub fn new(console: &'a mut Console<'_>) -> Self {
        let shown = if console.is_animated {
            Shown::Animated {
                bars: MultiProgress::new(),
                spinner: None,
            }
        } else {
            Shown::Lines(console.err)
        };
        Self {
            shown,
            status: String::new(),
            transfers: HashMap::new(),
        }
    }

    /// Tells what is being done now, once.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn status(&mut self, status: &str) -> io::Result<()> {
        if status.is_empty() || self.status == status {
            return Ok(());
        }
        self.status = status.to_owned();
        match &mut self.shown {
            Shown::Lines(out) => writeln!(out, "{status}"),
            Shown::Animated { bars, spinner } => {
                if let Some(former) = spinner.take() {
                    former.finish();
                }
                let next = bars.add(ProgressBar::new_spinner());
                next.set_style(spinner_style());
                next.set_message(status.to_owned());
                next.enable_steady_tick(TICK);
                *spinner = Some(next);
                Ok(())
            }
        }
    }

    /// Tells how much of a blob has been moved.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn transfer(&mut self, label: &str, completed: u64, total: u64) -> io::Result<()> {
        let is_new = !self.transfers.contains_key(label);
        match &mut self.shown {
            Shown::Lines(out) => {
                if is_new {
                    self.transfers.insert(label.to_owned(), None);
                    writeln!(out, "{label} ({})", super::format::human_bytes(total))?;
                }
            }
            Shown::Animated { bars, spinner } => {
                if let Some(former) = spinner.take() {
                    former.finish();
                }
                let bar = self.transfers.entry(label.to_owned()).or_insert_with(|| {
                    let bar = bars.add(ProgressBar::new(total));
                    bar.set_style(bar_style());
                    bar.set_message(label.to_owned());
                    Some(bar)
                });
                if let Some(bar) = bar {
                    bar.set_position(completed);
                    if completed >= total && !bar.is_finished() {
                        bar.finish();
                    }
                }
            }
        }
        Ok(())
    }

    /// Shows a stream of the server's until it reports success.
    ///
    /// # Errors
    /// When the server reports one, or ends without success.
    pub async fn follow(&mut self, mut lines: Lines<ProgressLine>) -> Result<(), Error> {
        let mut is_done = false;
        while let Some(line) = lines.next().await? {
            is_done = line.status == "success";
            if line.digest.is_empty() {
                self.status(&line.status)?;
            } else {
                self.transfer(&line.status, line.completed, line.total)?;
            }
        }
        if is_done {
            Ok(())
        } else {
            Err(Error::Unfinished)
        }
    }
}

impl Drop for Progress<'_> {
    /// Leaves on the screen what was reached, without a spinner that would seem to go on.
    fn drop(&mut self) {
        if let Shown::Animated { spinner, .. } = &mut self.shown {
            if let Some(spinner) = spinner.take() {
                spinner.finish();
            }
            for bar in self.transfers.values().flatten() {
                bar.abandon();
            }
        }
    }
}

/// A spinner for as long as nothing is there to be shown; gone when dropped.
pub struct Waiting(Option<ProgressBar>);

impl Waiting {
    /// Spins if it may.
    #[must_use]
    pub fn start(is_animated: bool) -> Self {
        Self(is_animated.then(|| {
            let spinner = ProgressBar::new_spinner();
            spinner.set_style(spinner_style());
            spinner.enable_steady_tick(TICK);
            spinner
        }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(spinner) = &self.0 {
            spinner.finish_and_clear();
        }
    }
}

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("{msg} {spinner}")
        .expect("the template is well-formed")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}

fn bar_style() -> ProgressStyle {
    let template = "{msg} {percent:>3}% ▕{wide_bar}▏ {decimal_bytes:>8}/{decimal_total_bytes:<8} {decimal_bytes_per_sec:>10} {eta:>4}";
    ProgressStyle::with_template(template)
        .expect("the template is well-formed")
        .progress_chars("██ ")
}
