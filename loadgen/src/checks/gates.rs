//! The conditions of a trustworthy measurement, each a pure function of what was measured.
//!
//! A gate that fails makes the measurement invalid (exit code 4); one that only warns is printed beside the results. What
//! could not be measured is unknown, never passed.

use std::time::Duration;

use statrs::distribution::{Binomial, DiscreteCDF};

use super::{Gate, Outcome};
use crate::{
    host::Noise,
    stats::{self, Flow, OrderEffect},
};

/// Later than this, or than [`LAG_SHARE`] of the median time to the first text, requests were not sent when they should
/// have been.
const LAG_FLOOR_MS: f64 = 2.0;
/// See [`LAG_FLOOR_MS`].
const LAG_SHARE: f64 = 0.01;
/// How many of a client's requests may be later, which is what a limit of the P99 says.
const LATE_SHARE: f64 = 0.01;
/// An open loop must arrive this close to the rate that was asked for.
const RATE_SHARE: f64 = 0.01;
/// A client that uses more of its processors than this measures itself.
const CLIENT_CPU_SHARE: f64 = 0.70;
/// The client's own noise may be at most this share of what it measures.
const NOISE_FLOOR_SHARE: f64 = 0.05;
/// More failures than this, and latencies describe another kind of work.
const ERROR_SHARE: f64 = 0.01;
/// Replies of different lengths are different work.
pub const EQUAL_LENGTH_SHARE: f64 = 0.95;
/// A warm request spends no more of its time on loading.
const LOAD_SHARE: f64 = 0.01;
/// Servers count the look-up of a loaded model as loading; what is shorter than this is no reload.
const LOAD_FLOOR_MS: f64 = 20.0;
/// A processor that became slower than this share of its fastest round.
const CLOCK_DROP: f64 = 0.10;
/// How far Little's law may be off.
const FLOW_IMBALANCE: f64 = 0.05;
/// A trend, an order effect or lateness must be this improbable by chance before it is believed: a run has dozens of them.
const BELIEVED_P: f64 = 0.01;

/// Requests left when they should: `lags_ms` are from the intended to the actual start of each. One late request of a few is no P99: only more
/// of them than chance would give a client that keeps the limit make the measurement invalid.
pub fn dispatch_lag(scope: &str, lags_ms: &[f64], median_first_ms: Option<f64>) -> Gate {
    let limit = LAG_FLOOR_MS.max(median_first_ms.unwrap_or(0.0) * LAG_SHARE);
    let p99 = stats::nearest_rank(&mut lags_ms.to_vec(), 0.99);
    let late = lags_ms.iter().filter(|lag| **lag >= limit).count() as u64;
    let by_chance = late.checked_sub(1).and_then(|fewer| {
        let late = Binomial::new(LATE_SHARE, lags_ms.len() as u64).ok()?;
        Some(late.sf(fewer))
    });
    let is_believed = by_chance.is_some_and(|by_chance| by_chance < BELIEVED_P);
    Gate {
        id: "dispatch_lag",
        title: "requests leave when they should",
        outcome: below(
            p99,
            limit,
            match is_believed {
                true => Outcome::Fail,
                false => Outcome::Warn,
            },
        ),
        measured: milliseconds(p99),
        limit: format!("P99 < {}", milliseconds(Some(limit))),
        scope: scope.into(),
    }
}

/// An open loop reached the rate it was told to.
pub fn achieved_rate(scope: &str, requested: f64, achieved: f64) -> Gate {
    let off = (achieved - requested).abs() / requested;
    Gate {
        id: "achieved_rate",
        title: "arrivals keep the requested rate",
        outcome: below(Some(off), RATE_SHARE, Outcome::Fail),
        measured: format!("{achieved:.2}/s of {requested:.2}/s"),
        limit: format!("within {}", percent(RATE_SHARE)),
        scope: scope.into(),
    }
}

/// The client had processors to spare: `busy` is what it used during `wall` of `cores` processors.
pub fn client_cpu(scope: &str, busy: Option<Duration>, wall: Duration, cores: usize) -> Gate {
    let share = busy
        .filter(|_| !wall.is_zero() && cores > 0)
        .map(|busy| busy.as_secs_f64() / wall.as_secs_f64() / cores as f64);
    Gate {
        id: "client_cpu",
        title: "the client has processors to spare",
        outcome: below(share, CLIENT_CPU_SHARE, Outcome::Fail),
        measured: shown_percent(share),
        limit: format!("< {} of {cores} processors", percent(CLIENT_CPU_SHARE)),
        scope: scope.into(),
    }
}

