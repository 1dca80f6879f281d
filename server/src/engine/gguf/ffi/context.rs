//! A context of llama.cpp and its batches. `llama-cpp-2` has both, but keeps their pointers to itself, and without them
//! what a projector made of an image cannot be put into a sequence.

use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::ptr::NonNull;

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};
use llama_cpp_sys_2 as sys;

use super::breakdown::{self, Breakdown};
use super::buffers::{self, Buffers};
use super::raw;
use super::threads::Threads;
use crate::engine::gguf::CacheType;
use crate::inference::Token;

/// How a context is made.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::gguf) struct ContextSpec {
    /// Tokens that all sequences hold together.
    pub(in crate::engine::gguf) tokens: NonZeroU32,
    pub(in crate::engine::gguf) sequences: u32,
    /// Whether all sequences share the room for tokens, so that a token's cell can be part of several. Otherwise each has
    /// its part of it.
    pub(in crate::engine::gguf) is_shared: bool,
    /// Most tokens of a batch.
    pub(in crate::engine::gguf) batch: u32,
    /// Most tokens that are computed at once.
    pub(in crate::engine::gguf) micro_batch: u32,
    /// Most tokens of a batch whose results are wanted. Room is made for the numbers of so many, a whole vocabulary each.
    pub(in crate::engine::gguf) outputs: u32,
    pub(in crate::engine::gguf) threads: i32,
    pub(in crate::engine::gguf) flash_attention: sys::llama_flash_attn_type,
    pub(in crate::engine::gguf) cache_type: CacheType,
}

/// A model's sequences: what it keeps of them, and the numbers it computed last.
pub(in crate::engine::gguf) struct Context<'model> {
    context: NonNull<sys::llama_context>,
    /// Words of the vocabulary.
    words: usize,
    batch: u32,
    buffers: Buffers,
    /// Dropped after the context, which computes with them.
    _threads: Option<Threads>,
    model: PhantomData<&'model LlamaModel>,
}

/// Why a batch was not computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::engine::gguf) enum DecodeError {
    #[error("the key-value cache has no room for the batch")]
    NoRoom,
    #[error("llama.cpp returned {0}")]
    Failed(i32),
}

impl<'model> Context<'model> {
    /// `None` if llama.cpp refused it; its log then says why.
    pub(in crate::engine::gguf) fn new(
        _initialised: &LlamaBackend,
        model: &'model LlamaModel,
        spec: ContextSpec,
    ) -> Option<Self> {
        // SAFETY: takes no argument and returns plain data.
        let mut params = unsafe { sys::llama_context_default_params() };
        params.n_ctx = spec.tokens.get();
        params.n_seq_max = spec.sequences;
        params.kv_unified = spec.is_shared;
        params.n_batch = spec.batch;
        params.n_ubatch = spec.micro_batch;
        params.n_outputs_max = spec.outputs.min(spec.batch);
        params.n_threads = spec.threads;
        params.n_threads_batch = spec.threads;
        params.flash_attn_type = spec.flash_attention;
        let cache_type = match spec.cache_type {
            CacheType::F16 => sys::GGML_TYPE_F16,
            CacheType::Q8_0 => sys::GGML_TYPE_Q8_0,
            CacheType::Q4_0 => sys::GGML_TYPE_Q4_0,
        };
        params.type_k = cache_type;
        params.type_v = cache_type;
        // With a cache of only the attention window a sequence could not be cut or shifted.
        params.swa_full = true;
        params.no_perf = true;
        let model = raw(model).cast_mut();
        // SAFETY: a loaded model always has a vocabulary object, which lives as long as the model.
        let words = unsafe { sys::llama_vocab_n_tokens(sys::llama_model_get_vocab(model)) };
        let words = usize::try_from(words).expect("a vocabulary has no negative length");
        let outputs_bytes = words * spec.sequences as usize * size_of::<f32>();
        // SAFETY: the model lives as long as the context, which borrows it, and llama.cpp does not change it through this
        // pointer; every pointer in `params` is null. The backend is initialised: the caller holds its proof.
        let (context, buffers) = buffers::of_context(outputs_bytes, || unsafe {
            sys::llama_init_from_model(model, params)
        });
        let context = NonNull::new(context)?;
        let threads = Threads::start(spec.threads);
        if let Some(threads) = &threads {
            // SAFETY: the context is freed before its threads are dropped.
            unsafe { threads.attach(context) };
        }
        // SAFETY: `context` was just made.
        let batch = unsafe { sys::llama_n_batch(context.as_ptr()) };
        Some(Self {
            context,
            words,
            batch,
            buffers,
            _threads: threads,
            model: PhantomData,
        })
    }

