//! What mtmd does in one call, encoding an image and putting it into a sequence, in two: the first takes long and need not
//! be done where the sequences are.

use std::sync::{Mutex, PoisonError};

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::mtmd::{MtmdContext, MtmdInputChunks};
use llama_cpp_sys_2 as sys;

use super::context::Context;
use super::embedding_width;

/// A projector that several threads may use: one prepares images while another encodes one.
pub(in crate::engine::gguf) struct Projector {
    context: MtmdContext,
    /// Held while the projector computes: it has one set of buffers.
    computing: Mutex<()>,
    /// Numbers that stand for a token, as many as the model's embeddings have.
    width: usize,
}

/// Where a chunk comes to lie.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::gguf) struct Place {
    pub(in crate::engine::gguf) sequence: i32,
    pub(in crate::engine::gguf) position: i32,
}

// The pointers inside are read by casting; each type has one field, which is that pointer, so its size says where it is.
const _: () = assert!(size_of::<MtmdContext>() == size_of::<*mut sys::mtmd_context>());
const _: () = assert!(size_of::<MtmdInputChunks>() == size_of::<*mut sys::mtmd_input_chunks>());

impl Projector {
    /// The model is the one that the context was made for, and has to outlive it.
    pub(in crate::engine::gguf) fn new(context: MtmdContext, model: &LlamaModel) -> Self {
        Self {
            context,
            computing: Mutex::new(()),
            width: embedding_width(model),
        }
    }

    /// For everything that does not compute.
    pub(in crate::engine::gguf) fn context(&self) -> &MtmdContext {
        &self.context
    }

    /// The embeddings of a chunk's tokens, one behind the other. `None` if llama.cpp failed; its log then says why.
    pub(in crate::engine::gguf) fn encode(
        &self,
        chunks: &MtmdInputChunks,
        index: usize,
    ) -> Option<Vec<f32>> {
        let chunk = chunk(chunks, index)?;
        // What it guards are llama.cpp's buffers, which the next call overwrites.
        let _computing = (self.computing.lock()).unwrap_or_else(PoisonError::into_inner);
        // SAFETY: both pointers are valid while `self` and `chunks` are borrowed. The context's buffers are changed by
        // one thread at a time, that holds the lock; what other threads do with it meanwhile reads its settings only.
        let status = unsafe { sys::mtmd_encode_chunk(self.raw(), chunk) };
        if status != 0 {
            return None;
        }
        // SAFETY: as above.
        let (numbers, tokens) = unsafe {
            let numbers = sys::mtmd_get_output_embd(self.raw());
            (numbers, sys::mtmd_input_chunk_get_n_tokens(chunk))
        };
        // SAFETY: mtmd.h gives the number of numbers that are there after a successful call, until the next one.
        (!numbers.is_null())
            .then(|| unsafe { std::slice::from_raw_parts(numbers, tokens * self.width) }.to_vec())
    }

    /// Puts a chunk that was encoded into a sequence; false if llama.cpp failed, and the sequence is in doubt then.
    ///
    /// # Panics
    /// If these are not the chunk's embeddings.
    pub(in crate::engine::gguf) fn decode(
        &self,
        chunks: &MtmdInputChunks,
        index: usize,
        embeddings: &mut [f32],
        place: Place,
        context: &mut Context<'_>,
    ) -> bool {
        let Some(chunk) = chunk(chunks, index) else {
            return false;
        };
        // SAFETY: the pointer is valid while `chunks` is borrowed.
        let tokens = unsafe { sys::mtmd_input_chunk_get_n_tokens(chunk) };
        assert_eq!(
            embeddings.len(),
            tokens * self.width,
            "they are the chunk's"
        );
        let batch = i32::try_from(context.batch_tokens()).unwrap_or(i32::MAX);
        let mut next = 0;
        // SAFETY: all pointers are valid for the call, the embeddings are as many as mtmd-helper.h asks for, and there is
        // no callback. Of the projector only settings are read.
        let status = unsafe {
            sys::mtmd_helper_decode_image_chunk(
                self.raw(),
                context.as_ptr(),
                chunk,
                embeddings.as_mut_ptr(),
                place.position,
                place.sequence,
                batch,
                &raw mut next,
                None,
                std::ptr::null_mut(),
            )
        };
        status == 0
    }

    fn raw(&self) -> *mut sys::mtmd_context {
        // SAFETY: see the assertions above: an `MtmdContext` is one non-null pointer, and this is a valid reference.
        unsafe { *std::ptr::from_ref(&self.context).cast::<*mut sys::mtmd_context>() }
    }
}

fn chunk(chunks: &MtmdInputChunks, index: usize) -> Option<*const sys::mtmd_input_chunk> {
    if index >= chunks.len() {
        return None;
    }
    // SAFETY: as in `Projector::raw`; the index is within what there is.
    let chunk = unsafe {
        let raw = *std::ptr::from_ref(chunks).cast::<*const sys::mtmd_input_chunks>();
        sys::mtmd_input_chunks_get(raw, index)
    };
    (!chunk.is_null()).then_some(chunk)
}
