use std::time::Duration;

use jiff::Timestamp;

use super::{Model, Target};
use crate::{
    memory::Series,
    routes::{Answer, Asker, Failure, Lacking},
    workload::Workload,
};

/// Everything that was measured.
#[derive(Debug)]
pub struct Record {
    /// When the run began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Whether the user stopped it.
    pub interrupted: bool,
    /// In the order of the plan.
    pub targets: Vec<Target>,
    /// In the order of the plan; fewer when interrupted.
    pub workloads: Vec<WorkloadRecord>,
}

/// One workload at every target.
#[derive(Debug)]
pub struct WorkloadRecord {
    /// Which one.
    pub workload: Workload,
    /// Per target.
    pub lanes: Vec<Lane>,
    /// Per concurrency.
    pub cells: Vec<Cell>,
    /// SHA-256 over the measured texts, in order: equal hashes mean equal work.
    pub inputs_sha256: String,
    /// Per target, over all concurrencies.
    pub memory: Vec<Option<Series>>,
    /// Per target, the models that it says were loaded afterwards; `None` when it does not say.
    pub loaded: Vec<Option<Vec<Model>>>,
}

/// One target's side of a workload.
#[derive(Debug)]
pub struct Lane {
    /// How it is asked, and what its replies must agree with.
    pub asker: Asker,
    /// Why it is not asked at all.
    pub lacking: Option<Lacking>,
}

/// One concurrency of one workload: `rounds[r][t]` is round r at target t; `None` where the target lacks the workload.
#[derive(Debug)]
pub struct Cell {
    /// Requests in flight.
    pub concurrency: usize,
    /// Whole rounds only.
    pub rounds: Vec<Vec<Option<Slot>>>,
}

/// One target's share of one round.
#[derive(Debug)]
pub struct Slot {
    /// From the first request's start to the last one's end.
    pub wall: Duration,
    /// The target's turn in the round, from 0.
    pub turn: usize,
    /// In the order of the texts; the same position at another target had the same text.
    pub samples: Vec<Sample>,
}

/// One measured request.
#[derive(Debug)]
pub struct Sample {
    /// When it started, since the run began.
    pub started: Duration,
    /// From its start to the last byte of the reply.
    pub end_to_end: Duration,
    /// The checked reply, or why it does not count.
    pub outcome: Result<Answer, Failure>,
}
