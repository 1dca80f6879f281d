//! What a step changed: what is computed now, what was said, and whose job is over.

use super::{Ended, Scheduler, count};
use crate::inference::Token;
use crate::inference::generate::{Finish, Slot};

impl Scheduler {
    /// Notes that the engine computed the plan. Returns the slots whose prompt is complete and whose job wants no
    /// token: they are to be given back with [`Self::finish`].
    pub fn computed(&mut self) -> Vec<Slot> {
        let mut complete = Vec::new();
        for (slot, sequence) in (0..).zip(&mut self.sequences) {
            let Some(job) = sequence.running.as_mut().filter(|job| job.planned > 0) else {
                continue;
            };
            let planned = std::mem::take(&mut job.planned);
            let guessed = job.guessed;
            let wants_none = job.max_tokens == 0;
            let fed = planned + guessed;
            sequence
                .cells
                .extend(std::iter::repeat_with(|| self.cells.take()).take(fed));
            sequence.tokens.truncate(sequence.tokens.len() - guessed);
            if sequence.exact == sequence.computed {
                sequence.exact += planned;
            }
            sequence.computed += planned;
            if sequence.computed == sequence.tokens.len() && wants_none {
                complete.push(slot);
            }
        }
        complete
    }

    /// Notes a token that was sampled after a step and says whether the job has to end with it: it has as many tokens as
    /// it wanted, or the context is full and it does not shift. It ends with [`Self::finish`].
    pub fn sampled(&mut self, slot: Slot, token: Token) -> Option<Finish> {
        let sequence = &mut self.sequences[slot as usize];
        let job = sequence.running_mut();
        let foreseen = job.guesses.get(job.right).map(|guess| *guess == token);
        if let Some(is_right) = foreseen {
            let matching = job.matching + job.right;
            self.luck.learn(matching, is_right);
            job.luck.learn(matching, is_right);
        }
        let is_right = foreseen == Some(true) && job.right < job.guessed;
        job.right += usize::from(is_right);
        job.history.push(token);
        let enough = job.generated() >= job.max_tokens as usize;
        let shift = job.shift;
        // The token before this one is computed at any rate; this one is if it was guessed.
        let full = sequence.computed >= self.limits.context as usize;
        sequence.tokens.push(token);
        if is_right {
            if sequence.exact == sequence.computed {
                sequence.exact += 1;
            }
            sequence.computed += 1;
        }
        (enough || full && !shift).then_some(Finish::Length)
    }

    /// Notes that all that was sampled after a step is told. Returns how many guessed tokens were right.
    pub fn settle(&mut self) -> u32 {
        for slot in self.slots() {
            self.settle_one(slot);
        }
        count(std::mem::take(&mut self.right))
    }

    fn settle_one(&mut self, slot: Slot) {
        let sequence = &mut self.sequences[slot as usize];
        if let Some(job) = &mut sequence.running {
            job.guesses.clear();
            job.guessed = 0;
            self.right += std::mem::take(&mut job.right);
        }
        if sequence.cells.len() > sequence.computed {
            let computed = sequence.computed;
            self.drop_from(slot, computed);
        }
    }

    /// Takes the slot back from a job that is over. The cache stays for the next job with the same beginning.
    pub fn finish(&mut self, slot: Slot) -> Ended {
        self.settle_one(slot);
        let released = self.tick();
        let sequence = &mut self.sequences[slot as usize];
        sequence.released = released;
        sequence.used = self.steps;
        let job = sequence.running.take().expect("only a running job can end");
        sequence.tokens.truncate(sequence.computed);
        Ended {
            id: job.id,
            tokens: job.history,
        }
    }

    /// Takes the slot back from a job whose computation failed. Its cache is in doubt and is to be emptied.
    pub fn fail(&mut self, slot: Slot) -> Ended {
        let ended = self.finish(slot);
        self.evict(slot);
        ended
    }
}
