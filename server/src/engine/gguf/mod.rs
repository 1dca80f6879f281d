//! GGUF models through llama.cpp.
//!
//! [`load`] makes a model and a context, [`pool`] says how the context's room is divided, [`sequences`] is the port of generation on them and [`encoder`] that of encoding,
//! [`sampling`] chooses tokens, [`grammar`] says which may be chosen and [`vocabulary`] turns text into tokens and back.
//! [`vision`] turns images into tokens, and [`layout`] says where a sequence's tokens lie.
//! `llama-cpp-2` is used wherever it can be; [`ffi`] holds the rest. [`kernels`] computes products of quantised weights in
//! llama.cpp's threads.
//! Nothing here knows jobs, queues or who asked.

#[doc(hidden)]
pub mod bench;
mod complaints;
mod encoder;
mod ffi;
mod grammar;
mod kernels;
mod layout;
mod load;
mod pool;
mod processors;
mod quantize;
mod sampling;
mod sequences;
mod stretch;
mod vision;
mod vocabulary;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::quantize::{Level, Quantize};
use super::Facts;
use crate::inference::encode::{self, Encoder};
use crate::inference::generate::{self, Engine, Guesses, Policy};
use crate::inference::{Error, Inbox, Outbox};

/// A GGUF model and how to load it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Spec {
    /// The GGUF file.
    pub model: PathBuf,
    /// A LoRA adapter in GGUF to apply to it, at its own strength.
    pub adapter: Option<PathBuf>,
    /// A projector that lets the model see images.
    pub projector: Option<PathBuf>,
    /// Tokens each sequence can hold; more than the model was trained for is cut down to that.
    pub context: u32,
    /// Sequences that can advance together.
    pub slots: u32,
    /// Tokens that all sequences together can hold, at least a context. A model whose sequences cannot share these advances
    /// only as many as there are whole contexts.
    pub cells: u32,
    /// Most tokens in one engine call (`num_batch`).
    pub batch: u32,
    /// Threads; 0 chooses from the processors this process may use.
    pub threads: u32,
    /// Map the file instead of reading it. `None` reads (`docs/decisions/0002-cpu-kernels.md`).
    pub use_mmap: Option<bool>,
    /// Whose kernels compute products of quantised weights.
    pub kernels: Preference,
    /// Type of the key-value cache.
    pub cache_type: CacheType,
    /// Flash attention. `None`: only where the cache cannot do without.
    pub flash_attention: Option<bool>,
    /// Layers that graphics processors compute, in builds that know any. `None`: all of them.
    pub gpu_layers: Option<u32>,
    /// How long the cache of ended jobs is kept when nobody asks for anything.
    pub cache_idle: Duration,
    /// Whether to guess what comes next and verify that, where it is faster.
    pub guesses: bool,
}

/// A GGUF model that turns texts into vectors or scores, and how to load it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EncoderSpec {
    /// The GGUF file.
    pub model: PathBuf,
    /// Threads; 0 chooses from the processors this process may use.
    pub threads: u32,
    /// As in [`Spec`].
    pub use_mmap: Option<bool>,
    /// As in [`Spec`].
    pub kernels: Preference,
    /// As in [`Spec`].
    pub flash_attention: Option<bool>,
    /// As in [`Spec`].
    pub gpu_layers: Option<u32>,
}

/// Whose kernels compute products of quantised weights (`docs/decisions/0005-our-own-kernels.md`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Preference {
    /// Ours if a trial at load says that they are right and faster.
    #[default]
    Auto,
    /// Ours.
    Own,
    /// llama.cpp's, with weights rearranged for them unless they are mapped.
    LlamaCpp,
}

/// Whether this build can compute on graphics processors, where there is one.
pub const KNOWS_GPUS: bool = cfg!(any(feature = "cuda", feature = "metal", feature = "vulkan"));

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

impl CacheType {
    /// Bits of a number, but for the scales of blocks.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::F16 => 16,
            Self::Q8_0 => 8,
            Self::Q4_0 => 4,
        }
    }
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
    with_engine(spec, |engine, facts| {
        ready(facts);
        let policy = Policy {
            cache_idle: spec.cache_idle,
            guesses: match spec.guesses {
                true => Guesses::WhereFaster,
                false => Guesses::Never,
            },
        };
        generate::run(engine, policy, inbox, outbox);
    })
}

/// Loads the model and runs the encoding loop on it.
///
/// # Errors
/// See [`super::serve`].
pub fn serve_encoder(
    spec: &EncoderSpec,
    inbox: &Inbox,
    outbox: &mut dyn Outbox,
    ready: &mut dyn FnMut(Facts),
) -> Result<(), Error> {
    with_encoder(spec, |encoder, facts| {
        ready(facts);
        encode::run(encoder, inbox, outbox);
    })
}

/// Loads the model and lends the encoder to `body`.
///
/// # Errors
/// [`Error::LoadFailed`], saying why llama.cpp or this engine refused the model; `body` was not called then.
pub fn with_encoder<T>(
    spec: &EncoderSpec,
    body: impl FnOnce(&mut dyn Encoder, Facts) -> T,
) -> Result<T, Error> {
    let backend = load::backend();
    let weights = load::weights(
        backend,
        &spec.model,
        spec.use_mmap,
        spec.gpu_layers,
        spec.kernels,
    )?;
    let model = load::read(backend, &weights)?;
    let (mut encoder, facts) = encoder::load(backend, &model, spec, &weights)?;
    Ok(body(&mut encoder, facts))
}

/// Loads the model and lends the engine to `body`. It is lent because the context borrows the model.
///
/// # Errors
/// [`Error::LoadFailed`], saying why llama.cpp or this engine refused the model; `body` was not called then.
pub fn with_engine<T>(
    spec: &Spec,
    body: impl FnOnce(&mut dyn Engine, Facts) -> T,
) -> Result<T, Error> {
    let backend = load::backend();
    let weights = load::weights(
        backend,
        &spec.model,
        spec.use_mmap,
        spec.gpu_layers,
        spec.kernels,
    )?;
    let mut model = load::model(backend, &weights)?;
    let mut adapter = load::adapter(&mut model, spec)?;
    let (mut sequences, mut facts) =
        load::sequences(backend, &model, adapter.as_mut(), &weights, spec)?;
    facts.computing.own_kernels = weights.are_for_own_kernels();
    facts.description = load::description(backend, &weights, &facts);
    Ok(body(&mut sequences, facts))
}
