use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether the results may be believed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Validity {
    /// What speaks against comparing the targets; empty when nothing does.
    pub not_comparable: Vec<String>,
    /// Conditions of a trustworthy measurement.
    pub gates: Vec<Gate>,
    /// What was found when the targets were compared before the measurement, and audited after it.
    pub checks: Vec<Check>,
    /// The noise of this client on this machine; `null` when it was not calibrated.
    pub calibration: Option<Calibration>,
}

impl Validity {
    /// Whether a gate or a check fails, so that the results do not count.
    pub fn has_failed(&self) -> bool {
        let gates = self.gates.iter().map(|gate| gate.outcome);
        let checks = self.checks.iter().map(|check| check.outcome);
        gates.chain(checks).any(|outcome| outcome == Outcome::Fail)
    }
}

/// How something came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// Worth knowing, but no reason to doubt the results.
    Warn,
    /// Not as it should be.
    Fail,
    /// The data do not decide, or it could not be looked at.
    Unknown,
}

/// A condition of a trustworthy measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Such as `dispatch_lag`.
    pub id: String,
    /// For readers.
    pub title: String,
    /// Whether it holds.
    pub outcome: Outcome,
    /// What was measured, with its unit.
    pub measured: String,
    /// What is allowed, with its unit.
    pub limit: String,
    /// The workload, row or target that it was measured at; empty for the whole run.
    pub scope: String,
}

/// Something that two targets should have in common, or one should not do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Such as `same_weights`.
    pub id: String,
    /// For readers.
    pub title: String,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
}

/// The least that this client can tell apart on this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Median of what the client added to a known time.
    pub noise_p50_ms: f64,
    /// 99th percentile of the same.
    pub noise_p99_ms: f64,
    /// How it was measured.
    pub method: String,
}

/// A demand of the user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssertReport {
    /// As typed.
    pub expression: String,
    /// Where it was judged: workload and row.
    pub scope: String,
    /// `pass` and `fail` with confidence; `unknown` when the interval does not decide.
    pub outcome: Outcome,
    /// The figure that decided, such as `upper 0.86`.
    pub detail: String,
}
