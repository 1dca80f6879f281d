//! The calls of llama.cpp that `llama-cpp-2` has no safe form of. Everything unsafe in this engine is in this folder.
#![expect(
    unsafe_code,
    reason = "llama-cpp-2 cannot turn weight repacking off nor quantise, ggml clears caches by writing to them, lacks the labels of classifiers, its \
              `vocab_type` and `n_ctx_train` panic on odd models, and it encodes and decodes an image in one call only"
)]

mod breakdown;
pub(super) mod buffers;
pub(super) mod context;
pub(super) mod projector;
mod threads;

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;

use std::sync::Mutex;

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::{LogOptions, send_logs_to_tracing};
use llama_cpp_sys_2 as sys;

use super::quantize::Level;

/// Where the weights come to lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Placement {
    /// Map the file instead of reading it into memory.
    pub(super) map: bool,
    /// Rearrange weights at load for kernels that want them so (repacked or AMX tiles). Such weights are copies:
    /// together with `map` both they and the mapped originals are resident.
    pub(super) repack: bool,
    /// Layers that graphics processors compute, where llama.cpp was compiled for any. `None`: all of them.
    pub(super) gpu_layers: Option<u32>,
}

/// Loads a model, which `llama-cpp-2` does too, but with a choice of repacking. `None` if llama.cpp refused it; its log
/// then says why.
pub(super) fn load(
    _initialised: &LlamaBackend,
    path: &CStr,
    placement: Placement,
) -> Option<LlamaModel> {
    // SAFETY: takes no argument and returns plain data.
    let mut params = unsafe { sys::llama_model_default_params() };
    params.load_mode = if placement.map {
        sys::LLAMA_LOAD_MODE_MMAP
    } else {
        sys::LLAMA_LOAD_MODE_NONE
    };
    params.use_extra_bufts = placement.repack;
    if let Some(layers) = placement.gpu_layers {
        params.n_gpu_layers = i32::try_from(layers).unwrap_or(i32::MAX);
    }
    // Without a callback of the caller llama.cpp logs a line of dots.
    params.progress_callback = Some(carry_on);

    // SAFETY: `path` is NUL-terminated and outlives the call; every pointer in `params` is null or static. The backend
    // is initialised: the caller holds its proof.
    let model = unsafe { sys::llama_model_load_from_file(path.as_ptr(), params) };
    let model = NonNull::new(model)?;
    // SAFETY: `LlamaModel` is `repr(transparent)` over a `repr(transparent)` wrapper of `NonNull<llama_model>` (checked
    // for size by `transmute`, and the crate's version is pinned). It owns the model from here on and frees it when
    // dropped, as it does with the models that it loads itself.
    Some(unsafe { std::mem::transmute::<NonNull<sys::llama_model>, LlamaModel>(model) })
}

extern "C" fn carry_on(_progress: f32, _user_data: *mut c_void) -> bool {
    true
}

/// Memory for rows that are being quantised; llama.cpp would take 8 GiB.
const QUANTIZE_BUFFER_BYTES: usize = 256 << 20;

/// What [`quantize`] does.
#[derive(Debug)]
pub(super) struct QuantizeRequest<'a> {
    pub(super) input: &'a CStr,
    pub(super) output: &'a CStr,
    pub(super) level: Level,
    pub(super) threads: i32,
}

