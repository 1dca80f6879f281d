//! From a model and a request to what a worker is told to load.

use std::sync::Arc;

use super::Want;
use super::room::Need;
use crate::config::Config;
use crate::engine::onnx::Computation;
use crate::engine::{Spec, gguf, onnx};
use crate::inference::Error;
use crate::store::gguf::{Arrays, Value};
use crate::store::{BlobFile, Digest, Model, Store, Weights, onnx_source};

/// What has a worker of its own: two names for the same weights share one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Key {
    weights: Digest,
    /// A model that goes on with texts was loaded to encode them.
    encodes: bool,
}

/// Options that need the model to be loaded for them. `None` leaves the choice to the server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LoadOptions {
    /// Tokens of context of one sequence (`num_ctx`).
    pub context: Option<u32>,
    /// Most tokens of one engine call (`num_batch`).
    pub batch: Option<u32>,
    /// Threads (`num_thread`).
    pub threads: Option<u32>,
    /// Map the file (`use_mmap`).
    pub use_mmap: Option<bool>,
    /// Layers that graphics processors compute (`num_gpu`), in builds that know any.
    pub gpu_layers: Option<u32>,
    /// Turn texts into vectors with a model that was made to go on with them. It then has a second worker. Models that were
    /// made to encode always do.
    pub encode: bool,
}

/// What is to be loaded.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whose weights.
    pub key: Key,
    /// The model's name in logs and metrics.
    pub label: String,
    /// The model.
    pub model: Arc<Model>,
    /// What the worker is told.
    pub spec: Spec,
    /// Memory it will take.
    pub need: Need,
    /// How it was to be loaded.
    options: LoadOptions,
}

impl Plan {
    /// Whether planning for this request would come to the same.
    pub fn suits(&self, want: &Want) -> bool {
        Arc::ptr_eq(&self.model, &want.model)
            && self.options == want.options
            && self.label == want.name.to_string()
    }
}

/// Smallest context, as in Ollama.
const MIN_CONTEXT: u32 = 4;
/// Tokens of one engine call unless a request says otherwise.
const DEFAULT_BATCH: u32 = 512;
/// Sequences that advance together unless the operator says otherwise, as far as their caches have room. Sixteen columns of weights cost our
/// kernels little more than eight.
const AUTO_SLOTS: u32 = 16;
/// Tokens that the caches of all sequences may hold without being asked for, but for one whole context. llama.cpp keeps room
/// to note for each of them which tokens of a step see it, 1 kB each.
const MOST_AUTO_CELLS: u32 = 8192;
/// Memory that the caches of all sequences may take without being asked for, whatever the model's size.
const FREE_CACHE_BYTES: u64 = 256 << 20;
/// And the share of the model's size that they may take beyond that, in percent.
const CACHE_PERCENT: u64 = 15;

/// Below this size of weights a second thread costs more than it brings: a step takes less time than the threads need to
/// meet, and on a busy machine each meeting can take a scheduler's time slice.
const ONE_THREAD_BYTES: u64 = 32 << 20;

/// The keys under which a model may be loaded; none for models that nothing here can load.
pub fn keys(model: &Model) -> impl Iterator<Item = Key> {
    let weights = match &model.weights {
        Weights::Gguf {
            model,
            adapters,
            projectors,
        } if !(adapters.is_empty() && projectors.is_empty()) => {
            // The same weights with another adapter or projector are another model in memory.
            let all = std::iter::once(model).chain(adapters).chain(projectors);
            let names: String = all.map(|file| file.digest.to_string()).collect();
            Some(Digest::of(names.as_bytes()))
        }
        Weights::Gguf { model, .. } => Some(model.digest),
        Weights::Onnx { graph, .. } => Some(graph.digest),
        Weights::Other => None,
    };
    weights
        .into_iter()
        .flat_map(|weights| [false, true].map(|encodes| Key { weights, encodes }))
}

/// Whether two models are one in memory.
pub fn share(one: &Model, other: &Model) -> bool {
    keys(one)
        .next()
        .is_some_and(|key| keys(other).any(|it| it == key))
}

