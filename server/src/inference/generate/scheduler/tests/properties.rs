//! Whatever is asked, cancelled and broken, in whatever order and with however little room.

use proptest::prelude::*;

use super::LIMITS;
use super::world::{Action, World};
use crate::inference::generate::scheduler::pace::PROMPT_TOKENS_BESIDE_DECODE;
use crate::inference::generate::scheduler::*;

fn action() -> impl Strategy<Value = Action> {
    let submit = (
        0_u64..2,
        prop::collection::vec(0_i32..3, 1..60),
        0_u32..30,
        0_u32..10,
        any::<bool>(),
    )
        .prop_map(|(scope, prompt, max_tokens, keep, shift)| Action::Submit {
            scope,
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
    let numbers = (
        1_u32..6,
        0_u32..4,
        2_u32..40,
        0_u32..120,
        1_u32..24,
        0_u32..12,
        prop_oneof![Just(u32::MAX), 1_u32..30],
    );
    (numbers, any::<bool>(), any::<bool>()).prop_map(|(numbers, shares, rewinds)| {
        let (slots, spare, context, beyond, step_tokens, outputs, kept_steps) = numbers;
        let slots = slots.min(step_tokens);
        Limits {
            slots,
            sequences: if shares { slots + spare } else { slots },
            context,
            cells: if shares {
                context + beyond
            } else {
                context * slots
            },
            step_tokens,
            step_outputs: slots + outputs,
            shares,
            kept_steps,
            rewinds,
            vocabulary: 7,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    /// In whatever company, with shared beginnings, guesses, pauses and shifts.
    #[test]
    fn every_job_is_answered_as_if_it_were_alone(
        limits in limits(),
        actions in prop::collection::vec(action(), 0..80),
    ) {
        let mut world = World::new(limits);
        for action in actions {
            world.act(action);
        }
        world.drain();
        world.scheduler.forget();
        prop_assert_eq!(world.scheduler.cached_tokens(), 0, "no cell is lost");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]
    #[test]
    fn a_prompt_waits_no_longer_than_the_older_ones_take_with_half_of_the_budget(
        lengths in prop::collection::vec(1_usize..400, 1..8),
    ) {
        let limits = Limits { slots: 8, sequences: 8, cells: 8_000, rewinds: false, ..LIMITS };
        let mut world = World::new(limits);
        for (first, length) in (0..).zip(&lengths) {
            // Different beginnings: no prefix is reused. Nobody ends before all have begun.
            let prompt = (0..*length).map(|i| first + Token::try_from(i).unwrap() * 7 + 1).collect();
            world.submit(prompt, 400);
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
