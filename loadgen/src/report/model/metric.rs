use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is measured of a request, or of a whole row.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// From the intended start of the request to the last byte of the reply.
    E2e,
    /// From the moment the request was sent to the last byte: what the server alone took.
    Service,
    /// From the intended start to the first byte of the reply's body.
    Ttfb,
    /// From the intended start to the first piece of text or thinking.
    Ttft,
    /// Between the first and the last token, per token after the first.
    Tpot,
    /// Between consecutive pieces of text (inter-chunk latency). Equal to inter-token latency where each token is a piece.
    Icl,
    /// From the last piece of text to the end of the reply.
    Tail,
    /// From the intended start to the moment the request was sent: the client's own lateness.
    Lag,
    /// Tokens per second while decoding, of one request.
    DecodeRate,
    /// Tokens per second while decoding as the server itself claims.
    ClaimedRate,
    /// Good replies per second, of all callers together.
    Requests,
    /// Good replies within the times of `[slo]` per second, of all callers together.
    Goodput,
    /// Generated tokens per second, of all callers together.
    OutputTokens,
    /// Input tokens per second, of all callers together.
    InputTokens,
    /// The most that was resident in a round, on average.
    PeakRss,
    /// The most anonymous memory in a round, on average.
    PeakAnon,
}

/// In what a metric is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Per second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Bytes.
    #[serde(rename = "bytes")]
    Bytes,
}

impl Metric {
    /// The name in `--assert`, CSV and JSON.
    pub fn id(self) -> &'static str {
        match self {
            Self::E2e => "e2e",
            Self::Service => "service",
            Self::Ttfb => "ttfb",
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::Icl => "icl",
            Self::Tail => "tail",
            Self::Lag => "lag",
            Self::DecodeRate => "decode_rate",
            Self::ClaimedRate => "claimed_rate",
            Self::Requests => "requests",
            Self::Goodput => "goodput",
            Self::OutputTokens => "output_tokens",
            Self::InputTokens => "input_tokens",
            Self::PeakRss => "peak_rss",
            Self::PeakAnon => "peak_anon",
        }
    }

    /// The name for readers.
    pub fn title(self) -> &'static str {
        match self {
            Self::E2e => "end to end",
            Self::Service => "service time",
            Self::Ttfb => "first byte",
            Self::Ttft => "first text",
            Self::Tpot => "per token",
            Self::Icl => "between pieces",
            Self::Tail => "after last text",
            Self::Lag => "client lateness",
            Self::DecodeRate => "decode tok/s",
            Self::ClaimedRate => "claimed tok/s",
            Self::Requests => "requests/s",
            Self::Goodput => "goodput/s",
            Self::OutputTokens => "output tok/s",
            Self::InputTokens => "input tok/s",
            Self::PeakRss => "peak RSS",
            Self::PeakAnon => "peak anonymous",
        }
    }

    /// Its unit.
    pub fn unit(self) -> Unit {
        if self.is_rate() {
            Unit::PerSecond
        } else if self.is_size() {
            Unit::Bytes
        } else {
            Unit::Milliseconds
        }
    }

    /// Whether it is memory.
    pub fn is_size(self) -> bool {
        matches!(self, Self::PeakRss | Self::PeakAnon)
    }

    /// Whether more is better.
    pub fn is_rate(self) -> bool {
        matches!(
            self,
            Self::DecodeRate
                | Self::ClaimedRate
                | Self::Requests
                | Self::Goodput
                | Self::OutputTokens
                | Self::InputTokens
        )
    }
}

/// What is said of the many values of a metric.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Half are smaller.
    P50,
    /// 90 % are smaller.
    P90,
    /// 95 % are smaller.
    P95,
    /// 99 % are smaller.
    P99,
    /// Over the whole row.
    Total,
}

impl Statistic {
    /// The quantile it is; `None` for a figure of the whole row.
    pub fn quantile(self) -> Option<f64> {
        match self {
            Self::P50 => Some(0.50),
            Self::P90 => Some(0.90),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
            Self::Total => None,
        }
    }

    /// For readers; empty for a figure of the whole row.
    pub fn title(self) -> &'static str {
        match self {
            Self::P50 => "P50",
            Self::P90 => "P90",
            Self::P95 => "P95",
            Self::P99 => "P99",
            Self::Total => "",
        }
    }
}

/// One metric at every target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricReport {
    /// Which one.
    pub metric: Metric,
    /// In what its values are.
    pub unit: Unit,
    /// Per target; `null` where it was not measured.
    pub targets: Vec<Option<Distribution>>,
}

/// The values of one metric at one target, failed requests counted as infinitely slow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// Values, failures included.
    pub n: u64,
    /// Failures among them.
    pub failed: u64,
    /// The mean of the values that are known.
    pub mean: Option<f64>,
    /// The least known value.
    pub min: Option<f64>,
    /// The largest known value.
    pub max: Option<f64>,
    /// Median.
    pub p50: Quantile,
    /// 90th percentile.
    pub p90: Quantile,
    /// 95th percentile.
    pub p95: Quantile,
    /// 99th percentile.
    pub p99: Quantile,
    /// All known values of a time, in nanoseconds, as an HDR histogram (V2, deflated, base64; 1 µs to 1 h, 3 digits): what
    /// HdrHistogram's tools read and merge.
    #[serde(default)]
    pub hdr_b64: Option<String>,
    /// All known values in equal steps of their logarithm; only for metrics with too many values to keep them all.
    pub histogram: Option<Histogram>,
}

impl Distribution {
    /// The quantile that `statistic` means; `None` for a figure of the whole row.
    pub fn quantile(&self, statistic: Statistic) -> Option<&Quantile> {
        match statistic {
            Statistic::P50 => Some(&self.p50),
            Statistic::P90 => Some(&self.p90),
            Statistic::P95 => Some(&self.p95),
            Statistic::P99 => Some(&self.p99),
            Statistic::Total => None,
        }
    }
}

/// A quantile by nearest rank with its 95 % confidence interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Quantile {
    /// `null` when it falls on a failed request, or there are no values.
    pub value: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval; `null` beside a lower end when it falls on a failed request.
    pub high: Option<f64>,
    /// Why something is missing, such as `needs 72`.
    pub unavailable: Option<String>,
}

/// Counts of values in bins whose edges grow by a constant factor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Lower edge of the first bin; smaller values are counted in it.
    pub from: f64,
    /// Each edge is the last one times this.
    pub factor: f64,
    /// Values per bin.
    pub counts: Vec<u64>,
}
