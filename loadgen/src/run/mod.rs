//! Carrying a plan out: find the targets, then measure round by round.
//!
//! Produces a [`Record`] of what happened and computes no statistics. One target receives traffic at a time; within a
//! round every target gets the same requests, and the order alternates (AB, BA, AB, ...) so that a machine that slowly
//! drifts slows both alike.

mod closed;
mod discover;
mod record;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{
    client::Client,
    memory::{Phase, Watch},
    plan::Plan,
    progress::Progress,
    routes::{Asker, Expected, Lacking},
    workload::{Inputs, Workload},
};

pub use discover::{Model, Target};
pub use record::{Cell, Lane, Record, Sample, Slot, WorkloadRecord};

/// Nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A target does not answer.
    #[error(
        "{name}: nothing answers at {url} ({cause}); start the server or pass --target {name}=URL"
    )]
    Unreachable {
        /// The target.
        name: String,
        /// Where it should be.
        url: String,
        /// The connection's failure.
        cause: String,
    },
    /// No target can do any of the workloads.
    #[error("{0}")]
    NothingToMeasure(String),
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// Carries `plan` out. Once `stop` is set, the slot in progress is finished and the round given up.
///
/// # Errors
/// [`RunError`] when there is nothing to report about.
pub async fn run(
    plan: &Plan,
    stop: &Arc<AtomicBool>,
    progress: &mut Progress,
) -> Result<Record, RunError> {
    let mut runner = Runner {
        plan,
        targets: Vec::new(),
        stop,
        progress,
        clock: Instant::now(),
    };
    let started_at = Timestamp::now();
    for target in &plan.targets {
        runner
            .targets
            .push(discover::target(target, plan.timeout).await?);
    }

    let mut probed = Vec::new();
    for workload in &plan.workloads {
        let mut inputs = Inputs::new(*workload, plan.seed);
        let lanes = runner.probe(*workload, &mut inputs).await?;
        probed.push((*workload, inputs, lanes));
    }
    if let Some(reasons) = nothing_to_measure(plan, &probed) {
        return Err(RunError::NothingToMeasure(reasons));
    }

    let mut workloads = Vec::new();
    for (workload, inputs, lanes) in probed {
        if !runner.stopped() {
            workloads.push(runner.workload(workload, inputs, lanes).await);
        }
    }
    let interrupted = runner.stopped();
    let targets = runner.targets;
    Ok(Record {
        started_at,
        finished_at: Timestamp::now(),
        interrupted,
        targets,
        workloads,
    })
}

struct Runner<'a> {
    plan: &'a Plan,
    targets: Vec<Target>,
    stop: &'a AtomicBool,
    progress: &'a mut Progress,
    clock: Instant,
}