/// Decides how a model is loaded for a request.
///
/// # Errors
/// [`Error::Unsupported`] for weights that no engine takes, [`Error::LoadFailed`] when a file or library is missing.
pub fn plan(want: &Want, config: &Config, store: &Store) -> Result<Plan, Error> {
    let model = &want.model;
    let mut key = keys(model).next().ok_or_else(|| {
        let format = &model.details.format;
        Error::Unsupported(format!(
            "\"{}\" is a {format} model, which cannot be run here",
            want.name
        ))
    })?;
    let (spec, need) = match &model.weights {
        Weights::Gguf { adapters, .. } if adapters.len() > 1 => {
            return Err(Error::Unsupported(format!(
                "\"{}\" has {} adapters; only one adapter is currently supported",
                want.name,
                adapters.len()
            )));
        }
        Weights::Gguf {
            model: file,
            adapters,
            projectors,
        } => {
            let shape = Shape::read(store, &file.digest)?;
            if shape.is_encoder || want.options.encode {
                if !adapters.is_empty() {
                    return Err(Error::Unsupported(format!(
                        "\"{}\" has an adapter, with which texts cannot be turned into vectors yet",
                        want.name
                    )));
                }
                key.encodes = !shape.is_encoder;
                let (spec, need) = encoder(want, config, file);
                return Ok(Plan {
                    key,
                    label: want.name.to_string(),
                    model: Arc::clone(model),
                    spec,
                    need,
                    options: want.options.clone(),
                });
            }
            let wanted = want
                .options
                .context
                .unwrap_or(config.context)
                .max(MIN_CONTEXT);
            let context = shape
                .trained_context
                .map_or(wanted, |trained| wanted.min(trained));
            let slots = config.parallel.unwrap_or(AUTO_SLOTS);
            let cells = match config.parallel {
                Some(slots) => context.saturating_mul(slots),
                None => shape.auto_cells(context, file.size),
            };
            let spec = gguf::Spec {
                model: file.path.clone(),
                adapter: adapters.first().map(|adapter| adapter.path.clone()),
                projector: projectors.first().map(|projector| projector.path.clone()),
                context,
                slots,
                cells,
                batch: want.options.batch.unwrap_or(DEFAULT_BATCH),
                threads: want
                    .options
                    .threads
                    .unwrap_or_else(|| auto_threads(file.size)),
                use_mmap: want.options.use_mmap,
                kernels: config.kernels,
                cache_type: config.cache_type,
                flash_attention: config.flash_attention,
                gpu_layers: want.options.gpu_layers,
                cache_idle: config.cache_idle,
                guesses: config.speculation,
            };
            let seen: u64 = projectors.iter().map(|projector| projector.size).sum();
            let need = shape.need(&spec, file.size + seen);
            (Spec::Gguf(spec), need)
        }
        Weights::Onnx {
            graph,
            graph_name,
            files,
            encoder,
        } => {
            let encoder = encoder
                .as_ref()
                .filter(|_| config.onnx_computation == Computation::Auto);
            // A stored encoder does without the library.
            let library = match onnx::library::find(config.ort_library.as_deref()) {
                Ok(library) => Some(library),
                Err(_) if encoder.is_some() => None,
                Err(missing) => return Err(Error::LoadFailed(missing.to_string())),
            };
            let names = files.iter().map(|(name, file)| (name, &file.digest));
            let source = onnx_source((graph_name, &graph.digest), names);
            let spec = onnx::Spec {
                graph: graph.path.clone(),
                graph_name: graph_name.as_str().to_owned(),
                files: files
                    .iter()
                    .map(|(name, file)| (name.as_str().to_owned(), file.path.clone()))
                    .collect(),
                threads: want
                    .options
                    .threads
                    .unwrap_or_else(|| auto_threads(model.size)),
                library,
                stored: encoder.map(|encoder| encoder.path.clone()),
                source: source.to_string(),
                computation: config.onnx_computation,
            };
            let weights = match encoder {
                Some(encoder) => encoder.size,
                None => model.size.saturating_mul(ONNX_COPIES),
            };
            let need = Need {
                weights,
                cache: 0,
                overhead: overhead(weights),
            };
            (Spec::Onnx(spec), need)
        }
        Weights::Other => unreachable!("it has no key"),
    };
    Ok(Plan {
        key,
        label: want.name.to_string(),
        model: Arc::clone(model),
        spec,
        need,
        options: want.options.clone(),
    })
}

/// Memory of a worker beyond weights and caches: at most this, which buffers of a large vocabulary come to, ...
const MOST_OVERHEAD: u64 = 128 << 20;
/// ... and at least this for the process itself, growing with the model in between.
const LEAST_OVERHEAD: u64 = 16 << 20;

/// ONNX Runtime holds the graph's file and its own arrangement of the weights.
const ONNX_COPIES: u64 = 2;

fn overhead(file_bytes: u64) -> u64 {
    (LEAST_OVERHEAD + file_bytes / 3).min(MOST_OVERHEAD)
}

