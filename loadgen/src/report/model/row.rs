use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ColdReport, MemoryReport, Metric, MetricReport, SearchReport, Statistic};

/// The results of one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadReport {
    /// As the user calls it.
    pub name: String,
    /// generate, chat, embed or classify.
    pub kind: String,
    /// What was sent, in words.
    pub inputs: String,
    /// Rounds that were asked for, of every row.
    pub rounds: u32,
    /// Measured requests per target in each round.
    pub requests_per_target_and_round: usize,
    /// Discarded requests per target before each of its rounds.
    pub warmup_per_target_and_round: usize,
    /// The times within which a reply is a good one; `null` where none were set.
    #[serde(default)]
    pub slo: Option<SloReport>,
    /// SHA-256 over the measured inputs in order: equal hashes are equal work.
    pub inputs_sha256: String,
    /// Per target.
    pub lanes: Vec<Lane>,
    /// One per load, in the order in which they ran.
    pub rows: Vec<Row>,
    /// Searches for a highest rate, in the order in which they ran.
    #[serde(default)]
    pub searches: Vec<SearchReport>,
    /// Per target: from no model in memory to the first text; empty where the workload does not ask for it.
    #[serde(default)]
    pub cold: Vec<Option<ColdReport>>,
    /// Per target, over all rows.
    pub memory: Vec<Option<MemoryReport>>,
    /// Peaks of memory, every target but the last against the last.
    pub memory_comparisons: Vec<Comparison>,
}

/// How one target served a workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    /// The target.
    pub target: String,
    /// The model's name there.
    pub model: String,
    /// Bytes of its files, as the target lists them.
    pub model_bytes: Option<u64>,
    /// What its files are, as the target lists them.
    pub model_digest: Option<String>,
    /// The path of the requests.
    pub route: String,
    /// Whether another route stood in for the one that the workload means.
    pub emulated: bool,
    /// Why there are no figures.
    pub unavailable: Option<String>,
    /// Numbers per vector.
    pub dimensions: Option<usize>,
    /// Labels that exist.
    pub labels: Option<Vec<String>>,
}

/// One load of one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Such as `closed c=4` or `poisson 1.5/s`.
    pub label: String,
    /// The load.
    pub load: LoadReport,
    /// Per target; `null` where it was not asked.
    pub served: Vec<Option<Served>>,
    /// Every metric that some target has.
    pub metrics: Vec<MetricReport>,
    /// Every target but the last against the last.
    pub comparisons: Vec<Comparison>,
    /// Per target: pairs of equal requests whose replies had equally many tokens, as a share; generate only.
    pub equal_length_share: Vec<Option<f64>>,
    /// Per target: what a reply costs before its first token and what each token costs; `null` where all were equally long.
    #[serde(default)]
    pub fits: Vec<Option<FitReport>>,
    /// In time order.
    pub rounds: Vec<RoundReport>,
}

impl Row {
    /// The report of `metric`.
    pub fn metric(&self, metric: Metric) -> Option<&MetricReport> {
        self.metrics.iter().find(|report| report.metric == metric)
    }
}

/// The times of `[slo]`: a reply is a good one when it keeps all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SloReport {
    /// To the first text.
    pub ttft_ms: Option<f64>,
    /// Per token after the first.
    pub tpot_ms: Option<f64>,
    /// To the last byte.
    pub e2e_ms: Option<f64>,
}

/// End-to-end times as a straight line: `fixed_ms + per_token_ms * output tokens`, by least squares over all good replies. It
/// compares replies whose lengths differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FitReport {
    /// What a reply takes before its tokens count.
    pub fixed_ms: f64,
    /// What each generated token takes.
    pub per_token_ms: f64,
    /// Standard error of that.
    pub per_token_error_ms: Option<f64>,
    /// Replies that the line goes through.
    pub replies: usize,
}

/// What arrives when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadReport {
    /// `closed`: callers that wait for their reply; `open`, `ramp`, `trace`: arrivals that do not.
    pub model: String,
    /// Callers of a closed loop.
    pub concurrency: Option<usize>,
    /// Arrivals per second that an open loop asked for.
    pub rate_per_s: Option<f64>,
    /// How arrivals are spaced, such as `poisson`.
    pub arrival: Option<String>,
}

