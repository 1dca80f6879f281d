//! What the user demands of the results: `ratio(e2e.p95) <= 0.8`, `ours.ttft.p95 < 200ms`, `ours.errors == 0`.
//!
//! `grammar` reads the expression, this file judges it. A ratio passes only when its whole interval does, and fails only
//! when none of it would pass; an absolute percentile is judged by counting (`stats::at_most`); a plain count is exact.
//! What the data do not decide is inconclusive, which is an exit code of its own.

mod grammar;
mod quantity;

use crate::stats::{self, COUNTING_CONFIDENCE, Interval, Judgement};

pub use grammar::{Assertion, Comparator, Statistic};

/// What the results say about an assertion's subject.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// Known without uncertainty: a count of errors, the least cosine.
    Exact(f64),
    /// A figure between bounds.
    Estimate {
        /// The figure.
        value: f64,
        /// Where the true one lies with the confidence asked for.
        interval: Interval,
    },
    /// The values of a percentile in the order of measurement, failures as infinity, in milliseconds, bytes or plain
    /// numbers.
    Values {
        /// Every value.
        values: Vec<f64>,
        /// Which quantile of them is meant.
        quantile: f64,
    },
    /// The results do not have it; why.
    Missing(String),
}

/// How an assertion came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Whether it holds.
    pub judgement: Judgement,
    /// The figure that decided, such as `upper 0.86`.
    pub detail: String,
}

/// Judges `assertion` by `evidence` about its subject.
pub fn judge(assertion: &Assertion, evidence: &Evidence) -> Judged {
    let limit = assertion.limit.base();
    let comparator = assertion.comparator;
    let shown = |value: f64| assertion.limit.dimension().show(value);
    match evidence {
        Evidence::Missing(reason) => Judged {
            judgement: Judgement::Inconclusive,
            detail: format!("n/a, {reason}"),
        },
        Evidence::Exact(value) => Judged {
            judgement: if comparator.holds(*value, limit) {
                Judgement::Pass
            } else {
                Judgement::Fail
            },
            detail: shown(*value),
        },
        Evidence::Estimate { value, interval } => {
            let (judgement, decisive) = by_interval(comparator, interval, limit);
            Judged {
                judgement,
                detail: format!("{}, {decisive}", shown(*value)).replace(
                    "BOUNDS",
                    &format!("[{}, {}]", shown(interval.low), shown(interval.high)),
                ),
            }
        }
        Evidence::Values { values, quantile } => {
            let over = values.iter().filter(|value| **value > limit).count();
            let confidence = assertion.confidence.unwrap_or(COUNTING_CONFIDENCE);
            let at_most = || stats::at_most(values, *quantile, limit, confidence);
            let judgement = match comparator {
                Comparator::Less | Comparator::AtMost => at_most(),
                Comparator::More | Comparator::AtLeast => opposite(at_most()),
                Comparator::Equal => Judgement::Inconclusive,
            };
            Judged {
                judgement,
                detail: format!("{over} of {} above {}", values.len(), shown(limit)),
            }
        }
    }
}

/// By the end of the interval that would break the claim, and by the other one when that is all it takes to refute it.
fn by_interval(
    comparator: Comparator,
    interval: &Interval,
    limit: f64,
) -> (Judgement, &'static str) {
    let (low_holds, high_holds) = (
        comparator.holds(interval.low, limit),
        comparator.holds(interval.high, limit),
    );
    match comparator {
        // An estimate is never exactly a number: the best that can be said is that it is not that number.
        Comparator::Equal => {
            let inside = interval.low <= limit && limit <= interval.high;
            let judgement = if inside {
                Judgement::Inconclusive
            } else {
                Judgement::Fail
            };
            (judgement, "interval BOUNDS")
        }
        _ if low_holds && high_holds => (Judgement::Pass, "interval BOUNDS"),
        _ if !low_holds && !high_holds => (Judgement::Fail, "interval BOUNDS"),
        _ => (Judgement::Inconclusive, "interval BOUNDS holds the limit"),
    }
}