/// How a GGUF model is loaded to encode texts. Its context grows with the texts and its caches are small.
fn encoder(want: &Want, config: &Config, file: &BlobFile) -> (Spec, Need) {
    let use_mmap = want.options.use_mmap;
    let spec = gguf::EncoderSpec {
        model: file.path.clone(),
        threads: want
            .options
            .threads
            .unwrap_or_else(|| auto_threads(file.size)),
        use_mmap,
        kernels: config.kernels,
        flash_attention: config.flash_attention,
        gpu_layers: want.options.gpu_layers,
    };
    let need = Need {
        weights: if use_mmap == Some(true) { 0 } else { file.size },
        cache: 0,
        overhead: overhead(file.size),
    };
    (Spec::GgufEncoder(spec), need)
}

/// Threads for weights of this size; 0 leaves the choice to the engine.
fn auto_threads(bytes: u64) -> u32 {
    u32::from(bytes < ONE_THREAD_BYTES)
}

/// The numbers of a GGUF model that decide what its caches cost.
#[derive(Clone, Copy, Debug)]
struct Shape {
    trained_context: Option<u32>,
    /// Whether it was made to turn texts into vectors or scores.
    is_encoder: bool,
    /// Bytes of the key-value cache per token of one sequence, at 16 bits a value.
    cache_bytes_per_token: u64,
}

impl Shape {
    fn read(store: &Store, digest: &Digest) -> Result<Self, Error> {
        let gguf = store
            .gguf(digest, Arrays::Skip)
            .map_err(|error| Error::LoadFailed(error.to_string()))?;
        let number = |key: &str| gguf.of_architecture(key).and_then(Value::as_unsigned);
        let heads = number("attention.head_count").unwrap_or(1).max(1);
        let width = number("embedding_length").unwrap_or(0) / heads;
        let key_width = number("attention.key_length").unwrap_or(width);
        let value_width = number("attention.value_length").unwrap_or(width);
        let cached_heads = number("attention.head_count_kv").unwrap_or(heads);
        let layers = number("block_count").unwrap_or(0);
        let looks_both_ways = gguf.of_architecture("attention.causal") == Some(&Value::Bool(false));
        Ok(Self {
            // 0 is no pooling, which says nothing.
            is_encoder: looks_both_ways || number("pooling_type").is_some_and(|kind| kind != 0),
            trained_context: number("context_length").and_then(|length| u32::try_from(length).ok()),
            cache_bytes_per_token: layers
                .saturating_mul(cached_heads)
                .saturating_mul(key_width.saturating_add(value_width))
                .saturating_mul(2),
        })
    }

    /// The memory that a worker with `spec` will take.
    fn need(&self, spec: &gguf::Spec, file_bytes: u64) -> Need {
        // Bytes of a block of 32 values against those of 16-bit floats.
        let (numerator, denominator) = match spec.cache_type {
            gguf::CacheType::F16 => (1, 1),
            gguf::CacheType::Q8_0 => (34, 64),
            gguf::CacheType::Q4_0 => (18, 64),
        };
        let cache =
            self.cache_bytes_per_token.saturating_mul(spec.cells.into()) / denominator * numerator;
        let is_mapped = spec.use_mmap == Some(true);
        Need {
            weights: if is_mapped { 0 } else { file_bytes },
            cache,
            overhead: overhead(file_bytes),
        }
    }

    /// Tokens that the caches of all sequences may hold: at least one context, at most one for each.
    fn auto_cells(&self, context: u32, file_bytes: u64) -> u32 {
        let budget = FREE_CACHE_BYTES + file_bytes / 100 * CACHE_PERCENT;
        let affordable = budget / self.cache_bytes_per_token.max(1);
        let most = context
            .saturating_mul(AUTO_SLOTS)
            .min(MOST_AUTO_CELLS.max(context));
        u32::try_from(affordable)
            .unwrap_or(u32::MAX)
            .clamp(context, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_follows_its_cost() {
        let check = |cache_bytes_per_token, context, file_bytes, expected| {
            let shape = Shape {
                trained_context: None,
                is_encoder: false,
                cache_bytes_per_token,
            };
            assert_eq!(shape.auto_cells(context, file_bytes), expected);
        };
        check(2 << 10, 4096, 4 << 20, 8192); // a tiny model
        check(2 << 10, 16_384, 4 << 20, 16_384);
        check(40 << 10, 4096, 386 << 20, 8035); // SmolLM2-360M
        check(40 << 10, 256, 386 << 20, 16 * 256);
        check(384 << 10, 4096, 2_390 << 20, 4096); // Phi-3-mini
        check(u64::MAX, 4096, 1, 4096);
        check(0, 4096, 1, 8192);
        check(1, u32::MAX, 1, u32::MAX);
    }
}
