//! The generation loop: one thread that owns the engine and advances all jobs together.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::admission::{Compilations, Prepared};
use super::scheduler::{Request, Scheduler, WAITING_JOBS};
use super::sightings::Sightings;
use super::text::Assembler;
use super::{
    Admitted, Begin, Choice, Engine, Event, Feed, Finish, Finished, Generate, Rules, Sampled,
    Sampling, Sight, Slot, Text, TokenLogprob, Usage, prompt,
};
use crate::inference::{self, Closed, Command, Error, Inbox, Job, JobId, Outbox, Step, Token};

/// Times its context that a job without a limit may generate, as in Ollama; also the most that a limit can be.
const CONTEXTS_PER_ANSWER: u32 = 10;

/// How long a loop with nothing to compute waits for a command before it looks whether what is made beside it, a grammar
/// or an image, is done.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How the loop treats what it has.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long the caches of ended jobs are kept when nobody asks for anything.
    pub cache_idle: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            cache_idle: Duration::from_secs(180),
        }
    }
}

/// Generates what the inbox asks for until it closes, or the outbox does. A panic of the engine is the caller's.
pub fn run(engine: &mut dyn Engine, policy: Policy, inbox: &Inbox, outbox: &mut dyn Outbox) {
    let mut generation = Loop {
        scheduler: Scheduler::new(engine.limits()),
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

/// A job that waits or runs.
struct Active {
    sampling: Sampling,
    logprobs: Option<u8>,
    logit_bias: Vec<(Token, f32)>,
    /// Until the job has a slot.
    rules: Option<Box<dyn Rules>>,
    /// Control tokens that are shown, with their names.
    visible: HashMap<Token, String>,
    /// Held for the engine's sake.
    _images: prompt::Images,
    text: Assembler,
    usage: Usage,
    /// When its present phase began: waiting, prefill, decode.
    phase_began: Instant,
}

impl Active {
    /// The time since the last lap. Something that happened took time, whatever the clock's resolution.
    fn lap(&mut self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.phase_began);
        self.phase_began = now;
        nanoseconds(elapsed).max(1)
    }
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

    /// Takes a job on, or gives the event that is all of its answer.
    fn submit(&mut self, id: JobId, job: Job) -> Result<(), inference::Event> {
        match job {
            Job::Generate(generate) => self
                .admit(id, generate)
                .map_err(|error| inference::Event::Generate(Event::Failed(error))),
            Job::Tokenize {
                text,
                add_special,
                parse_special,
            } => {
                let tokens = self.engine.tokenize(&text, add_special, parse_special);
                Err(inference::Event::Tokenized(tokens))
            }
            Job::Detokenize { tokens } => {
                Err(inference::Event::Detokenized(self.detokenize(&tokens)))
            }
            Job::Pieces { tokens } => Err(inference::Event::Pieces(self.pieces(&tokens))),
            Job::Encode(ref encode) => Err(job.failed(unsupported(encode.operation()))),
        }
    }

    fn admit(&mut self, id: JobId, job: Generate) -> Result<(), Error> {
        // Before the work of tokenising, so that a refusal costs next to nothing.
        if self.scheduler.waiting() + self.before() >= WAITING_JOBS {
            return Err(Error::Busy);
        }
        match self.sightings.begin(self.engine, id, job) {
            None => Ok(()),
            Some(job) => self.prepare(id, job, Vec::new(), Instant::now()),
        }
    }

    /// Jobs that are not the scheduler's yet.
    fn before(&self) -> usize {
        self.sightings.len() + self.compilations.len()
    }

    fn take_seen(&mut self) {
        for (id, seen) in self.sightings.finished(self.engine) {
            let prepared =
                seen.and_then(|seen| self.prepare(id, seen.job, seen.sights, seen.arrived));
            if let Err(error) = prepared {
                self.fail(id, error);
            }
        }
    }

    /// Takes a job on whose images were seen.
    fn prepare(
        &mut self,
        id: JobId,
        job: Generate,
        sights: Vec<Sight>,
        arrived: Instant,
    ) -> Result<(), Error> {
        let prepared = Prepared::new(self.engine, job, sights, arrived)?;
        if prepared.job.constraint.is_some() {
            self.compilations
                .begin(id, prepared, self.engine.compiler());
        } else {
            self.enter(id, prepared, None);
        }
        Ok(())
    }

    fn take_compiled(&mut self) {
        if self.compilations.len() == 0 {
            return;
        }
        for (id, compiled) in self.compilations.finished(Instant::now()) {
            match compiled {
                Ok((prepared, rules)) => self.enter(id, prepared, rules),
                Err(error) => self.fail(id, error),
            }
        }
    }

    /// Puts a job among those that wait for a slot.
    fn enter(&mut self, id: JobId, prepared: Prepared, rules: Option<Box<dyn Rules>>) {
        let Prepared {
            job,
            prompt,
            arrived,
            ..
        } = prepared;
        let prompt_tokens = count(prompt.tokens.len());
        let longest = self
            .engine
            .limits()
            .context
            .saturating_mul(CONTEXTS_PER_ANSWER);
        self.scheduler.submit(Request {
            id,
            prompt: prompt.tokens,
            keep: prompt.keep,
            shift: job.overflow.shift,
            max_tokens: job.max_tokens.map_or(longest, |tokens| tokens.min(longest)),
        });
        // A stop string inside a string of a JSON answer would leave half of the answer.
        let has_shape =
            (job.constraint.as_ref()).is_some_and(|constraint| constraint.is_demanded());
        let stops = if has_shape { &[] } else { job.stop.as_slice() };
        let visible = self.visible(&job.visible);
        self.jobs.insert(
            id,
            Active {
                sampling: job.sampling,
                logprobs: job.logprobs,
                logit_bias: job.logit_bias,
                rules,
                visible,
                _images: prompt.images,
                text: Assembler::new(stops),
                usage: Usage {
                    prompt_tokens,
                    ..Usage::default()
                },
                phase_began: arrived,
            },
        );
        let truncated_tokens = prompt.truncated_tokens;
        self.push_own(
            id,
            Event::Admitted(Admitted {
                prompt_tokens,
                truncated_tokens,
            }),
        );
    }

    /// The tokens that have these names and no text.
    fn visible(&self, names: &[String]) -> HashMap<Token, String> {
        let token = |name: &String| {
            // Text that the vocabulary cannot express is no token's name.
            let tokens = self.engine.tokenize(name, false, true).ok()?;
            let [token] = tokens[..] else { return None };
            let mut bytes = Vec::new();
            self.engine.write_piece(token, &mut bytes);
            bytes.is_empty().then(|| (token, name.clone()))
        };
        names.iter().filter_map(token).collect()
    }

    fn detokenize(&self, tokens: &[Token]) -> Result<String, Error> {
        prompt::check_tokens(self.engine, tokens)?;
        let mut bytes = Vec::new();
        for &token in tokens {
            self.engine.write_piece(token, &mut bytes);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn pieces(&self, tokens: &[Token]) -> Result<Vec<Vec<u8>>, Error> {
        prompt::check_tokens(self.engine, tokens)?;
        let piece = |&token: &Token| {
            let mut bytes = Vec::new();
            self.engine.write_name(token, &mut bytes);
            bytes
        };
        Ok(tokens.iter().map(piece).collect())
    }

    fn fill_slots(&mut self) {
        while let Some(assigned) = self.scheduler.assign() {
            let left = self.engine.cut(assigned.slot, assigned.cached_tokens);
            let cached_tokens = left.min(assigned.cached_tokens);
            self.scheduler.start(assigned.slot, cached_tokens);
            let job = self
                .jobs
                .get_mut(&assigned.id)
                .expect("the scheduler knows only these");
            job.usage.cached_tokens = cached_tokens;
            job.usage.queue_ns = job.lap(Instant::now());
            let begin = Begin {
                sampling: &job.sampling,
                logprobs: job.logprobs,
                recent: self.scheduler.prompt(assigned.slot),
                logit_bias: &job.logit_bias,
                rules: job.rules.take(),
            };
            if let Err(error) = self.engine.begin(assigned.slot, begin) {
                self.scheduler.finish(assigned.slot);
                self.fail(assigned.id, error);
            }
        }
    }

    /// Shifts the contexts that are full; where the engine cannot, the answer ends as if the job had not asked for it.
    fn make_room(&mut self) {
        while let Some(full) = self.scheduler.full() {
            if self.engine.shift(full.slot, full.keep, full.count) {
                self.scheduler.shifted(full);
            } else {
                self.finish(full.slot, Finish::Length, Instant::now());
            }
        }
    }

    fn step(&mut self) -> Result<(), Closed> {
        self.sampled.clear();
        self.reach();
        let plan = self.scheduler.plan();
        self.stalled = plan.feeds.is_empty();
        if self.stalled {
            return Ok(());
        }
        let began = Instant::now();
        let computed = self
            .engine
            .step(&plan.feeds, &mut self.sampled)
            .and_then(|()| {
                check_answers(&plan.feeds, &self.sampled, self.engine.limits().vocabulary)
            });
        let now = Instant::now();
        let mut step = Step {
            jobs: count(plan.feeds.len()),
            prompt_tokens: plan.prompt_tokens,
            compute_ns: nanoseconds(now - began),
            ..Step::default()
        };
        match computed {
            Ok(()) => {
                let mut sampled = std::mem::take(&mut self.sampled);
                // First, so that no job is taken for complete that has failed.
                for failed in sampled.extract_if(.., |sampled| sampled.choice.is_err()) {
                    if let Err(error) = failed.choice {
                        self.fail_slot(failed.slot, error);
                    }
                }
                step.generated_tokens = count(sampled.len());
                for slot in self.scheduler.computed() {
                    self.finish(slot, Finish::Length, now);
                }
                for Sampled { slot, choice } in sampled.drain(..) {
                    let choice = choice.expect("those that failed are out");
                    self.advance(slot, choice, now);
                }
                self.sampled = sampled;
            }
            Err(error) => {
                let slots: Vec<Slot> = plan.feeds.iter().map(|feed| feed.slot).collect();
                for slot in slots {
                    self.fail_slot(slot, error.clone());
                }
            }
        }
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
        self.engine.cut(slot, 0);
        let ended = self.scheduler.fail(slot);
        self.fail(ended.id, error);
    }

    /// Takes a chosen token to the job that it continues.
    fn advance(&mut self, slot: Slot, choice: Choice, now: Instant) {
        let Choice {
            token,
            logprob,
            is_last,
        } = choice;
        let id = self
            .scheduler
            .job(slot)
            .expect("only jobs with a slot were fed");
        let length = self.scheduler.sampled(slot, token);
        let job = self
            .jobs
            .get_mut(&id)
            .expect("the scheduler knows only these");
        job.usage.generated_tokens += 1;
        if job.usage.generated_tokens == 1 {
            job.usage.prefill_ns = job.lap(now);
        }
        if self.engine.is_end(token) {
            return self.finish(slot, Finish::Stop, now);
        }
        self.bytes.clear();
        match job.visible.get(&token) {
            Some(name) => self.bytes.extend(name.as_bytes()),
            None => self.engine.write_piece(token, &mut self.bytes),
        }
        let assembled = job.text.push(&self.bytes, logprob.map(writable));
        self.push_text(id, assembled.text);
        if assembled.stopped || is_last {
            self.finish(slot, Finish::Stop, now);
        } else if let Some(reason) = length {
            self.finish(slot, reason, now);
        }
    }

    fn finish(&mut self, slot: Slot, reason: Finish, now: Instant) {
        let ended = self.scheduler.finish(slot);
        let mut job = self
            .jobs
            .remove(&ended.id)
            .expect("the scheduler knows only these");
        self.push_text(ended.id, job.text.finish());
        let lap = job.lap(now);
        match job.usage.generated_tokens {
            0 => job.usage.prefill_ns = lap,
            _ => job.usage.decode_ns = lap,
        }
        let mut context = ended.tokens;
        // The end token and the tokens of a stop string are no part of the answer.
        context.truncate(job.usage.prompt_tokens as usize + job.text.reported_tokens());
        if context.first().copied() == self.engine.beginning() {
            context.remove(0);
        }
        // The numbers of images mean nothing to a caller.
        context.retain(|token| *token >= 0);
        self.push_own(
            ended.id,
            Event::Finished(Finished {
                reason,
                stop: job.text.found().map(str::to_owned),
                usage: job.usage,
                context,
            }),
        );
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

/// Refuses a step whose samples are not those that were asked for: they would reach the wrong callers.
fn check_answers(feeds: &[Feed<'_>], sampled: &[Sampled], vocabulary: u32) -> Result<(), Error> {
    let asked = |slot: Slot| feeds.iter().any(|feed| feed.slot == slot && feed.sample);
    let fed = |slot: Slot| feeds.iter().any(|feed| feed.slot == slot);
    let answered = (sampled.iter())
        .filter(|sampled| sampled.choice.is_ok() || asked(sampled.slot) || !fed(sampled.slot));
    let wanted = feeds
        .iter()
        .filter(|feed| feed.sample)
        .map(|feed| feed.slot);
    if !wanted.eq(answered.map(|sampled| sampled.slot)) {
        return Err(Error::Engine(
            "it sampled for other sequences than it was asked to".into(),
        ));
    }
    let known = |token: Token| u32::try_from(token).is_ok_and(|token| token < vocabulary);
    let mut tokens = (sampled.iter())
        .filter_map(|sampled| sampled.choice.as_ref().ok())
        .map(|choice| choice.token);
    match tokens.find(|token| !known(*token)) {
        None => Ok(()),
        Some(token) => Err(Error::Engine(format!(
            "it sampled the unknown token {token}"
        ))),
    }
}

/// Log probabilities as every dialect can write them: a probability of 0 and a NaN become the least number, as in
/// llama.cpp's server.
fn writable(mut logprob: TokenLogprob) -> TokenLogprob {
    for entry in std::iter::once(&mut logprob.chosen).chain(&mut logprob.top) {
        if entry.logprob.is_finite() {
            entry.logprob = entry.logprob.min(0.0);
        } else {
            entry.logprob = f32::MIN;
        }
    }
    logprob
}

fn unsupported(what: &str) -> Error {
    Error::Unsupported(format!("this model does not support {what}"))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("bounded by the context, the slots or the waiting jobs")
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
