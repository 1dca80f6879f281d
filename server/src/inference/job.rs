//! Jobs as they travel to a model, and the two ends of that travel as the engine loops see them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::encode;
use super::generate::{self, Generate};
use super::{Error, Token};

/// Names a job between the server and one worker; never used twice for the same worker.
pub type JobId = u64;

/// Everything that can be asked of a loaded model.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Job {
    /// Continue a prompt.
    Generate(Generate),
    /// Turn texts into vectors, scores, or labelled parts.
    Encode(encode::Job),
    /// Turn a text into tokens.
    Tokenize {
        /// The text.
        text: String,
        /// Whether to add what the model wants around every text (beginning-of-sequence and the like).
        add_special: bool,
        /// Whether the names of control tokens in the text become these tokens.
        parse_special: bool,
    },
    /// Turn tokens into text.
    Detokenize {
        /// The tokens.
        tokens: Vec<Token>,
    },
    /// Turn tokens into the bytes that each of them stands for.
    Pieces {
        /// The tokens.
        tokens: Vec<Token>,
    },
}

/// What a loop reports of a job. Each kind of job has its own events; a job never sees those of another kind.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Event {
    /// Of [`Job::Generate`]: several, see [`generate::Event`].
    Generate(generate::Event),
    /// Of [`Job::Encode`]: one.
    Encode(encode::Event),
    /// Of [`Job::Tokenize`]: one.
    Tokenized(Result<Vec<Token>, Error>),
    /// Of [`Job::Detokenize`]: one.
    Detokenized(Result<String, Error>),
    /// Of [`Job::Pieces`]: one.
    Pieces(Result<Vec<Vec<u8>>, Error>),
}

impl Event {
    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        use generate::Event::{Admitted, Text};
        !matches!(self, Self::Generate(Admitted(_) | Text(_)))
    }

    /// The event that tells the same caller of a failure instead.
    #[must_use]
    pub fn into_failure(self, error: Error) -> Self {
        match self {
            Self::Generate(_) => Self::Generate(generate::Event::Failed(error)),
            Self::Encode(_) => Self::Encode(encode::Event::Failed(error)),
            Self::Tokenized(_) => Self::Tokenized(Err(error)),
            Self::Detokenized(_) => Self::Detokenized(Err(error)),
            Self::Pieces(_) => Self::Pieces(Err(error)),
        }
    }
}

impl Job {
    /// The event that tells the caller of this job that it failed.
    #[must_use]
    pub fn failed(&self, error: Error) -> Event {
        match self {
            Self::Generate(_) => Event::Generate(generate::Event::Failed(error)),
            Self::Encode(_) => Event::Encode(encode::Event::Failed(error)),
            Self::Tokenize { .. } => Event::Tokenized(Err(error)),
            Self::Detokenize { .. } => Event::Detokenized(Err(error)),
            Self::Pieces { .. } => Event::Pieces(Err(error)),
        }
    }
}

/// What reaches an engine loop.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Do this job.
    Submit(JobId, Job),
    /// The caller of this job has left; forget it. The job may be over already.
    Cancel(JobId),
}

/// The receiving end of an engine loop. It closes when the server lets go of the worker.
#[derive(Debug)]
pub struct Inbox(Receiver<Command>);

/// The inbox is closed: the loop ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closed;

impl Inbox {
    /// Wraps the receiving half of the worker's bounded command channel.
    #[must_use]
    pub fn new(receiver: Receiver<Command>) -> Self {
        Self(receiver)
    }

    /// Waits for the next command.
    ///
    /// # Errors
    /// [`Closed`] once the sender is gone and the channel is empty.
    pub fn wait(&self) -> Result<Command, Closed> {
        self.0.recv().map_err(|_| Closed)
    }

    /// The next command if one is there.
    ///
    /// # Errors
    /// [`Closed`] once the sender is gone and the channel is empty.
    pub fn poll(&self) -> Result<Option<Command>, Closed> {
        match self.0.try_recv() {
            Ok(command) => Ok(Some(command)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Closed),
        }
    }

    /// Waits for the next command, at most as long as given.
    ///
    /// # Errors
    /// [`Closed`] once the sender is gone and the channel is empty.
    pub fn wait_for(&self, patience: Duration) -> Result<Option<Command>, Closed> {
        match self.0.recv_timeout(patience) {
            Ok(command) => Ok(Some(command)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Closed),
        }
    }
}

/// Where an engine loop puts what it produced.
pub trait Outbox {
    /// Queues an event of a job. It leaves with the next [`Outbox::step`].
    fn push(&mut self, job: JobId, event: Event);

    /// Sends what was queued, together with what the step that produced it cost.
    ///
    /// # Errors
    /// [`Closed`] when the server is gone: the loop ends.
    fn step(&mut self, step: Step) -> Result<(), Closed>;
}

/// What one step of an engine loop did, for the metrics. All but the last three are zero for a delivery without
/// computation.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Step {
    /// Jobs that were part of the step's batch.
    pub jobs: u32,
    /// Prompt tokens that were computed.
    pub prompt_tokens: u32,
    /// Tokens among the computed ones that were guessed.
    pub guessed_tokens: u32,
    /// Those of them that were right.
    pub right_tokens: u32,
    /// Tokens that were sampled.
    pub generated_tokens: u32,
    /// Time of the engine call in nanoseconds.
    pub compute_ns: u64,
    /// Jobs that hold a slot after the step.
    pub running: u32,
    /// Jobs that wait for a slot after the step.
    pub waiting: u32,
    /// Tokens that the cache holds after the step.
    pub cached_tokens: u32,
}