fn opposite(judgement: Judgement) -> Judgement {
    match judgement {
        Judgement::Pass => Judgement::Fail,
        Judgement::Fail => Judgement::Pass,
        Judgement::Inconclusive => Judgement::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, evidence: &Evidence, expected: Judgement) {
        let assertion: Assertion = expression.parse().unwrap();
        let judged = judge(&assertion, evidence);
        assert_eq!(
            judged.judgement, expected,
            "{expression}: {}",
            judged.detail
        );
    }

    fn between(low: f64, high: f64) -> Evidence {
        Evidence::Estimate {
            value: f64::midpoint(low, high),
            interval: Interval { low, high },
        }
    }

    #[test]
    fn a_ratio_is_judged_on_its_interval_and_not_on_its_estimate() {
        let check =
            |low, high, expected| check("ratio(e2e.p95) <= 0.8", &between(low, high), expected);
        check(0.70, 0.80, Judgement::Pass);
        check(0.70, 0.81, Judgement::Inconclusive);
        check(0.79, 0.95, Judgement::Inconclusive);
        check(0.81, 0.95, Judgement::Fail);
    }

    #[test]
    fn rates_are_demanded_from_below() {
        let check = |low, high, expected| {
            check("ours.decode_rate.p50 >= 40", &between(low, high), expected)
        };
        check(41.0, 50.0, Judgement::Pass);
        check(39.0, 50.0, Judgement::Inconclusive);
        check(20.0, 39.0, Judgement::Fail);
    }

    #[test]
    fn counts_are_exact() {
        check("ours.errors == 0", &Evidence::Exact(0.0), Judgement::Pass);
        check("ours.errors == 0", &Evidence::Exact(1.0), Judgement::Fail);
        check(
            "ours.embed.cosine_min >= 0.999",
            &Evidence::Exact(0.9991),
            Judgement::Pass,
        );
    }

    #[test]
    fn an_absolute_percentile_needs_enough_requests() {
        let values = |count: usize, each: f64| Evidence::Values {
            values: vec![each; count],
            quantile: 0.95,
        };
        check(
            "ours.ttft.p95 < 200ms",
            &values(89, 100.0),
            Judgement::Inconclusive,
        );
        check("ours.ttft.p95 < 200ms", &values(90, 100.0), Judgement::Pass);
        check(
            "ours.ttft.p95 < 200ms",
            &values(90, f64::INFINITY),
            Judgement::Fail,
        );
        check("ours.ttft.p95 < 0.05s", &values(90, 100.0), Judgement::Fail);
        check("ours.ttft.p95 > 200ms", &values(90, 300.0), Judgement::Pass);
    }

    #[test]
    fn less_confidence_is_satisfied_with_fewer_requests() {
        let evidence = Evidence::Values {
            values: vec![100.0; 60],
            quantile: 0.95,
        };
        let mut assertion: Assertion = "ours.ttft.p95 < 200ms".parse().unwrap();
        assert_eq!(
            judge(&assertion, &evidence).judgement,
            Judgement::Inconclusive
        );
        assertion.confidence = Some(0.95);
        assert_eq!(judge(&assertion, &evidence).judgement, Judgement::Pass);
    }

    #[test]
    fn what_was_not_measured_decides_nothing() {
        check(
            "ours.mem.peak_anon < 1GiB",
            &Evidence::Missing("remote".into()),
            Judgement::Inconclusive,
        );
        check(
            "ratio(e2e.p50) == 1",
            &between(0.9, 1.1),
            Judgement::Inconclusive,
        );
        check("ratio(e2e.p50) == 1", &between(1.05, 1.1), Judgement::Fail);
    }

    #[test]
    fn the_detail_names_the_figures_in_their_unit() {
        let assertion: Assertion = "ratio(mem.peak_rss) <= 1.0".parse().unwrap();
        assert_eq!(
            judge(&assertion, &between(0.5, 0.7)).detail,
            "0.600, interval [0.500, 0.700]"
        );
        let assertion: Assertion = "ours.e2e.p95 < 2s".parse().unwrap();
        let evidence = Evidence::Values {
            values: vec![100.0; 90],
            quantile: 0.95,
        };
        assert_eq!(judge(&assertion, &evidence).detail, "0 of 90 above 2000 ms");
    }
}
