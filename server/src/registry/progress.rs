//! What a transfer tells about itself, in the lines that Ollama's clients know.

use std::fmt;

use crate::store::Digest;

/// One thing a transfer has to tell; its text is the `status` of Ollama's line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The registry is asked what the model is made of.
    PullingManifest,
    /// A blob is being fetched.
    Pulling(Moved),
    /// All blobs are here and their bytes are checked.
    Verifying,
    /// All blobs are right.
    WritingManifest,
    /// Blobs that only the replaced model needed are gone.
    RemovingUnused,
    /// The store is asked what the model is made of.
    RetrievingManifest,
    /// The store knows no such model.
    NoManifest,
    /// A blob is being sent.
    Pushing(Moved),
    /// All blobs are there.
    PushingManifest,
    /// What making a model of fetched files tells.
    Creating(String),
    /// It is done.
    Success,
}

/// How much of a blob has been moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Which blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub total: u64,
    /// How many of them have been moved.
    pub completed: u64,
}

impl Progress {
    /// The blob that is being moved, if one is.
    #[must_use]
    pub fn moved(&self) -> Option<&Moved> {
        match self {
            Self::Pulling(moved) | Self::Pushing(moved) => Some(moved),
            _ => None,
        }
    }
}

impl Moved {
    /// All of it.
    pub(super) fn whole(digest: Digest, total: u64) -> Self {
        Self {
            digest,
            total,
            completed: total,
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pulling(moved) => return write!(formatter, "pulling {}", moved.digest.short()),
            Self::Pushing(moved) => return write!(formatter, "pushing {}", moved.digest.short()),
            Self::Creating(status) => status,
            Self::PullingManifest => "pulling manifest",
            Self::Verifying => "verifying sha256 digest",
            Self::WritingManifest => "writing manifest",
            Self::RemovingUnused => "removing unused layers",
            Self::RetrievingManifest => "retrieving manifest",
            Self::NoManifest => "couldn't retrieve manifest",
            Self::PushingManifest => "pushing manifest",
            Self::Success => "success",
        })
    }
}
