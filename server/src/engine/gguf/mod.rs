//! GGUF models through llama.cpp.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Facts;
use crate::inference::{Error, Inbox, Outbox};

/// A GGUF model and how to load it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Spec {
    /// The GGUF file.
    pub model: PathBuf,
    /// Tokens each sequence can hold; more than the model was trained for is cut down to that.
    pub context: u32,
    /// Sequences that can advance together.
    pub slots: u32,
    /// Most tokens in one engine call (`num_batch`).
    pub batch: u32,
    /// Threads; 0 chooses from the processors this process may use.
    pub threads: u32,
    /// Map the file instead of reading it. `None` chooses.
    pub use_mmap: Option<bool>,
    /// Type of the key-value cache.
    pub cache_type: CacheType,
    /// Flash attention. `None` lets llama.cpp choose.
    pub flash_attention: Option<bool>,
}

/// Precision of the key-value cache.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum CacheType {
    /// 16-bit floats.
    #[default]
    F16,
    /// 8-bit blocks.
    Q8_0,
    /// 4-bit blocks.
    Q4_0,
}

/// Loads the model and runs the generation loop on it.
///
/// # Errors
/// See [`super::serve`].
pub fn serve(
    spec: &Spec,
    inbox: &Inbox,
    outbox: &mut dyn Outbox,
    ready: &mut dyn FnMut(Facts),
) -> Result<(), Error> {
    let _ = (spec, inbox, outbox, ready);
    Err(Error::LoadFailed(
        "GGUF models cannot be loaded by this build".into(),
    ))
}
