mod typed;

use std::{path::PathBuf, sync::Arc, time::Duration};

use rand::{RngExt, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, Exp1, Gamma};
use serde::Serialize;

pub(super) use typed::{Typed, meant};

/// At which pace requests come: one point that is measured, or a search for one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Load {
    /// Measured as it is, round by round, at every target.
    Point(LoadPoint),
    /// The highest rate that keeps a promise is looked for at each target.
    Search(Search),
}

/// One pace.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "model", rename_all = "snake_case")]
pub enum LoadPoint {
    /// So many callers, each of which sends its next request when its last is answered.
    Closed {
        /// Callers.
        concurrency: usize,
    },
    /// Requests come when they come, whether earlier ones are answered or not.
    Open {
        /// How the times between them vary.
        arrival: Arrival,
        /// Requests (conversations, if they have several turns) per second.
        rate: f64,
        /// More than this many at once wait, and the wait counts.
        max_in_flight: usize,
    },
    /// An open loop whose rate rises or falls evenly over a round.
    Ramp {
        /// Requests per second at the start.
        from: f64,
        /// Requests per second at the end.
        to: f64,
        /// More than this many at once wait, and the wait counts.
        max_in_flight: usize,
    },
    /// An open loop with recorded times of arrival.
    Trace {
        /// The file of rows with `at_ms`.
        path: PathBuf,
        /// How many times faster than recorded.
        speed: f64,
        /// When each request comes, from the first; as recorded.
        #[serde(skip)]
        arrivals: Arc<Vec<Duration>>,
        /// More than this many at once wait, and the wait counts.
        max_in_flight: usize,
    },
}

/// How the times between requests vary.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// Not at all.
    Constant,
    /// As if each came by chance: exponential.
    Poisson,
    /// Gamma of this shape: 1 is Poisson, less comes in bursts, more is more even.
    Gamma(f64),
}

/// A search for the highest rate at which a promise is kept: doubling, then bisection.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Search {
    /// What is promised.
    pub metric: SloMetric,
    /// The percentile of the requests that must keep it, as a share: 0.95.
    pub quantile: f64,
    /// How long it may take.
    pub max: Duration,
    /// How the times between requests vary.
    pub arrival: Arrival,
    /// The first rate that is tried, per second.
    pub start: f64,
    /// The highest rate that is tried, per second.
    pub limit: f64,
    /// Bisection ends when the bounds are this near, as a share of the lower one.
    pub precision: f64,
    /// More than this many at once wait, and the wait counts.
    pub max_in_flight: usize,
}

/// What a promise is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SloMetric {
    /// From the intended start to the first text.
    Ttft,
    /// Per output token after the first.
    Tpot,
    /// From the intended start to the last byte.
    E2e,
}

impl LoadPoint {
    /// In words, for tables and progress: `closed c=4`, `open poisson 2/s`.
    pub fn label(&self) -> String {
        match self {
            Self::Closed { concurrency } => format!("closed c={concurrency}"),
            Self::Open { arrival, rate, .. } => format!("open {} {rate}/s", arrival.label()),
            Self::Ramp { from, to, .. } => format!("ramp {from} to {to}/s"),
            Self::Trace { speed, .. } => format!("trace x{speed}"),
        }
    }

    /// Callers of a closed loop.
    pub fn concurrency(&self) -> Option<usize> {
        match self {
            Self::Closed { concurrency } => Some(*concurrency),
            Self::Open { .. } | Self::Ramp { .. } | Self::Trace { .. } => None,
        }
    }

    /// The rate that is asked for, per second, on average; `None` for a closed loop, which asks for none.
    pub fn rate(&self) -> Option<f64> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { rate, .. } => Some(*rate),
            Self::Ramp { from, to, .. } => Some(f64::midpoint(*from, *to)),
            Self::Trace {
                speed, arrivals, ..
            } => {
                let span = arrivals.last()?.as_secs_f64() / speed;
                (span > 0.0).then(|| arrivals.len() as f64 / span)
            }
        }
    }

    /// Requests that a round has because of this load rather than because of the workload.
    pub fn requests(&self) -> Option<usize> {
        match self {
            Self::Trace { arrivals, .. } => Some(arrivals.len()),
            Self::Closed { .. } | Self::Open { .. } | Self::Ramp { .. } => None,
        }
    }
}

impl Arrival {
    /// In words.
    pub fn label(self) -> String {
        match self {
            Self::Constant => "constant".into(),
            Self::Poisson => "poisson".into(),
            Self::Gamma(shape) => format!("gamma({shape})"),
        }
    }

