//! The generation loop: one thread that owns the engine and advances all jobs together.

mod active;
mod answers;
mod arrivals;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use self::active::{Active, nanoseconds};
use super::admission::Compilations;
use super::scheduler::{Assigned, Pace, Scheduler};
use super::sightings::Sightings;
use super::{Begin, Choice, Engine, Event, Finish, Limits, Sampled, Slot, Text};
use crate::inference::{self, Closed, Command, Error, Inbox, JobId, Outbox, Step};

/// How long a loop with nothing to compute waits for a command before it looks whether what is made beside it, a grammar
/// or an image, is done.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How the loop treats what it has.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long the caches of ended jobs are kept when nobody asks for anything.
    pub cache_idle: Duration,
    /// Whether to guess what comes next and have that verified.
    pub guesses: Guesses,
}

/// Whether tokens are guessed from what was said before, and verified several at a time. It changes no text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Guesses {
    /// One token at a time.
    Never,
    /// Where it was measured to be faster.
    WhereFaster,
    /// Wherever there is something to guess from: for tests, which are to find the same at every speed.
    Always,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            cache_idle: Duration::from_secs(180),
            guesses: Guesses::WhereFaster,
        }
    }
}

/// Generates what the inbox asks for until it closes, or the outbox does. A panic of the engine is the caller's.
pub fn run(engine: &mut dyn Engine, policy: Policy, inbox: &Inbox, outbox: &mut dyn Outbox) {
    let limits = engine.limits();
    let mut generation = Loop {
        scheduler: Scheduler::new(Limits {
            rewinds: limits.rewinds && policy.guesses != Guesses::Never,
            ..limits
        }),
        pace: match policy.guesses {
            Guesses::Always => Pace::hopeful(),
            Guesses::Never | Guesses::WhereFaster => Pace::default(),
        },
        jobs: HashMap::new(),
        compilations: Compilations::new(),
        sightings: Sightings::default(),
        stalled: false,
        engine,
        policy,
        outbox,
        undelivered: false,
        sampled: Vec::new(),
        bytes: Vec::new(),
    };
    while generation.turn(inbox).is_ok() {}
}

struct Loop<'a> {
    engine: &'a mut dyn Engine,
    policy: Policy,
    outbox: &'a mut dyn Outbox,
    scheduler: Scheduler,
    /// What steps cost.
    pace: Pace,
    /// The jobs that the scheduler knows; it bounds them.
    jobs: HashMap<JobId, Active>,
    /// The jobs before that.
    compilations: Compilations,
    /// The jobs before that.
    sightings: Sightings,
    /// Whether all that the scheduler knows waits for images.
    stalled: bool,
    /// Whether events were pushed that have not left.
    undelivered: bool,
    /// Kept from step to step for its memory, as is `bytes`.
    sampled: Vec<Sampled>,
    bytes: Vec<u8>,
}

