//! The core: what can be asked of a loaded model, what it answers, and who advances in the next step.
//!
//! Both sides of the process boundary share these types: the server makes jobs and consumes events, the worker runs
//! them. Nothing here knows an engine library, HTTP, JSON, a file or a process.

pub mod encode;
mod error;
pub mod generate;
mod job;

pub use error::Error;
pub use job::{Closed, Command, Event, Inbox, Job, JobId, Outbox, Step};

/// A token id of a model's vocabulary.
pub type Token = i32;
