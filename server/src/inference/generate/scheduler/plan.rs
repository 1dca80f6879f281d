//! What the next step computes.

use super::{Pace, Plan, Scheduler, count, guess};
use crate::inference::generate::{Feed, Slot};

impl Scheduler {
    /// What is left of the prompts that have images ahead: of each, [`Self::reach`] is to be told how much the engine
    /// could feed now.
    pub fn ahead(&self) -> impl Iterator<Item = Feed<'_>> {
        self.slots().filter_map(|slot| {
            let sequence = self.at(slot);
            sequence.active()?;
            let tokens = &sequence.tokens[sequence.computed..];
            let sees = sequence.running().has_images && tokens.iter().any(|token| *token < 0);
            sees.then(|| Feed {
                slot,
                position: count(sequence.computed),
                tokens,
                sample: false,
                guessed: 0,
            })
        })
    }

    /// Says how many of the tokens [`Self::ahead`] can be fed.
    pub fn reach(&mut self, slot: Slot, tokens: usize) {
        let sequence = &mut self.sequences[slot as usize];
        let end = sequence.computed + tokens;
        let is_all = end >= sequence.tokens.len();
        sequence.running_mut().reachable = (!is_all).then_some(end);
    }

    /// Decides what the next step computes; nothing, if all that is left waits for images.
    ///
    /// Every stream gets its token. Of the rest of the budget, which [`Pace`] bounds if there are streams, half goes to the
    /// prompt that was assigned first, so that none starves, and the other half to the prompts with the least left to
    /// compute, so that a short one does not wait for a long one. Without prompts there may be guesses.
    pub fn decide(&mut self, pace: &Pace) {
        for sequence in &mut self.sequences {
            sequence.unplan();
        }
        let mut streams = self.streams();
        self.steps += u64::from(!streams.is_empty());
        self.evict_unused();
        while !self.make_free(streams.len()) {
            self.pause_youngest();
            streams = self.streams();
        }
        for &slot in &streams {
            self.sequences[slot as usize].running_mut().planned = 1;
        }
        self.resume(streams.len());
        if !self.plan_prompts(&streams, pace) {
            self.plan_guesses(&streams, pace);
        }
    }

    fn streams(&self) -> Vec<Slot> {
        self.slots()
            .filter(|&slot| self.at(slot).decodes())
            .collect()
    }

    /// Plans parts of prompts. False if there is nothing of them to compute.
    fn plan_prompts(&mut self, streams: &[Slot], pace: &Pace) -> bool {
        let mut budget = self.limits.step_tokens as usize - streams.len();
        if !streams.is_empty() {
            budget = budget.min(pace.prompt_tokens_beside(count(streams.len())) as usize);
        }
        loop {
            let prompts = self.slots().filter(|&slot| {
                let sequence = self.at(slot);
                sequence.active().is_some() && sequence.left() > 0
            });
            let prompts: Vec<Slot> = prompts.collect();
            if prompts.is_empty() {
                return false;
            }
            let left: usize = prompts.iter().map(|&slot| self.at(slot).left()).sum();
            self.make_free(streams.len() + budget.min(left));
            let free = self.cells.free().saturating_sub(streams.len());
            if free == 0 && streams.is_empty() {
                self.pause_youngest();
                continue;
            }
            self.share_out(budget.min(free), prompts);
            return true;
        }
    }

    fn share_out(&mut self, mut budget: usize, mut prompts: Vec<Slot>) {
        if let Some(&oldest) = prompts.iter().min_by_key(|&&slot| self.at(slot).active()) {
            let share = budget.div_ceil(2);
            budget = budget - share + self.take(oldest, share);
        }
        prompts.sort_by_key(|&slot| (self.at(slot).left(), self.at(slot).active()));
        for slot in prompts {
            budget = self.take(slot, budget);
        }
    }

    /// Plans as much of what is left as the budget allows and returns the rest of the budget.
    fn take(&mut self, slot: Slot, budget: usize) -> usize {
        let sequence = &mut self.sequences[slot as usize];
        let taken = sequence.left().min(budget);
        sequence.running_mut().planned += taken;
        budget - taken
    }

    /// Looks what the streams may say next, and plans to compute as much of it as promises more than it costs.
    fn plan_guesses(&mut self, streams: &[Slot], pace: &Pace) {
        if !self.limits.rewinds {
            return;
        }
        let mut tokens = streams.len();
        let mut results = f64::from(count(tokens));
        let most =
            (self.limits.step_tokens.min(self.limits.step_outputs) as usize).min(self.cells.free());
        for &slot in streams {
            let sequence = &mut self.sequences[slot as usize];
            let room = self.limits.context as usize - sequence.computed - 1;
            let job = sequence.running.as_mut().expect("it is a stream");
            let wanted = job.max_tokens as usize - job.generated() - 1;
            let room = room.min(wanted).min(most.saturating_sub(tokens));
            let guess = guess::next(&job.history, guess::MOST);
            let there = guess.tokens.len().min(room);
            let promised = |guessed| job.luck.expects(guess.matching, guessed);
            let worth = pace.worth(count(tokens), results, there, promised);
            tokens += worth;
            results += promised(worth);
            sequence.tokens.extend_from_slice(&guess.tokens[..worth]);
            job.guesses.extend_from_slice(guess.tokens);
            (job.matching, job.guessed) = (guess.matching, worth);
        }
    }

    /// What [`Self::decide`] decided.
    #[must_use]
    pub fn plan(&self) -> Plan<'_> {
        let mut plan = Plan {
            feeds: Vec::with_capacity(self.slots),
            prompt_tokens: 0,
            guessed_tokens: 0,
        };
        for slot in self.slots() {
            let sequence = self.at(slot);
            let Some(job) = sequence.running.as_ref().filter(|job| job.planned > 0) else {
                continue;
            };
            let guessed = count(job.guessed);
            let next = sequence.computed + job.planned;
            let end = next + job.guessed;
            let is_last = end == sequence.tokens.len();
            if !(is_last && job.planned == 1 && job.generated() > 0) {
                plan.prompt_tokens += count(job.planned);
            }
            plan.guessed_tokens += guessed;
            plan.feeds.push(Feed {
                slot,
                position: count(sequence.computed),
                tokens: &sequence.tokens[sequence.computed..end],
                sample: is_last && job.max_tokens > 0,
                guessed,
            });
        }
        plan
    }
}
