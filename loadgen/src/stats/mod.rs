//! The statistics behind every figure: pure functions of numbers.
//!
//! This folder knows no clock, no HTTP, no target and no report. A latency is an `f64` in whatever unit the caller
//! keeps; a request that failed is `f64::INFINITY`, because a reply that never came is slower than any that did, and
//! leaving it out would make a failing server look fast.

mod fit;
mod interval;
mod pooled;
mod ratio;
mod recorder;
#[cfg(test)]
mod simulation;
mod steady;
mod threshold;
mod trend;
mod verdict;

pub use fit::{Line, least_squares};
pub use interval::{Interval, effective_samples, minimum_samples, quantile_interval};
pub use pooled::{Pooled, Quotient};
pub use ratio::{NoRatio, PairedRounds, Ratio, ratio, ratio_at, ratio_of, ratio_of_at};
pub use recorder::{Recorder, hdr_base64};
pub use steady::{Flow, flow};
pub use threshold::{COUNTING_CONFIDENCE, Judgement, at_most, counted, fewest_to_pass};
pub use trend::{OrderEffect, order_effect, rank_correlation};
pub use verdict::{Better, Verdict, holm, verdict, verdict_among};

/// The confidence of every interval that is printed.
pub const CONFIDENCE: f64 = 0.95;

/// The `quantile` of `values` by nearest rank: the smallest value that at least `quantile` of all values do not exceed.
/// Reorders `values`. `None` when there are none.
pub fn nearest_rank(values: &mut [f64], quantile: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let index = rank(values.len(), quantile) - 1;
    let (_, value, _) = values.select_nth_unstable_by(index, f64::total_cmp);
    Some(*value)
}

/// The arithmetic mean; `None` when there are no values.
pub fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

/// The 1-based nearest rank of `quantile` among `count` values; `count` must not be zero.
fn rank(count: usize, quantile: f64) -> usize {
    // 0.95 * 20 is 19.000000000000004 in binary; without the slack the rank would jump to 20.
    let exact = quantile * count as f64;
    ((exact - 1e-9).ceil() as usize).clamp(1, count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nearest_rank_is_the_textbook_one() {
        let mut values = [15.0, 20.0, 35.0, 40.0, 50.0];
        assert_eq!(nearest_rank(&mut values, 0.05), Some(15.0));
        assert_eq!(nearest_rank(&mut values, 0.30), Some(20.0));
        assert_eq!(nearest_rank(&mut values, 0.40), Some(20.0));
        assert_eq!(nearest_rank(&mut values, 0.50), Some(35.0));
        assert_eq!(nearest_rank(&mut values, 1.00), Some(50.0));
        assert_eq!(nearest_rank(&mut [], 0.5), None);
    }

    #[test]
    fn p95_of_twenty_is_the_nineteenth() {
        let mut values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(nearest_rank(&mut values, 0.95), Some(19.0));
    }

    #[test]
    fn failures_are_slower_than_everything() {
        let mut values = vec![1.0; 18];
        values.extend([f64::INFINITY; 2]);
        assert_eq!(nearest_rank(&mut values, 0.90), Some(1.0));
        assert_eq!(nearest_rank(&mut values, 0.95), Some(f64::INFINITY));
    }

    proptest! {
        #[test]
        fn enough_values_do_not_exceed_a_quantile_and_one_fewer_would_not_do(
            mut values in prop::collection::vec(0.0..1e6f64, 1..300),
            quantile in 0.01..1.0f64,
        ) {
            let value = nearest_rank(&mut values, quantile).unwrap();
            let not_above = values.iter().filter(|other| **other <= value).count() as f64;
            let below = values.iter().filter(|other| **other < value).count() as f64;
            let wanted = quantile * values.len() as f64;
            prop_assert!(not_above + 1e-6 >= wanted);
            prop_assert!(below < wanted + 1e-6);
        }
    }
}
