//! The command line as typed; `plan` makes sense of it.

use std::time::Duration;

use clap::Parser;

use crate::{checks::assertion::Assertion, commands::Command, exit::Exit, report::Outputs, units};

/// Measures inference servers that speak Ollama's API, side by side, under the same work.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do instead of measuring the default workloads.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to measure.
    #[command(flatten)]
    pub measure: Measure,
}

/// The options of a measurement, as typed.
#[derive(Debug, clap::Args)]
pub struct Measure {
    /// Server to measure: `ours`, `ollama`, or NAME=URL[,api=ollama|openai|tei][,model=NAME][,pid=N|,cgroup=PATH|,spawn=COMMAND];
    /// the last one named is the baseline of the ratios
    #[arg(long = "target", value_name = "NAME[=URL]")]
    pub targets: Vec<String>,

    /// Where `--target ours` is
    #[arg(
        long,
        value_name = "URL",
        env = "LOADGEN_OURS_URL",
        default_value = "http://127.0.0.1:11434"
    )]
    pub ours_url: String,

    /// Where `--target ollama` is; one port up, because both cannot have Ollama's own
    #[arg(
        long,
        value_name = "URL",
        env = "LOADGEN_OLLAMA_URL",
        default_value = "http://127.0.0.1:11435"
    )]
    pub ollama_url: String,

    /// Workloads: presets, or files that end in .toml [default: generate,embed,classify]
    #[arg(long = "workload", value_name = "NAME", value_delimiter = ',')]
    pub workloads: Vec<String>,

    /// Model per workload or kind of work, for every target or for one: generate=tiny, ollama:embed=all-minilm
    /// [default: generate=tiny, embed=tiny-embed, classify=tiny-classify]
    #[arg(long = "model", value_name = "[TARGET:]WORKLOAD=MODEL")]
    pub models: Vec<String>,

    /// Requests in flight at once; a list measures each in turn [default: as the workload says]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub concurrency: Vec<usize>,

    /// Rounds; in each, every target gets the same requests, in the order AB, BA, AB, ... [default: as the workload says]
    #[arg(long, value_name = "N")]
    pub rounds: Option<u32>,

    /// Measured requests per target in each round [default: as the workload says]
    #[arg(long, value_name = "N")]
    pub requests: Option<usize>,

    /// Requests sent to a target and discarded before each of its rounds [default: as the workload says]
    #[arg(long, value_name = "N")]
    pub warmup: Option<usize>,

    /// Most tokens to generate per request [default: as the workload says]
    #[arg(long, value_name = "N")]
    pub num_predict: Option<u64>,

    /// How thorough: smoke is 2 rounds of 10 requests and claims no ratio, normal 20 of 10, publish 30 of 20
    /// [default: as the workload says]
    #[arg(long)]
    pub effort: Option<Effort>,

    /// Measure rounds until the interval of the P95 ratio is this narrow on either side
    #[arg(long, value_name = "PERCENT%", value_parser = percent)]
    pub precision: Option<f64>,

    /// Begin no round after this time; what is left to measure shares what is left of it
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub max_time: Option<Duration>,

    /// Say what would be measured and how often, and send nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Seed of texts, order and intervals [default: drawn and printed, so that no cache knows the texts]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// How long targets shall keep models loaded between requests
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = units::duration)]
    pub keep_alive: Duration,

    /// Longest time one request may take, loading included
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = units::duration)]
    pub timeout: Duration,

    /// Numbers every embedding must have [default: as many as the target's first]
    #[arg(long, value_name = "N")]
    pub dimensions: Option<usize>,

    /// Labels that exist [default: those of the target's first reply]
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    pub labels: Vec<String>,

    /// Let this target classify through /api/chat with a schema of --labels; printed as emulated
    #[arg(long, value_name = "TARGET")]
    pub classify_via_chat: Vec<String>,

    /// Differences below this share do not matter in practice
    #[arg(long, value_name = "SHARE", default_value_t = 0.03)]
    pub margin: f64,

    /// What must hold of the results, such as `ratio(e2e.p95) <= 0.9`, `ours.ttft.p95 < 200ms`, `ours.errors == 0`
    #[arg(long = "assert", value_name = "EXPR")]
    pub asserts: Vec<Assertion>,

    /// What an assertion that the data do not decide means for the exit code
    #[arg(long, value_name = "OUTCOME", default_value = "3", value_parser = crate::exit::on_inconclusive)]
    pub on_inconclusive: Exit,

    /// Neither compare the targets before the measurement nor audit them after it
    #[arg(long)]
    pub no_checks: bool,

    /// Leave the targets' models in memory: no figures of memory before loading and after unloading, and no cold starts
    #[arg(long)]
    pub keep_loaded: bool,

    /// Which forms of the report are written besides the table.
    #[command(flatten)]
    pub outputs: Outputs,

    /// No progress on standard error
    #[arg(long)]
    pub quiet: bool,
}

/// How thorough a measurement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Effort {
    /// Whether everything works.
    Smoke,
    /// For oneself.
    Normal,
    /// For others.
    Publish,
}

impl Effort {
    /// Rounds, and requests per target and round.
    pub fn size(self) -> (u32, usize) {
        match self {
            Self::Smoke => (2, 10),
            Self::Normal => (20, 10),
            Self::Publish => (30, 20),
        }
    }
}

/// Parses `5%` into 0.05.
fn percent(typed: &str) -> Result<f64, String> {
    match typed.strip_suffix('%').map(str::parse::<f64>) {
        Some(Ok(percent)) if (0.1..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("write a percentage from 0.1% to 100%, such as 5%".into()),
    }
}
