//! Encoding: texts to vectors or to label scores, many texts at a time.
//!
//! `frame` puts the model's special tokens around texts and cuts what is too long, `batch` decides which texts are
//! computed together, an [`Encoder`] computes them, `score` turns outputs into answers, `task` keeps one job's state, and
//! `run` joins them. `trial` finds out what company does to a model's results.

mod batch;
mod engine;
mod frame;
mod run;
mod score;
mod task;
#[cfg(test)]
mod tests;
mod trial;

use serde::{Deserialize, Serialize};

pub use self::batch::{BATCH_TEXTS, BATCH_TOKENS};
pub use self::engine::{Activation, Company, Encoder, Head};
pub use self::frame::{Frame, Special, Tokenized};
pub use self::run::run;
pub use self::score::normalize;
pub use self::trial::{Trial, try_out};
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
    pub inputs: Vec<Input>,
    /// What to do with a text that is too long.
    pub overflow: Overflow,
    /// Report only the best so many labels.
    pub top_k: Option<u32>,
    /// Report only labels with this score or a higher one.
    pub threshold: Option<f32>,
    /// Report the model's raw outputs (logits) instead of probabilities.
    pub raw_scores: bool,
}

/// What is classified.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Input {
    /// One text.
    Text(String),
    /// Two texts that the model sees together, such as a premise and a hypothesis.
    Pair(String, String),
}

/// Score how well each of several texts answers a query.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Rerank {
    /// What is asked.
    pub query: String,
    /// What may answer it.
    pub documents: Vec<String>,
    /// What to do with a pair that is too long.
    pub overflow: Overflow,
    /// Report the model's raw outputs (logits) instead of scores from 0 to 1.
    pub raw_scores: bool,
}

/// What an encoding job reports: exactly one event.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Event {
    /// Answer to [`Embed`].
    Embedded(Embedded),
    /// Answer to [`Classify`].
    Classified(Classified),
    /// Answer to [`Rerank`].
    Reranked(Reranked),
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

/// Scores, in the order of the documents.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Reranked {
    /// One per document: from 0 to 1, or a logit where raw scores were asked for.
    pub scores: Vec<f32>,
    /// What it took.
    pub usage: Usage,
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
