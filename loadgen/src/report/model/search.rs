use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A search for the highest rate that keeps a promise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchReport {
    /// What is promised: `ttft`, `tpot` or `e2e`.
    pub metric: String,
    /// The share of requests that must keep it: 0.95.
    pub quantile: f64,
    /// How long it may take.
    pub max_ms: f64,
    /// How arrivals are spaced, such as `poisson`.
    pub arrival: String,
    /// Per target; `null` where it was not asked.
    pub outcomes: Vec<Option<SearchOutcome>>,
}

/// What one target's search came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchOutcome {
    /// The highest rate that kept the promise; `null` when none did.
    pub highest_per_s: Option<f64>,
    /// The lowest rate that did not; `null` when the limit of the search was reached.
    pub lowest_failing_per_s: Option<f64>,
    /// In the order in which they were tried.
    pub steps: Vec<SearchStep>,
}

/// One rate that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchStep {
    /// Requests per second.
    pub rate_per_s: f64,
    /// Measured requests.
    pub requests: usize,
    /// Of those, how many took longer than promised or failed.
    pub over: usize,
    /// Why the target could not keep up, if so.
    pub unstable: Option<String>,
    /// Whether the promise was kept with confidence.
    pub kept: bool,
}