/// What llama.cpp prints.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Line<'a> {
    /// Why something failed.
    Error(&'a str),
    /// Anything else, perhaps a part of a line.
    Other(&'a str),
}

type Hear<'a> = Mutex<&'a mut (dyn FnMut(Line<'_>) + Send)>;

/// Quantises a file and tells `hear` what llama.cpp prints meanwhile. `false` if llama.cpp refused it.
pub(super) fn quantize(
    _initialised: &LlamaBackend,
    request: &QuantizeRequest<'_>,
    hear: &mut (dyn FnMut(Line<'_>) + Send),
) -> bool {
    // SAFETY: takes no argument and returns plain data.
    let mut params = unsafe { sys::llama_model_quantize_default_params() };
    params.nthread = request.threads;
    params.max_buf_size = QUANTIZE_BUFFER_BYTES;
    params.ftype = match request.level {
        Level::F32 => sys::LLAMA_FTYPE_ALL_F32,
        Level::F16 => sys::LLAMA_FTYPE_MOSTLY_F16,
        Level::Bf16 => sys::LLAMA_FTYPE_MOSTLY_BF16,
        Level::Q8_0 => sys::LLAMA_FTYPE_MOSTLY_Q8_0,
        Level::Q4_0 => sys::LLAMA_FTYPE_MOSTLY_Q4_0,
        Level::Q4KSmall => sys::LLAMA_FTYPE_MOSTLY_Q4_K_S,
        Level::Q4KMedium => sys::LLAMA_FTYPE_MOSTLY_Q4_K_M,
    };
    let hear: Hear<'_> = Mutex::new(hear);
    let listener = std::ptr::from_ref(&hear).cast_mut().cast::<c_void>();
    // SAFETY: `tell` reads `listener` as the `Hear` that it is, and only until the logs are sent elsewhere again, below,
    // while `hear` lives. The mutex makes calls from several threads safe.
    unsafe { sys::llama_log_set(Some(tell), listener) };
    // SAFETY: both names are NUL-terminated and outlive the call, as does `params`, whose other pointers are null.
    let status = unsafe {
        sys::llama_model_quantize(
            request.input.as_ptr(),
            request.output.as_ptr(),
            &raw const params,
        )
    };
    send_logs_to_tracing(LogOptions::default());
    status == 0
}

extern "C" fn tell(level: sys::ggml_log_level, text: *const c_char, listener: *mut c_void) {
    if text.is_null() || listener.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a NUL-terminated text that lives as long as the call, and the listener it was given in
    // `quantize`, which outlives its use as such.
    let (text, hear) = unsafe { (CStr::from_ptr(text), &*listener.cast::<Hear<'_>>()) };
    let text = text.to_string_lossy();
    // A panic must not cross into C++; a listener that has panicked is not called again.
    if let Ok(mut hear) = hear.lock() {
        hear(match level {
            sys::GGML_LOG_LEVEL_ERROR => Line::Error(&text),
            _ => Line::Other(&text),
        });
    }
}

/// How a vocabulary turns text into tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum VocabularyKind {
    /// The model brings none.
    None,
    /// SentencePiece with byte fallback.
    SentencePiece,
    /// WordPiece.
    WordPiece,
    /// RWKV's, which knows no tokens around texts.
    Rwkv,
    /// Byte-pair encoding, Unigram and others.
    Other,
}

/// The kind of a model's vocabulary.
pub(super) fn vocabulary_kind(model: &LlamaModel) -> VocabularyKind {
    // SAFETY: the pointer is valid while `model` is borrowed, and a loaded model always has a vocabulary object.
    let kind = unsafe { sys::llama_vocab_type(sys::llama_model_get_vocab(raw(model))) };
    match kind {
        sys::LLAMA_VOCAB_TYPE_NONE => VocabularyKind::None,
        sys::LLAMA_VOCAB_TYPE_SPM => VocabularyKind::SentencePiece,
        sys::LLAMA_VOCAB_TYPE_WPM => VocabularyKind::WordPiece,
        sys::LLAMA_VOCAB_TYPE_RWKV => VocabularyKind::Rwkv,
        _ => VocabularyKind::Other,
    }
}

/// Bytes of all weights.
pub(super) fn weights_bytes(model: &LlamaModel) -> u64 {
    // SAFETY: the pointer is valid while `model` is borrowed.
    unsafe { sys::llama_model_size(raw(model)) }
}

/// Tokens of context the model was trained for, as its file claims; may be nonsense.
pub(super) fn trained_context(model: &LlamaModel) -> i32 {
    // SAFETY: the pointer is valid while `model` is borrowed.
    unsafe { sys::llama_model_n_ctx_train(raw(model)) }
}

/// Whether some layers look only at the newest tokens.
pub(super) fn has_window(model: &LlamaModel) -> bool {
    // SAFETY: the pointer is valid while `model` is borrowed.
    unsafe { sys::llama_model_n_swa(raw(model)) > 0 }
}

/// Whether prompts would have to go through an encoder first (T5 and its like).
pub(super) fn has_encoder(model: &LlamaModel) -> bool {
    // SAFETY: the pointer is valid while `model` is borrowed.
    unsafe { sys::llama_model_has_encoder(raw(model)) }
}

/// Numbers that stand for a token at the model's input, those for its deeper layers included.
pub(super) fn embedding_width(model: &LlamaModel) -> usize {
    // SAFETY: the pointer is valid while `model` is borrowed.
    let width = unsafe { sys::llama_model_n_embd_inp(raw(model)) };
    usize::try_from(width).expect("a width is not negative")
}

/// The name of a classifier's label, if its file gives one.
pub(super) fn label(model: &LlamaModel, index: u32) -> Option<String> {
    if index >= model.n_cls_out() {
        return None;
    }
    // SAFETY: the pointer is valid while `model` is borrowed, and `index` is within what it has.
    let label = unsafe { sys::llama_model_cls_label(raw(model), index) };
    if label.is_null() {
        return None;
    }
    // SAFETY: llama.cpp returns a NUL-terminated string that the model owns; it is copied while `model` is borrowed.
    let label = unsafe { CStr::from_ptr(label) };
    Some(label.to_string_lossy().into_owned())
}

/// The processor features that llama.cpp's kernels were compiled for or chose, as llama.cpp words them.
pub(super) fn kernels(_initialised: &LlamaBackend) -> String {
    // SAFETY: llama.cpp returns a pointer to a NUL-terminated static string, or rewrites that string: it is copied at
    // once, and an engine asks once, while it loads.
    let text = unsafe { CStr::from_ptr(sys::llama_print_system_info()) };
    text.to_string_lossy().trim().to_owned()
}

fn raw(model: &LlamaModel) -> *const sys::llama_model {
    // SAFETY: see `load`: a `LlamaModel` is one non-null pointer, and `model` is a valid reference to it.
    unsafe { *std::ptr::from_ref(model).cast::<*const sys::llama_model>() }
}
