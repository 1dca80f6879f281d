//! Encoding: texts to vectors, to label scores or to labelled parts, many texts at a time.
//!
//! `job` is what can be asked and answered. `frame` puts the model's special tokens around texts and cuts or splits what is
//! too long, `excerpt` says how much of a long text is turned into tokens at all, `batch` decides which texts are computed together, an [`Encoder`] computes them, `score`, `tag` and `want`
//! turn outputs into answers, `task` keeps one job's state, and `run` joins them. `trial` finds out what company does to a
//! model's results.

mod batch;
mod engine;
mod excerpt;
mod frame;
mod job;
mod run;
mod score;
mod tag;
mod task;
#[cfg(test)]
mod tests;
mod trial;
mod want;

pub use self::batch::{BATCH_TEXTS, BATCH_TOKENS};
pub use self::engine::{Activation, Company, Encoder, Head, NamedHead, Prompts};
pub use self::frame::{Frame, Output, Special, Tokenized};
pub use self::job::{
    Aggregation, Ask, Classify, Embed, EmbedSparse, EmbedTokens, Encoded, Event, Input, Job,
    LabelScore, Overflow, Piece, Place, Prompt, Rerank, Scale, Side, Span, Spell, Tag, TooLong,
    Usage, Write, ZeroShot,
};
pub use self::run::run;
pub use self::score::normalize;
pub use self::trial::{Trial, try_out};
