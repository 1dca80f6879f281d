use statrs::distribution::{Binomial, DiscreteCDF};

use super::CONFIDENCE;

/// A two-sided 95 % confidence interval, in the unit of the values it was made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Why there is no interval: this many samples would be needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedsSamples(pub usize);

/// The fewest independent samples for which a finite two-sided 95 % interval of `quantile` exists: 6 for the median, 72
/// for P95, 368 for P99. Below that, even the whole sample from least to largest misses the true quantile too often.
pub fn minimum_samples(quantile: f64) -> usize {
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let all_below = tail.ln() / quantile.ln();
    let all_above = tail.ln() / (1.0 - quantile).ln();
    all_below.max(all_above).ceil() as usize
}

/// The 95 % interval of the true `quantile` from order statistics, which holds whatever the distribution.
///
/// `values` are in the order in which they were measured: neighbours that resemble each other carry less information
/// than their count says, so ranks are taken at the effective size n(1-ρ)/(1+ρ), ρ being the lag-1 autocorrelation.
///
/// # Errors
/// [`NeedsSamples`] when too few (effective) samples were taken.
pub fn quantile_interval(values: &[f64], quantile: f64) -> Result<Interval, NeedsSamples> {
    let minimum = minimum_samples(quantile);
    let shrink = effective_share(values);
    let effective = effective_samples(values);
    if effective < minimum {
        return Err(NeedsSamples((minimum as f64 / shrink).ceil() as usize));
    }
    let below = Binomial::new(quantile, effective as u64).expect("a quantile is a probability");
    let tail = (1.0 - CONFIDENCE) / 2.0;
    // The r-th smallest value lies above the true quantile with probability P(B < r), at or below it with P(B >= r).
    let low = first(effective, |rank| below.cdf(rank as u64 - 1) > tail) - 1;
    let high = first(effective, |rank| below.sf(rank as u64 - 1) <= tail);

    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let scale = sorted.len() as f64 / effective as f64;
    let low = (low.max(1) as f64 * scale).floor() as usize;
    let high = (high as f64 * scale).ceil() as usize;
    Ok(Interval {
        low: sorted[low.max(1) - 1],
        high: sorted[high.min(sorted.len()) - 1],
    })
}

/// How many independent samples `values` are worth: n(1-ρ)/(1+ρ), ρ being their lag-1 autocorrelation in this order.
pub fn effective_samples(values: &[f64]) -> usize {
    (values.len() as f64 * effective_share(values)).floor() as usize
}

/// The first of `1..=count` for which the monotone `holds` is true, or `count` when none.
fn first(count: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (1, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// What share of the samples counts as independent; at most 1, because alternation is no reason for more confidence.
fn effective_share(values: &[f64]) -> f64 {
    let finite: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .collect();
    let correlation = lag1_autocorrelation(&finite).clamp(0.0, 0.99);
    (1.0 - correlation) / (1.0 + correlation)
}

fn lag1_autocorrelation(values: &[f64]) -> f64 {
    let Some(mean) = super::mean(values) else {
        return 0.0;
    };
    let variance: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    // Equal values differ from their mean by rounding, all in the same direction.
    let rounding = (mean * 1e-9).powi(2) * values.len() as f64;
    if variance <= rounding {
        return 0.0;
    }
    let covariance: f64 = values
        .windows(2)
        .map(|pair| (pair[0] - mean) * (pair[1] - mean))
        .sum();
    covariance / variance
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

    use super::*;

    /// Values 1..=count in an order without autocorrelation worth speaking of.
    fn shuffled(count: usize) -> Vec<f64> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut values: Vec<f64> = (1..=count).map(|value| value as f64).collect();
        for index in (1..count).rev() {
            values.swap(index, rng.random_range(0..=index));
        }
        values
    }

    #[test]
    fn the_fewest_samples_are_those_of_the_literature() {
        assert_eq!(minimum_samples(0.50), 6);
        assert_eq!(minimum_samples(0.90), 36);
        assert_eq!(minimum_samples(0.95), 72);
        assert_eq!(minimum_samples(0.99), 368);
    }

    #[test]
    fn too_few_samples_say_how_many_are_needed() {
        assert_eq!(quantile_interval(&[1.0; 71], 0.95), Err(NeedsSamples(72)));
        assert_eq!(
            quantile_interval(&[1.0; 72], 0.95),
            Ok(Interval {
                low: 1.0,
                high: 1.0
            })
        );
        assert_eq!(quantile_interval(&[], 0.95), Err(NeedsSamples(72)));
    }

    #[test]
    fn ranks_of_the_p95_interval_match_the_table() {
        // At n = 1000 the interval spans the 0.936 and 0.964 quantiles, as binomial tables say.
        let mut values = shuffled(1000);
        // Force exact independence by checking only when the shuffle shows none.
        assert!(lag1_autocorrelation(&values).abs() < 0.1);
        let interval = quantile_interval(&values, 0.95).unwrap();
        assert!((930.0..=938.0).contains(&interval.low), "{interval:?}");
        assert!((962.0..=970.0).contains(&interval.high), "{interval:?}");
        values.sort_by(f64::total_cmp);
        assert!(
            quantile_interval(&values, 0.95).is_err(),
            "a drifting series has few independent samples"
        );
    }

    #[test]
    fn the_interval_covers_the_true_quantile_about_as_often_as_it_says() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(11);
        let trials = 400;
        let covered = (0..trials)
            .filter(|_| {
                let values: Vec<f64> = (0..200).map(|_| rng.random::<f64>()).collect();
                let interval = quantile_interval(&values, 0.95).unwrap();
                interval.low <= 0.95 && 0.95 <= interval.high
            })
            .count();
        assert!(covered >= trials * 93 / 100, "{covered} of {trials}");
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_sample_quantile(
            values in prop::collection::vec(0.0..1e3f64, 100..400),
        ) {
            if let Ok(interval) = quantile_interval(&values, 0.95) {
                let point = crate::stats::nearest_rank(&mut values.clone(), 0.95).unwrap();
                prop_assert!(interval.low <= point && point <= interval.high);
            }
        }
    }
}
