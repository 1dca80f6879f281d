//! Encoding: texts to vectors or to label scores, many texts at a time.
//!
//! `batch` decides which texts are computed together, an [`Encoder`] computes them, `score` turns outputs into
//! answers, `task` keeps one job's state, and `run` joins them.

mod batch;
mod engine;
mod run;
mod score;
mod task;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::batch::BATCH_TEXTS;
pub use self::engine::{Activation, Encoder, Head, Tokenized};
pub use self::run::run;
pub use self::score::normalize;
use super::Error;

/// Turn texts into vectors.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Embed {
    /// The texts; an empty list gives an empty answer.
    pub inputs: Vec<String>,
    /// What to do with a text that is too long.
    pub overflow: Overflow,
    /// Keep this many leading dimensions and normalise again (Matryoshka). `None` or more than there are: all.
    pub dimensions: Option<u32>,
    /// Scale each vector to length 1.
    pub normalize: bool,
}

/// What happens to a text that is longer than the limit.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Overflow {
    /// Cut it (at its end) instead of refusing the job.
    pub truncate: bool,
    /// A limit in tokens, special tokens included, below the model's own.
    pub max_tokens: Option<u32>,
}

/// Give texts the scores of the model's labels.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Classify {
    /// The texts.
    pub inputs: Vec<String>,
    /// What to do with a text that is too long.
    pub overflow: Overflow,
    /// Report only the best so many labels.
    pub top_k: Option<u32>,
    /// Report the model's raw outputs (logits) instead of probabilities.
    pub raw_scores: bool,
}

/// What an encoding job reports: exactly one event.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Event {
    /// Answer to [`Embed`].
    Embedded(Embedded),
    /// Answer to [`Classify`].
    Classified(Classified),
    /// The job was refused or failed.
    Failed(Error),
}

/// Vectors, in the order of the inputs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Embedded {
    /// One per input, all of one length.
    pub vectors: Vec<Vec<f32>>,
    /// What it took.
    pub usage: Usage,
}

/// Label scores, in the order of the inputs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Classified {
    /// For each input the labels, best first.
    pub labels: Vec<Vec<LabelScore>>,
    /// What it took.
    pub usage: Usage,
}

/// A label and its score: a probability, or a logit where raw scores were asked for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LabelScore {
    /// The label's name in the model's configuration, or `LABEL_n`.
    pub label: String,
    /// The score.
    pub score: f32,
}

/// What an encoding job took. Times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Usage {
    /// Tokens of all inputs as computed, special tokens included.
    pub prompt_tokens: u32,
    /// Inputs that were cut.
    pub truncated_inputs: u32,
    /// From the job's arrival to its first batch.
    pub queue_ns: u64,
    /// Tokenising.
    pub tokenize_ns: u64,
    /// From the first batch to the last result.
    pub compute_ns: u64,
}
