//! The method on a machine whose time is made up: two servers on it, measured as `run` measures, judged as reports judge.
//!
//! Real servers cannot be measured two hundred times in a test, and a real machine does not drift on demand. Here a clock
//! that only adds numbers runs through thousands of rounds in a second. Every seed is fixed, so nothing can flake.

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, LogNormal, StandardNormal};

use super::{Better, PairedRounds, Ratio, Verdict, order_effect, ratio, verdict};

/// A server: its median latency and how much latencies vary.
#[derive(Clone, Copy)]
struct Server {
    median_ms: f64,
    sigma: f64,
}

/// What the machine does to everything that runs on it.
#[derive(Clone, Copy)]
struct Machine {
    /// How far its speed wanders over one run, as a standard deviation of the logarithm.
    drift: f64,
    /// How much slower it is for whoever goes second in a round.
    second_slower: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Schedule {
    /// AB, BA, AB, ...
    Alternating,
    /// All rounds of A, then all of B.
    Sequential,
}

#[derive(Clone, Copy)]
struct Size {
    rounds: usize,
    requests: usize,
}

const QUIET: Machine = Machine {
    drift: 0.0,
    second_slower: 1.0,
};
const DRIFTING: Machine = Machine {
    drift: 0.10,
    ..QUIET
};
const MARGIN: f64 = 0.03;

/// The latencies of both servers by round, in milliseconds.
struct Measured {
    candidate: Vec<Vec<f64>>,
    baseline: Vec<Vec<f64>>,
    candidate_first: Vec<bool>,
}

fn measure(
    candidate: Server,
    baseline: Server,
    machine: Machine,
    schedule: Schedule,
    size: Size,
    seed: u64,
) -> Measured {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    // The logarithm of the machine's slowness, one value per slot: a slow walk that returns to the middle.
    let persistence: f64 = 1.0 - 2.0 / size.rounds as f64;
    let step = machine.drift * (1.0 - persistence * persistence).sqrt();
    let mut slowness: f64 = machine.drift * rng.sample::<f64, _>(StandardNormal);
    let mut walk = || {
        slowness = persistence * slowness + step * rng.sample::<f64, _>(StandardNormal);
        slowness.exp()
    };
    let slots: Vec<f64> = (0..2 * size.rounds).map(|_| walk()).collect();

    let mut measured = Measured {
        candidate: Vec::new(),
        baseline: Vec::new(),
        candidate_first: Vec::new(),
    };
    for round in 0..size.rounds {
        let candidate_first =
            schedule == Schedule::Sequential || (round as u64 ^ seed).is_multiple_of(2);
        let slot = |turn: usize| match schedule {
            Schedule::Alternating => {
                slots[2 * round + turn]
                    * if turn == 1 {
                        machine.second_slower
                    } else {
                        1.0
                    }
            }
            Schedule::Sequential => slots[turn * size.rounds + round],
        };
        let (for_candidate, for_baseline) = if candidate_first {
            (slot(0), slot(1))
        } else {
            (slot(1), slot(0))
        };
        let mut serve = |server: Server, slowness: f64| -> Vec<f64> {
            let latency =
                LogNormal::new(server.median_ms.ln(), server.sigma).expect("sigma is positive");
            (0..size.requests)
                .map(|_| slowness * latency.sample(&mut rng))
                .collect()
        };
        measured.candidate.push(serve(candidate, for_candidate));
        measured.baseline.push(serve(baseline, for_baseline));
        measured.candidate_first.push(candidate_first);
    }
    measured
}

impl Measured {
    fn ratio(&self, seed: u64) -> Ratio {
        let rounds = PairedRounds {
            candidate: &self.candidate,
            baseline: &self.baseline,
        };
        ratio(rounds, 0.95, seed).unwrap()
    }
}

fn is_significant(ratio: &Ratio) -> bool {
    ratio.interval.high < 1.0 || ratio.interval.low > 1.0
}

fn count(seeds: std::ops::Range<u64>, holds: impl Fn(u64) -> bool) -> usize {
    seeds.filter(|seed| holds(*seed)).count()
}

const TYPICAL: Server = Server {
    median_ms: 100.0,
    sigma: 0.25,
};
const STEADY: Server = Server {
    median_ms: 100.0,
    sigma: 0.08,
};
const NORMAL: Size = Size {
    rounds: 20,
    requests: 10,
};

#[test]
fn two_hundred_null_comparisons_are_significant_at_most_as_often_as_promised() {
    for machine in [QUIET, DRIFTING] {
        let significant = count(0..200, |seed| {
            is_significant(
                &measure(
                    TYPICAL,
                    TYPICAL,
                    machine,
                    Schedule::Alternating,
                    NORMAL,
                    seed,
                )
                .ratio(seed),
            )
        });
        assert!(
            significant <= 16,
            "{significant} of 200 at drift {}",
            machine.drift
        );
    }
}

#[test]
fn one_after_the_other_finds_differences_that_are_not_there() {
    let significant = |schedule| {
        count(0..200, |seed| {
            is_significant(&measure(STEADY, STEADY, DRIFTING, schedule, NORMAL, seed).ratio(seed))
        })
    };
    let (alternating, sequential) = (
        significant(Schedule::Alternating),
        significant(Schedule::Sequential),
    );
    assert!(
        alternating <= 16 && sequential >= 50,
        "{alternating} and {sequential} of 200"
    );
}

#[test]
fn a_tenth_slower_is_found_and_the_interval_holds_it() {
    let slower = Server {
        median_ms: 110.0,
        ..STEADY
    };
    let size = Size {
        rounds: 30,
        requests: 20,
    };
    for machine in [QUIET, DRIFTING] {
        let ratios: Vec<Ratio> = (0..100)
            .map(|seed| {
                measure(slower, STEADY, machine, Schedule::Alternating, size, seed).ratio(seed)
            })
            .collect();
        let count =
            |holds: &dyn Fn(&Ratio) -> bool| ratios.iter().filter(|ratio| holds(ratio)).count();
        let found = count(&|ratio| verdict(ratio, Better::Lower, MARGIN) == Verdict::Slower);
        let covered = count(&|ratio| ratio.interval.low <= 1.10 && 1.10 <= ratio.interval.high);
        assert!(
            found >= 90 && covered >= 90,
            "found {found}, covered {covered} of 100 at drift {}",
            machine.drift
        );
    }
}

#[test]
fn the_interval_covers_the_truth_when_the_shapes_differ() {
    // The true ratio of the P95s of two log-normal servers with the same median.
    let (narrow, wide) = (
        Server {
            sigma: 0.25,
            ..TYPICAL
        },
        Server {
            sigma: 0.45,
            ..TYPICAL
        },
    );
    let truth = (1.644_853_627 * (wide.sigma - narrow.sigma)).exp();
    let covered = count(0..200, |seed| {
        let ratio = measure(
            wide,
            narrow,
            QUIET,
            Schedule::Alternating,
            Size {
                rounds: 20,
                requests: 20,
            },
            seed,
        )
        .ratio(seed);
        ratio.interval.low <= truth && truth <= ratio.interval.high
    });
    assert!(covered >= 184, "{covered} of 200");
}

#[test]
fn an_effect_of_the_order_is_found_and_does_not_move_the_ratio() {
    let biased = Machine {
        second_slower: 1.05,
        ..QUIET
    };
    let medians = |rounds: &[Vec<f64>]| -> Vec<f64> {
        rounds
            .iter()
            .map(|values| super::nearest_rank(&mut values.clone(), 0.5).unwrap())
            .collect()
    };
    let found = count(0..50, |seed| {
        let measured = measure(STEADY, STEADY, biased, Schedule::Alternating, NORMAL, seed);
        let log_ratios = medians(&measured.candidate)
            .into_iter()
            .zip(medians(&measured.baseline))
            .map(|(candidate, baseline)| (candidate / baseline).ln());
        let rounds: Vec<(f64, bool)> = log_ratios.zip(measured.candidate_first).collect();
        order_effect(&rounds).unwrap().p_value < 0.01
    });
    let wrong = count(0..50, |seed| {
        let ratio =
            measure(STEADY, STEADY, biased, Schedule::Alternating, NORMAL, seed).ratio(seed);
        is_significant(&ratio) && verdict(&ratio, Better::Lower, MARGIN) != Verdict::Equivalent
    });
    assert!(
        found >= 40 && wrong <= 4,
        "found {found}, wrong {wrong} of 50"
    );
}
