//! The few calls of llama.cpp that `llama-cpp-2` has no safe form of. Everything unsafe in this engine is here.
#![expect(
    unsafe_code,
    reason = "llama-cpp-2 cannot turn weight repacking off, and its `vocab_type` and `n_ctx_train` panic on odd models"
)]

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_sys_2 as sys;

/// Where the weights come to lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Placement {
    /// Map the file instead of reading it into memory.
    pub(super) map: bool,
    /// Rearrange weights at load for kernels that want them so (repacked or AMX tiles). Such weights are copies:
    /// together with `map` both they and the mapped originals are resident.
    pub(super) repack: bool,
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

/// How a vocabulary turns text into tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum VocabularyKind {
    /// The model brings none.
    None,
    /// SentencePiece with byte fallback.
    SentencePiece,
    /// Byte-pair encoding, WordPiece, Unigram and others.
    Other,
}

/// The kind of a model's vocabulary.
pub(super) fn vocabulary_kind(model: &LlamaModel) -> VocabularyKind {
    // SAFETY: the pointer is valid while `model` is borrowed, and a loaded model always has a vocabulary object.
    let kind = unsafe { sys::llama_vocab_type(sys::llama_model_get_vocab(raw(model))) };
    match kind {
        sys::LLAMA_VOCAB_TYPE_NONE => VocabularyKind::None,
        sys::LLAMA_VOCAB_TYPE_SPM => VocabularyKind::SentencePiece,
        _ => VocabularyKind::Other,
    }
}

/// Tokens of context the model was trained for, as its file claims; may be nonsense.
pub(super) fn trained_context(model: &LlamaModel) -> i32 {
    // SAFETY: the pointer is valid while `model` is borrowed.
    unsafe { sys::llama_model_n_ctx_train(raw(model)) }
}

/// Whether prompts would have to go through an encoder first (T5 and its like).
pub(super) fn has_encoder(model: &LlamaModel) -> bool {
    // SAFETY: the pointer is valid while `model` is borrowed.
    unsafe { sys::llama_model_has_encoder(raw(model)) }
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