impl Runner<'_> {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Asks every target once, which loads its model and shows whether it can do the work at all.
    async fn probe(&self, workload: Workload, inputs: &mut Inputs) -> Result<Vec<Lane>, RunError> {
        let text = inputs.take(1).remove(0);
        let mut lanes = Vec::new();
        for (target, planned) in self.targets.iter().zip(&self.plan.targets) {
            let mut asker = Asker {
                route: planned.route(workload),
                model: planned.model(workload).to_owned(),
                num_predict: self.plan.num_predict,
                // Ollama's seed is a signed 32-bit number.
                seed: (self.plan.seed & u64::from(i32::MAX.unsigned_abs())) as u32,
                keep_alive_s: self.plan.keep_alive.as_secs(),
                expected: Expected {
                    dimensions: self.plan.dimensions,
                    labels: self.plan.labels.clone(),
                },
            };
            let exchange = target.client.post(&asker.request(&text)).await;
            let lacking = asker.lacking(&exchange);
            if let Some(Lacking::Model(words)) = &lacking {
                self.progress
                    .warn(&missing_model(&planned.name, &asker, words));
            } else if lacking.is_none() {
                // A bad first reply is no reason to stop: if it was no accident, the measured ones will show it.
                let _ = asker.check(&exchange);
            }
            lanes.push(Lane { asker, lacking });
        }
        Ok(lanes)
    }

    async fn workload(
        &mut self,
        workload: Workload,
        mut inputs: Inputs,
        mut lanes: Vec<Lane>,
    ) -> WorkloadRecord {
        let trees = self
            .targets
            .iter()
            .zip(&lanes)
            .map(|(target, lane)| match lane.lacking {
                Some(_) => None,
                None => target.processes.as_ref().ok().cloned(),
            });
        let watch = Watch::start(trees.collect(), Phase::Load, self.clock);
        let mut hash = Sha256::new();
        let mut cells = Vec::new();
        for &concurrency in &self.plan.concurrency {
            let mut cell = Cell {
                concurrency,
                rounds: Vec::new(),
            };
            for round in 0..self.plan.rounds {
                let texts = RoundTexts {
                    warmup: inputs.take(warmup_size(self.plan.warmup, concurrency)),
                    measured: inputs.take(self.plan.requests),
                };
                texts
                    .measured
                    .iter()
                    .for_each(|text| hash.update(format!("{text}\n")));
                cell.rounds
                    .extend(self.round(&mut lanes, &texts, concurrency, round).await);
                if self.stopped() {
                    break;
                }
            }
            cells.push(cell);
            if self.stopped() {
                break;
            }
        }
        let memory = watch.finish();
        let mut loaded = Vec::new();
        for target in &self.targets {
            loaded.push(target.loaded().await);
        }
        let inputs_sha256 = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        WorkloadRecord {
            workload,
            lanes,
            cells,
            inputs_sha256,
            memory,
            loaded,
        }
    }

    /// One round at every target; `None` when it was given up half way, because half a round compares nothing.
    async fn round(
        &mut self,
        lanes: &mut [Lane],
        texts: &RoundTexts,
        concurrency: usize,
        round: u32,
    ) -> Option<Vec<Option<Slot>>> {
        let mut slots: BTreeMap<usize, Slot> = BTreeMap::new();
        for (turn, target) in order(lanes.len(), round, self.plan.seed)
            .into_iter()
            .enumerate()
        {
            if self.stopped() {
                return None;
            }
            let lane = &mut lanes[target];
            if lane.lacking.is_some() {
                continue;
            }
            let client = self.targets[target].client.clone();
            let slot = self.slot(client, &mut lane.asker, texts, concurrency).await;
            let slot = Slot { turn, ..slot };
            self.progress.slot(
                &self.plan.targets[target].name,
                lane.asker.route.into(),
                concurrency,
                round,
                &slot,
            );
            slots.insert(target, slot);
        }
        Some(
            (0..lanes.len())
                .map(|target| slots.remove(&target))
                .collect(),
        )
    }

    async fn slot(
        &self,
        client: Client,
        asker: &mut Asker,
        texts: &RoundTexts,
        concurrency: usize,
    ) -> Slot {
        let warmup = texts
            .warmup
            .iter()
            .map(|text| asker.request(text))
            .collect();
        closed::run(&client, warmup, concurrency).await;
        let measured = texts
            .measured
            .iter()
            .map(|text| asker.request(text))
            .collect();
        let exchanges = closed::run(&client, measured, concurrency).await;

        // Only now are replies parsed: during the measurement that would take time from the server on the same machine.
        let first = exchanges.iter().map(|exchange| exchange.started).min();
        let last = exchanges.iter().map(|exchange| exchange.ended).max();
        let wall = first
            .zip(last)
            .map_or(Duration::ZERO, |(first, last)| last - first);
        let samples = exchanges
            .iter()
            .map(|exchange| Sample {
                started: exchange.started.saturating_duration_since(self.clock),
                end_to_end: exchange.duration(),
                outcome: asker.check(exchange),
            })
            .collect();
        Slot {
            wall,
            turn: 0,
            samples,
        }
    }
}

/// The texts of one round, the same for every target; made before its clock starts.
struct RoundTexts {
    warmup: Vec<String>,
    measured: Vec<String>,
}

/// As many discarded requests as asked for, but enough to open every connection that the measurement will use.
fn warmup_size(asked: usize, concurrency: usize) -> usize {
    if asked == 0 {
        0
    } else {
        asked.max(concurrency)
    }
}

/// The order of targets in a round: forwards and backwards in turn, the first direction drawn from the seed.
fn order(targets: usize, round: u32, seed: u64) -> Vec<usize> {
    let forwards = (u64::from(round) ^ seed).is_multiple_of(2);
    if forwards {
        (0..targets).collect()
    } else {
        (0..targets).rev().collect()
    }
}

fn missing_model(target: &str, asker: &Asker, words: &str) -> String {
    let workload = Workload::from(asker.route).name();
    format!(
        "{target} cannot {workload} with {:?} ({words}): pass --model {target}:{workload}=NAME",
        asker.model
    )
}

/// Why nothing at all can be measured, if so.
fn nothing_to_measure(plan: &Plan, probed: &[(Workload, Inputs, Vec<Lane>)]) -> Option<String> {
    let mut reasons = Vec::new();
    for (workload, _, lanes) in probed {
        for (lane, target) in lanes.iter().zip(&plan.targets) {
            match lane.lacking.as_ref()? {
                Lacking::Route(path) => {
                    reasons.push(format!(
                        "{} has no {path}, which {} needs",
                        target.name,
                        workload.name()
                    ));
                }
                Lacking::Model(words) => {
                    reasons.push(missing_model(&target.name, &lane.asker, words))
                }
            }
        }
    }
    Some(reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_alternate_so_that_each_target_goes_first_equally_often() {
        let orders: Vec<Vec<usize>> = (0..4).map(|round| order(2, round, 0)).collect();
        assert_eq!(orders, [[0, 1], [1, 0], [0, 1], [1, 0]]);
        assert_eq!(order(2, 0, 1), [1, 0], "the seed flips the first coin");
        assert_eq!(order(3, 1, 0), [2, 1, 0]);
    }

    #[test]
    fn a_warm_up_opens_every_connection_or_none() {
        assert_eq!(warmup_size(0, 8), 0);
        assert_eq!(warmup_size(3, 8), 8);
        assert_eq!(warmup_size(10, 8), 10);
    }
}
