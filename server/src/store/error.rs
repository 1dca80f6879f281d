//! The one error of this layer, in the words Ollama's users know.

use std::io;

use super::{Digest, Name};

/// Why the store could not do what it was asked.
///
/// The text is for the caller and names no path of this machine; the HTTP edge picks a status by variant.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No manifest of that name.
    #[error("model '{0}' not found")]
    NotFound(Name),
    /// A digest that names no blob in the store.
    #[error("blob {0} not found")]
    BlobNotFound(Digest),
    /// Text that is not a model name.
    #[error("invalid model name")]
    InvalidName(String),
    /// Text that is not `sha256:` and 64 hexadecimal digits.
    #[error("invalid digest format")]
    InvalidDigest,
    /// A file name inside a model that is absolute, climbs out, or is too long.
    #[error("file path must be relative")]
    InvalidPath(String),
    /// The bytes received are not the bytes announced.
    #[error("digest mismatch, expected \"{expected}\", got \"{actual}\"")]
    DigestMismatch {
        /// What the caller announced.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// A request that can never work, whatever the store holds.
    #[error("{0}")]
    InvalidRequest(String),
    /// A file, manifest or layer that is not what it claims to be.
    #[error("{0}")]
    BrokenModel(String),
    /// Something Ollama can do and this store cannot.
    #[error("{0}")]
    Unsupported(String),
    /// A model whose numbers are quantised cannot be quantised again.
    #[error("quantization is only supported for F16, BF16 and F32 models")]
    NotQuantizable,
    /// The disk, or this user's share of it, is full.
    #[error("no space left on the disk that holds the models")]
    NoSpace,
    /// Any other failure of the file system.
    #[error("{action}: {}", source.kind())]
    Io {
        /// What was being done, as in `reading a manifest`.
        action: &'static str,
        /// The operating system's answer, for the log: it may name paths.
        source: io::Error,
    },
}

impl StoreError {
    /// Names what was being done when `source` happened. A full disk is always [`StoreError::NoSpace`].
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io { action, source },
        }
    }

    pub(super) fn broken(what: impl Into<String>) -> Self {
        Self::BrokenModel(what.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_other_failures() {
        let full = StoreError::io("writing a blob")(io::Error::from_raw_os_error(28));
        assert!(matches!(full, StoreError::NoSpace));
        let denied = StoreError::io("writing a blob")(io::Error::from_raw_os_error(13));
        assert_eq!(denied.to_string(), "writing a blob: permission denied");
    }
}
