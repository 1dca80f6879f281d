//! Whether a figure depends on when it was measured.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::mean;

/// Spearman's rank correlation of `values` with their order, and how probable so strong a one is without any trend
/// (two-sided, by the t approximation). `None` below five values, where it says nothing.
pub fn rank_correlation(values: &[f64]) -> Option<(f64, f64)> {
    const FEWEST: usize = 5;
    if values.len() < FEWEST {
        return None;
    }
    let ranks = ranks(values);
    let centre = (values.len() as f64 + 1.0) / 2.0;
    let (mut shared, mut spread, mut time_spread) = (0.0, 0.0, 0.0);
    for (rank, time) in ranks.iter().zip(1..) {
        let (rank, time) = (rank - centre, f64::from(time) - centre);
        shared += rank * time;
        spread += rank * rank;
        time_spread += time * time;
    }
    if spread == 0.0 {
        return Some((0.0, 1.0));
    }
    let correlation = (shared / (spread * time_spread).sqrt()).clamp(-1.0, 1.0);
    let freedom = values.len() as f64 - 2.0;
    let t = correlation * (freedom / (1.0 - correlation * correlation).max(1e-12)).sqrt();
    let student = StudentsT::new(0.0, 1.0, freedom).expect("there are more than two values");
    Some((correlation, 2.0 * student.sf(t.abs())))
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|one, other| values[*one].total_cmp(&values[*other]));
    let mut ranks = vec![0.0; values.len()];
    for equal in order.chunk_by(|one, other| values[*one] == values[*other]) {
        let first = order
            .iter()
            .position(|index| *index == equal[0])
            .expect("the chunk is a part of the order");
        let shared = first as f64 + (equal.len() as f64 + 1.0) / 2.0;
        equal.iter().for_each(|index| ranks[*index] = shared);
    }
    ranks
}

/// How much better a target does when it goes second in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrderEffect {
    /// The ratio candidate / baseline when the candidate goes first, over the same when it goes second; 1 without
    /// any effect.
    pub factor: f64,
    /// How probable so large an effect would be if the order did not matter, two-sided.
    pub p_value: f64,
}

/// Compares the rounds in which the candidate went first with those in which it went second: `rounds[r]` is ln(candidate
/// / baseline) of round r and whether the candidate went first. By Welch's t test. `None` with fewer than three rounds of
/// either order.
pub fn order_effect(rounds: &[(f64, bool)]) -> Option<OrderEffect> {
    const FEWEST: usize = 3;
    let of = |first: bool| -> Vec<f64> {
        rounds
            .iter()
            .filter(|(log_ratio, went_first)| *went_first == first && log_ratio.is_finite())
            .map(|(log_ratio, _)| *log_ratio)
            .collect()
    };
    let (first, second) = (of(true), of(false));
    if first.len() < FEWEST || second.len() < FEWEST {
        return None;
    }
    let difference = mean(&first)? - mean(&second)?;
    let (one, other) = (error_of_mean(&first), error_of_mean(&second));
    let error = (one + other).sqrt();
    if error == 0.0 {
        let p_value = if difference == 0.0 { 1.0 } else { 0.0 };
        return Some(OrderEffect {
            factor: difference.exp(),
            p_value,
        });
    }
    // Welch and Satterthwaite's degrees of freedom.
    let freedom = (one + other).powi(2)
        / (one.powi(2) / (first.len() as f64 - 1.0) + other.powi(2) / (second.len() as f64 - 1.0));
    let student =
        StudentsT::new(0.0, 1.0, freedom).expect("both groups have at least three rounds");
    Some(OrderEffect {
        factor: difference.exp(),
        p_value: 2.0 * student.sf((difference / error).abs()),
    })
}

/// The squared standard error of the mean of at least two values.
fn error_of_mean(values: &[f64]) -> f64 {
    let mean = mean(values).expect("the callers checked the count");
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let count = values.len() as f64;
    squares / (count - 1.0) / count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

    use super::*;

    #[test]
    fn a_rising_series_has_a_trend_and_a_constant_one_none() {
        let rising: Vec<f64> = (0..20).map(f64::from).collect();
        let (correlation, p_value) = rank_correlation(&rising).unwrap();
        assert!((correlation - 1.0).abs() < 1e-9 && p_value < 1e-6);
        assert_eq!(rank_correlation(&[3.0; 20]), Some((0.0, 1.0)));
        assert_eq!(rank_correlation(&[1.0, 2.0]), None);
    }

    #[test]
    fn ties_share_their_ranks() {
        assert_eq!(ranks(&[2.0, 1.0, 2.0, 5.0]), [2.5, 1.0, 2.5, 4.0]);
    }

    #[test]
    fn noise_seldom_looks_like_a_trend_or_an_order_effect() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(4);
        let trials = 1000;
        let (mut trends, mut orders) = (0, 0);
        for _ in 0..trials {
            let values: Vec<f64> = (0..20).map(|_| rng.random()).collect();
            trends += u32::from(rank_correlation(&values).unwrap().1 < 0.05);
            let rounds: Vec<(f64, bool)> = values
                .iter()
                .zip(0..)
                .map(|(value, round)| (*value, round % 2 == 0))
                .collect();
            orders += u32::from(order_effect(&rounds).unwrap().p_value < 0.05);
        }
        assert!((30..=75).contains(&trends), "{trends} of {trials}");
        assert!((30..=75).contains(&orders), "{orders} of {trials}");
    }

    #[test]
    fn going_second_shows() {
        let rounds: Vec<(f64, bool)> = (0..10)
            .map(|round| {
                (
                    0.1 * f64::from(round % 2) + 0.001 * f64::from(round),
                    round % 2 == 0,
                )
            })
            .collect();
        let effect = order_effect(&rounds).unwrap();
        assert!(effect.p_value < 0.001 && effect.factor < 0.95, "{effect:?}");
        assert_eq!(order_effect(&rounds[..4]), None);
    }

    proptest! {
        #[test]
        fn a_trend_backwards_is_the_opposite_trend(values in prop::collection::vec(0.0..1.0f64, 5..40)) {
            let backwards: Vec<f64> = values.iter().rev().copied().collect();
            let (forth, back) = (rank_correlation(&values).unwrap(), rank_correlation(&backwards).unwrap());
            prop_assert!((forth.0 + back.0).abs() < 1e-9 && (forth.1 - back.1).abs() < 1e-9);
        }
    }
}
