//! Who advances in the next step: decisions only, no engine, clock, thread or I/O.
//!
//! Jobs wait, each caller's in the order they came and the callers by turns, until a slot is idle and there are cells for their prompt. What ended jobs leave in
//! the cache stays until its cells are wanted, and a prompt goes on from wherever its beginning is known, be it in a
//! sequence that is running ([`sequence`]). A step takes one token of every stream, and beside them either a part of the
//! prompts that are still being computed, as much as [`Pace`] allows, or guesses of what the streams will say ([`guess`]).
//! When the cells do not suffice, the caches of ended jobs go, the longest unused first, and then the youngest jobs pause.
//! Where unused caches slow others down they go when that has cost as much as computing them again ([`Limits::kept_steps`]):
//! so it is never dearer than twice the best that could have been done.
//!
//! One turn of the loop that drives this: [`Scheduler::assign`] and [`Scheduler::start`] while there is someone to place
//! ([`place`]), [`Scheduler::full`] and [`Scheduler::shifted`] while someone needs room ([`room`]), [`Scheduler::decide`],
//! [`Scheduler::plan`] ([`plan`]), the engine's step, [`Scheduler::computed`] or [`Scheduler::fail`], [`Scheduler::sampled`]
//! for every sampled token, and [`Scheduler::settle`] ([`outcome`]). Whatever these dropped is to be dropped by the engine
//! too before it computes or shares anything: see [`Scheduler::cuts`].

mod cells;
mod guess;
mod outcome;
mod pace;
mod place;
mod plan;
mod room;
mod sequence;

use std::collections::VecDeque;

use self::cells::Cells;
use self::guess::Luck;
pub use self::pace::Pace;
use self::sequence::Sequence;
use super::{Feed, Limits, Slot};
use crate::inference::{JobId, Token};

/// Jobs that may wait for a slot. The server bounds its callers long before; this bounds the worker's memory.
pub const WAITING_JOBS: usize = 512;

/// Cells that a job is to find free beyond those of its prompt before it begins, so that it is not paused at once.
const ROOM: usize = 64;

/// Whose caches a job may go on from: those of the same scope, which is that of one caller.
pub type Scope = u64;

/// A job as the scheduler sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The job.
    pub id: JobId,
    /// See there.
    pub scope: Scope,
    /// At least one token, and fewer than the context holds.
    pub prompt: Vec<Token>,
    /// Tokens at the start that a shift leaves alone.
    pub keep: u32,
    /// Whether to drop older tokens when the context is full; otherwise the job ends there.
    pub shift: bool,
    /// Most tokens to sample; 0 computes the prompt and samples nothing.
    pub max_tokens: u32,
}

/// A job got a slot. Its cache is to be made the beginning of the prompt, and [`Scheduler::start`] to be told the result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Assigned {
    /// The job.
    pub id: JobId,
    /// Its slot.
    pub slot: Slot,
    /// The slot whose cache has the beginning, if it is not the job's own: the engine is to share it.
    pub source: Option<Slot>,
    /// Tokens at the start of the prompt that the cache already holds; the engine is to cut its own to so many.
    pub cached_tokens: u32,
}

/// The engine is to forget a sequence from this position on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cut {
    /// The slot.
    pub slot: Slot,
    /// Tokens to leave.
    pub position: u32,
}

/// A slot has no room for the job's next token: `count` tokens behind the first `keep` are to go. [`Scheduler::shifted`] is
/// to be told, or the job to be ended with [`Scheduler::finish`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full {
    /// The slot.
    pub slot: Slot,
    /// Tokens at the start to leave alone.
    pub keep: u32,
    /// Tokens to drop.
    pub count: u32,
    /// The engine is to move the tokens after them. Otherwise others go on from these: the engine is to forget its own
    /// and they are computed anew.
    pub moves: bool,
}

/// What the engine is to compute next.
#[derive(Debug, PartialEq)]
pub struct Plan<'a> {
    /// At most one per slot.
    pub feeds: Vec<Feed<'a>>,
    /// How many of the tokens belong to prompts, or are computed again.
    pub prompt_tokens: u32,
    /// How many of them are guessed.
    pub guessed_tokens: u32,
}

