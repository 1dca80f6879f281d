//! Carrying a plan out: find the targets, then measure round by round.
//!
//! Produces a [`Record`] of what happened and computes no statistics. One target receives traffic at a time; within a
//! round every target gets the same requests, and the order alternates (AB, BA, AB, ...) so that a machine that slowly
//! drifts slows both alike.

mod cold;
mod discover;
mod drive;
mod record;
mod saturation;
mod search;
mod spawn;
mod stopping;
mod work;

use std::{
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
        Check,
        audit::{self, Kept},
        preflight::{self, Side},
    },
    host::{Conditions, Noise},
    memory::{Phase, Series, Watch},
    plan::Plan,
    progress::Progress,
    routes::{Asker, Expected, Lacking},
    workload::{Equalize, Inputs, Load, LoadPoint, Search, Workload},
};

use search::Searcher;
use work::{Mixer, RoundWork, Strand, calls};

pub use cold::{Cold, ColdStart};
pub use discover::{Model, Target};
#[cfg(test)]
pub(crate) use record::testing;
pub use record::{
    Cell, Lane, Place, Record, Sample, SearchOutcome, SearchRecord, SearchStep, Slot,
    WorkloadRecord,
};
pub use spawn::end_all;
pub use stopping::Stopping;

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
    /// A server that was to be started did not start.
    #[error("{name}: `{command}` does not start: {cause}")]
    NotStarted {
        /// The target.
        name: String,
        /// What was run.
        command: String,
        /// What came of it.
        cause: String,
    },
    /// A server that was to be started stands in another's place.
    #[error(
        "{name}: something answers at {url} already; stop it, or give `{command}` and {name} another port"
    )]
    Occupied {
        /// The target.
        name: String,
        /// Where it should be.
        url: String,
        /// What was to be run.
        command: String,
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
                searches: Vec::new(),
                cold: Vec::new(),
                kept: plan.targets.iter().map(|_| Vec::new()).collect(),
            });
        }
        work::share_lacks(&mut parts);
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
    for target in &mut runner.targets {
        if let Ok(tree) = &target.processes {
            target.origin.merge(tree.origin());
        }
    }
    // Each workload loads its own model before it is measured, so that memory is of that model alone.
    for strands in &traffics {
        runner.unload_all(strands).await;
    }
    let ends = plan.stopping.max_time.map(|time| runner.clock + time);
    let mut workloads = Vec::new();
    let groups = traffics.len();
    for (index, strands) in traffics.into_iter().enumerate() {
        if !runner.stopped() {
            let left = (groups - index) as u32;
            let ends = ends.map(|ends| {
                let now = Instant::now();
                now + ends.saturating_duration_since(now) / left
            });
            workloads.extend(runner.traffic(strands, ends).await);
        }
    }
    let interrupted = runner.stopped();
    let (mut targets, checks) = (runner.targets, runner.checks);
    for target in &mut targets {
        if let Some(server) = target.server.take() {
            target.start_to_ready = Some(server.start_to_ready);
            server.stop().await;
        }
    }
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

/// Connections that are opened before an open loop, where nobody knows how many will be in use at once.
const OPEN_BEFOREHAND: usize = 64;

/// Of so many replies one is kept, to be asked for again when the load is over.
const KEEP_EVERY: usize = 8;

/// Replies that are kept of one target and workload.
const MOST_KEPT: usize = 32;

