//! The one error of this folder, in the words Ollama's users know.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;

use crate::store::{Digest, StoreError};

/// Why a transfer failed. Its text is for the caller: it names the registry, never a path of this machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reference asks for plain HTTP with another machine, and the caller did not.
    #[error("insecure protocol http")]
    Insecure,
    /// What the name says is no registry.
    #[error("invalid model name")]
    InvalidName,
    /// Too many transfers are under way.
    #[error("server busy, please try again.  maximum pending requests exceeded")]
    Busy,
    /// The manifest cannot be had.
    #[error("pull model manifest: {0}")]
    Manifest(Box<Error>),
    /// The registry knows no such thing.
    #[error("file does not exist")]
    NotFound,
    /// The name is one of the catalogue's, which has no such model.
    #[error("{0}")]
    Unlisted(String),
    /// The registry wants to know who is asking and does not like the answer.
    #[error("unauthorized: access denied")]
    Unauthorized,
    /// The registry refuses.
    #[error("{}: {body}", status.as_u16())]
    Status {
        /// With this status,
        status: StatusCode,
        /// in these words,
        body: String,
        /// and asks to be left alone for so long.
        retry_after: Option<Duration>,
    },
    /// The registry cannot be reached, or the connection broke.
    #[error("{request}: {cause}")]
    Connection {
        /// What was asked, as in `Get "https://…"`.
        request: String,
        /// What happened.
        cause: String,
        /// Nobody answered at all, so another attempt right away is of little use.
        is_connect: bool,
    },
    /// The connection brought next to nothing for too long.
    #[error("part stalled")]
    Stalled,
    /// Every attempt failed, the last one so.
    #[error("max retries exceeded: {0}")]
    Retries(Box<Error>),
    /// The registry sends us somewhere we do not go.
    #[error("{0}")]
    Refused(String),
    /// What the registry sent makes no sense, or breaks a limit.
    #[error("{0}")]
    Invalid(String),
    /// The bytes are not what the manifest promised, and were thrown away.
    #[error("digest mismatch, file must be downloaded again: want {expected}, got {actual}")]
    DigestMismatch {
        /// What the manifest says.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The disk has no room for what is missing.
    #[error("not enough disk space: {needed} bytes are needed and {free} are free")]
    NoRoom {
        /// Bytes to be fetched.
        needed: u64,
        /// Bytes that can be written.
        free: u64,
    },
    /// This machine's key cannot be used.
    #[error("{0}")]
    Key(String),
    /// Nobody wants the result any more.
    #[error("canceled")]
    Canceled,
    /// The server is about to stop.
    #[error("the server is shutting down; what has come is kept for the next pull")]
    Stopping,
    /// Something else that this needed failed.
    #[error(transparent)]
    Shared(Arc<Error>),
    /// From the store.
    #[error(transparent)]
    Store(StoreError),
}

impl Error {
    /// Whether another attempt at the same request could end otherwise.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Stalled => true,
            Self::Status { status, .. } => {
                status.is_server_error()
                    || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(status)
            }
            _ => false,
        }
    }

    /// How long the registry asks us to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the registry answered that this is not what it has: not found, or refused as a bad request.
    pub(super) fn is_no_such_manifest(&self) -> bool {
        match self {
            Self::Manifest(error) => error.is_no_such_manifest(),
            Self::NotFound => true,
            Self::Status { status, .. } => *status == StatusCode::BAD_REQUEST,
            _ => false,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DigestMismatch { expected, actual } => {
                Self::DigestMismatch { expected, actual }
            }
            other => Self::Store(other),
        }
    }
}