/// A job that is over.
#[derive(Debug, PartialEq)]
pub struct Ended {
    /// The job.
    pub id: JobId,
    /// Its prompt and all that was sampled for it.
    pub tokens: Vec<Token>,
}

/// The waiting jobs, the sequences and what their caches hold.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    /// Jobs that run at most.
    slots: usize,
    waiting: VecDeque<Request>,
    sequences: Vec<Sequence>,
    cells: Cells,
    /// What the engine has still to drop.
    cuts: Vec<Cut>,
    /// How guesses turned out, of all jobs so far.
    luck: Luck,
    /// Guessed tokens of this step that were right.
    right: usize,
    /// Counts assignments and releases: the order of ages.
    ticks: u64,
    /// Counts steps with streams in them.
    steps: u64,
}

impl Scheduler {
    /// Nobody waits, all caches are empty.
    ///
    /// A step must have room for a token of every slot: slots beyond [`Limits::step_tokens`] stay unused.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let slots = limits.slots.min(limits.step_tokens).max(1);
        let sequences = limits.sequences.max(slots);
        Self {
            limits,
            slots: slots as usize,
            waiting: VecDeque::new(),
            sequences: (0..sequences).map(|_| Sequence::default()).collect(),
            cells: Cells::new(limits.cells.max(limits.context)),
            cuts: Vec::new(),
            luck: Luck::default(),
            right: 0,
            ticks: 0,
            steps: 0,
        }
    }

    /// Whether [`WAITING_JOBS`] wait already: a further job must be refused.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.waiting.len() >= WAITING_JOBS
    }

    /// Whether there is nothing to compute and nobody to place.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running() == 0
    }

    /// Jobs that hold a slot.
    #[must_use]
    pub fn running(&self) -> usize {
        self.sequences.iter().filter(|one| !one.is_idle()).count()
    }

    /// Jobs that wait for one.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Tokens that the cache holds; what several sequences begin with counts once.
    #[must_use]
    pub fn cached_tokens(&self) -> usize {
        self.cells.used()
    }

    /// Puts a job behind those that wait.
    ///
    /// # Panics
    /// If the prompt is empty or leaves no room in the context, or if [`Self::is_crowded`]: the caller refuses those.
    pub fn submit(&mut self, request: Request) {
        assert!(
            !self.is_crowded(),
            "the caller refuses jobs while too many wait"
        );
        let length = request.prompt.len();
        assert!(
            (1..self.limits.context as usize).contains(&length),
            "the caller refuses prompts that do not fit"
        );
        self.waiting.push_back(request);
    }

    /// Forgets a job in whatever phase it is, between two steps. What was computed of it stays in the cache. False if it is
    /// over already.
    pub fn cancel(&mut self, id: JobId) -> bool {
        if let Some(place) = self.waiting.iter().position(|request| request.id == id) {
            self.waiting.remove(place);
            return true;
        }
        let holds = |one: &Sequence| one.running.as_ref().is_some_and(|job| job.id == id);
        let slot = self.slots().find(|&slot| holds(self.at(slot)));
        slot.is_some_and(|slot| {
            self.finish(slot);
            true
        })
    }

    /// Forgets what all caches hold; to be called only while [`Self::is_idle`]. The engine is to release them.
    pub fn forget(&mut self) {
        for sequence in &mut self.sequences {
            sequence.truncate(0, &mut self.cells);
        }
        self.cuts.clear();
    }

    /// The job that holds a slot.
    #[must_use]
    pub fn job(&self, slot: Slot) -> Option<JobId> {
        let sequence = self.sequences.get(slot as usize)?;
        sequence.running.as_ref().map(|job| job.id)
    }

    /// The prompt of the job that holds a slot; empty if none does.
    #[must_use]
    pub fn prompt(&self, slot: Slot) -> &[Token] {
        let job = self
            .sequences
            .get(slot as usize)
            .and_then(|one| one.running.as_ref());
        job.map_or(&[], |job| &job.history[..job.prompt_tokens])
    }

    fn at(&self, slot: Slot) -> &Sequence {
        &self.sequences[slot as usize]
    }

    fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        0..count(self.sequences.len())
    }

    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }
}

/// Lengths here are bounded by the context or the cells, which are a `u32`.
fn count(length: usize) -> u32 {
    u32::try_from(length).expect("no longer than the context")
}

#[cfg(test)]
mod tests;
