//! Files of one form into files of another: what `/api/create` needs before a model can be stored.
//!
//! Everything here is plain safe Rust that reads files from strangers, so it runs in a process of its own
//! (`worker::make`), one tensor's rows at a time: memory does not grow with the model. Nothing here knows the store's
//! layout, an engine, or who asked; [`Task`] names the files.

mod adapter;
mod config;
mod family;
mod folder;
pub mod gguf;
pub mod made;
mod merge;
mod model;
mod names;
mod tokenizer;
mod weights;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What is to be made, and of which files.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Task {
    /// One GGUF file of the parts it was split into, in order.
    Merge {
        /// At least two, the first with all the metadata.
        parts: Vec<PathBuf>,
    },
    /// A GGUF model of a Hugging Face folder.
    Model {
        /// The folder's files: their names in it, and where they are.
        files: Files,
        /// What matrices become; `None` keeps 16-bit floats as they are and makes F16 of others.
        to: Option<Float>,
    },
    /// A GGUF LoRA adapter of a PEFT folder.
    Adapter {
        /// The folder's files.
        files: Files,
        /// The GGUF model that it is for.
        base: PathBuf,
    },
}

/// The files of a folder by their names in it.
pub type Files = BTreeMap<String, PathBuf>;

/// The encodings of a model that is not quantised.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Float {
    /// 32-bit floats.
    F32,
    /// 16-bit floats of IEEE 754.
    F16,
    /// The upper halves of 32-bit floats.
    Bf16,
}

/// How much is done, in bytes of what is written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Done {
    /// So far.
    pub completed: u64,
    /// In the end.
    pub total: u64,
}

/// Why a file could not be made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
pub enum Error {
    /// The files given are not what they should be.
    #[error("{0}")]
    Refused(String),
    /// The disk that the result is written to is full.
    #[error("no space left on the disk that holds the models")]
    NoSpace,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Makes the file `output`, which exists and is empty.
///
/// # Errors
/// See [`Error`]; what is in `output` is then of no use.
pub fn run(task: &Task, output: &Path, told: &mut dyn FnMut(Done)) -> Result<(), Error> {
    match task {
        Task::Merge { parts } => merge::merge(parts, output, told),
        Task::Model { files, to } => model::convert(files, *to, output, told),
        Task::Adapter { files, base } => adapter::convert(files, base, output, told),
    }
}

impl Error {
    fn refused(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }

    /// Names what was being done when an error of the file system happened.
    fn io(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            kind => Self::Failed(format!("{action}: {kind}")),
        }
    }
}
