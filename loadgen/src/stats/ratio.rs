//! How much faster one target is than another, and how sure that is.
//!
//! The rounds of a run are its independent units: within a round, requests share whatever the machine was doing. So the
//! quantile is taken over all requests pooled, and its uncertainty by drawing whole rounds, both targets together,
//! with replacement. The interval is θ ± t(R-1)·SE·√(R/(R-1)) on θ = ln(candidate / baseline): plain bootstrap
//! percentiles are too narrow with few rounds, and per-round ratios are biased when the two shapes differ.

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{CONFIDENCE, Interval, minimum_samples, nearest_rank};

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

/// The ratio candidate / baseline of a quantile with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The ratio of the pooled quantiles.
    pub estimate: f64,
    /// Where the true ratio lies with 95 % confidence.
    pub interval: Interval,
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
    /// The quantile is zero, so there is nothing to divide.
    #[error("too short to divide")]
    Zero,
}

/// Which direction of a figure is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Latencies.
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
    /// The whole interval lies within the practical margin.
    Equivalent,
    /// The data do not decide.
    Inconclusive,
}

impl Verdict {
    /// The word that is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Equivalent => "equivalent",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// The ratio of the pooled `quantile`s. `seed` makes the draws repeatable.
///
/// # Errors
/// [`NoRatio`] when the data cannot carry the claim.
pub fn ratio(rounds: PairedRounds<'_>, quantile: f64, seed: u64) -> Result<Ratio, NoRatio> {
    let count = rounds.candidate.len().min(rounds.baseline.len());
    if count < MINIMUM_ROUNDS {
        return Err(NoRatio::FewRounds);
    }
    let needed = minimum_samples(quantile);
    let smaller =
        [rounds.candidate, rounds.baseline].map(|side| side.iter().map(Vec::len).sum::<usize>());
    if smaller.iter().any(|samples| *samples < needed) {
        return Err(NoRatio::FewSamples(needed));
    }

    let mut pool = Vec::new();
    let whole: Vec<usize> = (0..count).collect();
    let estimate = log_ratio(rounds, &whole, quantile, &mut pool)?;

    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut drawn = vec![0; count];
    let mut draws = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        drawn
            .iter_mut()
            .for_each(|round| *round = rng.random_range(0..count));
        draws.push(log_ratio(rounds, &drawn, quantile, &mut pool)?);
    }

    let count = count as f64;
    let standard_error = standard_deviation(&draws) * (count / (count - 1.0)).sqrt();
    let student = StudentsT::new(0.0, 1.0, count - 1.0).expect("there are at least two rounds");
    let half_width = student.inverse_cdf(f64::midpoint(1.0, CONFIDENCE)) * standard_error;
    Ok(Ratio {
        estimate: estimate.exp(),
        interval: Interval {
            low: (estimate - half_width).exp(),
            high: (estimate + half_width).exp(),
        },
    })
}

/// What `ratio` says, given that effects below `margin` (0.03 is 3 %) do not matter in practice.
pub fn verdict(ratio: &Ratio, better: Better, margin: f64) -> Verdict {
    let Interval { low, high } = ratio.interval;
    let (least, most) = (1.0 / (1.0 + margin), 1.0 + margin);
    let (faster, slower) = match better {
        Better::Lower => (
            high < 1.0 && ratio.estimate <= least,
            low > 1.0 && ratio.estimate >= most,
        ),
        Better::Higher => (
            low > 1.0 && ratio.estimate >= most,
            high < 1.0 && ratio.estimate <= least,
        ),
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

/// ln(candidate / baseline) of the quantiles over the chosen rounds; `pool` is scratch space.
fn log_ratio(
    rounds: PairedRounds<'_>,
    chosen: &[usize],
    quantile: f64,
    pool: &mut Vec<f64>,
) -> Result<f64, NoRatio> {
    let mut of = |side: &[Vec<f64>]| {
        pool.clear();
        chosen
            .iter()
            .for_each(|round| pool.extend_from_slice(&side[*round]));
        match nearest_rank(pool, quantile) {
            None => Err(NoRatio::FewSamples(minimum_samples(quantile))),
            Some(value) if value.is_infinite() => Err(NoRatio::Failures),
            Some(value) if value <= 0.0 => Err(NoRatio::Zero),
            Some(value) => Ok(value.ln()),
        }
    };
    Ok(of(rounds.candidate)? - of(rounds.baseline)?)
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
                }
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
    fn an_effect_below_the_margin_is_never_a_win() {
        let tight = |low, high| Ratio {
            estimate: f64::midpoint(low, high),
            interval: Interval { low, high },
        };
        assert_eq!(
            verdict(&tight(0.98, 0.99), Better::Lower, 0.03),
            Verdict::Equivalent
        );
        assert_eq!(
            verdict(&tight(0.90, 0.95), Better::Lower, 0.03),
            Verdict::Faster
        );
        assert_eq!(
            verdict(&tight(0.90, 1.05), Better::Lower, 0.03),
            Verdict::Inconclusive
        );
        assert_eq!(
            verdict(&tight(0.96, 0.999), Better::Lower, 0.03),
            Verdict::Inconclusive
        );
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
