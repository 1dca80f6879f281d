use std::{fmt::Write, time::Duration};

use super::Plan;
use crate::workload::{Load, LoadPoint, Workload};

impl Plan {
    /// What would be measured, in words, for `--dry-run`.
    pub fn schedule(&self) -> String {
        let mut out = String::new();
        let mut line =
            |text: String| writeln!(out, "{text}").expect("writing to a string cannot fail");
        line(format!(
            "seed {}, keep alive {:?}, timeout {:?}",
            self.seed, self.keep_alive, self.timeout
        ));
        for target in &self.targets {
            line(format!(
                "target {}  {}  {}",
                target.name,
                target.url,
                target.api.name()
            ));
        }
        let mut requests = 0;
        let mut paced = Duration::ZERO;
        for group in &self.groups {
            let pace = group.pace();
            for part in &group.parts {
                let workload = &part.workload;
                let models = self.targets.iter().map(|target| target.model(workload));
                let models: Vec<&str> = models.collect();
                line(format!(
                    "{}  {}  {}  models {}",
                    workload.name,
                    workload.kind.name(),
                    workload.description,
                    models.join(", ")
                ));
            }
            for load in &pace.loads {
                let (label, sent, takes) = size(pace, load);
                let targets = self.targets.len();
                line(format!("  {label}: {sent} requests per target"));
                requests += sent * targets;
                paced += takes * u32::try_from(targets).unwrap_or(u32::MAX);
            }
        }
        line(format!("{requests} requests in all, warm-up included"));
        if !paced.is_zero() {
            line(format!(
                "open loops alone take {:.0} s",
                paced.as_secs_f64()
            ));
        }
        if let Some(time) = self.stopping.max_time {
            line(format!("no round begins after {time:?}"));
        }
        if let Some(precision) = self.stopping.precision {
            line(format!(
                "rounds until the interval is within {} %",
                precision * 100.0
            ));
        }
        out
    }
}

/// A load in words, the requests that each target gets, and how long its arrivals take at one target.
fn size(workload: &Workload, load: &Load) -> (String, usize, Duration) {
    let rounds = workload.rounds;
    match load {
        Load::Point(point) => {
            let each = point.requests().unwrap_or(rounds.requests);
            let times = rounds.count as usize;
            let turns = workload.turns.count;
            let seconds = point
                .rate()
                .map_or(0.0, |rate| each as f64 / rate * f64::from(rounds.count));
            let label = match point {
                LoadPoint::Closed { .. } => point.label(),
                _ => format!("{}, {each} each", point.label()),
            };
            (
                format!("{label}, {times} rounds"),
                times * (each * turns + rounds.warmup),
                Duration::from_secs_f64(seconds),
            )
        }
        Load::Search(search) => {
            // Doubling and bisection take about this many steps.
            const STEPS: usize = 10;
            (
                format!(
                    "search for the highest rate with {}.p{} within {:?}, about {STEPS} rates",
                    search.metric.name(),
                    search.quantile * 100.0,
                    search.max
                ),
                STEPS * (rounds.requests + rounds.warmup),
                Duration::ZERO,
            )
        }
    }
}
