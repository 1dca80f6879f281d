//! The scheduler's decisions, one by one; in [`properties`], all together.

mod properties;
mod world;

use self::world::{TALKS, World};
use super::pace::PROMPT_TOKENS_BESIDE_DECODE;
use super::*;

const LIMITS: Limits = Limits {
    slots: 3,
    sequences: 5,
    context: 1000,
    cells: 3000,
    step_tokens: 512,
    step_outputs: 64,
    shares: true,
    kept_steps: u32::MAX,
    rewinds: true,
    vocabulary: 7,
};

const APART: Limits = Limits {
    sequences: 3,
    shares: false,
    ..LIMITS
};

fn prompt(first: Token, length: usize) -> Vec<Token> {
    std::iter::once(first)
        .chain(std::iter::repeat(1))
        .take(length)
        .collect()
}

/// Computes a job alone and leaves its prompt in a cache.
fn remember(world: &mut World, prompt: Vec<Token>) {
    world.submit(prompt, 0);
    world.drain();
}

#[test]
fn a_job_gets_the_slot_that_knows_most_of_its_prompt() {
    for limits in [LIMITS, APART] {
        let mut world = World::new(limits);
        remember(&mut world, prompt(2, 50));
        remember(&mut world, prompt(3, 50));
        world.submit(prompt(2, 80), 1);
        let assigned = world.scheduler.assign().unwrap();
        assert_eq!(
            (assigned.slot, assigned.source, assigned.cached_tokens),
            (0, None, 50)
        );
    }
}

#[test]
fn the_last_token_of_a_known_prompt_is_computed_again() {
    let mut world = World::new(APART);
    remember(&mut world, prompt(2, 50));
    world.submit(prompt(2, 50), 1);
    assert_eq!(world.scheduler.assign().unwrap().cached_tokens, 49);
}

#[test]
fn a_branch_leaves_the_other_one_where_it_is() {
    let mut world = World::new(LIMITS);
    remember(&mut world, prompt(2, 50));
    let branch: Vec<Token> = prompt(2, 40).into_iter().chain([5; 20]).collect();
    remember(&mut world, branch.clone());
    assert_eq!(
        world.scheduler.cached_tokens(),
        50 + 20,
        "the beginning counts once"
    );
    for (prompt, known) in [(prompt(2, 60), 50), ([branch, vec![6; 5]].concat(), 60)] {
        world.submit(prompt, 0);
        let assigned = world.scheduler.assign().unwrap();
        assert_eq!(assigned.cached_tokens, known);
        assert!(world.scheduler.cancel(assigned.id));
    }
}

#[test]
fn a_prompt_goes_on_from_one_that_is_running() {
    let mut world = World::new(LIMITS);
    world.submit(prompt(2, 300), 50);
    world.step(false);
    world.submit(prompt(2, 350), 50);
    let assigned = world.scheduler.assign().unwrap();
    assert_eq!((assigned.source, assigned.cached_tokens), (Some(0), 300));
}

#[test]
fn equal_beginnings_that_come_together_are_computed_once() {
    let mut world = World::new(LIMITS);
    for last in 0..3 {
        world.submit([prompt(2, 900), vec![4 + last; 10]].concat(), 1);
    }
    // Nobody has to wait for that who has another beginning.
    world.submit(prompt(3, 10), 1);
    world.step(false);
    let begun: Vec<JobId> = world.slots.iter().map(|(_, id)| *id).collect();
    assert_eq!((begun, world.over.contains(&3)), (vec![0], true));
    world.drain();
    // What is guessed would count too.
    assert_eq!(world.computed, 900 + 3 * 10 + 10);
}

#[test]
fn scopes_share_nothing() {
    let mut world = World::new(LIMITS);
    remember(&mut world, prompt(2, 50));
    world.request(Request {
        id: 0,
        scope: 1,
        prompt: prompt(2, 50),
        keep: 0,
        shift: true,
        max_tokens: 0,
    });
    assert_eq!(world.scheduler.assign().unwrap().cached_tokens, 0);
}

#[test]
fn a_short_common_beginning_does_not_cost_another_conversation_its_cache() {
    for limits in [LIMITS, APART] {
        let mut world = World::new(limits);
        remember(&mut world, prompt(2, 50));
        world.submit([prompt(2, 4), vec![4; 50]].concat(), 1);
        let assigned = world.scheduler.assign().unwrap();
        assert_eq!((assigned.slot, assigned.cached_tokens), (1, 0));
    }
}

#[test]
fn the_longest_unused_cache_makes_room() {
    let mut world = World::new(Limits {
        cells: 1000,
        ..LIMITS
    });
    for first in [2, 3, 4] {
        remember(&mut world, prompt(first, 300));
    }
    // Used again: the second is now the longest unused.
    remember(&mut world, prompt(2, 310));
    remember(&mut world, prompt(5, 300));
    let known = |world: &World, first| {
        let known = world
            .scheduler
            .sequences
            .iter()
            .map(|one| one.known(0, &prompt(first, 320)));
        known.max().unwrap()
    };
    assert_eq!(
        [2, 3, 4, 5].map(|first| known(&world, first)),
        [310, 0, 300, 300]
    );
}

#[test]
fn a_cache_that_nobody_goes_on_from_goes_when_it_has_cost_enough() {
    let limits = Limits {
        kept_steps: 20,
        rewinds: false,
        ..LIMITS
    };
    let known = |answer| {
        let mut world = World::new(limits);
        remember(&mut world, prompt(2, 300));
        world.submit(prompt(TALKS, 10), answer);
        world.drain();
        world.submit(prompt(2, 310), 1);
        world.scheduler.assign().unwrap().cached_tokens
    };
    assert_eq!([known(19), known(30)], [300, 0]);
}

