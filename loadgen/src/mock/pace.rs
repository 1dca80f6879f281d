use std::{
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, LogNormal};
use tokio::time::Instant;

/// How the mock's times depend on when a request comes and on chance.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Every time is multiplied by a random factor whose logarithm varies this much (standard deviation)
    #[arg(long, value_name = "SIGMA", default_value_t = 0.0, value_parser = spread)]
    jitter: f64,

    /// Every time grows by this share per minute, as on a machine that heats up: 0.1 is 10 %
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = spread)]
    drift_per_minute: f64,

    /// The whole server stands still for this long, so long after its first request: 2s@5s
    #[arg(long, value_name = "DURATION@DURATION")]
    freeze: Option<Freeze>,

    /// Seed of the jitter
    #[arg(long, value_name = "N", default_value_t = 1)]
    jitter_seed: u64,
}

/// A time in which nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Freeze {
    length: Duration,
    after: Duration,
}

impl FromStr for Freeze {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let (length, after) = typed
            .split_once('@')
            .ok_or("write how long and after what time: 2s@5s")?;
        Ok(Self {
            length: crate::units::duration(length)?,
            after: crate::units::duration(after)?,
        })
    }
}

fn spread(typed: &str) -> Result<f64, String> {
    match typed.parse() {
        Ok(value) if (0.0..=10.0).contains(&value) => Ok(value),
        _ => Err("write a number from 0 to 10".into()),
    }
}

/// Turns the times of a script into those of one request.
#[derive(Debug)]
pub(super) struct Pace {
    args: Args,
    rng: Mutex<Xoshiro256PlusPlus>,
    first: Mutex<Option<Instant>>,
}

/// The times of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Schedule {
    arrived: Instant,
    factor: f64,
    /// When the server stands still.
    frozen: Option<(Instant, Instant)>,
}

impl Pace {
    pub(super) fn new(args: &Args) -> Self {
        Self {
            args: args.clone(),
            rng: Mutex::new(Xoshiro256PlusPlus::seed_from_u64(args.jitter_seed)),
            first: Mutex::new(None),
        }
    }

    /// The schedule of a request that arrived now.
    pub(super) fn schedule(&self, arrived: Instant) -> Schedule {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *first.get_or_insert(arrived);
        let minutes = arrived.saturating_duration_since(first).as_secs_f64() / 60.0;
        Schedule {
            arrived,
            factor: (1.0 + self.args.drift_per_minute * minutes) * self.jitter(),
            frozen: self.args.freeze.map(|freeze| {
                let from = first + freeze.after;
                (from, from + freeze.length)
            }),
        }
    }

    fn jitter(&self) -> f64 {
        if self.args.jitter == 0.0 {
            return 1.0;
        }
        let factor = LogNormal::new(0.0, self.args.jitter)
            .expect("the command line takes no negative spread");
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        factor.sample(&mut *rng)
    }
}

impl Schedule {
    /// When something is due that the script sets `after` the request.
    pub(super) fn due(&self, after: Duration) -> Instant {
        let due = self.arrived + after.mul_f64(self.factor);
        match self.frozen {
            Some((from, until)) if due >= from && self.arrived < until => {
                due + (until - from.max(self.arrived))
            }
            _ => due,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(jitter: f64, drift_per_minute: f64, freeze: Option<&str>) -> Pace {
        Pace::new(&Args {
            jitter,
            drift_per_minute,
            freeze: freeze.map(|typed| typed.parse().unwrap()),
            jitter_seed: 1,
        })
    }

    #[test]
    fn without_options_times_are_those_of_the_script() {
        let start = Instant::now();
        let schedule = pace(0.0, 0.0, None).schedule(start);
        assert_eq!(
            schedule.due(Duration::from_millis(20)),
            start + Duration::from_millis(20)
        );
    }

    #[test]
    fn a_frozen_server_goes_on_where_it_stopped() {
        let start = Instant::now();
        let pace = pace(0.0, 0.0, Some("2s@5s"));
        let after = |from_s: f64, due_ms: u64| {
            let arrived = start + Duration::from_secs_f64(from_s);
            let due = pace.schedule(arrived).due(Duration::from_millis(due_ms));
            (due - arrived).as_millis()
        };
        assert_eq!(after(0.0, 100), 100);
        assert_eq!(after(4.95, 30), 30, "done before");
        assert_eq!(after(4.95, 100), 2100, "in the middle");
        assert_eq!(after(6.0, 100), 1100, "arrived in it");
        assert_eq!(after(7.0, 100), 100, "over");
        assert!("2s".parse::<Freeze>().is_err());
    }

    #[test]
    fn drift_makes_later_requests_slower() {
        let start = Instant::now();
        let pace = pace(0.0, 0.1, None);
        pace.schedule(start);
        let arrived = start + Duration::from_secs(60);
        assert_eq!(
            pace.schedule(arrived).due(Duration::from_millis(100)) - arrived,
            Duration::from_millis(110)
        );
    }

    #[test]
    fn jitter_varies_and_keeps_the_median() {
        let start = Instant::now();
        let pace = pace(0.2, 0.0, None);
        let mut times: Vec<f64> = (0..999)
            .map(|_| (pace.schedule(start).due(Duration::from_millis(100)) - start).as_secs_f64())
            .collect();
        let median = crate::stats::nearest_rank(&mut times, 0.5).unwrap();
        assert!((0.097..0.103).contains(&median), "{median}");
        assert!(times.iter().any(|time| *time > 0.13));
    }
}
