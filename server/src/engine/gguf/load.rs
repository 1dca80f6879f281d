//! From a [`Spec`] to a model and a context.

use std::ffi::CString;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel, RopeType};
use llama_cpp_2::{LogOptions, send_logs_to_tracing};

use super::ffi::context::{Context, ContextSpec};
use super::ffi::{self, Placement};
use super::kernels::Choice as Kernels;
use super::pool::{Pool, Traits};
use super::sequences::{Parts, Sequences};
use super::vision::{self, Vision};
use super::vocabulary::Vocabulary;
use super::{CacheType, Preference, Spec, complaints, processors};
use crate::engine::{Ability, Computing, Facts, Memory};
use crate::inference::Error;
use crate::inference::generate::Limits;

/// Most tokens that are guessed in one step, of all sequences together.
const GUESSED_TOKENS: u32 = 32;
/// Most tokens computed at once inside a step. More make prefill no faster, and what is computed of their attention to a
/// whole pool takes memory in proportion.
const MICRO_BATCH: u32 = 128;

/// The same for models that see: some look at all parts of an image at once, and images have at most so many.
const MICRO_BATCH_OF_IMAGES: u32 = 512;

/// Without flash attention a step looks at every cell of the pool, whoever's it is. A cell's share of a step is about a
/// thousandth of the time that computing its token takes (measured in docs/decisions/0006-shared-cells.md).
const KEPT_STEPS: u32 = 768;

/// An adapter's own alpha says how strong it is; this factor is on top of that.
const ADAPTER_STRENGTH: f32 = 1.0;

/// llama.cpp, started once per process and never stopped: several engines may be alive, as in tests.
pub(super) fn backend() -> &'static LlamaBackend {
    static BACKEND: OnceLock<LlamaBackend> = OnceLock::new();
    BACKEND.get_or_init(|| {
        send_logs_to_tracing(LogOptions::default());
        #[cfg(feature = "portable")]
        load_kernels();
        let backend = LlamaBackend::init().expect("nothing else in this process starts llama.cpp");
        ffi::buffers::install(&backend);
        super::kernels::register();
        backend
    })
}

/// Loads llama.cpp's kernels for the processor this runs on from the folder `lib` beside the executable.
#[cfg(feature = "portable")]
fn load_kernels() {
    match std::env::current_exe() {
        Ok(executable) => {
            llama_cpp_2::llama_backend::load_backends_from_path(&executable.with_file_name("lib"));
        }
        Err(error) => tracing::error!(%error, "cannot find the kernels beside the executable"),
    }
}

/// A model's file, and how its weights are read and computed with.
#[derive(Debug)]
pub(super) struct Weights {
    file: CString,
    placement: Placement,
    /// Whose kernels compute with them, and why.
    kernels: Kernels,
}

/// Chooses how a model's weights are read and computed with; by the thread that will do so.
pub(super) fn weights(
    _initialised: &LlamaBackend,
    path: &Path,
    use_mmap: Option<bool>,
    gpu_layers: Option<u32>,
    preference: Preference,
) -> Result<Weights, Error> {
    let file = readable(path)?;
    let kernels = super::kernels::choose(preference, path, &file);
    let map = use_mmap.unwrap_or(false);
    // Our kernels take weights as they are; llama.cpp's fastest take them rearranged, which a mapped file cannot be.
    let repack = !map && !kernels.are_ours();
    Ok(Weights {
        file,
        placement: Placement {
            map,
            repack,
            gpu_layers,
        },
        kernels,
    })
}

impl Weights {
    /// Whether products with them are computed by kernels of ours.
    pub(super) fn are_for_own_kernels(&self) -> bool {
        self.kernels.are_ours()
    }
}

/// Reads the file of a model that generates.
pub(super) fn model(backend: &LlamaBackend, weights: &Weights) -> Result<LlamaModel, Error> {
    let model = read(backend, weights)?;
    refuse_what_does_not_generate(&model)?;
    Ok(model)
}

/// Reads a model's file, as far as its placement needs.
pub(super) fn read(backend: &LlamaBackend, weights: &Weights) -> Result<LlamaModel, Error> {
    let (model, errors) =
        complaints::heard(|| ffi::load(backend, &weights.file, weights.placement));
    let model = model.ok_or_else(|| failed(&errors))?;
    refuse_encoder_decoders(&model)?;
    Ok(model)
}

/// llama.cpp's own words for an unreadable file are poor.
fn readable(path: &Path) -> Result<CString, Error> {
    std::fs::File::open(path)
        .map_err(|error| Error::LoadFailed(format!("cannot read {}: {error}", path.display())))?;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::LoadFailed(format!("{} has a zero byte in its name", path.display())))
}

/// The reason is the first complaint; those after it are its consequences.
pub(super) fn failed(errors: &[String]) -> Error {
    let reason = errors.first().map_or("llama.cpp gave no reason", |error| {
        error
            .trim_start_matches("error loading model: ")
            .trim_start_matches("error loading model ")
    });
    Error::LoadFailed(format!("failed to load model: {reason}"))
}

