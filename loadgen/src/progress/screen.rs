use std::{
    sync::{
        Arc, Mutex,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::tally::Tally;
use crate::{client::Client, memory::ProcessTree, report::bytes};

/// How often counters are read while a slot runs: seldom enough to cost nothing.
const PERIOD: Duration = Duration::from_millis(500);

/// A few lines at the bottom of a terminal: the round, each target, the ratio.
#[derive(Debug)]
pub(super) struct Screen {
    lines: MultiProgress,
    round: ProgressBar,
    targets: Vec<ProgressBar>,
    ratio: ProgressBar,
    names: Vec<String>,
    /// What each target's line says besides its counters.
    said: Arc<Mutex<Vec<String>>>,
    counters: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Screen {
    /// Lines for these targets and so many shares of rounds.
    pub(super) fn new(names: &[String], slots: u64) -> Self {
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .expect("the template is a constant that indicatif accepts")
                .progress_chars("━╸─")
        };
        let lines = MultiProgress::new();
        let round = lines.add(ProgressBar::new(slots));
        round.set_style(style(
            "{bar:24} {percent:>3} %  {msg}  {elapsed}, {eta} left",
        ));
        let targets = names
            .iter()
            .map(|_| {
                let line = lines.add(ProgressBar::new_spinner());
                line.set_style(style("  {msg}"));
                line
            })
            .collect();
        let ratio = lines.add(ProgressBar::new_spinner());
        ratio.set_style(style("  {msg}"));
        let width = names
            .iter()
            .map(|name| console::measure_text_width(name))
            .max();
        let names = names
            .iter()
            .map(|name| console::pad_str(name, width.unwrap_or(0), console::Alignment::Left, None))
            .map(std::borrow::Cow::into_owned)
            .collect::<Vec<_>>();
        Self {
            lines,
            round,
            targets,
            ratio,
            said: Arc::new(Mutex::new(vec![String::new(); names.len()])),
            names,
            counters: None,
        }
    }

    /// Reads what is in flight and resident from now on.
    pub(super) fn watch(&mut self, clients: Vec<Client>, trees: Vec<Option<ProcessTree>>) {
        let (stop, stopped) = mpsc::channel();
        let said = Arc::clone(&self.said);
        let lines = self.targets.clone();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                let said = said.lock().expect("nobody panics while holding it").clone();
                for (target, line) in lines.iter().enumerate() {
                    let resident = trees[target].as_ref().and_then(|tree| tree.observe(0));
                    let resident = resident.map_or(String::new(), |snapshot| {
                        format!("  RSS {}", bytes(snapshot.rss_bytes as f64))
                    });
                    line.set_message(format!(
                        "{}  {} in flight{resident}",
                        said[target],
                        clients[target].in_flight()
                    ));
                }
            }
        });
        self.counters = Some((stop, thread));
    }

    /// Shows what is known after a target's share of a round.
    pub(super) fn show(&self, heading: &str, tally: &Tally) {
        self.round.inc(1);
        self.round
            .set_message(format!("{heading}  {}", tally.strip()));
        let mut said = self.said.lock().expect("nobody panics while holding it");
        for (target, line) in self.targets.iter().enumerate() {
            said[target] = format!("{}  {}", self.names[target], tally.summary(target));
            line.set_message(said[target].clone());
        }
    }

    /// Shows the ratio after a round.
    pub(super) fn show_ratio(&self, tally: &Tally) {
        if let Some(ratio) = tally.ratio() {
            self.ratio.set_message(format!("ratio of P95  {ratio}"));
        }
    }

    /// Prints a line above the view.
    pub(super) fn above(&self, line: &str) {
        self.lines.suspend(|| eprintln!("{line}"));
    }

    /// Takes the view away.
    pub(super) fn finish(&mut self) {
        if let Some((stop, thread)) = self.counters.take() {
            drop(stop);
            // Nothing is lost if it panicked: it only draws.
            let _ = thread.join();
        }
        self.round.finish_and_clear();
        self.targets.iter().for_each(ProgressBar::finish_and_clear);
        self.ratio.finish_and_clear();
    }
}
