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
    checks::{
        Check, audit,
        preflight::{self, Side},
    },
    host::Conditions,
    memory::{Phase, Watch},
    plan::Plan,
    progress::Progress,
    routes::{Asker, Expected, Lacking},
    workload::{Inputs, Load, LoadPoint, Session, Workload},
};

pub use discover::{Model, Target};
#[cfg(test)]
pub(crate) use record::testing;
pub use record::{
    Cell, Lane, Place, Record, Sample, SearchOutcome, SearchRecord, SearchStep, Slot, Times,
    WorkloadRecord,
};

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
        checks: Vec::new(),
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

    runner.progress.meet(&runner.targets);
    let mut traffics = Vec::new();
    for group in &plan.groups {
        let mut parts = Vec::new();
        for part in &group.parts {
            let workload = Arc::new(part.workload.clone());
            let mut inputs = Inputs::new(&workload, plan.seed);
            let lanes = runner.probe(&workload, &mut inputs).await?;
            parts.push(Strand {
                workload,
                inputs,
                lanes,
                weight: part.weight,
                hash: Sha256::new(),
                cells: Vec::new(),
            });
        }
        traffics.push(parts);
    }
    if let Some(reasons) = nothing_to_measure(plan, &traffics) {
        return Err(RunError::NothingToMeasure(reasons));
    }

    for strand in traffics.iter().flatten() {
        if plan.checks && !runner.stopped() {
            runner.preflight(strand).await;
        }
    }
    let mut workloads = Vec::new();
    for strands in traffics {
        if !runner.stopped() {
            workloads.extend(runner.traffic(strands).await);
        }
    }
    let interrupted = runner.stopped();
    let (targets, checks) = (runner.targets, runner.checks);
    Ok(Record {
        started_at,
        finished_at: Timestamp::now(),
        interrupted,
        targets,
        workloads,
        checks,
    })
}

struct Runner<'a> {
    plan: &'a Plan,
    targets: Vec<Target>,
    checks: Vec<Check>,
    stop: &'a AtomicBool,
    progress: &'a mut Progress,
    clock: Instant,
}

/// One workload's part of the traffic while it is measured.
struct Strand {
    workload: Arc<Workload>,
    inputs: Inputs,
    lanes: Vec<Lane>,
    weight: f64,
    hash: Sha256,
    cells: Vec<Cell>,
}