/// How long a phase lasts in which nothing happens, so that memory is read more than once in it.
const SETTLE: Duration = Duration::from_millis(150);

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
        for (place, (lane, (target, planned))) in strand
            .lanes
            .iter()
            .zip(self.targets.iter().zip(&self.plan.targets))
            .enumerate()
        {
            if lane.lacking.is_some() {
                continue;
            }
            let (workload, name) = (&strand.workload, &planned.name);
            let seed = self.plan.seed;
            let kept = &strand.kept[place];
            let found =
                audit::target(workload, name, &target.client, &lane.asker, kept, seed).await;
            self.checks.extend(found);
        }
    }

    /// One group of workloads at every load.
    async fn traffic(
        &mut self,
        mut strands: Vec<Strand>,
        ends: Option<Instant>,
    ) -> Vec<WorkloadRecord> {
        for strand in &mut strands {
            self.cold_starts(strand).await;
        }
        let unloads = self.unload_all(&strands).await;
        let trees: Vec<_> = self
            .targets
            .iter()
            .zip(&strands[0].lanes)
            .map(|(target, lane)| {
                let tree = target.processes.as_ref().ok().cloned();
                tree.filter(|_| lane.lacking.is_none())
            })
            .collect();
        let settle = if trees.iter().any(Option::is_some) && !self.plan.keep_loaded {
            SETTLE
        } else {
            Duration::ZERO
        };
        let watch = if self.plan.keep_loaded {
            Watch::start(trees, Phase::Load, self.clock)
        } else {
            let watch = Watch::start(trees, Phase::Idle, self.clock);
            tokio::time::sleep(settle).await;
            self.load_models(&mut strands, &watch, settle).await;
            watch
        };
        let pace = Arc::clone(&strands[0].workload);
        for (index, load) in pace.loads.iter().enumerate() {
            // What is left of the time is shared by what is left to do.
            let left = (pace.loads.len() - index) as u32;
            let ends = ends.map(|ends| {
                let now = Instant::now();
                now + ends.saturating_duration_since(now) / left
            });
            match load {
                Load::Point(point) => self.cell(&mut strands, point, ends).await,
                Load::Search(search) => self.search(&mut strands, *search, ends).await,
            }
            if self.stopped() {
                break;
            }
        }
        watch.phase(Phase::After).await;
        tokio::time::sleep(settle).await;
        let mut loaded = Vec::new();
        for target in &self.targets {
            loaded.push(target.loaded().await);
        }
        if self.plan.checks && !self.stopped() && !pace.loads.is_empty() {
            watch.phase(Phase::Audit).await;
            for strand in &strands {
                self.audit(strand).await;
            }
        }
        if unloads.contains(&true) {
            watch.phase(Phase::Unloading).await;
            self.unload_all(&strands).await;
            watch.phase(Phase::Unloaded).await;
            tokio::time::sleep(settle).await;
        }
        let memory: Vec<Option<Series>> = watch
            .finish()
            .into_iter()
            .zip(&unloads)
            .map(|(series, unloads)| match unloads {
                true => series,
                false => series.map(Series::always_loaded),
            })
            .collect();
        let record = |strand: Strand| WorkloadRecord {
            workload: strand.workload,
            lanes: strand.lanes,
            cells: strand.cells,
            searches: strand.searches,
            cold: strand.cold,
            inputs_sha256: hex(strand.hash),
            memory: memory.clone(),
            loaded: loaded.clone(),
        };
        strands.into_iter().map(record).collect()
    }

    /// Tells every target to let go of the models of `strands`. Per target, whether all of them are gone.
    async fn unload_all(&self, strands: &[Strand]) -> Vec<bool> {
        let mut gone = Vec::new();
        for target in 0..self.targets.len() {
            let mut all = true;
            for lane in strands.iter().map(|strand| &strand.lanes[target]) {
                let has_model = lane.lacking.is_none();
                all &= has_model && self.unload(target, &lane.asker.model).await;
            }
            gone.push(all);
        }
        gone
    }

    /// Lets every target load what it needs and allocate what it allocates on first use, phase by phase.
    async fn load_models(&self, strands: &mut [Strand], watch: &Watch, settle: Duration) {
        let rounds = strands[0].workload.rounds;
        let mut steps = vec![(Phase::Loading, Phase::Loaded, 1)];
        if rounds.warmup > 0 && !strands[0].workload.loads.is_empty() {
            steps.push((Phase::Loaded, Phase::Warm, rounds.warmup));
        }
        for (during, then, requests) in steps {
            let work = work::warm_up(strands, requests);
            if during == Phase::Loading {
                watch.phase(during).await;
            }
            for target in 0..self.targets.len() {
                if strands[0].lanes[target].lacking.is_none() && !self.stopped() {
                    let calls = calls(strands, target, &work);
                    drive::warm_up(&self.targets[target].client, calls, 1).await;
                }
            }
            watch.phase(then).await;
            tokio::time::sleep(settle).await;
        }
        if !strands[0].workload.loads.is_empty() {
            watch.phase(Phase::Load).await;
        }
    }

    /// Every round at one load.
    async fn cell(&mut self, strands: &mut [Strand], load: &LoadPoint, ends: Option<Instant>) {
        let targets = self.targets.len();
        for strand in strands.iter_mut() {
            strand.cells.push(Cell {
                load: load.clone(),
                rounds: Vec::new(),
                unstable: vec![None; targets],
            });
        }
        let mut mixer = Mixer::new(strands, self.plan.seed, load);
        let mut rounds = self.plan.stopping.rounds(strands[0].workload.rounds.count);
        while let Some(round) = rounds.next(ends) {
            let work = mixer.round(strands, load);
            let Some(slots) = self.round(strands, &work, load, round).await else {
                break;
            };
            for (strand, slots) in strands.iter_mut().zip(slots) {
                strand.cell().rounds.push(slots);
            }
            if self.stopped() {
                break;
            }
            let primary = &strands[0];
            rounds.look_at(
                primary.cells.last().expect("it was pushed above"),
                self.plan.seed,
            );
        }
        if load.rate().is_some() {
            for target in 0..targets {
                // The parts of a mix share one stream: if it backs up, it does so for all of them.
                let slots: Vec<&Slot> = strands
                    .iter()
                    .filter_map(|strand| strand.cells.last())
                    .flat_map(|cell| &cell.rounds)
                    .filter_map(|round| round[target].as_ref())
                    .collect();
                let unstable = saturation::of(&slots);
                for strand in strands.iter_mut() {
                    strand.cell().unstable[target].clone_from(&unstable);
                }
            }
        }
    }

    /// One round at every target, `[part][target]`; `None` when it was given up half way, because half a round compares
    /// nothing.
    async fn round(
        &mut self,
        strands: &mut [Strand],
        work: &RoundWork,
        load: &LoadPoint,
        round: u32,
    ) -> Option<Vec<Vec<Option<Slot>>>> {
        let targets = self.targets.len();
        let mut slots: Vec<Vec<Option<Slot>>> = strands
            .iter()
            .map(|_| (0..targets).map(|_| None).collect())
            .collect();
        for (place, target) in order(targets, round, self.plan.seed)
            .into_iter()
            .enumerate()
        {
            if self.stopped() {
                return None;
            }
            if strands[0].lanes[target].lacking.is_some() {
                continue;
            }
            let client = &self.targets[target].client;
            let resident =
                preflight::is_loaded(client, &strands[0].lanes[target].asker.model).await;
            let measured = self.slot(strands, target, work, load).await;
            for (part, slot) in measured.into_iter().enumerate() {
                let slot = Slot {
                    order: place,
                    resident,
                    ..slot
                };
                let name = &self.plan.targets[target].name;
                let workload = &strands[part].workload;
                self.progress.slot(name, workload, load, round, &slot);
                slots[part][target] = Some(slot);
            }
        }
        self.progress.round(&strands[0].workload, load, round);
        Some(slots)
    }

    /// One target's share of a round, one slot for each part of a mix.
    async fn slot(
        &self,
        strands: &mut [Strand],
        target: usize,
        work: &RoundWork,
        load: &LoadPoint,
    ) -> Vec<Slot> {
        let client = &self.targets[target].client;
        tokio::time::sleep(strands[0].workload.rounds.cooldown).await;
        let warmup = calls(strands, target, &work.warmup);
        let callers = load.concurrency().unwrap_or(1);
        drive::warm_up(client, warmup, callers).await;
        let wanted = match load.concurrency() {
            Some(callers) => callers,
            None => work.measured.len().min(OPEN_BEFOREHAND),
        };
        client.open_connections(wanted).await;
        let measured = calls(strands, target, &work.measured);
        let opened = client.connections_opened();
        let conditions = Conditions::begin(self.targets[target].processes.as_ref().ok());
        let replies = drive::drive(client, measured, load, work.offsets.clone()).await;
        let noise = conditions.end();
        let new_connections = client.connections_opened() - opened;

        // Only now are replies parsed: during the measurement that would take time from the server on the same machine.
        strands
            .iter_mut()
            .enumerate()
            .map(|(part, strand)| {
                let of_part = replies
                    .iter()
                    .filter(|reply| work.measured[reply.call].part == part);
                self.read(strand, target, of_part, work, new_connections, noise)
            })
            .collect()
    }

    /// Reads what came back of one part's work.
    fn read<'b>(
        &self,
        strand: &mut Strand,
        target: usize,
        replies: impl Iterator<Item = &'b drive::Reply>,
        work: &RoundWork,
        new_connections: u64,
        noise: Noise,
    ) -> Slot {
        let mut samples = Vec::new();
        let mut first: Option<Instant> = None;
        let mut last: Option<Instant> = None;
        for (index, reply) in replies.enumerate() {
            let item = &work.measured[reply.call].session.turns[reply.turn];
            let reading = strand.lanes[target].asker.read(item, &reply.exchange);
            let kept = &mut strand.kept[target];
            // Later turns carry what was said before them, which is not kept.
            if index.is_multiple_of(KEEP_EVERY)
                && reply.turn == 0
                && kept.len() < MOST_KEPT
                && let Ok(answer) = &reading.outcome
            {
                kept.push(Kept {
                    item: item.clone(),
                    answer: answer.clone(),
                });
            }
            first = Some(first.map_or(reply.intended, |first| first.min(reply.intended)));
            last = last.max(Some(reply.exchange.ended));
            let place = Place {
                index,
                session: u32::try_from(reply.call).unwrap_or(u32::MAX),
                turn: u32::try_from(reply.turn).unwrap_or(u32::MAX),
            };
            let mut sample =
                Sample::new(self.clock, place, reply.intended, &reply.exchange, reading);
            sample.shed();
            samples.push(sample);
        }
        let since = |at: Instant| {
            u64::try_from(at.saturating_duration_since(self.clock).as_nanos()).unwrap_or(u64::MAX)
        };
        let wall = first.zip(last).map_or(Duration::ZERO, |(first, last)| {
            last.saturating_duration_since(first)
        });
        Slot {
            order: 0,
            wall,
            started_ns: first.map_or(0, since),
            samples,
            new_connections,
            noise,
            resident: None,
        }
    }

    /// Looks for the highest rate that keeps a promise, at every target in turn, rate by rate.
    async fn search(&mut self, strands: &mut [Strand], search: Search, ends: Option<Instant>) {
        let targets = self.targets.len();
        let mut searchers: Vec<(Searcher, Vec<SearchStep>)> = (0..targets)
            .map(|_| (Searcher::new(search), Vec::new()))
            .collect();
        let mut turn = 0;
        loop {
            let mut tried = false;
            for target in order(targets, turn, self.plan.seed) {
                let over = self.stopped() || ends.is_some_and(|ends| Instant::now() >= ends);
                let lacks = strands[0].lanes[target].lacking.is_some();
                let rate = searchers[target].0.next_rate().filter(|_| !over && !lacks);
                let Some(rate) = rate else { continue };
                tried = true;
                let load = LoadPoint::Open {
                    arrival: search.arrival,
                    rate,
                    max_in_flight: search.max_in_flight,
                };
                let work = Mixer::new(strands, self.plan.seed, &load).round(strands, &load);
                let slot = self
                    .slot(strands, target, &work, &load)
                    .await
                    .swap_remove(0);
                let name = &self.plan.targets[target].name;
                self.progress
                    .slot(name, &strands[0].workload, &load, turn, &slot);
                let (over, in_time) = search::judge(&search, &slot.samples);
                let unstable = saturation::of(&[&slot]);
                let kept = in_time && unstable.is_none();
                let (searcher, steps) = &mut searchers[target];
                searcher.note(rate, kept);
                steps.push(SearchStep {
                    rate,
                    slot,
                    over,
                    unstable,
                    kept,
                });
            }
            if !tried {
                break;
            }
            turn += 1;
        }
        let outcomes = searchers
            .into_iter()
            .map(|(searcher, steps)| (!steps.is_empty()).then(|| searcher.outcome(steps)))
            .collect();
        strands[0].searches.push(SearchRecord { search, outcomes });
    }
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

/// The sampling options of a workload, with the context and the length of reply that it asks for.
fn options(workload: &Workload) -> serde_json::Map<String, serde_json::Value> {
    let mut options = workload.output.options.clone();
    if let Some(tokens) = workload.num_ctx {
        options.insert("num_ctx".into(), tokens.into());
    }
    if workload.output.equalize == Equalize::IgnoreEos {
        options.insert("ignore_eos".into(), true.into());
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
