//! What is asked of the targets and how fast: the description of a workload, and its seeded prompts, lengths and arrivals.
//!
//! This folder is pure: a file and a seed in, work out. It knows neither HTTP nor which target will do the work, so that every
//! target gets the same.

mod file;
mod inputs;
mod jsonl;
mod lengths;
mod load;
mod nonce;
mod presets;
mod texts;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

pub use file::named;
#[cfg(test)]
pub use file::parse;
pub use inputs::{Inputs, Item, Message, Role, Session, Stream, stream};
pub use lengths::Lengths;
#[cfg(test)]
pub use load::Arrival;
pub use load::{Load, LoadPoint, Search, SloMetric, offsets};
pub use presets::{names, preset, text as preset_text};

/// The kind of work, with a request and a reply of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Streamed text that continues a prompt.
    Generate,
    /// Streamed reply to messages.
    Chat,
    /// The vectors of one or several texts.
    Embed,
    /// The labels of one text.
    Classify,
}

/// One workload: what is sent, how long the replies are, at what pace, and what is expected of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Workload {
    /// As printed and as named on the command line.
    pub name: String,
    /// What kind of request carries it.
    pub kind: Kind,
    /// What the texts are, in words for a reader of the report.
    pub description: String,
    /// The seed that the file asks for.
    pub seed: Option<u64>,
    /// The models by target's name, where the file names them.
    pub models: BTreeMap<String, String>,
    /// Context length to ask for, in tokens.
    pub num_ctx: Option<u64>,
    /// What is sent.
    pub prompt: Prompt,
    /// What is asked back.
    pub output: Output,
    /// Conversations of several turns.
    pub turns: Turns,
    /// At which pace; each is a row of its own.
    pub loads: Vec<Load>,
    /// How often.
    pub rounds: Rounds,
    /// What counts as a good reply in time.
    pub slo: Slo,
    /// How often each target is asked with no model in memory, before anything else; 0 for not at all.
    pub cold_repeats: usize,
    /// What must hold of the result.
    pub asserts: Vec<Assert>,
    /// What ratio is the headline, such as `e2e.p95`; declared before the run.
    pub primary: String,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prompt {
    /// Where texts come from.
    pub source: Source,
    /// Their length in tokens, as estimated from words; synthetic texts only.
    pub tokens: Lengths,
    /// Tokens that one word is taken for: no tokenizer is needed, and the server's own count is what is reported.
    pub tokens_per_word: f64,
    /// Beginnings that several requests have in common.
    pub prefix: Prefix,
    /// What the server's prompt cache may know already.
    pub cache: Cache,
    /// Texts per request; embed only.
    pub batch: usize,
}

/// Where texts come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Made up, of the lengths asked for.
    Synthetic,
    /// Drawn from a list.
    Inline(Vec<String>),
    /// Rows of a file, in order, over and over.
    Jsonl {
        /// The file.
        path: PathBuf,
        /// Its rows, read before the clock starts.
        #[serde(skip)]
        rows: Arc<Vec<Row>>,
    },
}

/// One row of a JSONL file: prompt, messages or texts, and what is known about them.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What to send.
    pub input: Input,
    /// The right label.
    pub label: Option<String>,
    /// Most tokens to generate.
    pub max_tokens: Option<u64>,
    /// When it arrived in the trace.
    pub at: Option<Duration>,
    /// Rows of one session are turns of one conversation.
    pub session: Option<String>,
}

/// What one request carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// One text.
    Text(String),
    /// Several texts at once.
    Texts(Vec<String>),
    /// The new messages of a conversation, without those of earlier turns.
    Messages(Vec<Message>),
}

/// Beginnings that several requests have in common.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prefix {
    /// The share of requests that have one, 0 to 1.
    pub share: f64,
    /// Its length in tokens, as estimated from words.
    pub tokens: u64,
    /// How many different ones there are.
    pub groups: usize,
}

/// What the server's prompt cache may know already. Never mixed in one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// Nothing: every prompt begins with words that no other begins with.
    Cold,
    /// Everything: the same prompts in every round, sent once before the clock starts.
    Hot,
    /// The prefixes, but not what follows them.
    Shared,
}

/// What is asked back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Output {
    /// Most tokens to generate.
    pub tokens: Lengths,
    /// How replies get equally long at every target.
    pub equalize: Equalize,
    /// Sampling options that are sent as they are.
    pub options: serde_json::Map<String, serde_json::Value>,
}

/// How replies get equally long at every target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Equalize {
    /// Not at all.
    None,
    /// The target is asked to ignore the model's end of text, and counts prove that it did.
    IgnoreEos,
    /// A limit, and only pairs whose counts are equal are the same work.
    CapAndVerify,
}

/// Conversations of several turns: each turn is sent a think time after the reply to the one before, with all before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Turns {
    /// Turns per conversation.
    pub count: usize,
    /// From a reply's end to the next turn's intended start.
    pub think_time: Duration,
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rounds {
    /// Rounds per load; in each, every target gets the same work.
    pub count: u32,
    /// Measured requests (conversations, if they have several turns) per target and round.
    pub requests: usize,
    /// Discarded requests per target and round.
    pub warmup: usize,
    /// Pause before a target's turn.
    pub cooldown: Duration,
}

/// Times within which a reply is a good one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Slo {
    /// To the first token.
    pub ttft: Option<Duration>,
    /// Per output token after the first.
    pub tpot: Option<Duration>,
    /// To the last byte.
    pub e2e: Option<Duration>,
}

/// What must hold of the result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Assert {
    /// Such as `ratio(e2e.p95) <= 0.9`.
    pub expr: String,
    /// With this confidence; `None` for what each kind of assertion has by itself.
    pub confidence: Option<f64>,
}

/// Workloads that share one stream of requests; most groups have one part.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// As named on the command line.
    pub name: String,
    /// Their loads and rounds are the same.
    pub parts: Vec<Part>,
}

/// One workload's share of the requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What it is.
    pub workload: Workload,
    /// Relative to the other parts' weights.
    pub weight: f64,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Generate, Self::Chat, Self::Embed, Self::Classify];

    /// The name in files, on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Chat => "chat",
            Self::Embed => "embed",
            Self::Classify => "classify",
        }
    }

    /// Whether replies are streamed text.
    pub fn streams(self) -> bool {
        matches!(self, Self::Generate | Self::Chat)
    }
}

impl Slo {
    /// What is promised, and within which time.
    pub fn promises(&self) -> impl Iterator<Item = (SloMetric, Duration)> {
        [
            (SloMetric::Ttft, self.ttft),
            (SloMetric::Tpot, self.tpot),
            (SloMetric::E2e, self.e2e),
        ]
        .into_iter()
        .filter_map(|(metric, limit)| Some((metric, limit?)))
    }

    /// Whether anything is promised.
    pub fn is_set(&self) -> bool {
        self.promises().next().is_some()
    }
}

impl Group {
    /// The workload that says how fast and how often; every part says the same.
    pub fn pace(&self) -> &Workload {
        &self
            .parts
            .first()
            .expect("a group has at least one part")
            .workload
    }
}
