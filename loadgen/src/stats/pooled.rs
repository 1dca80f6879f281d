//! Statistics of several rounds taken together, computed again for every draw of the bootstrap.
//!
//! A draw says how often each round was drawn. Each statistic keeps what it needs per round, so that five thousand draws
//! over tens of thousands of gaps between tokens take a fraction of a second.

use super::{NoRatio, minimum_samples, rank};

/// A figure of the rounds of one target.
pub trait Pooled {
    /// How many rounds there are.
    fn rounds(&self) -> usize;

    /// The figure when round `r` counts `times[r]` times.
    ///
    /// # Errors
    /// [`NoRatio`] when these rounds have no such figure, or none that can be divided.
    fn of(&self, times: &[u32]) -> Result<f64, NoRatio>;

    /// Whether there are samples enough to say anything about this figure.
    ///
    /// # Errors
    /// [`NoRatio::FewSamples`] with the number needed.
    fn enough(&self) -> Result<(), NoRatio> {
        Ok(())
    }
}

/// A quantile over the requests of all rounds, by nearest rank.
#[derive(Debug)]
pub struct Quantile {
    /// Value and round, in the order of the values.
    sorted: Vec<(f64, u32)>,
    /// Requests per round.
    sizes: Vec<usize>,
    quantile: f64,
}

impl Quantile {
    /// The `quantile` of `rounds[r]`, the values of round r.
    pub fn new(rounds: &[Vec<f64>], quantile: f64) -> Self {
        let mut sorted: Vec<(f64, u32)> = rounds
            .iter()
            .zip(0..)
            .flat_map(|(values, round)| values.iter().map(move |value| (*value, round)))
            .collect();
        sorted.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        Self {
            sorted,
            sizes: rounds.iter().map(Vec::len).collect(),
            quantile,
        }
    }
}

impl Pooled for Quantile {
    fn rounds(&self) -> usize {
        self.sizes.len()
    }

    fn of(&self, times: &[u32]) -> Result<f64, NoRatio> {
        let count: usize = self
            .sizes
            .iter()
            .zip(times)
            .map(|(size, times)| size * *times as usize)
            .sum();
        if count == 0 {
            return Err(NoRatio::FewSamples(minimum_samples(self.quantile)));
        }
        // The upper quantiles are the ones asked for: counted from above, few values are looked at.
        let mut above = count - rank(count, self.quantile) + 1;
        for (value, round) in self.sorted.iter().rev() {
            let here = times[*round as usize] as usize;
            if here >= above {
                return divisible(*value);
            }
            above -= here;
        }
        unreachable!("the rank is at most the count")
    }

    fn enough(&self) -> Result<(), NoRatio> {
        let needed = minimum_samples(self.quantile);
        if self.sorted.len() < needed {
            return Err(NoRatio::FewSamples(needed));
        }
        Ok(())
    }
}

/// A sum over a sum: tokens per second of all rounds (tokens, seconds), or a mean (values, how many).
#[derive(Debug)]
pub struct Quotient {
    rounds: Vec<(f64, f64)>,
}

impl Quotient {
    /// What each round adds above and below the line.
    pub fn new(rounds: Vec<(f64, f64)>) -> Self {
        Self { rounds }
    }

    /// The mean of all values.
    pub fn mean(rounds: &[Vec<f64>]) -> Self {
        Self::new(
            rounds
                .iter()
                .map(|values| (values.iter().sum(), values.len() as f64))
                .collect(),
        )
    }

    /// The mean of one figure per round, such as its peak memory.
    pub fn of_rounds(figures: &[f64]) -> Self {
        Self::new(figures.iter().map(|figure| (*figure, 1.0)).collect())
    }
}

impl Pooled for Quotient {
    fn rounds(&self) -> usize {
        self.rounds.len()
    }

    fn of(&self, times: &[u32]) -> Result<f64, NoRatio> {
        let sum = |part: fn(&(f64, f64)) -> f64| -> f64 {
            self.rounds
                .iter()
                .zip(times)
                .map(|(round, times)| part(round) * f64::from(*times))
                .sum()
        };
        let below = sum(|round| round.1);
        if below == 0.0 {
            return Err(NoRatio::Zero);
        }
        divisible(sum(|round| round.0) / below)
    }
}

fn divisible(value: f64) -> Result<f64, NoRatio> {
    if value.is_infinite() {
        Err(NoRatio::Failures)
    } else if value > 0.0 {
        Ok(value)
    } else {
        Err(NoRatio::Zero)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::nearest_rank;

    proptest! {
        #[test]
        fn a_draw_is_the_quantile_of_the_rounds_written_out(
            rounds in prop::collection::vec(prop::collection::vec(0.1..1e3f64, 1..20), 1..12),
            quantile in 0.01..1.0f64,
            seed in any::<u64>(),
        ) {
            let times: Vec<u32> = (0..rounds.len()).map(|round| (seed >> (2 * round)) as u32 & 3).collect();
            let mut pool: Vec<f64> = Vec::new();
            for (round, times) in rounds.iter().zip(&times) {
                (0..*times).for_each(|_| pool.extend(round));
            }
            let got = Quantile::new(&rounds, quantile).of(&times);
            match nearest_rank(&mut pool, quantile) {
                Some(expected) => prop_assert_eq!(got, Ok(expected)),
                None => prop_assert!(got.is_err()),
            }
        }
    }

    #[test]
    fn throughput_is_work_over_time_and_not_a_mean_of_rates() {
        let rate = Quotient::new(vec![(100.0, 1.0), (100.0, 3.0)]);
        assert_eq!(rate.of(&[1, 1]), Ok(50.0));
        assert_eq!(rate.of(&[0, 2]), Ok(100.0 / 3.0));
        assert_eq!(rate.of(&[0, 0]), Err(NoRatio::Zero));
        assert_eq!(
            Quotient::mean(&[vec![1.0, 2.0], vec![6.0]]).of(&[1, 1]),
            Ok(3.0)
        );
        assert_eq!(Quotient::of_rounds(&[4.0, 8.0]).of(&[1, 1]), Ok(6.0));
    }

    #[test]
    fn what_cannot_be_divided_says_why() {
        assert_eq!(
            Quantile::new(&[vec![1.0, f64::INFINITY]], 1.0).of(&[1]),
            Err(NoRatio::Failures)
        );
        assert_eq!(
            Quantile::new(&[vec![0.0]], 0.5).of(&[1]),
            Err(NoRatio::Zero)
        );
    }
}
