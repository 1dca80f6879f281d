//! Who advances in the next step: decisions only, no engine, clock, thread or I/O.
//!
//! Jobs wait in the order they came until a slot is idle. A step takes one token of every slot that decodes and, within
//! the step's budget, a part of the prompts that are still being computed. One turn of the loop that drives this:
//! [`Scheduler::assign`] and [`Scheduler::start`] while there is someone to place, [`Scheduler::full`] while someone
//! needs room, [`Scheduler::plan`], the engine's step, [`Scheduler::computed`] or [`Scheduler::fail`], and
//! [`Scheduler::sampled`] for every sampled token.

use std::collections::VecDeque;

use super::{Feed, Finish, Limits, Slot};
use crate::inference::{JobId, Token};

/// Jobs that may wait for a slot. The server bounds its callers long before; this bounds the worker's memory.
pub const WAITING_JOBS: usize = 512;

/// Prompt tokens of a step in which others decode. This bounds how much longer than alone a token of a running stream
/// can take: a step of 64 tokens is where a CPU's matrix kernels are about as efficient as they get, so that a larger
/// share would delay the streams and speed up no prompt.
pub const PROMPT_TOKENS_BESIDE_DECODE: u32 = 64;

/// A cached prefix below one part in this many of the prompt is not worth giving up another job's longer cache for.
const WORTHWHILE_PREFIX_PARTS: usize = 10;

/// A job as the scheduler sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The job.
    pub id: JobId,
    /// At least one token, and fewer than the context holds.
    pub prompt: Vec<Token>,
    /// Tokens at the start that a shift leaves alone.
    pub keep: u32,
    /// Whether to drop older tokens when the context is full; otherwise the job ends there.
    pub shift: bool,
    /// Most tokens to sample; 0 computes the prompt and samples nothing.
    pub max_tokens: u32,
}

/// A job got a slot. The slot's cache is to be cut to `cached_tokens`, and [`Scheduler::start`] to be told the result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Assigned {
    /// The job.
    pub id: JobId,
    /// Its slot.
    pub slot: Slot,
    /// Tokens at the start of the prompt that the slot's cache already holds.
    pub cached_tokens: u32,
}

/// A slot has no room for the job's next token. After dropping `count` tokens behind the first `keep`,
/// [`Scheduler::shifted`] is to be told, or the job to be ended with [`Scheduler::finish`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full {
    /// The slot.
    pub slot: Slot,
    /// Tokens at the start to leave alone.
    pub keep: u32,
    /// Tokens to drop.
    pub count: u32,
}

/// What the engine is to compute next.
#[derive(Debug, PartialEq)]
pub struct Plan<'a> {
    /// At most one per slot.
    pub feeds: Vec<Feed<'a>>,
    /// How many of the tokens belong to prompts.
    pub prompt_tokens: u32,
}

/// A job that gave its slot back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ended {
    /// The job.
    pub id: JobId,
    /// Its prompt and every token that was sampled for it.
    pub tokens: Vec<Token>,
}

/// The waiting jobs, the slots and what each slot's cache holds.
#[derive(Debug)]
pub struct Scheduler {
    context: usize,
    step_tokens: u32,
    waiting: VecDeque<Request>,
    slots: Vec<SlotState>,
    /// Counts assignments and releases: the order of ages.
    ticks: u64,
}

#[derive(Debug, Default)]
struct SlotState {
    /// The tokens the engine's cache holds for this slot.
    cached: Vec<Token>,
    /// How many of them, from the start, saw exactly the tokens before them. What moved in a shift did not, and reusing
    /// it would give another text than computing it.
    exact: usize,
    running: Option<Running>,
    /// Tick of the last release.
    released: u64,
}

