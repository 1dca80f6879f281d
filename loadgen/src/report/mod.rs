//! From what happened to what is said: one [`Report`], printed as a table and written as JSON.
//!
//! Both forms show the same struct, so that no figure exists in only one of them. A figure that was not measured is
//! absent (`null`, "n/a"), with the reason beside it. Latencies are milliseconds; `null` for a percentile beside a count
//! of failures means that it falls on a failed request.

mod analyse;
mod compare;
mod host;
mod json;
mod table;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    memory::Snapshot,
    run::Model,
    workload::{Kind, LoadPoint},
};

pub use analyse::analyse;
pub use json::write as write_json;
pub use text::render;

/// The version of the JSON form. It changes when a field changes its meaning or goes; new fields may come at any time.
pub const SCHEMA: &str = "chaski.loadgen/1";

/// All that is said about one run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The version of this tool.
    pub loadgen: &'static str,
    /// Where this tool ran.
    pub host: host::Host,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339.
    pub finished_at: String,
    /// Whether the user stopped it early.
    pub interrupted: bool,
    /// What was asked for.
    pub settings: Settings,
    /// The servers.
    pub targets: Vec<TargetReport>,
    /// The results.
    pub workloads: Vec<WorkloadReport>,
    /// What speaks against comparing the targets; empty when nothing does.
    pub not_comparable: Vec<String>,
    /// What the process returns.
    pub exit_code: u8,
}

/// The settings that a reader needs to repeat the run.
#[derive(Debug, Serialize)]
pub struct Settings {
    pub seed: u64,
    pub load: &'static str,
    pub rounds: u32,
    pub requests_per_target_and_round: usize,
    pub warmup_per_target_and_round: usize,
    pub num_predict: u64,
    pub temperature: u8,
    pub keep_alive_s: u64,
    pub timeout_s: f64,
    pub margin: f64,
}

/// A server.
#[derive(Debug, Serialize)]
pub struct TargetReport {
    pub name: String,
    pub url: String,
    pub version: Option<String>,
    /// The listening processes.
    pub pids: Vec<i32>,
    /// Their command name.
    pub process: Option<String>,
    /// Why its memory is not reported.
    pub memory_unavailable: Option<String>,
}

/// The results of one workload.
#[derive(Debug, Serialize)]
pub struct WorkloadReport {
    pub workload: String,
    pub kind: Kind,
    /// What was sent, in words.
    pub inputs: String,
    pub inputs_sha256: String,
    /// Per target.
    pub lanes: Vec<LaneReport>,
    /// Per concurrency.
    pub cells: Vec<CellReport>,
    /// Per target.
    pub memory: Vec<Option<MemoryReport>>,
}

/// How one target served a workload.
#[derive(Debug, Serialize)]
pub struct LaneReport {
    pub target: String,
    pub model: String,
    pub model_bytes: Option<u64>,
    pub model_digest: Option<String>,
    pub route: &'static str,
    /// Whether another route stood in for the one that the workload means.
    pub emulated: bool,
    /// Why there are no figures.
    pub unavailable: Option<String>,
    pub dimensions: Option<usize>,
    pub labels: Option<Vec<String>>,
}

/// One load.
#[derive(Debug, Serialize)]
pub struct CellReport {
    /// Callers of a closed loop.
    pub concurrency: Option<usize>,
    pub load: LoadPoint,
    /// The load in words.
    pub label: String,
    pub rounds: usize,
    /// Per target.
    pub figures: Vec<Option<Figures>>,
    /// Every target but the last against the last.
    pub comparisons: Vec<Comparison>,
    /// Pairs of equal requests whose replies had equally many tokens, as a share; generate only.
    pub equal_length_share: Vec<Option<f64>>,
}

/// What one target did at one concurrency.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub requests: u64,
    pub failed: u64,
    /// By category.
    pub failures: BTreeMap<&'static str, u64>,
    /// In the server's or the check's own words.
    pub first_failure: Option<String>,
    pub end_to_end_ms: Latency,
    pub time_to_first_ms: Option<Latency>,
    pub between_chunks_ms: Option<Latency>,
    pub requests_per_second: f64,
    pub generation: Option<GenerationFigures>,
    pub mean_input_tokens: Option<f64>,
    /// Tokens of the input over the wall time of the rounds; embed and classify only.
    pub input_tokens_per_second: Option<f64>,
}

/// Rates and counts of generated text.
#[derive(Debug, Serialize)]
pub struct GenerationFigures {
    /// Median over requests of (n-1)/(t_last-t_first).
    pub decode_tokens_per_second: Option<f64>,
    /// Median over requests of what the server claims.
    pub claimed_tokens_per_second: Option<f64>,
    /// Tokens of all good replies over the wall time of the rounds.
    pub aggregate_tokens_per_second: f64,
    pub mean_output_tokens: f64,
    /// 1 when every piece of text is one token, so that gaps between pieces are gaps between tokens.
    pub chunks_per_token: f64,
    /// Median of t_done - t_last: what comes after the last piece of text.
    pub tail_ms: f64,
}

/// A distribution of times in milliseconds, failures counted as infinitely slow.
#[derive(Debug, Serialize)]
pub struct Latency {
    pub n: u64,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
    /// 95 % confidence interval of P95.
    pub p95_interval: Option<[f64; 2]>,
    /// How many samples the interval would need, when there were too few.
    pub p95_interval_needs: Option<usize>,
}

/// A ratio of two targets.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub metric: Metric,
    pub candidate: String,
    pub baseline: String,
    /// candidate / baseline
    pub ratio: Option<f64>,
    /// 95 % confidence interval.
    pub interval: Option<[f64; 2]>,
    /// faster, slower, equivalent or inconclusive.
    pub verdict: Option<&'static str>,
    /// Why there is no ratio.
    pub unavailable: Option<String>,
}

/// What is compared. The first is the primary one of every workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    EndToEndP95,
    TimeToFirstP95,
    DecodeRateMedian,
}

/// The memory of one target over one workload.
#[derive(Debug, Serialize)]
pub struct MemoryReport {
    pub before: Snapshot,
    pub peak: Snapshot,
    pub pss_before_bytes: Option<u64>,
    pub pss_after_bytes: Option<u64>,
    /// What the target says it has loaded.
    pub loaded: Option<Vec<Model>>,
    /// Peak resident bytes over the bytes of all loaded models' files.
    pub ratio: Option<f64>,
}