impl Loop<'_> {
    fn turn(&mut self, inbox: &Inbox) -> Result<(), Closed> {
        self.take_commands(inbox)?;
        self.take_seen();
        self.take_compiled();
        self.fill_slots();
        self.make_room();
        // Admissions and refusals do not wait for a step, which can take seconds.
        if self.undelivered {
            self.deliver(Step::default())?;
        }
        match self.scheduler.running() {
            0 => self.stalled = false,
            _ => self.step()?,
        }
        Ok(())
    }

    /// Takes what is there, and waits for something only when there is nothing else to do.
    fn take_commands(&mut self, inbox: &Inbox) -> Result<(), Closed> {
        if self.scheduler.is_idle() || self.stalled {
            let makes_something = self.stalled || self.before() > 0;
            let command = if makes_something {
                inbox.wait_for(LOOK_EVERY)?
            } else if self.scheduler.cached_tokens() > 0 {
                inbox.wait_for(self.policy.cache_idle)?
            } else {
                Some(inbox.wait()?)
            };
            match command {
                Some(command) => self.take(command),
                None if makes_something => {}
                None => self.release(),
            }
        }
        while let Some(command) = inbox.poll()? {
            self.take(command);
        }
        Ok(())
    }

    /// Nobody has asked for anything in a while: what the caches hold is given up.
    fn release(&mut self) {
        self.scheduler.forget();
        self.engine.release();
        // The next delivery tells that they are empty.
        self.undelivered = true;
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Submit(id, job) => {
                if let Err(event) = self.submit(id, job) {
                    self.push(id, event);
                }
            }
            Command::Cancel(id) => {
                self.sightings.cancel(id);
                self.compilations.cancel(id);
                self.scheduler.cancel(id);
                // The next delivery tells how many are left, even if no step follows.
                self.undelivered |= self.jobs.remove(&id).is_some();
            }
        }
    }

    /// Has the engine drop what the scheduler has dropped.
    fn cut(&mut self) {
        for cut in self.scheduler.cuts() {
            let left = self.engine.cut(cut.slot, cut.position);
            if left < cut.position {
                self.scheduler.left(cut.slot, left);
            }
        }
    }

    fn fill_slots(&mut self) {
        while let Some(assigned) = self.scheduler.assign() {
            self.cut();
            let Assigned {
                id,
                slot,
                source,
                cached_tokens,
            } = assigned;
            let left = match source {
                Some(source) => self.engine.share(source, slot, cached_tokens),
                None => self.engine.cut(slot, cached_tokens),
            };
            let cached_tokens = left.min(cached_tokens);
            self.scheduler.start(slot, cached_tokens);
            let job = (self.jobs.get_mut(&id)).expect("the scheduler knows only these");
            job.begins(cached_tokens, Instant::now());
            let begin = Begin {
                sampling: &job.sampling,
                logprobs: job.logprobs,
                recent: self.scheduler.prompt(slot),
                logit_bias: &job.logit_bias,
                rules: job.rules.take(),
            };
            if let Err(error) = self.engine.begin(slot, begin) {
                self.scheduler.finish(slot);
                self.fail(id, error);
            }
        }
    }

    /// Makes room in the contexts that are full; where the engine cannot, the answer ends as if the job had not asked for
    /// it.
    fn make_room(&mut self) {
        while let Some(full) = self.scheduler.full() {
            self.cut();
            if !full.moves {
                let left = self.engine.cut(full.slot, full.keep);
                self.scheduler.shifted(full);
                self.scheduler.left(full.slot, left.min(full.keep));
            } else if self.engine.shift(full.slot, full.keep, full.count) {
                self.scheduler.shifted(full);
            } else {
                self.finish(full.slot, Finish::Length, Instant::now());
            }
        }
    }

    fn step(&mut self) -> Result<(), Closed> {
        self.sampled.clear();
        self.reach();
        self.scheduler.decide(&self.pace);
        self.cut();
        let plan = self.scheduler.plan();
        self.stalled = plan.feeds.is_empty();
        if self.stalled {
            return Ok(());
        }
        let tokens: usize = plan.feeds.iter().map(|feed| feed.tokens.len()).sum();
        let began = Instant::now();
        let computed = self
            .engine
            .step(&plan.feeds, &mut self.sampled)
            .and_then(|()| {
                answers::check(&plan.feeds, &self.sampled, self.engine.limits().vocabulary)
            });
        let now = Instant::now();
        let mut step = Step {
            jobs: count(plan.feeds.len()),
            prompt_tokens: plan.prompt_tokens,
            guessed_tokens: plan.guessed_tokens,
            compute_ns: nanoseconds(now - began),
            ..Step::default()
        };
        match computed {
            Ok(()) => {
                let decoded = count(tokens) - plan.prompt_tokens;
                self.pace
                    .learn(decoded, plan.prompt_tokens, step.compute_ns);
                let mut sampled = std::mem::take(&mut self.sampled);
                // First, so that no job is taken for complete that has failed.
                for failed in sampled.extract_if(.., |sampled| sampled.choice.is_err()) {
                    if let Err(error) = failed.choice {
                        self.fail_slot(failed.slot, error);
                    }
                }
                for slot in self.scheduler.computed() {
                    self.finish(slot, Finish::Length, now);
                }
                for Sampled { slot, choice } in sampled.drain(..) {
                    let choice = choice.expect("those that failed are out");
                    step.generated_tokens += u32::from(self.advance(slot, choice, now));
                }
                step.right_tokens = self.scheduler.settle();
                self.sampled = sampled;
            }
            Err(error) => {
                let slots: Vec<Slot> = plan.feeds.iter().map(|feed| feed.slot).collect();
                for slot in slots {
                    self.fail_slot(slot, error.clone());
                }
            }
        }
        self.cut();
        self.deliver(step)
    }

    /// Tells the scheduler how far the prompts with images can be fed.
    fn reach(&mut self) {
        let ready: Vec<(Slot, usize)> = (self.scheduler.ahead())
            .map(|feed| (feed.slot, self.engine.ready(feed)))
            .collect();
        for (slot, tokens) in ready {
            self.scheduler.reach(slot, tokens);
        }
    }

    /// Ends a job whose computation failed.
    fn fail_slot(&mut self, slot: Slot, error: Error) {
        let ended = self.scheduler.fail(slot);
        self.fail(ended.id, error);
    }

    /// Takes a chosen token to the job that it continues. False if that is over: a step may have guessed beyond its end.
    fn advance(&mut self, slot: Slot, choice: Choice, now: Instant) -> bool {
        let Some(id) = self.scheduler.job(slot) else {
            return false;
        };
        let length = self.scheduler.sampled(slot, choice.token);
        let job = (self.jobs.get_mut(&id)).expect("the scheduler knows only these");
        let said = job.say(choice, &*self.engine, &mut self.bytes, now);
        let over = said.is_over.then_some(Finish::Stop).or(length);
        match over {
            Some(reason) => self.finish_with(slot, reason, said.text, now),
            None => self.push_text(id, said.text),
        }
        true
    }

    fn finish(&mut self, slot: Slot, reason: Finish, now: Instant) {
        self.finish_with(slot, reason, Text::default(), now);
    }

    /// Ends a job whose last token said this. What was held back comes with it: there are never more pieces than tokens.
    fn finish_with(&mut self, slot: Slot, reason: Finish, mut text: Text, now: Instant) {
        let ended = self.scheduler.finish(slot);
        let job = (self.jobs.remove(&ended.id)).expect("the scheduler knows only these");
        let (rest, finished) = job.finish(reason, ended.tokens, self.engine.beginning(), now);
        text.append(rest);
        self.push_text(ended.id, text);
        self.push_own(ended.id, Event::Finished(finished));
    }

    fn fail(&mut self, id: JobId, error: Error) {
        self.jobs.remove(&id);
        self.push_own(id, Event::Failed(error));
    }

    fn push_text(&mut self, id: JobId, text: Text) {
        if !text.is_empty() {
            self.push_own(id, Event::Text(text));
        }
    }

    fn push_own(&mut self, id: JobId, event: Event) {
        self.push(id, inference::Event::Generate(event));
    }

    fn push(&mut self, id: JobId, event: inference::Event) {
        self.undelivered = true;
        self.outbox.push(id, event);
    }

    fn deliver(&mut self, step: Step) -> Result<(), Closed> {
        self.undelivered = false;
        let running = count(self.scheduler.running());
        let waiting = count(self.scheduler.waiting() + self.before());
        self.outbox.step(Step {
            running,
            waiting,
            cached_tokens: count(self.scheduler.cached_tokens()),
            ..step
        })
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("bounded by the context, the slots or the waiting jobs")
}

#[cfg(test)]
mod tests;
