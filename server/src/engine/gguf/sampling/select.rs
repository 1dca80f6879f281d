//! The most probable tokens of a whole vocabulary.

use std::cmp::Ordering;

use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;

use crate::inference::Token;

/// The token with the highest logit, the first of equals, as llama.cpp's greedy sampler.
pub(super) fn most_probable(logits: &[f32]) -> Option<Token> {
    let mut best = None;
    let mut highest = f32::NEG_INFINITY;
    for (token, &logit) in (0..).zip(logits) {
        if logit > highest {
            highest = logit;
            best = Some(token);
        }
    }
    best
}

/// Every token that has a probability.
pub(super) fn all(logits: &[f32], candidates: &mut Vec<LlamaTokenData>) {
    candidates.clear();
    candidates.extend(
        (0..)
            .zip(logits)
            .filter(|(_, logit)| **logit > f32::NEG_INFINITY)
            .map(|(token, &logit)| LlamaTokenData::new(LlamaToken(token), logit, 0.0)),
    );
}

/// The `count` tokens with the highest logits, best first; fewer if fewer have a probability.
///
/// One pass that keeps at most twice as many and drops the lower half each time these are full, so that nearly all of
/// the vocabulary costs one comparison each.
pub(in crate::engine::gguf) fn top(
    logits: &[f32],
    count: usize,
    candidates: &mut Vec<LlamaTokenData>,
) {
    candidates.clear();
    if count == 0 {
        return;
    }
    let full = count * 2;
    let mut threshold = f32::NEG_INFINITY;
    for (token, &logit) in (0..).zip(logits) {
        if logit > threshold {
            candidates.push(LlamaTokenData::new(LlamaToken(token), logit, 0.0));
            if candidates.len() == full {
                candidates.select_nth_unstable_by(count - 1, better_first);
                candidates.truncate(count);
                threshold = candidates[count - 1].logit();
            }
        }
    }
    candidates.sort_unstable_by(better_first);
    candidates.truncate(count);
}

/// Equal logits in the order of their ids, so that the result does not depend on how they were selected.
fn better_first(one: &LlamaTokenData, other: &LlamaTokenData) -> Ordering {
    (other.logit().total_cmp(&one.logit())).then(one.id().cmp(&other.id()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn top_is_the_beginning_of_a_full_sort(
            logits in prop::collection::vec(prop_oneof![-50_f32..50.0, Just(f32::NEG_INFINITY), Just(f32::NAN), Just(1.0)], 0..300),
            count in 0_usize..40,
        ) {
            let mut expected: Vec<(usize, f32)> = logits
                .iter()
                .copied()
                .enumerate()
                .filter(|(_, logit)| *logit > f32::NEG_INFINITY)
                .collect();
            expected.sort_by(|one, other| other.1.total_cmp(&one.1));
            expected.truncate(count);
            let mut found = Vec::new();
            top(&logits, count, &mut found);
            let found: Vec<_> = found.iter().map(|data| data.logit()).collect();
            let expected: Vec<_> = expected.iter().map(|(_, logit)| *logit).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
