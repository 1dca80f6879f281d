use std::time::{Duration, Instant};

use super::Cell;
use crate::stats::{self, PairedRounds};

/// Rounds that are measured at most when a precision is asked for.
const MOST_ROUNDS: u32 = 500;

/// Rounds before the precision is looked at: fewer have no interval.
const FEWEST_ROUNDS: u32 = 6;

/// When enough has been measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stopping {
    /// Half the width of the interval, as a share of the ratio, that is precise enough. The width alone decides, never the
    /// verdict: stopping at the first significant result would find differences between equal servers.
    pub precision: Option<f64>,
    /// No round begins after this time.
    pub max_time: Option<Duration>,
}

/// The rounds of one load.
#[derive(Debug)]
pub(super) struct Rounds {
    stopping: Stopping,
    most: u32,
    next: u32,
    enough: bool,
}

impl Stopping {
    /// The rounds of one load, `count` unless a precision is asked for.
    pub(super) fn rounds(self, count: u32) -> Rounds {
        Rounds {
            stopping: self,
            most: match self.precision {
                Some(_) => MOST_ROUNDS,
                None => count,
            },
            next: 0,
            enough: false,
        }
    }
}

impl Rounds {
    /// The next round; `None` when enough was measured or the time is over. The first is always measured.
    pub(super) fn next(&mut self, ends: Option<Instant>) -> Option<u32> {
        let late = self.next > 0 && ends.is_some_and(|ends| Instant::now() >= ends);
        if late || self.enough || self.next >= self.most {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    /// Looks whether what was measured is precise enough: every target's P95 end-to-end against the last one's, or the only
    /// target's own.
    pub(super) fn look_at(&mut self, cell: &Cell, seed: u64) {
        let Some(wanted) = self.stopping.precision else {
            return;
        };
        if self.next < FEWEST_ROUNDS {
            return;
        }
        let targets: Vec<Vec<Vec<f64>>> = (0..cell.unstable.len())
            .map(|target| seconds(cell, target))
            .filter(|rounds| !rounds.is_empty())
            .collect();
        self.enough = match targets.as_slice() {
            [] => true,
            [only] => own_half_width(only).is_some_and(|width| width <= wanted),
            [candidates @ .., baseline] => candidates.iter().all(|candidate| {
                let rounds = PairedRounds {
                    candidate,
                    baseline,
                };
                stats::ratio(rounds, 0.95, seed).is_ok_and(|ratio| {
                    (ratio.interval.high / ratio.interval.low).sqrt() - 1.0 <= wanted
                })
            }),
        };
    }
}

/// End-to-end times by round; failures are infinitely long.
fn seconds(cell: &Cell, target: usize) -> Vec<Vec<f64>> {
    cell.rounds
        .iter()
        .filter_map(|round| round[target].as_ref())
        .map(|slot| {
            let time = |sample: &super::Sample| match sample.outcome {
                Ok(_) => sample.response_time().as_secs_f64(),
                Err(_) => f64::INFINITY,
            };
            slot.samples.iter().map(time).collect()
        })
        .collect()
}

fn own_half_width(rounds: &[Vec<f64>]) -> Option<f64> {
    let values = rounds.concat();
    let interval = stats::quantile_interval(&values, 0.95).ok()?;
    Some((interval.high / interval.low).sqrt() - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        run::{Slot, record::testing::text},
        workload::LoadPoint,
    };

    fn cell(rounds: u64, spread_ms: u64) -> Cell {
        let slot = |round: u64, scale: u64| Slot {
            order: 0,
            wall: Duration::ZERO,
            started_ns: 0,
            samples: (0..20)
                .map(|index| {
                    let end = scale + (index * 7 + round * 3) % 20 * spread_ms + round * 5 % 7;
                    text([0, 0, end], &[end], 1, false)
                })
                .collect(),
            new_connections: 0,
            noise: crate::host::Noise::default(),
            resident: None,
        };
        Cell {
            load: LoadPoint::Closed { concurrency: 1 },
            rounds: (0..rounds)
                .map(|round| vec![Some(slot(round, 1000)), Some(slot(round + 1, 1000))])
                .collect(),
            unstable: vec![None; 2],
        }
    }

    fn drained(mut rounds: Rounds, cell: &Cell) -> u32 {
        let mut count = 0;
        while rounds.next(None).is_some() {
            count += 1;
            rounds.look_at(cell, 1);
        }
        count
    }

    #[test]
    fn rounds_are_counted_unless_a_precision_is_wanted() {
        let fixed = Stopping::default();
        assert_eq!(drained(fixed.rounds(7), &cell(10, 10)), 7);
        let precise = Stopping {
            precision: Some(0.05),
            max_time: None,
        };
        assert_eq!(drained(precise.rounds(7), &cell(10, 1)), FEWEST_ROUNDS);
        let impossible = Stopping {
            precision: Some(1e-9),
            max_time: None,
        };
        assert_eq!(drained(impossible.rounds(7), &cell(10, 10)), MOST_ROUNDS);
    }

    #[test]
    fn no_round_begins_after_the_time_is_over_but_the_first() {
        let mut rounds = Stopping::default().rounds(7);
        let over = Some(Instant::now());
        assert_eq!(rounds.next(over), Some(0));
        assert_eq!(rounds.next(over), None);
    }
}