#[derive(Debug)]
struct Running {
    id: JobId,
    /// Prompt and sampled tokens.
    tokens: Vec<Token>,
    prompt_tokens: usize,
    /// How many of `tokens` were computed; at least one is not.
    computed: usize,
    /// How many more are part of the current step.
    planned: usize,
    /// Whether the prompt has images.
    has_images: bool,
    /// How many of `tokens` the engine can feed by now, if not the whole prompt.
    reachable: Option<usize>,
    keep: u32,
    shift: bool,
    max_tokens: u32,
    /// Tick of the assignment.
    assigned: u64,
}

impl Scheduler {
    /// Nobody waits, all caches are empty.
    ///
    /// A step must have room for a token of every slot: slots beyond [`Limits::step_tokens`] stay unused.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let slots = limits.slots.min(limits.step_tokens).max(1);
        Self {
            context: limits.context as usize,
            step_tokens: limits.step_tokens.max(1),
            waiting: VecDeque::new(),
            slots: (0..slots).map(|_| SlotState::default()).collect(),
            ticks: 0,
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
        self.slots
            .iter()
            .filter(|slot| slot.running.is_some())
            .count()
    }

    /// Tokens that the caches of all slots hold.
    #[must_use]
    pub fn cached_tokens(&self) -> usize {
        self.slots.iter().map(|slot| slot.cached.len()).sum()
    }

    /// Forgets what the slots' caches hold; to be called only while [`Self::is_idle`].
    pub fn forget(&mut self) {
        for slot in &mut self.slots {
            slot.cached.clear();
            slot.exact = 0;
        }
    }

