//! The engines: the only place where an inference library is named.
//!
//! Each is one folder and implements a port of [`crate::inference`]. A third would be one folder, one [`Spec`] and one
//! match arm in [`serve`]. This code runs in worker processes only.

pub mod encoder;
pub mod fake;
pub mod gguf;
pub mod mapping;
pub mod onnx;
#[cfg(target_arch = "x86_64")]
mod tiles;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::inference::encode::Head;
use crate::inference::{Error, Inbox, Outbox};

/// What to load, and how: the first message to a worker.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Spec {
    /// A GGUF model through llama.cpp.
    Gguf(gguf::Spec),
    /// A GGUF model through llama.cpp, to encode texts.
    GgufEncoder(gguf::EncoderSpec),
    /// An ONNX model through ONNX Runtime.
    Onnx(onnx::Spec),
    /// Scripted words, delays and faults.
    Fake(fake::Spec),
}

impl Spec {
    /// Every file that is read to load the model, libraries included.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Gguf(spec) => [
                Some(&spec.model),
                spec.adapter.as_ref(),
                spec.projector.as_ref(),
            ]
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
            Self::GgufEncoder(spec) => vec![spec.model.clone()],
            Self::Onnx(spec) => spec.read_files(),
            Self::Fake(_) => Vec::new(),
        }
    }

    /// Whether graphics processors compute a part of it.
    #[must_use]
    pub fn uses_devices(&self) -> bool {
        let layers = match self {
            Self::Gguf(spec) => spec.gpu_layers,
            Self::GgufEncoder(spec) => spec.gpu_layers,
            Self::Onnx(_) | Self::Fake(_) => Some(0),
        };
        gguf::KNOWS_GPUS && layers != Some(0)
    }
}

/// What is known of a model once it is loaded.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Facts {
    /// What it can do.
    pub ability: Ability,
    /// Longest sequence in tokens.
    pub context: u32,
    /// Sequences that advance together.
    pub slots: u32,
    /// Threads it computes with.
    pub threads: u32,
    /// How else it is computed with.
    pub computing: Computing,
    /// How it was loaded, for people: mapping, kernels, library versions.
    pub description: String,
    /// What it takes of the memory.
    pub memory: Memory,
}

/// What a loaded model takes of the memory, in bytes, as far as its engine can tell; 0 where it cannot.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Memory {
    /// Its weights.
    pub weights: u64,
    /// The key-value cache of all the tokens that it can hold. Only those that it holds take memory.
    pub cache_reserved: u64,
    /// The key-value cache of one token.
    pub cache_per_token: u64,
    /// What a step needs while it is computed, and its results.
    pub compute: u64,
    /// What of all this lies on graphics processors, the whole cache included.
    pub on_devices: u64,
}

/// What was chosen for a loaded model, or asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Computing {
    /// Products of its weights are computed by kernels of ours.
    pub own_kernels: bool,
    /// Attention is computed without a matrix of all pairs of tokens.
    pub flash_attention: bool,
    /// Bits of a number in the key-value cache; 0 where there is none.
    pub cache_bits: u32,
    /// Layers on graphics processors. `None`: there are none in this build, or all are.
    pub gpu_layers: Option<u32>,
}

/// What a loaded model can do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Ability {
    /// Continue prompts.
    Generate,
    /// Turn texts into vectors of this length.
    Embed {
        /// Length of a vector.
        dimensions: u32,
    },
    /// Give texts the scores of these labels.
    Classify {
        /// Label names by output index.
        labels: Vec<String>,
    },
    /// Give parts of texts these labels.
    Tag {
        /// Label names by output index.
        labels: Vec<String>,
    },
    /// Weigh the words of a vocabulary of this size.
    Weigh {
        /// Words of the vocabulary.
        dimensions: u32,
    },
}

impl Ability {
    /// What an encoder can do, from what its outputs mean.
    #[must_use]
    pub fn of(head: &Head) -> Self {
        match head {
            Head::Embedding { dimensions } => Self::Embed {
                dimensions: *dimensions,
            },
            Head::Labels { names, .. } => Self::Classify {
                labels: names.clone(),
            },
            Head::TokenLabels { names } => Self::Tag {
                labels: names.clone(),
            },
            Head::Sparse { dimensions } => Self::Weigh {
                dimensions: *dimensions,
            },
        }
    }
}

/// Loads what `spec` names, tells `ready`, and works until the inbox closes.
///
/// # Errors
/// [`Error::LoadFailed`] if it could not be loaded; `ready` was not called then.
pub fn serve(
    spec: &Spec,
    inbox: &Inbox,
    outbox: &mut dyn Outbox,
    ready: &mut dyn FnMut(Facts),
) -> Result<(), Error> {
    match spec {
        Spec::Gguf(spec) => gguf::serve(spec, inbox, outbox, ready),
        Spec::GgufEncoder(spec) => gguf::serve_encoder(spec, inbox, outbox, ready),
        Spec::Onnx(spec) => onnx::serve(spec, inbox, outbox, ready),
        Spec::Fake(spec) => fake::serve(spec, inbox, outbox, ready),
    }
}
