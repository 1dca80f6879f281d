//! What the user sees while a measurement runs: a bar on a terminal, plain lines elsewhere, nothing when asked.
//!
//! Writes to standard error only, and only between slots, so that it never competes with a measurement.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    plan::Plan,
    run::{Sample, Slot},
    stats,
    workload::{LoadPoint, Workload},
};

/// Where progress goes.
#[derive(Debug)]
pub enum Progress {
    /// One moving line.
    Bar(ProgressBar),
    /// One line per target and round.
    Lines,
    /// Warnings only.
    Quiet,
}

impl Progress {
    /// The kind that suits the user's wish and the terminal.
    pub fn new(plan: &Plan) -> Self {
        if plan.quiet {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let slots: u64 = plan
            .groups
            .iter()
            .map(|group| group.pace())
            .map(|pace| pace.loads.len() as u64 * u64::from(pace.rounds.count))
            .sum();
        let bar = ProgressBar::new(slots * plan.targets.len() as u64);
        let style = ProgressStyle::with_template(
            "{bar:30} {pos}/{len} slots  {elapsed} of about {duration}  {msg}",
        )
        .expect("the template is a constant that indicatif accepts");
        bar.set_style(style);
        Self::Bar(bar)
    }

    /// Tells that a target has done its share of a round.
    pub fn slot(
        &self,
        target: &str,
        workload: &Workload,
        load: &LoadPoint,
        round: u32,
        slot: &Slot,
    ) {
        let line = || {
            format!(
                "{} {}  {target}  {}",
                workload.name,
                load.label(),
                summary(&slot.samples)
            )
        };
        match self {
            Self::Bar(bar) => {
                bar.set_message(line());
                bar.inc(1);
            }
            Self::Lines => eprintln!("round {}/{}  {}", round + 1, workload.rounds.count, line()),
            Self::Quiet => {}
        }
    }

    /// Tells what the user should know now rather than at the end.
    pub fn warn(&self, message: &str) {
        let line = format!("warning: {message}");
        match self {
            Self::Bar(bar) => bar.suspend(|| eprintln!("{line}")),
            Self::Lines | Self::Quiet => eprintln!("{line}"),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn summary(samples: &[Sample]) -> String {
    let failed = samples
        .iter()
        .filter(|sample| sample.outcome.is_err())
        .count();
    let mut times: Vec<f64> = samples
        .iter()
        .filter(|sample| sample.outcome.is_ok())
        .map(|sample| sample.response_time().as_secs_f64() * 1e3)
        .collect();
    let median = stats::nearest_rank(&mut times, 0.5)
        .map_or("n/a".into(), |median| format!("{median:.1} ms"));
    format!(
        "{} requests, {failed} failed, median {median}",
        samples.len()
    )
}