    /// Most tokens of a batch.
    pub(in crate::engine::gguf) fn batch_tokens(&self) -> u32 {
        self.batch
    }

    /// What it takes of the memory.
    pub(in crate::engine::gguf) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// Where llama.cpp says that its memory and that of the model lies.
    pub(in crate::engine::gguf) fn breakdown(&self) -> Breakdown {
        // SAFETY: the context is alive.
        unsafe { breakdown::of(self.context.as_ptr()) }
    }

    /// Tokens that it can hold.
    pub(in crate::engine::gguf) fn cells(&self) -> u32 {
        // SAFETY: the context is alive.
        unsafe { sys::llama_n_ctx(self.context.as_ptr()) }
    }

    /// Forgets all sequences and gives the memory of their tokens back to the system.
    pub(in crate::engine::gguf) fn release(&mut self) {
        // SAFETY: the memory belongs to the context. What the cells held is released with their memory.
        unsafe { sys::llama_memory_clear(self.memory(), false) };
        self.buffers.release();
    }

    /// Has the context apply an adapter of its model; false if llama.cpp refuses.
    pub(in crate::engine::gguf) fn apply(
        &mut self,
        adapter: &mut LlamaLoraAdapter,
        strength: f32,
    ) -> bool {
        // SAFETY: a `LlamaLoraAdapter` is one non-null pointer (`repr(transparent)`, like `LlamaModel`, see `raw`), and
        // `adapter` is a valid reference to it.
        let adapter =
            unsafe { *std::ptr::from_mut(adapter).cast::<*mut sys::llama_adapter_lora>() };
        let (mut adapters, mut strengths) = ([adapter], [strength]);
        // SAFETY: both arrays have the one element that is announced and are copied. The model frees the adapter, and
        // outlives the context.
        let status = unsafe {
            sys::llama_set_adapters_lora(
                self.context.as_ptr(),
                adapters.as_mut_ptr(),
                adapters.len(),
                strengths.as_mut_ptr(),
            )
        };
        status == 0
    }

    /// Computes a batch that is not empty.
    pub(in crate::engine::gguf) fn decode(&mut self, batch: &Batch) -> Result<(), DecodeError> {
        // SAFETY: `Batch` keeps its arrays as long as its count says, and llama.cpp only reads them.
        match unsafe { sys::llama_decode(self.context.as_ptr(), batch.raw) } {
            0 => Ok(()),
            1 => Err(DecodeError::NoRoom),
            status => Err(DecodeError::Failed(status)),
        }
    }

    /// The logits after an entry of the batch that was computed last; none if they were not asked for.
    pub(in crate::engine::gguf) fn logits(&self, entry: i32) -> Option<&[f32]> {
        // SAFETY: llama.cpp checks the index and returns null for one that has no logits.
        let logits = unsafe { sys::llama_get_logits_ith(self.context.as_ptr(), entry) };
        // SAFETY: there is one number for each word, valid until the next computation, which needs `&mut self`.
        (!logits.is_null()).then(|| unsafe { std::slice::from_raw_parts(logits, self.words) })
    }