fn refuse_encoder_decoders(model: &LlamaModel) -> Result<(), Error> {
    if ffi::has_encoder(model) {
        let architecture = architecture(model);
        return Err(Error::LoadFailed(format!(
            "models with an encoder ({architecture}) are not supported"
        )));
    }
    Ok(())
}

fn refuse_what_does_not_generate(model: &LlamaModel) -> Result<(), Error> {
    let looks_both_ways = of_architecture(model, "attention.causal").as_deref() == Some("false");
    // 0 is no pooling, which says nothing.
    let pools = of_architecture(model, "pooling_type").is_some_and(|pooling| pooling != "0");
    if looks_both_ways || pools {
        let architecture = architecture(model);
        return Err(Error::LoadFailed(format!(
            "the model ({architecture}) makes embeddings and does not generate text"
        )));
    }
    Ok(())
}

/// `general.architecture`; empty if the file does not tell.
pub(super) fn architecture(model: &LlamaModel) -> String {
    metadata(model, "general.architecture").unwrap_or_default()
}

/// What the file says under `<architecture>.<key>`.
pub(super) fn of_architecture(model: &LlamaModel, key: &str) -> Option<String> {
    metadata(model, &format!("{}.{key}", architecture(model)))
}

/// What the file says under this key.
pub(super) fn metadata(model: &LlamaModel, key: &str) -> Option<String> {
    model.meta_val_str(key).ok()
}

/// Makes a context with the sequences that `spec` asks for.
pub(super) fn sequences<'model>(
    backend: &LlamaBackend,
    model: &'model LlamaModel,
    adapter: Option<&mut LlamaLoraAdapter>,
    weights: &Weights,
    spec: &Spec,
) -> Result<(Sequences<'model>, Facts), Error> {
    let vocabulary = Vocabulary::new(model)?;
    let context = spec.context.clamp(1, trained_context(model)?);
    let too_many = || Error::LoadFailed(format!("contexts of {context} tokens are too many"));
    let pool =
        Pool::new(Traits::of(model), context, spec.slots, spec.cells).ok_or_else(too_many)?;
    let cells = NonZeroU32::new(pool.cells).ok_or_else(too_many)?;
    // Every sequence must be able to advance in one step.
    let batch = spec.batch.max(pool.slots).min(pool.cells);
    let outputs = (pool.slots + GUESSED_TOKENS).min(batch);
    let (threads, thread_count) = threads(spec.threads)?;

    let micro_batch = batch.min(match spec.projector {
        Some(_) => MICRO_BATCH_OF_IMAGES,
        None => MICRO_BATCH,
    });
    // On processors llama.cpp's own takes several times as long as products do (docs/decisions/0006-shared-cells.md). A quantised cache
    // cannot do without.
    let is_cheap = weights.kernels.attends() && has_whole_heads(model);
    let can_do_without = spec.cache_type == CacheType::F16 && !is_cheap;
    let wanted_attention = (spec.flash_attention).or(can_do_without.then_some(false));
    let flash_attention = flash_attention(wanted_attention);
    let wanted = ContextSpec {
        tokens: cells,
        sequences: pool.sequences,
        is_shared: pool.shares,
        batch,
        micro_batch,
        outputs,
        threads: thread_count,
        flash_attention,
        cache_type: spec.cache_type,
    };
    let (made, errors) = complaints::heard(|| Context::new(backend, model, wanted));
    let mut made = made.ok_or_else(|| failed(&errors))?;
    if let Some(adapter) = adapter {
        adapt(&mut made, adapter)?;
    }

    let limits = Limits {
        slots: pool.slots,
        sequences: pool.sequences,
        context,
        cells: pool.cells,
        step_tokens: made.batch_tokens(),
        step_outputs: outputs,
        shares: pool.shares,
        kept_steps: match flash_attention {
            llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_DISABLED => KEPT_STEPS,
            _ => u32::MAX,
        },
        rewinds: !(model.is_recurrent() || model.is_hybrid()),
        vocabulary: vocabulary.size(),
    };
    let projector = spec.projector.as_deref();
    let vision = projector
        .map(|path| {
            Vision::new(&vision::Parts {
                path,
                model,
                threads: thread_count,
                micro_batch,
            })
        })
        .transpose()?;
    let mut sequences = Sequences::new(Parts {
        context: made,
        vocabulary,
        limits,
        can_shift: can_shift(model),
        vision,
    });
    sequences.warm_up()?;
    let facts = Facts {
        ability: Ability::Generate,
        context,
        slots: pool.slots,
        threads,
        computing: Computing {
            own_kernels: false,
            // Where llama.cpp chooses, it takes it on processors.
            flash_attention: flash_attention != llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_DISABLED,
            cache_bits: spec.cache_type.bits(),
            gpu_layers: spec.gpu_layers,
        },
        description: String::new(),
        memory: memory(model, &sequences.context),
    };
    Ok((sequences, facts))
}