    /// Jobs that wait for one.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
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
            (1..self.context).contains(&length),
            "the caller refuses prompts that do not fit"
        );
        self.waiting.push_back(request);
    }

    /// Forgets a job in whatever phase it is, between two steps. What was computed of it stays in the slot's cache.
    /// False if it is over already.
    pub fn cancel(&mut self, id: JobId) -> bool {
        if let Some(place) = self.waiting.iter().position(|request| request.id == id) {
            self.waiting.remove(place);
            return true;
        }
        let slot = (0..).zip(&self.slots).find_map(|(slot, state)| {
            state
                .running
                .as_ref()
                .is_some_and(|running| running.id == id)
                .then_some(slot)
        });
        slot.is_some_and(|slot| {
            self.finish(slot);
            true
        })
    }

    /// Gives the job that waited longest a slot, if one is idle: the one with the longest worthwhile prefix of its
    /// prompt in the cache, and among equals the one that was released longest ago.
    pub fn assign(&mut self) -> Option<Assigned> {
        let prompt = &self.waiting.front()?.prompt;
        let reusable = |state: &SlotState| {
            // The last token is computed again in any case, as its result is what the first token is sampled from.
            let reusable = &state.cached[..state.exact.min(state.cached.len())];
            let same = reusable
                .iter()
                .zip(prompt)
                .take_while(|(cached, token)| cached == token);
            same.count().min(prompt.len() - 1)
        };
        let worthwhile = |prefix: usize| {
            if prefix * WORTHWHILE_PREFIX_PARTS < prompt.len() {
                0
            } else {
                prefix
            }
        };
        let (slot, cached) = (0..)
            .zip(&self.slots)
            .filter(|(_, state)| state.running.is_none())
            .map(|(slot, state)| (slot, reusable(state), state.released))
            .max_by_key(|&(slot, prefix, released)| {
                (worthwhile(prefix), std::cmp::Reverse((released, slot)))
            })
            .map(|(slot, prefix, _)| (slot, prefix))?;

        let request = self
            .waiting
            .pop_front()
            .expect("its prompt was just looked at");
        let id = request.id;
        let assigned = self.tick();
        self.state(slot).running = Some(Running::new(request, assigned));
        Some(Assigned {
            id,
            slot,
            cached_tokens: count(cached),
        })
    }

    /// Says how many tokens are really left in the cache of a slot that was just assigned; at most as many as proposed.
    pub fn start(&mut self, slot: Slot, cached_tokens: u32) {
        let state = self.state(slot);
        state.cached.truncate(cached_tokens as usize);
        state.exact = state.cached.len();
        let cached = state.cached.len();
        running(state).computed = cached;
    }

    /// A slot whose job needs room for its next token, if there is one.
    #[must_use]
    pub fn full(&self) -> Option<Full> {
        (0..).zip(&self.slots).find_map(|(slot, state)| {
            let running = state.running.as_ref()?;
            (state.cached.len() >= self.context).then(|| {
                // llama.cpp's context shift: at least four tokens are not kept, and half of those go.
                let keep = (running.keep as usize).min(self.context.saturating_sub(4));
                let dropped = ((state.cached.len() - keep) / 2).max(1);
                Full {
                    slot,
                    keep: count(keep),
                    count: count(dropped),
                }
            })
        })
    }

    /// Notes that the engine dropped what [`Self::full`] asked for.
    pub fn shifted(&mut self, full: Full) {
        let keep = full.keep as usize;
        let state = self.state(full.slot);
        state.cached.drain(keep..keep + full.count as usize);
        state.exact = state.exact.min(keep);
    }

    /// What is left of the prompts that have images ahead: of each, [`Self::reach`] is to be told how much the engine
    /// could feed now.
    pub fn ahead(&self) -> impl Iterator<Item = Feed<'_>> {
        (0..).zip(&self.slots).filter_map(|(slot, state)| {
            let running = state.running.as_ref()?;
            let tokens = running
                .tokens
                .get(running.computed..running.prompt_tokens)?;
            let sees = running.has_images && tokens.iter().any(|token| *token < 0);
            sees.then(|| Feed {
                slot,
                position: count(state.cached.len()),
                tokens,
                sample: false,
            })
        })
    }

    /// Says how many of the tokens [`Self::ahead`] can be fed.
    pub fn reach(&mut self, slot: Slot, tokens: usize) {
        let running = running(self.state(slot));
        let end = running.computed + tokens;
        running.reachable = (end < running.prompt_tokens).then_some(end);
    }

    /// Decides what the next step computes; nothing, if all that is left waits for images.
    ///
    /// Every slot that decodes gets its token. Of the rest of the budget, cut to [`PROMPT_TOKENS_BESIDE_DECODE`] if
    /// anyone decodes, half goes to the prompt that was assigned first, so that none starves, and the other half to
    /// the prompts with the least left to compute, so that a short one does not wait for a long one.
    pub fn plan(&mut self) -> Plan<'_> {
        let mut decoding = 0;
        let mut prompts: Vec<&mut Running> = Vec::new();
        for running in self
            .slots
            .iter_mut()
            .filter_map(|slot| slot.running.as_mut())
        {
            if running.decodes() {
                running.planned = 1;
                decoding += 1;
            } else {
                running.planned = 0;
                prompts.push(running);
            }
        }
        let mut budget = self.step_tokens - decoding;
        if decoding > 0 {
            budget = budget.min(PROMPT_TOKENS_BESIDE_DECODE);
        }
        let mut budget = budget as usize;
        if let Some(oldest) = prompts.iter_mut().min_by_key(|running| running.assigned) {
            let share = budget.div_ceil(2);
            budget = budget - share + oldest.take(share);
        }
        prompts.sort_by_key(|running| (running.left(), running.assigned));
        for running in prompts {
            budget = running.take(budget);
        }
        self.feeds()
    }

    fn feeds(&self) -> Plan<'_> {
        let mut plan = Plan {
            feeds: Vec::with_capacity(self.slots.len()),
            prompt_tokens: 0,
        };
        for (slot, state) in (0..).zip(&self.slots) {
            let Some(running) = state.running.as_ref().filter(|running| running.planned > 0) else {
                continue;
            };
            if !running.decodes() {
                plan.prompt_tokens += count(running.planned);
            }
            let next = running.computed + running.planned;
            plan.feeds.push(Feed {
                slot,
                position: count(state.cached.len()),
                tokens: &running.tokens[running.computed..next],
                sample: next == running.tokens.len() && running.max_tokens > 0,
            });
        }
        plan
    }

    /// Notes that the engine computed the plan. Returns the slots whose prompt is complete and whose job wants no
    /// token: they are to be given back with [`Self::finish`].
    pub fn computed(&mut self) -> Vec<Slot> {
        let mut complete = Vec::new();
        for (slot, state) in (0..).zip(&mut self.slots) {
            let Some(running) = &mut state.running else {
                continue;
            };
            let next = running.computed + running.planned;
            if state.exact == state.cached.len() {
                state.exact += running.planned;
            }
            state
                .cached
                .extend_from_slice(&running.tokens[running.computed..next]);
            running.computed = next;
            running.planned = 0;
            if next == running.tokens.len() && running.max_tokens == 0 {
                complete.push(slot);
            }
        }
        complete
    }

    /// The job that holds a slot.
    #[must_use]
    pub fn job(&self, slot: Slot) -> Option<JobId> {
        let state = self.slots.get(slot as usize)?;
        state.running.as_ref().map(|running| running.id)
    }

    /// The prompt of the job that holds a slot; empty if none does.
    #[must_use]
    pub fn prompt(&self, slot: Slot) -> &[Token] {
        let running = self
            .slots
            .get(slot as usize)
            .and_then(|state| state.running.as_ref());
        running.map_or(&[], |running| &running.tokens[..running.prompt_tokens])
    }

    /// Notes the token that was sampled after a step and says whether the job has to end with it: it has as many tokens
    /// as it wanted, or the context is full and it does not shift. It ends with [`Self::finish`].
    pub fn sampled(&mut self, slot: Slot, token: Token) -> Option<Finish> {
        let context = self.context;
        let state = self.state(slot);
        let full = state.cached.len() >= context;
        let running = running(state);
        running.tokens.push(token);
        let enough = running.tokens.len() - running.prompt_tokens >= running.max_tokens as usize;
        (enough || full && !running.shift).then_some(Finish::Length)
    }

    /// Takes the slot back from a job that is over. The cache stays for the next job with the same beginning.
    pub fn finish(&mut self, slot: Slot) -> Ended {
        let released = self.tick();
        let state = self.state(slot);
        state.released = released;
        let running = state.running.take().expect("only a running job can end");
        Ended {
            id: running.id,
            tokens: running.tokens,
        }
    }

    /// Takes the slot back from a job whose computation failed. Its cache is in doubt and counts as empty.
    pub fn fail(&mut self, slot: Slot) -> Ended {
        let state = self.state(slot);
        state.cached.clear();
        state.exact = 0;
        self.finish(slot)
    }

    fn state(&mut self, slot: Slot) -> &mut SlotState {
        &mut self.slots[slot as usize]
    }

    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }
}

