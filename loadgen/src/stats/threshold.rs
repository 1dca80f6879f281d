//! Whether a quantile lies below a limit, decided by counting and not by guessing at a distribution.
//!
//! The rule is that of MLPerf's LoadGen (`early_stopping.cc`): if the true share of requests over the limit were as large
//! as the quantile just forbids, so few of them over it would be seen with at most 1 % probability.

use statrs::distribution::{Binomial, DiscreteCDF};

use super::effective_samples;

/// How sure an absolute claim must be where nobody says otherwise: MLPerf's confidence.
pub const COUNTING_CONFIDENCE: f64 = 0.99;

/// What data say about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// It holds, with confidence.
    Pass,
    /// It does not hold, with confidence.
    Fail,
    /// The data do not decide.
    Inconclusive,
}

/// Whether the true `quantile` of what `values` were drawn from is at most `limit`, with `confidence` either way.
/// `values` are in the order of measurement: neighbours that resemble each other count for less.
///
/// With none over the limit, P95 needs 90 independent values and P99 needs 459 for a confidence of 99 %.
pub fn at_most(values: &[f64], quantile: f64, limit: f64, confidence: f64) -> Judgement {
    let effective = effective_samples(values);
    if effective == 0 {
        return Judgement::Inconclusive;
    }
    let over = values.iter().filter(|value| **value > limit).count();
    let share = over as f64 / values.len() as f64;
    let over = (share * effective as f64).round() as u64;
    counted(over, effective as u64, quantile, confidence)
}

/// The same by the counts alone: `over` of `count` independent values exceed the limit.
pub fn counted(over: u64, count: u64, quantile: f64, confidence: f64) -> Judgement {
    let forbidden = Binomial::new(1.0 - quantile, count).expect("a quantile is a probability");
    let unlikely = 1.0 - confidence;
    if forbidden.cdf(over) <= unlikely {
        Judgement::Pass
    } else if over > 0 && forbidden.sf(over - 1) <= unlikely {
        Judgement::Fail
    } else {
        Judgement::Inconclusive
    }
}

/// The fewest independent values, none over the limit, with which [`at_most`] can pass at [`COUNTING_CONFIDENCE`].
pub fn fewest_to_pass(quantile: f64) -> usize {
    ((1.0 - COUNTING_CONFIDENCE).ln() / quantile.ln()).ceil() as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

    use super::*;

    fn at_most(values: &[f64], quantile: f64, limit: f64) -> Judgement {
        super::at_most(values, quantile, limit, COUNTING_CONFIDENCE)
    }

    /// `count` values of which the given ones are 2, the others 1.
    fn with_over(count: usize, over: &[usize]) -> Vec<f64> {
        (0..count)
            .map(|index| if over.contains(&index) { 2.0 } else { 1.0 })
            .collect()
    }

    #[test]
    fn the_fewest_samples_are_those_of_mlperf() {
        let check = |quantile, needed| {
            assert_eq!(
                at_most(&with_over(needed - 1, &[]), quantile, 1.5),
                Judgement::Inconclusive
            );
            assert_eq!(
                at_most(&with_over(needed, &[]), quantile, 1.5),
                Judgement::Pass
            );
        };
        check(0.95, 90);
        check(0.99, 459);
    }

    #[test]
    fn less_confidence_needs_fewer_samples() {
        let values = with_over(59, &[]);
        let judged = |confidence| super::at_most(&values, 0.95, 1.5, confidence);
        assert_eq!(judged(0.99), Judgement::Inconclusive);
        assert_eq!(judged(0.95), Judgement::Pass, "0.95^59 is below 5 %");
        assert_eq!(
            super::at_most(&values[..58], 0.95, 1.5, 0.95),
            Judgement::Inconclusive
        );
    }

    #[test]
    fn failures_are_over_every_limit() {
        let mut values = vec![1.0; 90];
        values.extend([f64::INFINITY; 10]);
        // Shuffled, because ten failures in a row are one event.
        for index in 0..10 {
            values.swap(index * 9, 90 + index);
        }
        assert_ne!(at_most(&values, 0.95, 1e9), Judgement::Pass);
    }

    #[test]
    fn a_limit_far_below_fails_and_one_nearby_is_undecided() {
        let all_over: Vec<usize> = (0..50).collect();
        assert_eq!(
            at_most(&with_over(50, &all_over), 0.95, 1.5),
            Judgement::Fail
        );
        assert_eq!(
            at_most(&with_over(100, &[3, 20, 48, 70, 91]), 0.95, 1.5),
            Judgement::Inconclusive
        );
        assert_eq!(at_most(&[], 0.95, 1.0), Judgement::Inconclusive);
    }

    #[test]
    fn wrong_claims_pass_at_most_as_often_as_promised() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let trials = 600;
        // The true P95 of a uniform number is 0.95; the limit lies just below it.
        let wrong = (0..trials)
            .filter(|_| {
                let values: Vec<f64> = (0..200).map(|_| rng.random()).collect();
                at_most(&values, 0.95, 0.9499) == Judgement::Pass
            })
            .count();
        assert!(wrong <= trials * 2 / 100, "{wrong} of {trials}");
    }

    proptest! {
        #[test]
        fn a_looser_limit_is_never_judged_worse(
            values in prop::collection::vec(0.0..1.0f64, 1..300), limit in 0.0..1.0f64, looser in 0.0..1.0f64,
        ) {
            let rank = |judgement| match judgement {
                Judgement::Fail => 0,
                Judgement::Inconclusive => 1,
                Judgement::Pass => 2,
            };
            prop_assert!(rank(at_most(&values, 0.9, limit + looser)) >= rank(at_most(&values, 0.9, limit)));
        }
    }
}
