//! What can go wrong between a job and its answer, in the words of inference. The HTTP edge chooses the status.

use serde::{Deserialize, Serialize};

/// Why a job was refused or could not be finished.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
pub enum Error {
    /// The prompt has more tokens than the context holds, and the caller did not allow cutting it.
    #[error("the prompt has {tokens} tokens and exceeds the context length of {limit}")]
    PromptTooLong {
        /// Tokens of the prompt, special tokens included.
        tokens: u32,
        /// Tokens that would have fitted.
        limit: u32,
    },
    /// An input is longer than the encoder accepts, and the caller did not allow cutting it.
    #[error("the input length exceeds the context length")]
    InputTooLong,
    /// The context is so small that nothing of an input is left after cutting it.
    #[error("input after truncation exceeds maximum context length")]
    NothingLeft,
    /// The prompt came to no tokens at all.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The model cannot do what the job asks, for instance embed with a model that generates.
    #[error("{0}")]
    Unsupported(String),
    /// The job's own values make no sense, for instance a token id outside the vocabulary.
    #[error("{0}")]
    InvalidJob(String),
    /// As many jobs wait as are allowed to.
    #[error("server busy, please try again.  maximum pending requests exceeded")]
    Busy,
    /// The model's files could not be loaded.
    #[error("{0}")]
    LoadFailed(String),
    /// The worker process ended while it loaded the model.
    #[error("{0}")]
    LoadDied(String),
    /// It did so again and again, and the model is left alone for a while.
    #[error(
        "the model's worker process ended {deaths} times in a row while loading it; it is tried again in {seconds} s"
    )]
    LoadLoop {
        /// How often.
        deaths: u32,
        /// Until it may be tried again, rounded up.
        seconds: u32,
    },
    /// No process can be had for it now: the system has no descriptors, processes or memory left.
    #[error("the model's worker process cannot be started: {0}")]
    NoProcess(String),
    /// Workers died again and again while this very request was under way; it is left alone for a while.
    #[error(
        "the model's worker process ended {deaths} times in a row while this request was under way; it is refused for {seconds} s"
    )]
    Suspect {
        /// How often.
        deaths: u32,
        /// Until it may be tried again, rounded up.
        seconds: u32,
    },
    /// The engine reported a failure while it computed.
    #[error("the engine failed: {0}")]
    Engine(String),
    /// The worker process ended, stopped answering or sent nonsense while the job was under way.
    #[error("the model's worker process stopped unexpectedly; the next request starts it again")]
    WorkerLost,
    /// The caller does not read, or so slowly that too much waits for it.
    #[error("the reply was not read fast enough")]
    SlowReader,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}