    /// Forgets the positions of a sequence from one on, up to another or to its end. False if the model's memory cannot
    /// be cut there.
    pub(in crate::engine::gguf) fn forget(
        &mut self,
        sequence: i32,
        from: i32,
        to: Option<i32>,
    ) -> bool {
        // SAFETY: the memory belongs to the context, and llama.cpp checks the numbers.
        unsafe { sys::llama_memory_seq_rm(self.memory(), sequence, from, to.unwrap_or(-1)) }
    }

    /// Moves the positions of a sequence from one on down. llama.cpp aborts for models that cannot.
    pub(in crate::engine::gguf) fn move_down(&mut self, sequence: i32, from: i32, distance: i32) {
        // SAFETY: as above; that the model can is known when this is called.
        unsafe { sys::llama_memory_seq_add(self.memory(), sequence, from, -1, -distance) };
    }

    /// Makes the positions of one sequence before this one those of another, which is empty. Only where sequences share the
    /// room for tokens; what was computed is not copied then.
    pub(in crate::engine::gguf) fn share(&mut self, from: i32, to: i32, before: i32) {
        // SAFETY: the memory belongs to the context; both are among the sequences it was made for.
        unsafe { sys::llama_memory_seq_cp(self.memory(), from, to, 0, before) };
    }

    /// The last position that the model keeps of a sequence; -1 if there is none.
    pub(in crate::engine::gguf) fn last_position(&self, sequence: i32) -> i32 {
        // SAFETY: as above.
        unsafe { sys::llama_memory_seq_pos_max(self.memory(), sequence) }
    }

    pub(super) fn as_ptr(&mut self) -> *mut sys::llama_context {
        self.context.as_ptr()
    }

    fn memory(&self) -> sys::llama_memory_t {
        // SAFETY: the context is alive; a null memory is one that these calls take for empty.
        unsafe { sys::llama_get_memory(self.context.as_ptr()) }
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: it was made in `new`, and nobody else frees it.
        unsafe { sys::llama_free(self.context.as_ptr()) };
    }
}

/// Tokens to be computed together.
pub(in crate::engine::gguf) struct Batch {
    raw: sys::llama_batch,
    room: usize,
}

/// A token of a batch.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::gguf) struct Entry {
    pub(in crate::engine::gguf) token: Token,
    pub(in crate::engine::gguf) position: i32,
    pub(in crate::engine::gguf) sequence: i32,
    /// Whether its logits are wanted.
    pub(in crate::engine::gguf) output: bool,
}

impl Batch {
    /// An empty one with room for so many tokens.
    pub(in crate::engine::gguf) fn new(room: u32) -> Self {
        let count = i32::try_from(room).expect("llama.cpp counts the tokens of a batch as an i32");
        Self {
            // SAFETY: allocates; freed in `drop`.
            raw: unsafe { sys::llama_batch_init(count, 0, 1) },
            room: room as usize,
        }
    }

    pub(in crate::engine::gguf) fn clear(&mut self) {
        self.raw.n_tokens = 0;
    }

    /// Adds a token; false if there is no room for it.
    pub(in crate::engine::gguf) fn add(&mut self, entry: Entry) -> bool {
        let index = usize::try_from(self.raw.n_tokens).expect("it counts up from 0");
        if index >= self.room {
            return false;
        }
        // SAFETY: every array of the batch has room for `self.room` entries, the inner ones of `seq_id` for one, and
        // `index` is below that.
        unsafe {
            self.raw.token.add(index).write(entry.token);
            self.raw.pos.add(index).write(entry.position);
            self.raw.n_seq_id.add(index).write(1);
            (*self.raw.seq_id.add(index)).write(entry.sequence);
            self.raw.logits.add(index).write(i8::from(entry.output));
        }
        self.raw.n_tokens += 1;
        true
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: it was made by `llama_batch_init`, and nobody else frees it.
        unsafe { sys::llama_batch_free(self.raw) };
    }
}