/// What the client adds is small against what it measures.
pub fn noise_floor(scope: &str, floor_ms: Option<f64>, metric_ms: Option<f64>) -> Gate {
    let share = floor_ms
        .zip(metric_ms)
        .map(|(floor, metric)| floor / metric);
    Gate {
        id: "noise_floor",
        title: "the client's own noise is small (calibrate)",
        outcome: below(share, NOISE_FLOOR_SHARE, Outcome::Warn),
        measured: match (floor_ms, share) {
            (Some(floor), Some(share)) => {
                format!("{} = {}", milliseconds(Some(floor)), percent(share))
            }
            (Some(floor), None) => milliseconds(Some(floor)),
            (None, _) => "not calibrated".into(),
        },
        limit: format!("< {} of the median", percent(NOISE_FLOOR_SHARE)),
        scope: scope.into(),
    }
}

/// Few requests failed.
pub fn error_rate(scope: &str, failed: u64, requests: u64) -> Gate {
    let share = (requests > 0).then(|| failed as f64 / requests as f64);
    Gate {
        id: "error_rate",
        title: "requests are answered",
        outcome: at_most(share, ERROR_SHARE, Outcome::Warn),
        measured: format!("{failed} of {requests} failed"),
        limit: format!("<= {}", percent(ERROR_SHARE)),
        scope: scope.into(),
    }
}

/// Pairs of equal requests got equally long replies: else end-to-end times compare different work.
pub fn equal_length(scope: &str, share: Option<f64>) -> Gate {
    Gate {
        id: "equal_length",
        title: "both targets generate equally many tokens",
        outcome: match share {
            Some(share) if share >= EQUAL_LENGTH_SHARE => Outcome::Pass,
            Some(_) => Outcome::Fail,
            None => Outcome::Unknown,
        },
        measured: shown_percent(share),
        limit: format!(">= {}", percent(EQUAL_LENGTH_SHARE)),
        scope: scope.into(),
    }
}

/// The model was in memory when requests arrived: `times` are (`load_duration`, end to end) of measured requests, in
/// milliseconds.
pub fn warm(scope: &str, times: &[(f64, f64)]) -> Gate {
    let is_cold = |(load, whole): &&(f64, f64)| *load > (whole * LOAD_SHARE).max(LOAD_FLOOR_MS);
    let cold = times.iter().filter(is_cold).count();
    let longest = times.iter().map(|(load, _)| *load).max_by(f64::total_cmp);
    Gate {
        id: "warm_samples",
        title: "no measured request loads the model",
        outcome: judged(longest.map(|_| cold == 0), Outcome::Fail),
        measured: match longest {
            Some(longest) => format!(
                "{cold} of {} loaded; at most {}",
                times.len(),
                milliseconds(Some(longest))
            ),
            None => "not told".into(),
        },
        limit: format!(
            "loading <= {} of each request, or {}",
            percent(LOAD_SHARE),
            milliseconds(Some(LOAD_FLOOR_MS))
        ),
        scope: scope.into(),
    }
}

/// The model stayed in memory between rounds: how often `/api/ps` lacked it before a round.
pub fn resident(scope: &str, asked: usize, missing: usize) -> Gate {
    Gate {
        id: "model_resident",
        title: "the model stays in memory between rounds",
        outcome: match (asked, missing) {
            (0, _) => Outcome::Unknown,
            (_, 0) => Outcome::Pass,
            _ => Outcome::Fail,
        },
        measured: match asked {
            0 => "not told".into(),
            _ => format!("absent before {missing} of {asked} rounds"),
        },
        limit: "absent before none".into(),
        scope: scope.into(),
    }
}

/// The machine was quiet. Noisy rounds are kept and flagged.
pub fn quiet_machine(scope: &str, rounds: &[Noise]) -> Gate {
    let noisy = rounds.iter().filter(|round| round.is_noisy()).count();
    let is_known = rounds
        .iter()
        .any(|round| round.steal.is_some() || round.others.is_some());
    let worst = |of: fn(&Noise) -> Option<f64>| {
        shown_percent(rounds.iter().filter_map(of).max_by(f64::total_cmp))
    };
    Gate {
        id: "quiet_machine",
        title: "nothing else disturbs the machine",
        outcome: match (is_known, noisy) {
            (false, _) => Outcome::Unknown,
            (true, 0) => Outcome::Pass,
            (true, _) => Outcome::Warn,
        },
        measured: format!(
            "{noisy} of {} rounds noisy; at most {} of the processors to others, {} stolen, {} memory stall",
            rounds.len(),
            worst(|round| round.others),
            worst(|round| round.steal),
            worst(|round| round.memory_stalled),
        ),
        limit: Noise::limits(),
        scope: scope.into(),
    }
}

