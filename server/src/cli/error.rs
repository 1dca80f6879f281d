//! Why a command failed, in one line for the person who typed it.

use std::io;
use std::path::{Path, PathBuf};

use reqwest::StatusCode;

use crate::store::StoreError;
use crate::store::modelfile::ModelfileError;

/// Why a command failed. Its text follows `Error: ` on standard error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there.
    #[error("could not connect to a chaski server at {0}; start one with `chaski serve`")]
    NoServer(String),
    /// The address asks for TLS, and no server could be believed.
    #[error("cannot use {0}: this machine has no certificates to trust; install ca-certificates")]
    NoTls(String),
    /// Somebody answers there, but not with a certificate that can be believed.
    #[error("the certificate of {base} cannot be believed: {reason}")]
    Untrusted {
        /// The server's address.
        base: String,
        /// What is wrong, and what helps.
        reason: String,
    },
    /// The server refused, or failed later on, and says why.
    #[error("{text}")]
    Server {
        /// 200 if the reply had begun well.
        status: StatusCode,
        /// In the server's words.
        text: String,
    },
    /// The connection broke.
    #[error("the connection to the server was lost: {0}")]
    Lost(String),
    /// What came is nothing that Ollama's clients understand.
    #[error("the server's reply makes no sense: {0}")]
    Reply(String),
    /// The stream ended before its last line.
    #[error("the server ended its reply too early")]
    Unfinished,
    /// A file of the user's cannot be used.
    #[error("{}: {}", path.display(), source.kind())]
    File {
        /// As it was given.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A Modelfile that is none.
    #[error(transparent)]
    Modelfile(#[from] ModelfileError),
    /// A name, parameter or model file that the store would refuse.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of settings that cannot be used.
    #[error(transparent)]
    Settings(#[from] crate::config::file::Error),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Nothing can be read or written any more.
    #[error("{0}")]
    Terminal(#[from] io::Error),
}

impl Error {
    /// What happened to that file.
    pub fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            path: path.to_owned(),
            source,
        }
    }

    /// Whether the server knows no such model.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Server { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// Whether the reader of the output has left, as `head` does: nothing that needs to be told.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Terminal(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