    /// One time between two requests, in units of the mean time.
    fn gap(self, rng: &mut Xoshiro256PlusPlus) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Poisson => rng.sample(Exp1),
            Self::Gamma(shape) => Gamma::new(shape, 1.0 / shape)
                .expect("the shape was checked when it was read")
                .sample(rng),
        }
    }
}

impl SloMetric {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::E2e => "e2e",
        }
    }
}

/// When each of `count` requests is to be sent, from the start of the round; `None` for a closed loop, where that depends on
/// the replies.
pub fn offsets(
    load: &LoadPoint,
    count: usize,
    rng: &mut Xoshiro256PlusPlus,
) -> Option<Vec<Duration>> {
    match load {
        LoadPoint::Closed { .. } => None,
        LoadPoint::Open { arrival, rate, .. } => {
            let mut at = 0.0;
            let mut offsets = Vec::with_capacity(count);
            for _ in 0..count {
                offsets.push(Duration::from_secs_f64(at / rate));
                at += arrival.gap(rng);
            }
            Some(offsets)
        }
        LoadPoint::Ramp { from, to, .. } => Some(
            (0..count)
                .map(|index| ramp_offset(*from, *to, count, index))
                .collect(),
        ),
        LoadPoint::Trace {
            speed, arrivals, ..
        } => Some(
            arrivals
                .iter()
                .take(count)
                .map(|at| at.div_f64(*speed))
                .collect(),
        ),
    }
}

/// With the rate going evenly from `from` to `to` while `count` requests come, the round takes T = 2·count/(from+to), and
/// after time t, from·t + (to-from)·t²/2T have come. Solved for t.
fn ramp_offset(from: f64, to: f64, count: usize, index: usize) -> Duration {
    let length = 2.0 * count as f64 / (from + to);
    let bend = (to - from) / (2.0 * length);
    let index = index as f64;
    // The form of the root that stays exact when the rate hardly changes.
    let root = (from * from + 4.0 * bend * index).max(0.0).sqrt();
    Duration::from_secs_f64(2.0 * index / (from + root))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn seconds(load: &LoadPoint, count: usize) -> Vec<f64> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(9);
        let offsets = offsets(load, count, &mut rng).unwrap();
        offsets.iter().map(Duration::as_secs_f64).collect()
    }

    fn open(arrival: Arrival) -> LoadPoint {
        LoadPoint::Open {
            arrival,
            rate: 10.0,
            max_in_flight: 100,
        }
    }

    /// Mean and coefficient of variation of the times between arrivals.
    fn spread(arrival: Arrival) -> (f64, f64) {
        let at = seconds(&open(arrival), 20_000);
        let gaps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn arrivals_have_the_rate_and_the_spread_of_their_distribution() {
        let check = |arrival, variation: f64| {
            let (mean, got) = spread(arrival);
            assert!((mean - 0.1).abs() < 0.005, "{arrival:?}: {mean}");
            assert!(
                (got - variation).abs() < 0.02 + 0.05 * variation,
                "{arrival:?}: {got}"
            );
        };
        check(Arrival::Constant, 0.0);
        check(Arrival::Poisson, 1.0);
        check(Arrival::Gamma(4.0), 0.5);
        check(Arrival::Gamma(0.25), 2.0);
    }

    #[test]
    fn the_first_request_comes_at_once() {
        assert_eq!(seconds(&open(Arrival::Constant), 3), [0.0, 0.1, 0.2]);
    }

    #[test]
    fn a_ramp_goes_from_its_first_rate_to_its_last() {
        let ramp = LoadPoint::Ramp {
            from: 10.0,
            to: 30.0,
            max_in_flight: 100,
        };
        let at = seconds(&ramp, 2_000);
        let rate = |index: usize| 10.0 / (at[index + 10] - at[index]);
        assert!((rate(0) - 10.0).abs() < 0.5, "{}", rate(0));
        assert!((rate(1_989) - 30.0).abs() < 0.5, "{}", rate(1_989));
        assert!((at[1_999] - 100.0).abs() < 0.5);
        let flat = LoadPoint::Ramp {
            from: 5.0,
            to: 5.0,
            max_in_flight: 100,
        };
        assert_eq!(seconds(&flat, 3), [0.0, 0.2, 0.4]);
    }

    #[test]
    fn a_trace_is_replayed_at_its_speed() {
        let arrivals = [0, 100, 400].map(Duration::from_millis).to_vec();
        let trace = LoadPoint::Trace {
            path: "t.jsonl".into(),
            speed: 2.0,
            arrivals: arrivals.into(),
            max_in_flight: 100,
        };
        assert_eq!(seconds(&trace, 3), [0.0, 0.05, 0.2]);
        assert_eq!(trace.rate(), Some(15.0));
    }
}