#[test]
fn the_youngest_job_pauses_when_the_cells_do_not_suffice() {
    let limits = Limits {
        context: 200,
        cells: 260,
        rewinds: false,
        ..LIMITS
    };
    let mut world = World::new(limits);
    for first in [TALKS, TALKS + 1] {
        world.submit(prompt(first, 50), 120);
        world.step(false);
    }
    assert_eq!(world.slots.len(), 2);
    let paused = |world: &World| {
        let jobs = world
            .scheduler
            .sequences
            .iter()
            .filter_map(|one| one.running.as_ref());
        jobs.filter(|job| job.is_paused)
            .map(|job| job.id)
            .collect::<Vec<_>>()
    };
    let mut seen = Vec::new();
    while !world.scheduler.is_idle() {
        world.step(false);
        seen.extend(paused(&world));
    }
    assert!(
        !seen.is_empty() && seen.iter().all(|id| *id == 1),
        "{seen:?}"
    );
    assert_eq!(world.over.len(), 2);
}

#[test]
fn a_job_waits_until_there_are_cells_for_its_prompt() {
    let mut world = World::new(Limits {
        context: 200,
        cells: 260,
        ..LIMITS
    });
    world.submit(prompt(2, 150), 40);
    world.submit(prompt(3, 150), 1);
    world.submit(prompt(4, 10), 1);
    world.step(false);
    let begun: Vec<JobId> = world.slots.iter().map(|(_, id)| *id).collect();
    assert!(
        begun.iter().all(|id| *id == 0),
        "nobody overtakes: {begun:?}"
    );
    world.drain();
}

#[test]
fn what_a_shift_moved_is_not_reused() {
    let limits = Limits {
        context: 16,
        cells: 48,
        ..LIMITS
    };
    let mut world = World::new(limits);
    world.request(Request {
        id: 0,
        scope: 0,
        prompt: prompt(TALKS, 10),
        keep: 2,
        shift: true,
        max_tokens: 20,
    });
    world.drain();
    let cached = world.tokens(0);
    world.submit(cached[..12].to_vec(), 1);
    let assigned = world.scheduler.assign().unwrap();
    assert_eq!(
        (assigned.slot, assigned.source, assigned.cached_tokens),
        (1, Some(0), 2)
    );
}

#[test]
fn a_short_prompt_does_not_wait_for_a_long_one() {
    let mut world = World::new(LIMITS);
    world.submit(prompt(2, 900), 1);
    world.submit(prompt(3, 20), 1);
    world.step(false);
    assert_eq!(world.first_token_step.get(&1), Some(&0));
    assert!(!world.first_token_step.contains_key(&0));
}

#[test]
fn prompts_are_computed_in_small_parts_beside_running_streams() {
    let mut world = World::new(LIMITS);
    world.submit(prompt(2, 3), 500);
    world.step(false);
    world.submit(prompt(3, 900), 5);
    world.assign();
    world.scheduler.decide(&world.pace);
    let plan = world.scheduler.plan();
    let lengths: Vec<usize> = plan.feeds.iter().map(|feed| feed.tokens.len()).collect();
    assert_eq!(lengths, [1, PROMPT_TOKENS_BESIDE_DECODE as usize]);
}

#[test]
fn guesses_that_are_right_save_steps() {
    let steps = |rewinds| {
        let mut world = World::new(Limits { rewinds, ..LIMITS });
        world.submit(prompt(TALKS, 9), 60);
        world.drain();
        (world.steps, world.answers[&0].len(), world.right)
    };
    let ((plain, length, _), (guessed, same, right)) = (steps(false), steps(true));
    assert_eq!(length, same);
    assert_eq!(plain - guessed, right as usize);
    assert!(right as usize > length / 5, "{right} of {length}");
}

#[test]
fn nobody_waits_behind_all_that_another_caller_has_sent() {
    let mut scheduler = Scheduler::new(LIMITS);
    // Eight of one caller, then two of another and one of a third.
    for (id, scope) in (0..).zip([7, 7, 7, 7, 7, 7, 7, 7, 8, 8, 9]) {
        scheduler.submit(Request {
            id,
            scope,
            prompt: prompt(2, 10),
            keep: 0,
            shift: true,
            max_tokens: 8,
        });
    }
    let mut begun = Vec::new();
    for _ in 0..11 {
        while let Some(assigned) = scheduler.assign() {
            scheduler.start(assigned.slot, 0);
            begun.push(assigned.id);
        }
        // Whoever runs longest is done.
        let oldest = (0..LIMITS.sequences).filter(|slot| scheduler.job(*slot).is_some());
        let slot = oldest.min_by_key(|slot| {
            begun
                .iter()
                .position(|id| Some(*id) == scheduler.job(*slot))
        });
        scheduler.finish(slot.unwrap());
    }
    // One of each, then by turns as long as they have any.
    assert_eq!(begun, [0, 8, 10, 1, 9, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_prompt_is_computed_as_far_as_its_images_are_encoded() {
    let mut scheduler = Scheduler::new(Limits {
        slots: 2,
        context: 64,
        step_tokens: 32,
        ..LIMITS
    });
    for (id, prompt) in [(0, vec![1, 2, -8, -8, 3]), (1, vec![4, 5])] {
        scheduler.submit(Request {
            id,
            scope: 0,
            prompt,
            keep: 0,
            shift: true,
            max_tokens: 8,
        });
        let assigned = scheduler.assign().unwrap();
        scheduler.start(assigned.slot, 0);
    }
    let fed = |scheduler: &mut Scheduler| -> Vec<(Slot, Vec<Token>, bool)> {
        scheduler.decide(&Pace::default());
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
