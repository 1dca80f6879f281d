use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

/// The token that ends an answer here.
const END: Token = 0;

/// An engine that only keeps its caches, and checks of every decision whether it could be followed.
struct World {
    scheduler: Scheduler,
    limits: Limits,
    caches: Vec<Vec<Token>>,
    /// Jobs in the order they were assigned, with what is left of their prompt.
    slots: Vec<(Slot, JobId, usize)>,
    requests: HashMap<JobId, Request>,
    over: HashSet<JobId>,
    first_token_step: HashMap<JobId, usize>,
    steps: usize,
}

#[derive(Clone, Debug)]
enum Action {
    Submit {
        prompt: Vec<Token>,
        max_tokens: u32,
        keep: u32,
        shift: bool,
    },
    /// Of one of the jobs that were submitted so far.
    Cancel(prop::sample::Index),
    Step,
    FailingStep,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self {
            scheduler: Scheduler::new(limits),
            limits,
            caches: vec![Vec::new(); limits.slots as usize],
            slots: Vec::new(),
            requests: HashMap::new(),
            over: HashSet::new(),
            first_token_step: HashMap::new(),
            steps: 0,
        }
    }

    fn submit(&mut self, prompt: Vec<Token>, max_tokens: u32, keep: u32, shift: bool) {
        let id = self.requests.len() as JobId;
        let request = Request {
            id,
            prompt,
            keep,
            shift,
            max_tokens,
        };
        self.requests.insert(id, request.clone());
        self.scheduler.submit(request);
    }

    fn end(&mut self, id: JobId) {
        assert!(self.over.insert(id), "job {id} ended twice");
        self.slots.retain(|&(_, job, _)| job != id);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Submit {
                mut prompt,
                max_tokens,
                keep,
                shift,
            } => {
                prompt.truncate(self.limits.context as usize - 1);
                self.submit(prompt, max_tokens, keep, shift);
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

    fn step(&mut self, fails: bool) {
        self.assign();
        while let Some(full) = self.scheduler.full() {
            let cache = &mut self.caches[full.slot as usize];
            assert_eq!(cache.len(), self.limits.context as usize);
            cache.drain(full.keep as usize..(full.keep + full.count) as usize);
            self.scheduler.shifted(full);
        }
        let (fed, sampling) = self.check_plan();
        if fails {
            for slot in fed {
                self.caches[slot as usize].clear();
                let id = self.scheduler.fail(slot).id;
                self.end(id);
            }
            return;
        }
        for slot in self.scheduler.computed() {
            let id = self.scheduler.finish(slot).id;
            assert_eq!(self.requests[&id].max_tokens, 0);
            self.end(id);
        }
        for slot in sampling {
            self.sample(slot);
        }
        self.steps += 1;
    }

    fn assign(&mut self) {
        while let Some(assigned) = self.scheduler.assign() {
            let Assigned {
                id,
                slot,
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
            let prompt = &self.requests[&id].prompt;
            let cached = cached_tokens as usize;
            assert!(cached < prompt.len());
            assert_eq!(self.caches[slot as usize][..cached], prompt[..cached]);
            self.caches[slot as usize].truncate(cached);
            self.slots.push((slot, id, prompt.len() - cached));
            self.scheduler.start(slot, cached_tokens);
        }
        let idle = self.limits.slots as usize - self.slots.len();
        let usable = idle.min(self.limits.step_tokens as usize);
        assert!(
            self.scheduler.waiting() == 0
                || usable == 0
                || self.limits.step_tokens < self.limits.slots
        );
    }

    /// Checks the plan, computes it, and returns the slots that were fed and those that sample.
    fn check_plan(&mut self) -> (Vec<Slot>, Vec<Slot>) {
        let plan = self.scheduler.plan();
        let decoding = self.slots.iter().filter(|(.., left)| *left == 0).count();
        let total: usize = plan.feeds.iter().map(|feed| feed.tokens.len()).sum();
        assert!(total <= self.limits.step_tokens as usize);
        assert_eq!(total, decoding + plan.prompt_tokens as usize);
        let mut budget = self.limits.step_tokens as usize - decoding;
        if decoding > 0 {
            budget = budget.min(PROMPT_TOKENS_BESIDE_DECODE as usize);
            assert!(plan.prompt_tokens <= PROMPT_TOKENS_BESIDE_DECODE);
        }
        let left: usize = self.slots.iter().map(|(.., left)| left).sum();
        assert_eq!(
            plan.prompt_tokens as usize,
            left.min(budget),
            "no part of a budget is wasted"
        );

        let mut fed = Vec::new();
        let mut sampling = Vec::new();
        let mut oldest_prompt = true;
        for (slot, id, left) in &mut self.slots {
            let feed = plan.feeds.iter().find(|feed| feed.slot == *slot);
            let tokens = feed.map_or(0, |feed| feed.tokens.len());
            if *left == 0 {
                assert_eq!(tokens, 1, "every slot that decodes advances");
            } else if std::mem::take(&mut oldest_prompt) {
                assert!(
                    tokens >= (*left).min(budget.div_ceil(2)),
                    "the oldest prompt gets half"
                );
            }
            let Some(feed) = feed else { continue };
            assert!(tokens > 0);
            let cache = &mut self.caches[*slot as usize];
            assert_eq!(
                feed.position as usize,
                cache.len(),
                "positions are contiguous"
            );
            cache.extend_from_slice(feed.tokens);
            assert!(cache.len() <= self.limits.context as usize);
            if *left > 0 {
                let prompt = &self.requests[id].prompt;
                let start = prompt.len() - *left;
                assert_eq!(feed.tokens, &prompt[start..start + tokens]);
                *left -= tokens;
            }
            assert_eq!(feed.sample, *left == 0 && self.requests[id].max_tokens > 0);
            fed.push(*slot);
            sampling.extend(feed.sample.then_some(*slot));
        }
        assert_eq!(
            fed.len(),
            plan.feeds.len(),
            "each feed is for another slot with a job"
        );
        (fed, sampling)
    }

    fn sample(&mut self, slot: Slot) {
        let id = self.scheduler.job(slot).unwrap();
        self.first_token_step.entry(id).or_insert(self.steps);
        let cache = &self.caches[slot as usize];
        let token = (cache.iter().sum::<Token>() + 1) % 7;
        let verdict = self.scheduler.sampled(slot, token);
        let cache_full = cache.len() == self.limits.context as usize;
        if token == END || verdict.is_some() {
            let ended = self.scheduler.finish(slot);
            let request = &self.requests[&id];
            let generated = ended.tokens.len() - request.prompt.len();
            assert!(ended.tokens.starts_with(&request.prompt));
            assert!(generated <= request.max_tokens as usize);
            let enough = generated == request.max_tokens as usize;
            assert_eq!(verdict.is_some(), enough || cache_full && !request.shift);
            self.end(id);
        }
    }

    fn drain(&mut self) {
        // Every step computes at least one token of a prompt or of an answer.
        let work = |request: &Request| request.prompt.len() + request.max_tokens as usize + 1;
        let bound: usize = self.requests.values().map(work).sum();
        for _ in 0..bound {
            self.step(false);
        }
        assert!(self.scheduler.is_idle());
        assert_eq!(self.over.len(), self.requests.len(), "every job ends");
    }
}

fn action() -> impl Strategy<Value = Action> {
    let submit = (
        prop::collection::vec(0_i32..3, 1..60),
        0_u32..30,
        0_u32..10,
        any::<bool>(),
    )
        .prop_map(|(prompt, max_tokens, keep, shift)| Action::Submit {
            prompt,
            max_tokens,
            keep,
            shift,
        });
    prop_oneof![
        3 => submit,
        1 => any::<prop::sample::Index>().prop_map(Action::Cancel),
        6 => Just(Action::Step),
        1 => Just(Action::FailingStep),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    (1_u32..6, 2_u32..40, 1_u32..24).prop_map(|(slots, context, step_tokens)| Limits {
        slots,
        context,
        step_tokens,
        vocabulary: 7,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn every_job_ends_once_and_every_plan_can_be_computed(
        limits in limits(),
        actions in prop::collection::vec(action(), 0..80),
    ) {
        let mut world = World::new(limits);
        for action in actions {
            world.act(action);
        }
        world.drain();
    }

    #[test]
    fn a_prompt_waits_no_longer_than_the_older_ones_take_with_half_of_the_budget(
        lengths in prop::collection::vec(1_usize..400, 1..8),
    ) {
        let limits = Limits { slots: 8, context: 500, step_tokens: 128, vocabulary: 7 };
        let mut world = World::new(limits);
        for (first, length) in (0..).zip(&lengths) {
            // Different beginnings: no prefix is reused. Nobody ends before all have begun.
            let prompt = (0..*length).map(|i| first + Token::try_from(i).unwrap() * 7 + 1).collect();
            world.submit(prompt, 400, 0, true);
        }
        world.drain();
        let half = (PROMPT_TOKENS_BESIDE_DECODE as usize).div_ceil(2);
        let mut bound = 0;
        for (id, length) in (0..).zip(&lengths) {
            bound += length.div_ceil(half);
            let waited = world.first_token_step.get(&id).copied().unwrap();
            prop_assert!(waited < bound, "job {} waited {} steps, bound {}", id, waited, bound);
        }
    }
}

const LIMITS: Limits = Limits {
    slots: 3,
    context: 1000,
    step_tokens: 512,
    vocabulary: 7,
};

fn prompt(first: Token, length: usize) -> Vec<Token> {
    std::iter::once(first)
        .chain(std::iter::repeat(1))
        .take(length)
        .collect()
}

/// Computes a job alone and leaves its prompt in a cache.
fn remember(world: &mut World, prompt: Vec<Token>) {
    world.submit(prompt, 0, 0, true);
    world.drain();
}

#[test]
fn a_job_gets_the_slot_that_knows_most_of_its_prompt() {
    let mut world = World::new(LIMITS);
    remember(&mut world, prompt(2, 50));
    remember(&mut world, prompt(3, 50));
    world.submit(prompt(2, 80), 1, 0, true);
    let assigned = world.scheduler.assign().unwrap();
    assert_eq!((assigned.slot, assigned.cached_tokens), (0, 50));
}

#[test]
fn the_last_token_of_a_known_prompt_is_computed_again() {
    let mut world = World::new(LIMITS);
    remember(&mut world, prompt(2, 50));
    world.submit(prompt(2, 50), 1, 0, true);
    assert_eq!(world.scheduler.assign().unwrap().cached_tokens, 49);
}

#[test]
fn a_short_common_beginning_does_not_cost_another_conversation_its_cache() {
    let mut world = World::new(LIMITS);
    remember(&mut world, prompt(2, 500));
    world.submit([vec![2], prompt(3, 40)].concat(), 1, 0, true);
    let assigned = world.scheduler.assign().unwrap();
    assert_eq!((assigned.slot, assigned.cached_tokens), (1, 0));
}

#[test]
fn what_a_shift_moved_is_not_reused() {
    let mut world = World::new(Limits {
        context: 16,
        ..LIMITS
    });
    world.submit(prompt(1, 10), 20, 2, true);
    world.drain();
    let kept = world.caches[0].clone();
    assert_eq!(kept[..2], prompt(1, 2)[..]);
    world.submit(kept[..12].to_vec(), 1, 0, true);
    let assigned = world.scheduler.assign().unwrap();
    assert_eq!((assigned.slot, assigned.cached_tokens), (0, 2));
}

#[test]
fn a_short_prompt_does_not_wait_for_a_long_one() {
    let mut world = World::new(LIMITS);
    world.submit(prompt(2, 990), 5, 0, true);
    world.submit(prompt(3, 100), 5, 0, true);
    world.step(false);
    assert_eq!(world.first_token_step.keys().collect::<Vec<_>>(), [&1]);
}

#[test]
fn prompts_are_computed_in_small_parts_beside_running_streams() {
    let mut world = World::new(LIMITS);
    world.submit(prompt(2, 3), 500, 0, true);
    world.step(false);
    world.submit(prompt(3, 900), 5, 0, true);
    world.assign();
    let plan = world.scheduler.plan();
    let lengths: Vec<usize> = plan.feeds.iter().map(|feed| feed.tokens.len()).collect();
    assert_eq!(lengths, [1, PROMPT_TOKENS_BESIDE_DECODE as usize]);
}

#[test]
fn a_prompt_is_computed_as_far_as_its_images_are_encoded() {
    let mut scheduler = Scheduler::new(Limits {
        slots: 2,
        context: 64,
        step_tokens: 32,
        vocabulary: 100,
    });
    for (id, prompt) in [(0, vec![1, 2, -8, -8, 3]), (1, vec![4, 5])] {
        scheduler.submit(Request {
            id,
            prompt,
            keep: 0,
            shift: true,
            max_tokens: 8,
        });
        let assigned = scheduler.assign().unwrap();
        scheduler.start(assigned.slot, 0);
    }
    let fed = |scheduler: &mut Scheduler| -> Vec<(Slot, Vec<Token>, bool)> {
        let feeds = scheduler.plan().feeds;
        (feeds.iter())
            .map(|feed| (feed.slot, feed.tokens.to_vec(), feed.sample))
            .collect()
    };
    let ahead = |scheduler: &Scheduler| -> Vec<(Slot, u32, Vec<Token>)> {
        (scheduler.ahead())
            .map(|feed| (feed.slot, feed.position, feed.tokens.to_vec()))
            .collect()
    };
    assert_eq!(ahead(&scheduler), [(0, 0, vec![1, 2, -8, -8, 3])]);
    scheduler.reach(0, 2);
    assert_eq!(
        fed(&mut scheduler),
        [(0, vec![1, 2], false), (1, vec![4, 5], true)]
    );
    scheduler.computed();
    scheduler.sampled(1, 9);

    assert_eq!(ahead(&scheduler), [(0, 2, vec![-8, -8, 3])]);
    scheduler.reach(0, 0);
    assert_eq!(fed(&mut scheduler), [(1, vec![9], true)]);
    scheduler.computed();
    scheduler.finish(1);
    assert_eq!(fed(&mut scheduler), []);

    scheduler.reach(0, 3);
    assert_eq!(fed(&mut scheduler), [(0, vec![-8, -8, 3], true)]);
    scheduler.computed();
    scheduler.sampled(0, 9);
    assert!(ahead(&scheduler).is_empty());
    assert_eq!(fed(&mut scheduler), [(0, vec![9], true)]);
}
