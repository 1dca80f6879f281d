//! How much faster one target is than another, and how sure that is.
//!
//! The rounds of a run are its independent units: within a round, requests share whatever the machine was doing. So the
//! figure is taken over all requests pooled, and its uncertainty by drawing whole rounds, both targets together, with
//! replacement. The interval is θ ± t(R-1)·SE·√(R/(R-1)) on θ = ln(candidate / baseline): plain bootstrap percentiles
//! are too narrow with few rounds, and per-round ratios are biased when the two shapes differ.

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{
    CONFIDENCE, Interval,
    pooled::{Pooled, Quantile},
};

/// Draws of the bootstrap; the error of a standard error from 5,000 draws is about 1 %.
const DRAWS: usize = 5_000;

/// With fewer rounds than this the bootstrap sees too few distinct draws to speak.
pub const MINIMUM_ROUNDS: usize = 6;

/// The values of two targets by round: `candidate[r]` and `baseline[r]` were measured in the same round.
#[derive(Debug, Clone, Copy)]
pub struct PairedRounds<'a> {
    /// The target whose name comes first in the ratio.
    pub candidate: &'a [Vec<f64>],
    /// The target that it is divided by.
    pub baseline: &'a [Vec<f64>],
}

/// The ratio candidate / baseline of a figure with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The ratio of the pooled figures.
    pub estimate: f64,
    /// Where the true ratio lies with the confidence asked for, 95 % where none is named.
    pub interval: Interval,
    /// How probable so large a difference would be between equal targets, two-sided.
    pub p_value: f64,
    /// The rounds that it rests on.
    pub rounds: usize,
}

/// Why a ratio is not stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRatio {
    /// Too few rounds for an interval.
    #[error("needs {MINIMUM_ROUNDS} rounds")]
    FewRounds,
    /// Too few samples per target for this quantile.
    #[error("needs {0}")]
    FewSamples(usize),
    /// The quantile falls on failed requests.
    #[error("failures")]
    Failures,
    /// The figure is zero, so there is nothing to divide.
    #[error("too short to divide")]
    Zero,
}

/// The ratio of the pooled `quantile`s. `seed` makes the draws repeatable.
///
/// # Errors
/// [`NoRatio`] when the data cannot carry the claim.
pub fn ratio(rounds: PairedRounds<'_>, quantile: f64, seed: u64) -> Result<Ratio, NoRatio> {
    ratio_at(rounds, quantile, seed, CONFIDENCE)
}

/// [`ratio`] with an interval of another confidence than 95 %.
///
/// # Errors
/// [`NoRatio`] when the data cannot carry the claim.
pub fn ratio_at(
    rounds: PairedRounds<'_>,
    quantile: f64,
    seed: u64,
    confidence: f64,
) -> Result<Ratio, NoRatio> {
    ratio_of_at(
        &Quantile::new(rounds.candidate, quantile),
        &Quantile::new(rounds.baseline, quantile),
        seed,
        confidence,
    )
}

/// The ratio of any figure of whole rounds: quantiles, means, throughput, peaks of memory.
///
/// # Errors
/// [`NoRatio`] when the data cannot carry the claim.
pub fn ratio_of(
    candidate: &impl Pooled,
    baseline: &impl Pooled,
    seed: u64,
) -> Result<Ratio, NoRatio> {
    ratio_of_at(candidate, baseline, seed, CONFIDENCE)
}

/// [`ratio_of`] with an interval of another confidence than 95 %.
///
/// # Errors
/// [`NoRatio`] when the data cannot carry the claim.
pub fn ratio_of_at(
    candidate: &impl Pooled,
    baseline: &impl Pooled,
    seed: u64,
    confidence: f64,
) -> Result<Ratio, NoRatio> {
    let rounds = candidate.rounds().min(baseline.rounds());
    if rounds < MINIMUM_ROUNDS {
        return Err(NoRatio::FewRounds);
    }
    candidate.enough()?;
    baseline.enough()?;
    let log_ratio = |times: &[u32]| Ok(candidate.of(times)?.ln() - baseline.of(times)?.ln());
    let estimate = log_ratio(&vec![1; rounds])?;

    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut times = vec![0; rounds];
    let mut draws = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        times.fill(0);
        for _ in 0..rounds {
            times[rng.random_range(0..rounds)] += 1;
        }
        draws.push(log_ratio(&times)?);
    }

    let count = rounds as f64;
    let standard_error = standard_deviation(&draws) * (count / (count - 1.0)).sqrt();
    let student = StudentsT::new(0.0, 1.0, count - 1.0).expect("there are at least two rounds");
    let half_width = student.inverse_cdf(f64::midpoint(1.0, confidence)) * standard_error;
    let p_value = match (estimate == 0.0, standard_error > 0.0) {
        (true, _) => 1.0,
        (false, true) => 2.0 * student.sf((estimate / standard_error).abs()),
        (false, false) => 0.0,
    };
    Ok(Ratio {
        estimate: estimate.exp(),
        interval: Interval {
            low: (estimate - half_width).exp(),
            high: (estimate + half_width).exp(),
        },
        p_value,
        rounds,
    })
}