fn memory(model: &LlamaModel, context: &Context<'_>) -> Memory {
    let buffers = context.buffers();
    let devices = context.breakdown().devices;
    let cache = buffers.cache_bytes + devices.cache;
    Memory {
        weights: ffi::weights_bytes(model),
        cache_reserved: cache,
        cache_per_token: cache / u64::from(context.cells().max(1)),
        compute: buffers.compute_bytes + devices.compute,
        on_devices: devices.total(),
    }
}

/// Reads the adapter that `spec` names, if any. It lives as long as the model, which frees it.
pub(super) fn adapter(
    model: &mut LlamaModel,
    spec: &Spec,
) -> Result<Option<LlamaLoraAdapter>, Error> {
    let Some(path) = &spec.adapter else {
        return Ok(None);
    };
    readable(path)?;
    let (adapter, errors) = complaints::heard(|| model.lora_adapter_init(path));
    adapter
        .map(Some)
        .map_err(|_| adapter_failed(errors.first().map_or("llama.cpp gave no reason", |e| e)))
}

/// Has the context apply the adapter.
fn adapt(context: &mut Context<'_>, adapter: &mut LlamaLoraAdapter) -> Result<(), Error> {
    match context.apply(adapter, ADAPTER_STRENGTH) {
        true => Ok(()),
        false => Err(adapter_failed("llama.cpp does not apply it to this model")),
    }
}

fn adapter_failed(reason: &str) -> Error {
    Error::LoadFailed(format!("failed to load adapter: {reason}"))
}

/// Tokens of context the model was trained for, at least 1.
pub(super) fn trained_context(model: &LlamaModel) -> Result<u32, Error> {
    u32::try_from(ffi::trained_context(model))
        .ok()
        .filter(|&trained| trained > 0)
        .ok_or_else(|| Error::LoadFailed("the model states no context length".into()))
}

/// The threads to compute with, also as llama.cpp counts them; 0 chooses.
pub(super) fn threads(wanted: u32) -> Result<(u32, i32), Error> {
    let threads = match wanted {
        0 => processors::usable(),
        threads => threads,
    };
    let count = i32::try_from(threads)
        .map_err(|_| Error::LoadFailed(format!("{threads} threads are too many")))?;
    Ok((threads, count))
}

/// Whether our attention computes with the model's heads: their sizes are multiples of sixteen.
fn has_whole_heads(model: &LlamaModel) -> bool {
    let length = |key| of_architecture(model, key).and_then(|length| length.parse::<u32>().ok());
    let usual = u32::try_from(model.n_embd())
        .ok()
        .and_then(|numbers| numbers.checked_div(model.n_head()));
    ["attention.key_length", "attention.value_length"]
        .into_iter()
        .all(|key| {
            length(key)
                .or(usual)
                .is_some_and(|size| size.is_multiple_of(16))
        })
}

pub(super) fn flash_attention(wanted: Option<bool>) -> llama_cpp_sys_2::llama_flash_attn_type {
    match wanted {
        None => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_AUTO,
        Some(true) => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_ENABLED,
        Some(false) => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_DISABLED,
    }
}

/// What `llama_memory_can_shift` says, which `llama-cpp-2` lacks: moving positions means turning the cached keys
/// further, which llama.cpp can do with one rotary position per token, the same in all layers. It aborts otherwise.
fn can_shift(model: &LlamaModel) -> bool {
    let turns_simply = matches!(
        model.rope_type(),
        None | Some(RopeType::Norm | RopeType::NeoX)
    );
    let architecture = metadata(model, "general.architecture").unwrap_or_default();
    let excepted = ["step35", "deepseek4"].contains(&architecture.as_str());
    turns_simply && !excepted && !model.is_recurrent() && !model.is_hybrid()
}

/// How the weights are read and computed with, for people.
pub(super) fn description(backend: &LlamaBackend, weights: &Weights, facts: &Facts) -> String {
    let Placement {
        map,
        repack,
        gpu_layers: _,
    } = weights.placement;
    let Facts {
        threads, computing, ..
    } = facts;
    let attention = if computing.flash_attention {
        "on"
    } else {
        "off"
    };
    let cache = match computing.cache_bits {
        0 => String::new(),
        bits => format!("; {bits}-bit cache"),
    };
    let gpu = match facts.memory.on_devices {
        0 => String::new(),
        bytes => format!("; {} MB on graphics processors", bytes / 1_000_000),
    };
    format!(
        "llama.cpp; weights {} and {}; {}; threads {threads}; flash attention {attention}{cache}{gpu}; {}",
        if map { "mapped" } else { "read" },
        if repack {
            "repacked"
        } else {
            "left as they are"
        },
        weights.kernels.reason(),
        ffi::kernels(backend),
    )
}
