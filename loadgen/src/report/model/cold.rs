use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How long one target takes from no model in memory to the first text. The files are in the page cache: a first load after
/// booting takes as much longer as the disk does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ColdReport {
    /// Times it was asked with no model in memory.
    pub repeats: usize,
    /// Of those, how many had no good reply; their times are in no spread.
    pub failed: usize,
    /// The first failure in the server's or the check's own words.
    pub first_failure: Option<String>,
    /// From the start of the process to its first reply of any kind; only for a target that loadgen starts itself.
    pub start_to_ready_ms: Option<Spread>,
    /// From the request to the first text, or to the whole reply of work that is not streamed. Loading is in it.
    pub first_text_ms: Option<Spread>,
    /// From the request to the last byte.
    pub e2e_ms: Option<Spread>,
    /// What the target itself says that loading took.
    pub claimed_load_ms: Option<Spread>,
    /// Why there are no figures.
    pub unavailable: Option<String>,
}

/// A few values, shown as what they are: too few for percentiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The middle one by nearest rank.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// All of them in time order.
    pub values: Vec<f64>,
}