fn standard_deviation(values: &[f64]) -> f64 {
    let mean = super::mean(values).unwrap_or_default();
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::{Better, Quotient, Verdict, verdict};

    const ROUNDS: usize = 10;
    const REQUESTS: usize = 20;

    /// Log-normal latencies of about `scale` milliseconds, from the sum of twelve uniforms.
    fn latencies(rng: &mut Xoshiro256PlusPlus, scale: f64, sigma: f64) -> Vec<Vec<f64>> {
        let mut one = || {
            let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
            scale * (sigma * normal).exp()
        };
        (0..ROUNDS)
            .map(|_| (0..REQUESTS).map(|_| one()).collect())
            .collect()
    }

    #[test]
    fn the_same_numbers_on_both_sides_are_equivalent() {
        let same = latencies(&mut Xoshiro256PlusPlus::seed_from_u64(1), 20.0, 0.2);
        let got = ratio(
            PairedRounds {
                candidate: &same,
                baseline: &same,
            },
            0.95,
            1,
        )
        .unwrap();
        assert_eq!(
            got,
            Ratio {
                estimate: 1.0,
                interval: Interval {
                    low: 1.0,
                    high: 1.0
                },
                p_value: 1.0,
                rounds: ROUNDS,
            }
        );
        assert_eq!(verdict(&got, Better::Lower, 0.03), Verdict::Equivalent);
    }

    #[test]
    fn a_server_half_as_fast_is_slower_and_its_rate_says_so_too() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
        let slow = latencies(&mut rng, 40.0, 0.1);
        let fast = latencies(&mut rng, 20.0, 0.1);
        let got = ratio(
            PairedRounds {
                candidate: &slow,
                baseline: &fast,
            },
            0.95,
            2,
        )
        .unwrap();
        assert!(got.interval.low < 2.0 && 2.0 < got.interval.high, "{got:?}");
        assert_eq!(verdict(&got, Better::Lower, 0.03), Verdict::Slower);
        assert_eq!(verdict(&got, Better::Higher, 0.03), Verdict::Faster);
    }

    #[test]
    fn identical_servers_are_seldom_told_apart_and_the_interval_covers_one() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let trials = 60;
        let covered = (0..trials)
            .filter(|trial| {
                let candidate = latencies(&mut rng, 20.0, 0.25);
                let baseline = latencies(&mut rng, 20.0, 0.25);
                let rounds = PairedRounds {
                    candidate: &candidate,
                    baseline: &baseline,
                };
                let got = ratio(rounds, 0.95, *trial).unwrap();
                got.interval.low <= 1.0 && 1.0 <= got.interval.high
            })
            .count();
        assert!(covered >= 54, "{covered} of {trials}");
    }

    #[test]
    fn claims_that_the_data_cannot_carry_are_refused() {
        let few_rounds = vec![vec![1.0; 100]; MINIMUM_ROUNDS - 1];
        let refused = ratio(
            PairedRounds {
                candidate: &few_rounds,
                baseline: &few_rounds,
            },
            0.95,
            0,
        );
        assert_eq!(refused, Err(NoRatio::FewRounds));

        let few_samples = vec![vec![1.0; 7]; 10];
        let refused = ratio(
            PairedRounds {
                candidate: &few_samples,
                baseline: &few_samples,
            },
            0.95,
            0,
        );
        assert_eq!(refused.unwrap_err().to_string(), "needs 72");

        let good = vec![vec![1.0; 10]; 10];
        let mut failing = good.clone();
        failing[3] = vec![f64::INFINITY; 10];
        let refused = ratio(
            PairedRounds {
                candidate: &failing,
                baseline: &good,
            },
            0.95,
            0,
        );
        assert_eq!(refused, Err(NoRatio::Failures));

        let nothing = vec![vec![0.0; 10]; 10];
        let refused = ratio(
            PairedRounds {
                candidate: &nothing,
                baseline: &good,
            },
            0.5,
            0,
        );
        assert_eq!(refused, Err(NoRatio::Zero));
    }

    #[test]
    fn the_p_value_and_the_interval_say_the_same() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        for trial in 0..20 {
            let one = latencies(&mut rng, 20.0, 0.2);
            let other = latencies(&mut rng, 20.0 + 0.2 * trial as f64, 0.2);
            let got = ratio(
                PairedRounds {
                    candidate: &one,
                    baseline: &other,
                },
                0.95,
                trial,
            )
            .unwrap();
            let excludes_one = got.interval.high < 1.0 || got.interval.low > 1.0;
            assert_eq!(excludes_one, got.p_value < 0.05, "{got:?}");
        }
    }

    #[test]
    fn rates_and_means_have_intervals_too() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(6);
        let slow = latencies(&mut rng, 30.0, 0.2);
        let fast = latencies(&mut rng, 20.0, 0.2);
        let mean = ratio_of(&Quotient::mean(&slow), &Quotient::mean(&fast), 1).unwrap();
        assert!(
            mean.interval.low < 1.5 && 1.5 < mean.interval.high,
            "{mean:?}"
        );
        let rate = |rounds: &[Vec<f64>]| {
            let per_round = rounds
                .iter()
                .map(|values| (values.len() as f64, values.iter().sum()));
            Quotient::new(per_round.collect())
        };
        let throughput = ratio_of(&rate(&slow), &rate(&fast), 1).unwrap();
        assert!((throughput.estimate * mean.estimate - 1.0).abs() < 1e-9);
        assert_eq!(verdict(&throughput, Better::Higher, 0.03), Verdict::Slower);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn swapping_the_sides_inverts_the_ratio(seed in any::<u64>()) {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let one = latencies(&mut rng, 20.0, 0.2);
            let other = latencies(&mut rng, 30.0, 0.3);
            let forth = ratio(PairedRounds { candidate: &one, baseline: &other }, 0.95, seed).unwrap();
            let back = ratio(PairedRounds { candidate: &other, baseline: &one }, 0.95, seed).unwrap();
            prop_assert!((forth.estimate * back.estimate - 1.0).abs() < 1e-9);
            prop_assert!((forth.interval.low * back.interval.high - 1.0).abs() < 1e-9);
        }
    }
}