impl Running {
    fn new(request: Request, assigned: u64) -> Self {
        Self {
            id: request.id,
            prompt_tokens: request.prompt.len(),
            has_images: request.prompt.iter().any(|token| *token < 0),
            tokens: request.prompt,
            computed: 0,
            planned: 0,
            reachable: None,
            keep: request.keep,
            shift: request.shift,
            max_tokens: request.max_tokens,
            assigned,
        }
    }

    fn decodes(&self) -> bool {
        self.computed >= self.prompt_tokens
    }

    /// Prompt tokens that are neither computed nor planned, and in reach.
    fn left(&self) -> usize {
        let reachable = self.reachable.unwrap_or(self.prompt_tokens);
        reachable
            .min(self.prompt_tokens)
            .saturating_sub(self.computed + self.planned)
    }

    /// Plans as much of what is left as the budget allows and returns the rest of the budget.
    fn take(&mut self, budget: usize) -> usize {
        let taken = self.left().min(budget);
        self.planned += taken;
        budget - taken
    }
}

fn running(state: &mut SlotState) -> &mut Running {
    state
        .running
        .as_mut()
        .expect("the loop names slots that it was given")
}

/// Lengths here are bounded by the context, which is a `u32`.
fn count(length: usize) -> u32 {
    u32::try_from(length).expect("no longer than the context")
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