/// What one target did in one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Served {
    /// Measured requests.
    pub requests: u64,
    /// Requests without a good reply.
    pub failed: u64,
    /// Those by kind.
    pub failures: BTreeMap<String, u64>,
    /// The first one in the server's or the check's own words.
    pub first_failure: Option<String>,
    /// Seconds of measured rounds.
    pub wall_s: f64,
    /// Good replies per second of those.
    pub requests_per_s: Option<f64>,
    /// Generated tokens per second of those.
    pub output_tokens_per_s: Option<f64>,
    /// Input tokens per second of those.
    pub input_tokens_per_s: Option<f64>,
    /// Mean input tokens of a good reply, as the server counts.
    pub mean_input_tokens: Option<f64>,
    /// Mean generated tokens of a good reply, as the server counts.
    pub mean_output_tokens: Option<f64>,
    /// 1 when every piece of text is one token, so that gaps between pieces are gaps between tokens.
    pub pieces_per_token: Option<f64>,
    /// TCP connections that were opened during its measured rounds; what they took is in the latencies.
    #[serde(default)]
    pub new_connections: u64,
    /// Requests that were sent twice, because a kept connection turned out to be closed; both are in their latency.
    #[serde(default)]
    pub resent: u64,
    /// Good replies within the times of `[slo]`; `null` where none were set.
    #[serde(default)]
    pub good_in_time: Option<u64>,
    /// Those per second of measured rounds: the goodput.
    #[serde(default)]
    pub goodput_per_s: Option<f64>,
    /// Why its latencies mean nothing: requests arrived faster than it answered, so its queue grew to the end.
    pub unstable: Option<String>,
}

impl Served {
    /// The share of all requests that were answered well within the times of `[slo]`; `None` where none were set.
    pub fn in_time_share(&self) -> Option<f64> {
        let good = self.good_in_time?;
        (self.requests > 0).then(|| good as f64 / self.requests as f64)
    }
}

/// A ratio of two targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// What is compared.
    pub metric: Metric,
    /// Which figure of it.
    pub statistic: Statistic,
    /// Whether this was declared beforehand as the one that decides.
    pub primary: bool,
    /// Whose figure is divided.
    pub candidate: String,
    /// By whose figure.
    pub baseline: String,
    /// candidate / baseline.
    pub ratio: Option<f64>,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end of its 95 % interval.
    pub high: Option<f64>,
    /// Rounds that it rests on.
    pub rounds: usize,
    /// How probable so large a difference would be between equal targets, after Holm's correction over all primary figures.
    pub p_value: Option<f64>,
    /// What the interval says; a primary figure's difference must also survive the correction.
    pub verdict: Option<Verdict>,
    /// Why there is no ratio.
    pub unavailable: Option<String>,
}

impl Comparison {
    /// The name in `--assert`, such as `e2e.p95`.
    pub fn id(&self) -> String {
        match self.statistic {
            Statistic::Total => self.metric.id().into(),
            statistic => format!(
                "{}.{}",
                self.metric.id(),
                statistic.title().to_ascii_lowercase()
            ),
        }
    }

    /// The verdict as it is shown: memory is smaller, not faster.
    pub fn verdict_word(&self) -> Option<&'static str> {
        Some(match (self.verdict?, self.metric.is_size()) {
            (Verdict::Faster, true) => "smaller",
            (Verdict::Slower, true) => "larger",
            (verdict, _) => verdict.word(),
        })
    }

    /// For readers, such as `end to end P95`.
    pub fn title(&self) -> String {
        format!("{} {}", self.metric.title(), self.statistic.title())
            .trim_end()
            .into()
    }
}

/// What a ratio with its interval says of the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better by at least the margin, with 95 % confidence.
    Faster,
    /// Worse by at least the margin, with 95 % confidence.
    Slower,
    /// The whole interval lies within the margin.
    Equivalent,
    /// The data do not decide.
    Inconclusive,
}

impl Verdict {
    /// The word that is shown for times and rates.
    pub fn word(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Equivalent => "equivalent",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// One round of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoundReport {
    /// From 0.
    pub index: usize,
    /// Per target; `null` where it was not asked.
    pub slots: Vec<Option<SlotReport>>,
}

/// One target's share of one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SlotReport {
    /// The target's turn in the round, from 0.
    pub turn: usize,
    /// When its first measured request was due, since the run began.
    pub started_ms: f64,
    /// From there to its last reply.
    pub wall_ms: f64,
    /// What else the machine was doing; `null` where it was not watched.
    pub noise: Option<Noise>,
    /// Every measured request.
    pub samples: Samples,
}

/// What a machine was doing beside the measurement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Whether it was enough to mark the round.
    pub noisy: bool,
    /// What was seen, such as `cpu pressure` with its share.
    pub readings: BTreeMap<String, f64>,
}

/// Measured requests as columns; the same position in every column is the same request, and the same position at another
/// target had the same input. A failed request is `null`. A column that the workload does not have is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// End to end.
    pub e2e_ms: Vec<Option<f64>>,
    /// First text.
    pub ttft_ms: Vec<Option<f64>>,
    /// Per token after the first; `null` also for a reply of one token.
    pub tpot_ms: Vec<Option<f64>>,
    /// Tokens of the input, as the server counts.
    pub input_tokens: Vec<Option<u64>>,
    /// Tokens generated, as the server counts.
    pub output_tokens: Vec<Option<u64>>,
}
