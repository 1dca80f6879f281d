//! From an interval to a word.

use super::{Interval, Ratio};

/// Which direction of a figure is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Latencies, memory.
    Lower,
    /// Rates.
    Higher,
}

/// What a ratio says about the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Better, by at least the practical margin, with 95 % confidence.
    Faster,
    /// Worse, by at least the practical margin, with 95 % confidence.
    Slower,
    /// The whole interval lies within the practical margin. This is the test of two one-sided hypotheses (TOST), at 2.5 %
    /// each, so that the printed interval alone shows why.
    Equivalent,
    /// The data do not decide.
    Inconclusive,
}

/// What `ratio` says, given that effects below `margin` (0.03 is 3 %) do not matter in practice.
pub fn verdict(ratio: &Ratio, better: Better, margin: f64) -> Verdict {
    let Interval { low, high } = ratio.interval;
    let (least, most) = (1.0 / (1.0 + margin), 1.0 + margin);
    let below = high < 1.0 && ratio.estimate <= least;
    let above = low > 1.0 && ratio.estimate >= most;
    let (faster, slower) = match better {
        Better::Lower => (below, above),
        Better::Higher => (above, below),
    };
    if faster {
        Verdict::Faster
    } else if slower {
        Verdict::Slower
    } else if low >= least && high <= most {
        Verdict::Equivalent
    } else {
        Verdict::Inconclusive
    }
}

/// What [`verdict`] says when `ratio` is one of several primary figures: a difference must also survive Holm's
/// correction, whose `adjusted` p-value [`holm`] gives.
pub fn verdict_among(ratio: &Ratio, better: Better, margin: f64, adjusted: f64) -> Verdict {
    let alone = verdict(ratio, better, margin);
    let is_difference = matches!(alone, Verdict::Faster | Verdict::Slower);
    if is_difference && adjusted > 1.0 - super::CONFIDENCE {
        return Verdict::Inconclusive;
    }
    alone
}

/// Holm's step-down correction of `p_values`, in their order: each is multiplied by how many hypotheses are still open
/// when its turn comes, smallest first, so that the chance of any false claim among all stays at the level of one.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_unstable_by(|one, other| p_values[*one].total_cmp(&p_values[*other]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (place, index) in order.into_iter().enumerate() {
        let open = (p_values.len() - place) as f64;
        largest = largest.max((p_values[index] * open).min(1.0));
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_interval(low: f64, high: f64) -> Ratio {
        Ratio {
            estimate: f64::midpoint(low, high),
            interval: Interval { low, high },
            p_value: 0.01,
            rounds: 20,
        }
    }

    #[test]
    fn an_effect_below_the_margin_is_never_a_win() {
        let check = |low, high, expected| {
            let got = verdict(&with_interval(low, high), Better::Lower, 0.03);
            assert_eq!(got, expected, "[{low}, {high}]");
        };
        check(0.98, 0.99, Verdict::Equivalent);
        check(0.90, 0.95, Verdict::Faster);
        check(0.90, 1.05, Verdict::Inconclusive);
        check(0.96, 0.999, Verdict::Inconclusive);
        check(1.10, 1.20, Verdict::Slower);
        assert_eq!(
            verdict(&with_interval(1.10, 1.20), Better::Higher, 0.03),
            Verdict::Faster
        );
    }

    #[test]
    fn holm_is_the_textbook_one() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        for (got, expected) in adjusted.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert!(holm(&[]).is_empty());
        assert_eq!(holm(&[0.7, 0.9]), [1.0, 1.0]);
    }

    #[test]
    fn a_difference_that_one_of_many_would_show_by_chance_is_not_claimed() {
        let ratio = with_interval(1.05, 1.15);
        let alone = verdict_among(&ratio, Better::Lower, 0.03, holm(&[0.01])[0]);
        assert_eq!(alone, Verdict::Slower);
        let among_ten = holm(&[0.01, 0.5, 0.6, 0.7, 0.8, 0.9, 0.5, 0.6, 0.7, 0.8])[0];
        assert_eq!(
            verdict_among(&ratio, Better::Lower, 0.03, among_ten),
            Verdict::Inconclusive
        );
    }

    proptest! {
        #[test]
        fn correction_never_helps_and_keeps_the_order(p_values in prop::collection::vec(0.0..1.0f64, 1..20)) {
            let adjusted = holm(&p_values);
            for (one, p) in p_values.iter().enumerate() {
                prop_assert!(adjusted[one] >= *p && adjusted[one] <= 1.0);
                for (other, q) in p_values.iter().enumerate() {
                    prop_assert!(p >= q || adjusted[one] <= adjusted[other]);
                }
            }
        }

        #[test]
        fn latency_and_rate_agree(low in 0.5..1.5f64, width in 0.0..0.5f64) {
            let time = with_interval(low, low + width);
            let rate = Ratio {
                estimate: 1.0 / time.estimate,
                interval: Interval { low: 1.0 / time.interval.high, high: 1.0 / time.interval.low },
                ..time
            };
            prop_assert_eq!(verdict(&time, Better::Lower, 0.03), verdict(&rate, Better::Higher, 0.03));
        }
    }
}