/// The processors kept their speed.
pub fn clock_frequency(scope: &str, rounds: &[Noise]) -> Gate {
    let frequencies = || rounds.iter().filter_map(|round| round.mhz);
    let drop = frequencies()
        .max_by(f64::total_cmp)
        .zip(frequencies().min_by(f64::total_cmp))
        .map(|(fastest, slowest)| 1.0 - slowest / fastest);
    Gate {
        id: "clock_frequency",
        title: "the processors keep their speed",
        outcome: at_most(drop, CLOCK_DROP, Outcome::Warn),
        measured: format!("{} slower than its fastest round", shown_percent(drop)),
        limit: format!("<= {}", percent(CLOCK_DROP)),
        scope: scope.into(),
    }
}

/// It does not matter which target goes first in a round.
pub fn order(scope: &str, effect: Option<OrderEffect>) -> Gate {
    Gate {
        id: "order_effect",
        title: "it does not matter who goes first in a round",
        outcome: match effect {
            None => Outcome::Unknown,
            Some(effect) if effect.p_value >= BELIEVED_P => Outcome::Pass,
            Some(_) => Outcome::Warn,
        },
        measured: match effect {
            Some(effect) => format!("factor {:.3}, p = {:.3}", effect.factor, effect.p_value),
            None => "too few rounds".into(),
        },
        limit: format!("p >= {BELIEVED_P}"),
        scope: scope.into(),
    }
}

/// The rounds of one target show no trend; the alternating order cancels one that both share.
pub fn steady(scope: &str, round_medians: &[f64]) -> Gate {
    let trend = stats::rank_correlation(round_medians);
    Gate {
        id: "steady_state",
        title: "rounds show no trend over time",
        outcome: match trend {
            None => Outcome::Unknown,
            Some((_, p_value)) if p_value >= BELIEVED_P => Outcome::Pass,
            Some(_) => Outcome::Warn,
        },
        measured: match trend {
            Some((correlation, p_value)) => {
                format!("rank correlation {correlation:+.2}, p = {p_value:.3}")
            }
            None => "too few rounds".into(),
        },
        limit: format!("p >= {BELIEVED_P}"),
        scope: scope.into(),
    }
}

/// Arrivals, stay and requests in flight agree (Little's law): else a queue grew, and the figures of an open loop depend on
/// how long it was watched.
pub fn littles_law(scope: &str, flow: Option<Flow>) -> Gate {
    let off = flow.map(|flow| flow.imbalance().abs());
    Gate {
        id: "littles_law",
        title: "no queue grows (Little's law)",
        outcome: at_most(off, FLOW_IMBALANCE, Outcome::Warn),
        measured: match flow {
            Some(flow) => format!(
                "{:.2} in flight, {:.2} expected",
                flow.in_flight,
                flow.arrival_rate * flow.stay
            ),
            None => "too few requests".into(),
        },
        limit: format!("within {}", percent(FLOW_IMBALANCE)),
        scope: scope.into(),
    }
}

fn below(value: Option<f64>, limit: f64, otherwise: Outcome) -> Outcome {
    judged(value.map(|value| value < limit), otherwise)
}

fn at_most(value: Option<f64>, limit: f64, otherwise: Outcome) -> Outcome {
    judged(value.map(|value| value <= limit), otherwise)
}

fn judged(holds: Option<bool>, otherwise: Outcome) -> Outcome {
    match holds {
        None => Outcome::Unknown,
        Some(true) => Outcome::Pass,
        Some(false) => otherwise,
    }
}

fn milliseconds(value: Option<f64>) -> String {
    value.map_or("n/a".into(), |value| format!("{value:.2} ms"))
}

fn shown_percent(share: Option<f64>) -> String {
    share.map_or("n/a".into(), percent)
}