impl Runner<'_> {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Asks every target once, which loads its model and shows whether it can do the work at all.
    async fn probe(&self, workload: &Workload, inputs: &mut Inputs) -> Result<Vec<Lane>, RunError> {
        let session = inputs.take_warmup(1).remove(0);
        let item = &session.turns[0];
        let mut lanes = Vec::new();
        for (target, planned) in self.targets.iter().zip(&self.plan.targets) {
            let mut asker = Asker {
                route: planned.route(workload.kind),
                model: planned.model(workload).to_owned(),
                options: options(workload),
                logprobs: false,
                keep_alive_s: self.plan.keep_alive.as_secs(),
                expected: Expected {
                    dimensions: self.plan.dimensions,
                    labels: self.plan.labels.clone(),
                },
            };
            let exchange = target.client.post(&asker.request(item, &[])).await;
            let lacking = asker.lacking(&exchange);
            if let Some(Lacking::Model(words)) = &lacking {
                self.progress
                    .warn(&missing_model(&planned.name, workload, &asker, words));
            } else if lacking.is_none() {
                // A bad first reply is no reason to stop: if it was no accident, the measured ones will show it.
                let _ = asker.read(item, &exchange);
            }
            lanes.push(Lane { asker, lacking });
        }
        Ok(lanes)
    }

    /// Puts the same questions to every target and to the last one, which the others are compared with.
    async fn preflight(&mut self, strand: &Strand) {
        let side = |target: usize| {
            let lane = &strand.lanes[target];
            lane.lacking.is_none().then(|| Side {
                name: &self.plan.targets[target].name,
                client: &self.targets[target].client,
                asker: &lane.asker,
                digest: self.targets[target]
                    .model(&lane.asker.model)
                    .map(|model| model.digest.as_str()),
            })
        };
        let baseline = strand.lanes.len() - 1;
        let mut checks = Vec::new();
        for candidate in 0..baseline {
            if let (Some(candidate), Some(baseline)) = (side(candidate), side(baseline)) {
                let seed = self.plan.seed;
                checks.extend(
                    preflight::compare(&strand.workload, &candidate, &baseline, seed).await,
                );
            }
        }
        self.checks.extend(checks);
    }

    /// Looks for remembered replies and miscounted tokens at every target.
    async fn audit(&mut self, strand: &Strand) {
        for (lane, (target, planned)) in strand
            .lanes
            .iter()
            .zip(self.targets.iter().zip(&self.plan.targets))
        {
            if lane.lacking.is_some() {
                continue;
            }
            let (workload, name) = (&strand.workload, &planned.name);
            let seed = self.plan.seed;
            let found = audit::target(workload, name, &target.client, &lane.asker, seed).await;
            self.checks.extend(found);
        }
    }

    async fn traffic(&mut self, mut strands: Vec<Strand>) -> Vec<WorkloadRecord> {
        let trees = self.targets.iter().enumerate().map(|(target, found)| {
            let lacks = |strand: &Strand| strand.lanes[target].lacking.is_some();
            if strands.iter().all(lacks) {
                None
            } else {
                found.processes.as_ref().ok().cloned()
            }
        });
        let watch = Watch::start(trees.collect(), Phase::Load, self.clock);
        let pace = Arc::clone(&strands[0].workload);
        for load in &pace.loads {
            if let Load::Point(point) = load {
                self.cell(&mut strands, point).await;
            }
            if self.stopped() {
                break;
            }
        }
        let memory = watch.finish();
        for strand in &strands {
            if self.plan.checks && !self.stopped() {
                self.audit(strand).await;
            }
        }
        let mut records = Vec::new();
        for strand in strands {
            let mut loaded = Vec::new();
            for target in &self.targets {
                loaded.push(target.loaded().await);
            }
            records.push(WorkloadRecord {
                workload: strand.workload,
                lanes: strand.lanes,
                cells: strand.cells,
                searches: Vec::new(),
                inputs_sha256: hex(strand.hash),
                memory: memory.clone(),
                loaded,
            });
        }
        records
    }

    /// Every round at one load.
    async fn cell(&mut self, strands: &mut [Strand], load: &LoadPoint) {
        for strand in strands.iter_mut() {
            strand.cells.push(Cell {
                load: load.clone(),
                rounds: Vec::new(),
                unstable: vec![None; self.targets.len()],
            });
        }
        let rounds = strands[0].workload.rounds;
        for round in 0..rounds.count {
            let concurrency = load.concurrency().unwrap_or(1);
            let strand = &mut strands[0];
            let texts = RoundTexts {
                warmup: strand
                    .inputs
                    .take_warmup(warmup_size(rounds.warmup, concurrency)),
                measured: strand.inputs.take(rounds.requests),
            };
            texts
                .measured
                .iter()
                .for_each(|session| strand.hash.update(format!("{session:?}\n")));
            let slots = self.round(strand, &texts, concurrency, round).await;
            let cell = strand.cells.last_mut().expect("it was pushed above");
            cell.rounds.extend(slots);
            if self.stopped() {
                break;
            }
        }
    }

    /// One round at every target; `None` when it was given up half way, because half a round compares nothing.
    async fn round(
        &mut self,
        strand: &mut Strand,
        texts: &RoundTexts,
        concurrency: usize,
        round: u32,
    ) -> Option<Vec<Option<Slot>>> {
        let mut slots: BTreeMap<usize, Slot> = BTreeMap::new();
        for (place, target) in order(strand.lanes.len(), round, self.plan.seed)
            .into_iter()
            .enumerate()
        {
            if self.stopped() {
                return None;
            }
            let lane = &mut strand.lanes[target];
            if lane.lacking.is_some() {
                continue;
            }
            let resident = preflight::is_loaded(&self.targets[target].client, &lane.asker.model);
            let resident = resident.await;
            let slot = self
                .slot(&self.targets[target], &mut lane.asker, texts, concurrency)
                .await;
            let slot = Slot {
                round,
                order: place,
                resident,
                ..slot
            };
            let load = &strand.cells.last().expect("a round belongs to a cell").load;
            self.progress.slot(
                &self.plan.targets[target].name,
                &strand.workload,
                load,
                round,
                &slot,
            );
            slots.insert(target, slot);
        }
        let load = &strand.cells.last().expect("a round belongs to a cell").load;
        self.progress.round(&strand.workload, load, round);
        Some(
            (0..strand.lanes.len())
                .map(|target| slots.remove(&target))
                .collect(),
        )
    }

    async fn slot(
        &self,
        target: &Target,
        asker: &mut Asker,
        texts: &RoundTexts,
        concurrency: usize,
    ) -> Slot {
        let client = &target.client;
        let request = |session: &Session| asker.request(&session.turns[0], &[]);
        let warmup = texts.warmup.iter().map(request).collect();
        closed::run(client, warmup, concurrency).await;
        let measured = texts.measured.iter().map(request).collect();
        let conditions = Conditions::begin(target.processes.as_ref().ok());
        let exchanges = closed::run(client, measured, concurrency).await;
        let noise = conditions.end();

        // Only now are replies parsed: during the measurement that would take time from the server on the same machine.
        let first = exchanges.iter().map(|exchange| exchange.started).min();
        let last = exchanges.iter().map(|exchange| exchange.ended).max();
        let wall = first
            .zip(last)
            .map_or(Duration::ZERO, |(first, last)| last - first);
        let samples = exchanges
            .iter()
            .zip(&texts.measured)
            .enumerate()
            .map(|(index, (exchange, session))| {
                let reading = asker.read(&session.turns[0], exchange);
                let place = Place {
                    index,
                    session: index as u32,
                    turn: 0,
                };
                Sample::new(self.clock, place, exchange.started, exchange, reading)
            })
            .collect();
        Slot {
            round: 0,
            order: 0,
            wall,
            started_ns: first.map_or(0, |first| {
                u64::try_from((first - self.clock).as_nanos()).unwrap_or(u64::MAX)
            }),
            samples,
            new_connections: 0,
            noise,
            resident: None,
        }
    }
}

