//! The report as data: what is written as JSON, read back by `report` and `compare`, and shown in every other form.
//!
//! Everything here is measured or derived once, before it is shown: the terminal, the CSV and the page only choose and
//! format. A figure that was not measured is `null` with the reason beside it. Lists "per target" are in the order of
//! `targets`. Times are milliseconds unless the name says otherwise; memory is bytes.

mod cold;
mod memory;
mod metric;
mod row;
mod search;
mod setup;
mod validity;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use cold::{ColdReport, Spread};
pub use memory::{LoadedModel, MemoryPhase, MemoryReading, MemoryReport};
pub use metric::{Distribution, Histogram, Metric, MetricReport, Quantile, Statistic, Unit};
pub use row::{
    Comparison, FitReport, Lane, LoadReport, Noise, RoundReport, Row, Samples, Served, SloReport,
    SlotReport, Verdict, WorkloadReport,
};
pub use search::{SearchOutcome, SearchReport, SearchStep};
pub use setup::{Environment, Host, Settings, TargetReport, Tool};
pub use validity::{AssertReport, Calibration, Check, Gate, Outcome, Validity};

/// The version of the JSON form. It changes when a field changes its meaning or goes; new fields may come at any time.
pub const SCHEMA: &str = "chaski.loadgen/1";

/// All that is said about one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Name and version of this form: `chaski.loadgen/1`.
    pub schema: String,
    /// What measured.
    pub tool: Tool,
    /// The command line that repeats this run, its drawn seed included; passwords in addresses are left out.
    pub command: Vec<String>,
    /// When the run began, RFC 3339.
    pub started_at: String,
    /// When it ended, RFC 3339.
    pub finished_at: String,
    /// Whether the user stopped it early: then only whole rounds are in it.
    pub interrupted: bool,
    /// Where this tool ran; for a local target also the server's machine.
    pub host: Host,
    /// What was asked for.
    pub settings: Settings,
    /// The servers, in the order named; the last is the baseline of every ratio.
    pub targets: Vec<TargetReport>,
    /// Whether the results may be believed.
    pub validity: Validity,
    /// The results.
    pub workloads: Vec<WorkloadReport>,
    /// What the user demanded of the results.
    pub asserts: Vec<AssertReport>,
    /// What the process returned.
    pub exit_code: u8,
    /// That code in words.
    pub exit_meaning: String,
}