fn percent(share: f64) -> String {
    let digits = usize::from(share < 0.1 && share > 0.0 && (share * 100.0).fract() > 1e-9);
    format!("{:.digits$} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(gates: &[Gate]) -> Vec<Outcome> {
        gates.iter().map(|gate| gate.outcome).collect()
    }

    #[test]
    fn lateness_is_judged_against_what_is_measured() {
        let lags = |late: usize, of: usize| -> Vec<f64> {
            let one = |n| if n < late { 2.1 } else { 0.1 };
            (0..of).map(one).collect()
        };
        let gates = [
            dispatch_lag("", &[1.9; 100], Some(50.0)),
            dispatch_lag("", &lags(100, 100), Some(50.0)),
            dispatch_lag("", &lags(100, 100), Some(500.0)),
            dispatch_lag("", &[], None),
            // Of few requests one may be late by chance, of many no more than a hundredth.
            dispatch_lag("", &lags(1, 2), None),
            dispatch_lag("", &lags(2, 2), None),
            dispatch_lag("", &lags(2, 100), None),
            dispatch_lag("", &lags(5, 100), None),
            dispatch_lag("", &lags(150, 10_000), None),
            dispatch_lag("", &lags(100, 10_000), None),
        ];
        assert_eq!(
            outcomes(&gates),
            [
                Outcome::Pass,
                Outcome::Fail,
                Outcome::Pass,
                Outcome::Unknown,
                Outcome::Warn,
                Outcome::Fail,
                Outcome::Warn,
                Outcome::Fail,
                Outcome::Fail,
                Outcome::Pass,
            ]
        );
        assert_eq!(gates[1].measured, "2.10 ms");
        assert_eq!(gates[2].limit, "P99 < 5.00 ms");
    }

    #[test]
    fn a_busy_client_is_no_instrument() {
        let second = Duration::from_secs(1);
        let gates = [
            client_cpu("", Some(second), second, 2),
            client_cpu("", Some(3 * second / 2), second, 2),
            client_cpu("", None, second, 2),
            client_cpu("", Some(second), Duration::ZERO, 2),
        ];
        assert_eq!(
            outcomes(&gates),
            [
                Outcome::Pass,
                Outcome::Fail,
                Outcome::Unknown,
                Outcome::Unknown
            ]
        );
        assert_eq!(gates[0].measured, "50 %");
        assert_eq!(gates[0].limit, "< 70 % of 2 processors");
    }

    #[test]
    fn rates_errors_and_lengths_have_their_limits() {
        assert_eq!(
            outcomes(&[
                achieved_rate("", 10.0, 9.95),
                achieved_rate("", 10.0, 9.8),
                error_rate("", 1, 100),
                error_rate("", 2, 100),
                error_rate("", 0, 0),
                equal_length("", Some(0.95)),
                equal_length("", Some(0.94)),
                noise_floor("", Some(0.1), Some(10.0)),
                noise_floor("", Some(1.0), Some(10.0)),
                noise_floor("", None, Some(10.0)),
            ]),
            [
                Outcome::Pass,
                Outcome::Fail,
                Outcome::Pass,
                Outcome::Warn,
                Outcome::Unknown,
                Outcome::Pass,
                Outcome::Fail,
                Outcome::Pass,
                Outcome::Warn,
                Outcome::Unknown,
            ]
        );
    }

    #[test]
    fn a_reload_in_the_middle_is_found() {
        assert_eq!(
            outcomes(&[
                warm("", &[(0.1, 5.0), (15.0, 40.0)]),
                warm("", &[(0.1, 5.0), (400.0, 900.0)]),
                warm("", &[(40.0, 5_000.0)]),
                warm("", &[]),
                resident("", 20, 0),
                resident("", 20, 1),
                resident("", 0, 0),
            ]),
            [
                Outcome::Pass,
                Outcome::Fail,
                Outcome::Pass,
                Outcome::Unknown,
                Outcome::Pass,
                Outcome::Fail,
                Outcome::Unknown,
            ]
        );
    }

    #[test]
    fn noise_is_flagged_and_never_fails_a_run() {
        let quiet = Noise {
            cpu_stalled: Some(0.9),
            memory_stalled: Some(0.0),
            steal: Some(0.001),
            mhz: Some(3000.0),
            ..Noise::default()
        };
        let noisy = Noise {
            steal: Some(0.2),
            mhz: Some(2000.0),
            ..quiet
        };
        assert_eq!(
            outcomes(&[
                quiet_machine("", &[quiet, quiet]),
                quiet_machine("", &[quiet, noisy]),
                quiet_machine("", &[Noise::default()]),
                clock_frequency("", &[quiet, quiet]),
                clock_frequency("", &[quiet, noisy]),
                clock_frequency("", &[]),
            ]),
            [
                Outcome::Pass,
                Outcome::Warn,
                Outcome::Unknown,
                Outcome::Pass,
                Outcome::Warn,
                Outcome::Unknown,
            ]
        );
    }

    #[test]
    fn a_trend_an_order_effect_and_a_queue_are_told() {
        let rising: Vec<f64> = (0..20).map(f64::from).collect();
        let effect = |p_value| {
            Some(OrderEffect {
                factor: 1.1,
                p_value,
            })
        };
        let flow = |in_flight| {
            Some(Flow {
                in_flight,
                arrival_rate: 10.0,
                stay: 0.5,
            })
        };
        assert_eq!(
            outcomes(&[
                steady("", &rising),
                steady("", &[1.0; 20]),
                steady("", &[1.0]),
                order("", effect(0.5)),
                order("", effect(0.001)),
                order("", None),
                littles_law("", flow(4.9)),
                littles_law("", flow(3.0)),
            ]),
            [
                Outcome::Warn,
                Outcome::Pass,
                Outcome::Unknown,
                Outcome::Pass,
                Outcome::Warn,
                Outcome::Unknown,
                Outcome::Pass,
                Outcome::Warn,
            ]
        );
    }

    #[test]
    fn shares_are_written_with_the_digits_that_matter() {
        let written = [0.5, 0.05, 0.0123, 0.0, 1.0].map(percent);
        assert_eq!(written, ["50 %", "5 %", "1.2 %", "0 %", "100 %"]);
    }
}
