//! Whether a measurement may be believed, and whether two targets may be compared at all.
//!
//! `preflight` asks both targets the same questions before the clock starts, `audit` looks for caches and miscounts after
//! it, `gates` are the conditions that a trustworthy measurement meets, and `assertion` is what the user demands of the
//! results. The questions go over the wire; every decision is a pure function of what came back. This folder computes no
//! percentile and prints nothing.

pub mod assertion;
pub mod audit;
pub mod gates;
pub mod preflight;

use crate::stats::Judgement;

/// How something came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// It could not be looked at, or the data do not decide.
    Unknown,
    /// Worth knowing, but no reason to doubt the results.
    Warn,
    /// Not as it should be: the measurement is invalid, or the targets are not comparable.
    Fail,
}

/// A condition of a trustworthy measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Such as `dispatch_lag`.
    pub id: &'static str,
    /// For readers.
    pub title: &'static str,
    /// Whether it holds. [`Outcome::Fail`] makes the measurement invalid.
    pub outcome: Outcome,
    /// What was measured, with its unit.
    pub measured: String,
    /// What is allowed, with its unit.
    pub limit: String,
    /// The workload, row or target that it was measured at; empty for the whole run.
    pub scope: String,
}

/// Something that two targets should have in common, or one should not do.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Such as `same_weights`.
    pub id: &'static str,
    /// For readers.
    pub title: &'static str,
    /// How it came out. [`Outcome::Fail`] makes the targets incomparable, or the measurement invalid.
    pub outcome: Outcome,
    /// What was found, naming the workload and the targets.
    pub detail: String,
    /// The figure that decided, where there is one: the least cosine, a share.
    pub value: Option<f64>,
}

impl From<Judgement> for Outcome {
    fn from(judgement: Judgement) -> Self {
        match judgement {
            Judgement::Pass => Self::Pass,
            Judgement::Fail => Self::Fail,
            Judgement::Inconclusive => Self::Unknown,
        }
    }
}
