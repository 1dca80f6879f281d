//! An engine that only keeps its caches, and checks of every decision whether it could be followed.

use std::collections::{HashMap, HashSet};

use crate::inference::generate::scheduler::*;

/// The token that ends an answer here.
pub(super) const END: Token = 0;

/// A prompt that begins with this, or any above, gets an answer without an end.
pub(super) const TALKS: Token = 100;

/// See the module.
pub(super) struct World {
    pub(super) scheduler: Scheduler,
    pub(super) pace: Pace,
    pub(super) limits: Limits,
    /// Tokens, each with the number of the cell that it is in.
    pub(super) caches: Vec<Vec<(Token, usize)>>,
    pub(super) cells: usize,
    /// Jobs in the order they were assigned.
    pub(super) slots: Vec<(Slot, JobId)>,
    pub(super) requests: HashMap<JobId, Request>,
    pub(super) answers: HashMap<JobId, Vec<Token>>,
    pub(super) over: HashSet<JobId>,
    pub(super) first_token_step: HashMap<JobId, usize>,
    pub(super) steps: usize,
    pub(super) computed: usize,
    pub(super) right: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Submit {
        scope: Scope,
        prompt: Vec<Token>,
        max_tokens: u32,
        keep: u32,
        shift: bool,
    },
    /// Of one of the jobs that were submitted so far.
    Cancel(proptest::sample::Index),
    Step,
    FailingStep,
}

/// What follows these tokens here: mostly a short circle, so that guesses are often right and often wrong.
pub(super) fn follows(tokens: &[Token]) -> Token {
    let sum: Token = tokens.iter().sum();
    match (sum + 1) % 13 {
        0 if sum % 5 == 0 && tokens.first() < Some(&TALKS) => END,
        0..3 => 1 + sum % 6,
        _ => tokens.last().map_or(1, |last| last % 3 + 1),
    }
}

/// What a job is to be answered, as if it were alone.
pub(super) fn answer(request: &Request, context: usize) -> Vec<Token> {
    let mut cache = request.prompt.clone();
    let mut answer = Vec::new();
    while answer.len() < request.max_tokens as usize {
        let token = follows(&cache);
        answer.push(token);
        if cache.len() >= context {
            if !request.shift {
                break;
            }
            let keep = (request.keep as usize).min(context.saturating_sub(4));
            let dropped = ((cache.len() - keep) / 2).max(1);
            cache.drain(keep..keep + dropped);
        }
        if token == END {
            break;
        }
        cache.push(token);
    }
    answer
}