/// The work of one round, the same for every target; made before its clock starts.
struct RoundTexts {
    warmup: Vec<Session>,
    measured: Vec<Session>,
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

/// The sampling options of a workload, with the context that it asks for.
fn options(workload: &Workload) -> serde_json::Map<String, serde_json::Value> {
    let mut options = workload.output.options.clone();
    if let Some(tokens) = workload.num_ctx {
        options.insert("num_ctx".into(), tokens.into());
    }
    options
}

fn hex(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn missing_model(target: &str, workload: &Workload, asker: &Asker, words: &str) -> String {
    format!(
        "{target} cannot {} with {:?} ({words}): pass --model {target}:{}=NAME",
        workload.kind.name(),
        asker.model,
        workload.name
    )
}

/// Why nothing at all can be measured, if so.
fn nothing_to_measure(plan: &Plan, traffics: &[Vec<Strand>]) -> Option<String> {
    let mut reasons = Vec::new();
    for strand in traffics.iter().flatten() {
        for (lane, target) in strand.lanes.iter().zip(&plan.targets) {
            match lane.lacking.as_ref()? {
                Lacking::Route(path) => {
                    reasons.push(format!(
                        "{} has no {path}, which {} needs",
                        target.name, strand.workload.name
                    ));
                }
                Lacking::Model(words) => {
                    reasons.push(missing_model(
                        &target.name,
                        &strand.workload,
                        &lane.asker,
                        words,
                    ));
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
