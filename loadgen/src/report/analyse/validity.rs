//! Whether the results may be believed and are what the user demanded: gates, checks and assertions as the report shows them,
//! and the exit code that follows.

use super::{asserts::Asserted, gates};
use crate::{
    calibration, checks,
    exit::Exit,
    plan::Plan,
    report::model::{AssertReport, Calibration, Check, Gate, Outcome, Validity},
    run::Record,
    stats::Judgement,
};

/// Gates, checks and noise floor of `record`.
pub(super) fn validity(plan: &Plan, record: &Record, not_comparable: Vec<String>) -> Validity {
    let stored = calibration::Calibration::stored();
    Validity {
        not_comparable,
        gates: gates::gates(plan, record, stored.as_ref())
            .into_iter()
            .map(gate)
            .collect(),
        checks: record.checks.iter().map(check).collect(),
        calibration: stored.as_ref().and_then(noise_floor),
    }
}

/// The exit code of a run that would otherwise end with `otherwise`. Nothing that was not measured properly can pass or fail
/// an assertion, so an invalid measurement goes before them.
pub(super) fn exit(
    otherwise: Exit,
    validity: &Validity,
    asserted: &[Asserted],
    on_inconclusive: Exit,
) -> Exit {
    let invalid = validity.has_failed();
    let any = |wanted| asserted.iter().any(|one| one.judged.judgement == wanted);
    match otherwise {
        Exit::Interrupted | Exit::Unreachable | Exit::Usage => otherwise,
        _ if invalid => Exit::Invalid,
        _ if any(Judgement::Fail) => Exit::Failed,
        Exit::Ok if any(Judgement::Inconclusive) => on_inconclusive,
        _ => otherwise,
    }
}

pub(super) fn shown(asserted: Vec<Asserted>) -> Vec<AssertReport> {
    let shown = |one: Asserted| AssertReport {
        expression: one.expression,
        scope: one.scope,
        outcome: outcome(one.judged.judgement.into()),
        detail: one.judged.detail,
    };
    asserted.into_iter().map(shown).collect()
}

fn gate(gate: checks::Gate) -> Gate {
    Gate {
        id: gate.id.into(),
        title: gate.title.into(),
        outcome: outcome(gate.outcome),
        measured: gate.measured,
        limit: gate.limit,
        scope: gate.scope,
    }
}

fn check(check: &checks::Check) -> Check {
    Check {
        id: check.id.into(),
        title: check.title.into(),
        outcome: outcome(check.outcome),
        detail: check.detail.clone(),
    }
}

fn outcome(outcome: checks::Outcome) -> Outcome {
    match outcome {
        checks::Outcome::Pass => Outcome::Pass,
        checks::Outcome::Unknown => Outcome::Unknown,
        checks::Outcome::Warn => Outcome::Warn,
        checks::Outcome::Fail => Outcome::Fail,
    }
}

/// The noise of a single stream: the least that any row has.
fn noise_floor(stored: &calibration::Calibration) -> Option<Calibration> {
    let level = stored.level(1)?;
    Some(Calibration {
        noise_p50_ms: level.latency.p50,
        noise_p99_ms: level.latency.p99,
        method: format!(
            "`loadgen calibrate`, {}: added to the first text of one stream from a mock on this machine",
            stored.measured_at
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::assertion::Judged;

    #[track_caller]
    fn check_exit(gate: Outcome, judgements: &[Judgement], otherwise: Exit, expected: Exit) {
        let validity = Validity {
            gates: vec![Gate {
                id: "g".into(),
                title: "t".into(),
                outcome: gate,
                measured: "1".into(),
                limit: "2".into(),
                scope: "s".into(),
            }],
            ..Validity::default()
        };
        let asserted: Vec<Asserted> = judgements
            .iter()
            .map(|judgement| Asserted {
                expression: "e".into(),
                scope: "s".into(),
                judged: Judged {
                    judgement: *judgement,
                    detail: "d".into(),
                },
            })
            .collect();
        let got = exit(otherwise, &validity, &asserted, Exit::Inconclusive);
        assert_eq!(got, expected);
    }

    #[test]
    fn the_exit_code_is_that_of_the_table() {
        use Judgement::{Fail, Inconclusive, Pass};
        check_exit(Outcome::Pass, &[], Exit::Ok, Exit::Ok);
        check_exit(Outcome::Warn, &[Pass], Exit::Ok, Exit::Ok);
        check_exit(
            Outcome::Unknown,
            &[Pass, Inconclusive],
            Exit::Ok,
            Exit::Inconclusive,
        );
        check_exit(Outcome::Pass, &[Inconclusive, Fail], Exit::Ok, Exit::Failed);
        check_exit(Outcome::Pass, &[Inconclusive], Exit::Failed, Exit::Failed);
        check_exit(Outcome::Fail, &[Fail], Exit::Ok, Exit::Invalid);
        check_exit(Outcome::Fail, &[], Exit::Failed, Exit::Invalid);
        check_exit(Outcome::Fail, &[Fail], Exit::Unreachable, Exit::Unreachable);
        check_exit(Outcome::Fail, &[Fail], Exit::Interrupted, Exit::Interrupted);
    }
}
