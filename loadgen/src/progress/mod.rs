//! What the user sees while a measurement runs: a live view on a terminal, plain lines elsewhere, nothing when asked.
//!
//! Writes to standard error only. Figures are computed between slots, so that they never compete with a measurement; while a
//! slot runs, only counters are read.

mod screen;
mod tally;

use std::io::IsTerminal;

use crate::{
    memory::ProcessTree,
    plan::Plan,
    run::{Slot, Target},
    workload::{LoadPoint, Workload},
};
use screen::Screen;
use tally::Tally;

/// Tells how a measurement goes.
#[derive(Debug)]
pub struct Progress {
    form: Form,
    targets: Vec<String>,
    seed: u64,
    tally: Tally,
}

/// Where progress goes.
#[derive(Debug)]
enum Form {
    /// A few lines that are drawn anew.
    Live(Box<Screen>),
    /// One line per round.
    Lines,
    /// Warnings only.
    Quiet,
}

impl Progress {
    /// The kind that suits the user's wish and the terminal.
    pub fn new(plan: &Plan) -> Self {
        let targets: Vec<String> = plan
            .targets
            .iter()
            .map(|target| target.name.clone())
            .collect();
        let form = if plan.quiet {
            Form::Quiet
        } else if std::io::stderr().is_terminal() {
            Form::Live(Box::new(Screen::new(&targets, slots(plan))))
        } else {
            Form::Lines
        };
        Self {
            form,
            tally: Tally::new(targets.len()),
            targets,
            seed: plan.seed,
        }
    }

    /// Tells whom to watch: the live view shows what is in flight and resident.
    pub fn meet(&mut self, targets: &[Target]) {
        if let Form::Live(screen) = &mut self.form {
            let trees: Vec<Option<ProcessTree>> = targets
                .iter()
                .map(|target| target.processes.as_ref().ok().cloned())
                .collect();
            let clients = targets.iter().map(|target| target.client.clone()).collect();
            screen.watch(clients, trees);
        }
    }

    /// Tells that a target has done its share of a round.
    pub fn slot(
        &mut self,
        target: &str,
        workload: &Workload,
        load: &LoadPoint,
        round: u32,
        slot: &Slot,
    ) {
        let Some(place) = self.targets.iter().position(|name| name == target) else {
            return;
        };
        self.tally.add(&title(workload, load), place, slot);
        if let Form::Live(screen) = &self.form {
            let heading = format!(
                "{}  round {}/{}",
                title(workload, load),
                round + 1,
                workload.rounds.count
            );
            screen.show(&heading, &self.tally);
        }
    }

    /// Tells that every target has done its share of a round.
    pub fn round(&mut self, workload: &Workload, load: &LoadPoint, round: u32) {
        self.tally.end_round(self.seed);
        match &self.form {
            Form::Live(screen) => screen.show_ratio(&self.tally),
            Form::Lines => eprintln!(
                "round {}/{}  {}  {}",
                round + 1,
                workload.rounds.count,
                title(workload, load),
                self.tally.line(&self.targets)
            ),
            Form::Quiet => {}
        }
    }

    /// Tells what the user should know now rather than at the end.
    pub fn warn(&self, message: &str) {
        let line = format!("warning: {message}");
        match &self.form {
            Form::Live(screen) => screen.above(&line),
            Form::Lines | Form::Quiet => eprintln!("{line}"),
        }
    }

    /// Takes the live view away.
    pub fn finish(&mut self) {
        if let Form::Live(screen) = &mut self.form {
            screen.finish();
        }
    }
}

fn title(workload: &Workload, load: &LoadPoint) -> String {
    format!("{} {}", workload.name, load.label())
}

/// How many shares of rounds there will be.
fn slots(plan: &Plan) -> u64 {
    let rounds: u64 = plan
        .groups
        .iter()
        .map(|group| group.pace())
        .map(|pace| pace.loads.len() as u64 * u64::from(pace.rounds.count))
        .sum();
    rounds * plan.targets.len() as u64
}
