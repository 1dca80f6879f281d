//! The models on the disk, in the layout that Ollama reads and writes.
//!
//! ```text
//! manifests/<host>/<namespace>/<model>/<tag>   what a model is made of
//! blobs/sha256-<64 hex>                        its parts, shared between models
//! ```
//!
//! A blob is written to a temporary file, flushed, renamed and its folder flushed; a manifest is written last and the
//! same way. So whatever was acknowledged survives a power loss, and whatever was not leaves at most a partial file
//! that [`Store::prune`] removes. Whatever changes what exists holds one lock ([`lock`]), so garbage collection never
//! meets a half-made model, not even another process's.
//!
//! Everything here is plain blocking file access, to be called from a thread that may wait. The store knows no HTTP, no
//! engine and no async code. Files from strangers are read only by the bounded readers in [`gguf`] and [`onnx`].

mod blobs;
mod capabilities;
mod catalog;
mod create;
mod digest;
mod durable;
mod error;
mod garbage;
pub mod gguf;
mod lock;
mod manifest;
mod model;
pub mod modelfile;
mod name;
pub mod onnx;
pub mod parameters;
mod partial;
mod relative_name;
mod seed;
#[cfg(test)]
mod testing;
mod verify;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub use blobs::{Blob, BlobWriter, Staged};
pub use capabilities::Capability;
pub use catalog::Entry;
pub use create::{CreateModel, EncoderWish, Info, Progress, Quantization, Step};
pub use digest::Digest;
pub use error::StoreError;
pub use garbage::{PRUNE_AGE, Pruned};
pub use manifest::{Config, Layer, LayerKind, Manifest};
pub use model::{BlobFile, Details, Message, Model, Weights, onnx_source};
pub use modelfile::Modelfile;
pub use name::Name;
pub use parameters::Parameters;
pub use partial::{Part, PartialBlob};
pub use relative_name::RelativeName;
pub use seed::{SeedModel, Seeded};
pub use verify::{Damage, Depth, Fault, Verifier};

use self::model::Remembered;
use crate::prompt::GoTemplates;

/// A cheap handle to a folder of models.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// Which of a model's templates is used.
    go_templates: GoTemplates,
    /// What the manifests say, read once; an entry counts only while the manifest is still the same.
    resolved: Mutex<HashMap<Name, Remembered>>,
}

impl Store {
    /// Opens the store below `root`, making its folders if they are missing.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with(root, GoTemplates::default())
    }

    /// The same, with a rule on which of a model's templates is used.
    pub fn open_with(
        root: impl Into<PathBuf>,
        go_templates: GoTemplates,
    ) -> Result<Self, StoreError> {
        let shared = Shared {
            root: root.into(),
            go_templates,
            resolved: Mutex::default(),
        };
        let store = Self {
            shared: Arc::new(shared),
        };
        for folder in [store.manifests_folder(), store.blobs_folder()] {
            fs::create_dir_all(folder).map_err(StoreError::io("opening the models folder"))?;
        }
        Ok(store)
    }

    /// Which of a model's templates is used.
    #[must_use]
    pub fn go_templates(&self) -> GoTemplates {
        self.shared.go_templates
    }

    /// The folder the store lives in.
    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    /// Where a blob is, whether or not it is there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs_folder().join(digest.file_name())
    }

    /// Where the manifest of exactly this spelling of the name is, whether or not it is there.
    fn manifest_path(&self, name: &Name) -> PathBuf {
        let mut path = self.manifests_folder();
        path.extend(name.parts());
        path
    }

    fn manifests_folder(&self) -> PathBuf {
        self.root().join("manifests")
    }

    fn blobs_folder(&self) -> PathBuf {
        self.root().join("blobs")
    }
}
