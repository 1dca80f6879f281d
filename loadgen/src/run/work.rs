use std::{sync::Arc, time::Duration};

use rand::{RngExt, rngs::Xoshiro256PlusPlus};
use sha2::{Digest, Sha256};

use super::{Cell, Cold, Lane, SearchRecord, drive::Call, warmup_size};
use crate::{
    checks::audit::Kept,
    workload::{Inputs, LoadPoint, Session, Stream, Workload, offsets, stream},
};

/// One workload's part of the traffic while it is measured.
pub(super) struct Strand {
    pub workload: Arc<Workload>,
    pub inputs: Inputs,
    pub lanes: Vec<Lane>,
    /// Its share of the requests, relative to the other parts.
    pub weight: f64,
    /// Of all work that was measured.
    pub hash: Sha256,
    pub cells: Vec<Cell>,
    pub searches: Vec<SearchRecord>,
    /// Per target.
    pub cold: Vec<Option<Cold>>,
    /// Per target, some of the measured work with the replies to it.
    pub kept: Vec<Vec<Kept>>,
}

/// The work of one round, the same for every target; made before its clock starts.
pub(super) struct RoundWork {
    pub warmup: Vec<Job>,
    pub measured: Vec<Job>,
    /// When each is to be sent, from the start of the round; `None` in a closed loop.
    pub offsets: Option<Vec<Duration>>,
}

/// One request or conversation of one part.
pub(super) struct Job {
    pub part: usize,
    pub session: Session,
}

/// Makes the work of one load's rounds: which part comes next, what it sends, and when.
pub(super) struct Mixer {
    order: Xoshiro256PlusPlus,
    arrival: Xoshiro256PlusPlus,
}

impl Strand {
    /// The cell that is being measured.
    pub(super) fn cell(&mut self) -> &mut Cell {
        self.cells.last_mut().expect("rounds belong to a cell")
    }
}

impl Mixer {
    pub(super) fn new(strands: &[Strand], seed: u64, load: &LoadPoint) -> Self {
        let name = format!("{} {}", strands[0].workload.name, load.label());
        Self {
            order: stream(seed, &name, Stream::Order),
            arrival: stream(seed, &name, Stream::Arrival),
        }
    }

    /// The next round's work.
    pub(super) fn round(&mut self, strands: &mut [Strand], load: &LoadPoint) -> RoundWork {
        let rounds = strands[0].workload.rounds;
        let count = load.requests().unwrap_or(rounds.requests);
        let warmup = warmup_size(rounds.warmup, load.concurrency().unwrap_or(1));
        let warmup = warm_up(strands, warmup);
        let measured: Vec<Job> = (0..count)
            .map(|_| {
                let part = self.part(strands);
                let session = strands[part].inputs.take(1).remove(0);
                strands[part].hash.update(format!("{session:?}\n"));
                Job { part, session }
            })
            .collect();
        RoundWork {
            offsets: offsets(load, measured.len(), &mut self.arrival),
            warmup,
            measured,
        }
    }

    /// Which part of the mix is next, by weight.
    fn part(&mut self, strands: &[Strand]) -> usize {
        let total: f64 = strands.iter().map(|strand| strand.weight).sum();
        let mut drawn = self.order.random_range(0.0..total);
        for (part, strand) in strands.iter().enumerate() {
            if drawn < strand.weight {
                return part;
            }
            drawn -= strand.weight;
        }
        strands.len() - 1
    }
}

/// `count` requests of every part that are not measured.
pub(super) fn warm_up(strands: &mut [Strand], count: usize) -> Vec<Job> {
    strands
        .iter_mut()
        .enumerate()
        .flat_map(|(part, strand)| {
            let sessions = strand.inputs.take_warmup(count);
            sessions
                .into_iter()
                .map(move |session| Job { part, session })
        })
        .collect()
}

/// The calls that put `jobs` to a target.
pub(super) fn calls(strands: &[Strand], target: usize, jobs: &[Job]) -> Vec<Call> {
    let askers: Vec<Arc<_>> = strands
        .iter()
        .map(|strand| Arc::new(strand.lanes[target].asker.clone()))
        .collect();
    jobs.iter()
        .map(|job| Call {
            first: askers[job.part].request(&job.session.turns[0], &[]),
            turns: job.session.turns.clone(),
            think_time: strands[job.part].workload.turns.think_time,
            asker: Arc::clone(&askers[job.part]),
        })
        .collect()
}

/// A target that lacks one part of a mix is not sent the rest: it would have less to do than the others.
pub(super) fn share_lacks(strands: &mut [Strand]) {
    let targets = strands.first().map_or(0, |strand| strand.lanes.len());
    for target in 0..targets {
        let lacking = strands
            .iter()
            .find_map(|strand| strand.lanes[target].lacking.clone());
        for strand in strands.iter_mut() {
            strand.lanes[target].lacking.clone_from(&lacking);
        }
    }
}