impl World {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            scheduler: Scheduler::new(limits),
            pace: Pace::default(),
            limits,
            caches: vec![Vec::new(); limits.sequences as usize],
            cells: 0,
            slots: Vec::new(),
            requests: HashMap::new(),
            answers: HashMap::new(),
            over: HashSet::new(),
            first_token_step: HashMap::new(),
            steps: 0,
            computed: 0,
            right: 0,
        }
    }

    pub(super) fn submit(&mut self, prompt: Vec<Token>, max_tokens: u32) {
        let request = Request {
            id: 0,
            scope: 0,
            prompt,
            keep: 0,
            shift: true,
            max_tokens,
        };
        self.request(request);
    }

    pub(super) fn request(&mut self, request: Request) {
        let id = self.requests.len() as JobId;
        let request = Request { id, ..request };
        self.requests.insert(id, request.clone());
        self.scheduler.submit(request);
    }

    fn end(&mut self, id: JobId) {
        assert!(self.over.insert(id), "job {id} ended twice");
        self.slots.retain(|&(_, job)| job != id);
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Submit {
                scope,
                mut prompt,
                max_tokens,
                keep,
                shift,
            } => {
                prompt.truncate(self.limits.context as usize - 1);
                self.request(Request {
                    id: 0,
                    scope,
                    prompt,
                    keep,
                    shift,
                    max_tokens,
                });
            }
            Action::Cancel(index) if !self.requests.is_empty() => {
                let id = index.index(self.requests.len()) as JobId;
                assert_eq!(self.scheduler.cancel(id), !self.over.contains(&id));
                if !self.over.contains(&id) {
                    self.end(id);
                }
            }
            Action::Cancel(_) => {}
            Action::Step => self.step(false),
            Action::FailingStep => self.step(true),
        }
    }

    fn cut(&mut self) {
        for Cut { slot, position } in self.scheduler.cuts() {
            self.caches[slot as usize].truncate(position as usize);
        }
    }

    pub(super) fn step(&mut self, fails: bool) {
        self.assign();
        self.shift();
        self.scheduler.decide(&self.pace);
        self.cut();
        let fed = self.compute();
        if fails {
            for (slot, _) in fed {
                self.caches[slot as usize].clear();
                let id = self.scheduler.fail(slot).id;
                self.end(id);
            }
            return self.cut();
        }
        for slot in self.scheduler.computed() {
            let id = self.scheduler.finish(slot).id;
            assert_eq!(self.requests[&id].max_tokens, 0);
            self.end(id);
        }
        for (slot, guesses) in fed {
            if let Some(guesses) = guesses {
                self.sample(slot, &guesses);
            }
        }
        self.right += self.scheduler.settle();
        self.cut();
        self.steps += 1;
        let held: HashSet<usize> = self
            .caches
            .iter()
            .flatten()
            .map(|(_, cell)| *cell)
            .collect();
        assert_eq!(held.len(), self.scheduler.cached_tokens());
    }

    pub(super) fn assign(&mut self) {
        while let Some(assigned) = self.scheduler.assign() {
            self.cut();
            let Assigned {
                id,
                slot,
                source,
                cached_tokens,
            } = assigned;
            assert!(
                !self.over.contains(&id),
                "job {id} is over and was assigned"
            );
            assert!(
                self.slots.iter().all(|&(other, ..)| other != slot),
                "slot {slot} is taken"
            );
            let cached = cached_tokens as usize;
            if let Some(source) = source {
                assert!(self.limits.shares && self.caches[slot as usize].is_empty());
                self.caches[slot as usize] = self.caches[source as usize][..cached].to_vec();
            }
            self.caches[slot as usize].truncate(cached);
            let prompt = &self.requests[&id].prompt;
            assert!(cached < prompt.len());
            assert_eq!(self.tokens(slot), prompt[..cached]);
            self.slots.push((slot, id));
            assert!(self.slots.len() <= self.limits.slots as usize);
            self.scheduler.start(slot, cached_tokens);
        }
    }

    fn shift(&mut self) {
        while let Some(full) = self.scheduler.full() {
            self.cut();
            let (keep, count) = (full.keep as usize, full.count as usize);
            let cache = &mut self.caches[full.slot as usize];
            assert_eq!(cache.len(), self.limits.context as usize);
            if full.moves {
                let moved: HashSet<usize> = cache[keep..].iter().map(|(_, cell)| *cell).collect();
                cache.drain(keep..keep + count);
                for (slot, cache) in (0..).zip(&self.caches) {
                    let others = slot != full.slot;
                    assert!(!others || cache.iter().all(|(_, cell)| !moved.contains(cell)));
                }
            } else {
                cache.truncate(keep);
            }
            self.scheduler.shifted(full);
        }
    }

    /// Checks the plan and computes it. Returns the slots that were fed, with the guesses of those that are sampled.
    fn compute(&mut self) -> Vec<(Slot, Option<Vec<Token>>)> {
        let plan = self.scheduler.plan();
        let total: usize = plan.feeds.iter().map(|feed| feed.tokens.len()).sum();
        assert!(total <= self.limits.step_tokens as usize);
        let outputs = |feed: &Feed<'_>| u32::from(feed.sample) * (1 + feed.guessed);
        let all: u32 = plan.feeds.iter().map(outputs).sum();
        assert!(all <= self.limits.step_outputs);
        assert!(self.slots.is_empty() || total > 0, "somebody gets on");
        let mut fed = Vec::new();
        for feed in &plan.feeds {
            assert!(self.slots.iter().any(|(slot, _)| *slot == feed.slot));
            assert!(
                fed.iter().all(|(slot, _)| *slot != feed.slot),
                "one feed a slot"
            );
            assert!((feed.guessed as usize) < feed.tokens.len());
            let cache = &mut self.caches[feed.slot as usize];
            assert_eq!(
                feed.position as usize,
                cache.len(),
                "positions are contiguous"
            );
            for token in feed.tokens {
                self.cells += 1;
                cache.push((*token, self.cells));
            }
            assert!(cache.len() <= self.limits.context as usize);
            let guesses = &feed.tokens[feed.tokens.len() - feed.guessed as usize..];
            assert!(guesses.is_empty() || self.limits.rewinds && feed.sample);
            fed.push((feed.slot, feed.sample.then(|| guesses.to_vec())));
        }
        let held: HashSet<usize> = self
            .caches
            .iter()
            .flatten()
            .map(|(_, cell)| *cell)
            .collect();
        assert!(
            held.len() <= self.limits.cells as usize,
            "there are cells for all"
        );
        self.computed += total;
        fed
    }

    fn sample(&mut self, slot: Slot, guesses: &[Token]) {
        let id = self.scheduler.job(slot).unwrap();
        self.first_token_step.entry(id).or_insert(self.steps);
        let fed = self.tokens(slot);
        let before = fed.len() - guesses.len();
        for right in 0..=guesses.len() {
            let token = follows(&fed[..before + right]);
            self.answers.entry(id).or_default().push(token);
            let verdict = self.scheduler.sampled(slot, token);
            if token == END || verdict.is_some() {
                let ended = self.scheduler.finish(slot);
                let request = &self.requests[&id];
                assert_eq!(
                    ended.tokens,
                    [request.prompt.as_slice(), &self.answers[&id]].concat()
                );
                assert_eq!(
                    self.answers[&id],
                    answer(request, self.limits.context as usize)
                );
                return self.end(id);
            }
            if guesses.get(right) != Some(&token) {
                return;
            }
        }
    }

    pub(super) fn tokens(&self, slot: Slot) -> Vec<Token> {
        self.caches[slot as usize]
            .iter()
            .map(|(token, _)| *token)
            .collect()
    }

    pub(super) fn drain(&mut self) {
        // Every step computes at least one token of a prompt or of an answer; those of the youngest jobs perhaps many times.
        let work = |request: &Request| request.prompt.len() + request.max_tokens as usize + 1;
        let bound: usize = self.requests.values().map(work).sum();
        for _ in 0..bound * (1 + self.requests.len()) {
            self.step(false);
            if self.scheduler.is_idle() {
                break;
            }
        }
        assert!(self.scheduler.is_idle());
        assert_eq!(self.over.len(), self.requests.len(), "every job ends");
        assert!(self.scheduler.cached_tokens() <= self.limits.cells as usize);
    }
}
