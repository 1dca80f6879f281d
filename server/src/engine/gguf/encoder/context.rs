//! A context of llama.cpp that computes batches of texts, as large as the longest text so far needed.
//!
//! All of a text must be in one engine call, and what llama.cpp sets aside grows with the square of its longest call. So a
//! context begins small, and is made anew when a longer text comes: that takes milliseconds, since the weights stay. Only
//! where a model remembers what it has read, and the last token's vector is wanted, is a text computed in parts.

use std::num::NonZeroU32;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{LlamaContextParams, LlamaPoolingType};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

use super::super::{complaints, load};
use crate::inference::Error;
use crate::inference::encode::{BATCH_TOKENS, Tokenized};

/// Most tokens that are computed at once where a text may be computed in parts.
const PART_TOKENS: u32 = 2048;

/// Most tokens of a text that must be computed at once: a mask for these takes half a gigabyte.
const MOST_AT_ONCE: u32 = 8192;

/// What stays the same however large the context is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub threads: i32,
    pub flash_attention: Option<bool>,
    pub pooling: LlamaPoolingType,
    /// Whether only the last token's vector is wanted, and tokens see only those before them.
    pub wants_last: bool,
    /// Most texts of a batch.
    pub texts: u32,
    /// Most tokens of a text, as far as the model is concerned.
    pub trained: u32,
}

/// See the module.
pub(super) struct Context<'model> {
    backend: &'model LlamaBackend,
    model: &'model LlamaModel,
    settings: Settings,
    /// Whether the model remembers what it has read, which shows once it has read something.
    remembers: bool,
    /// None after an attempt to make a larger one failed.
    made: Option<Made<'model>>,
}

struct Made<'model> {
    context: LlamaContext<'model>,
    batch: LlamaBatch<'static>,
    /// Most tokens of a batch.
    room: u32,
    /// Whether something of the last batch was in the model's memory when it had been computed.
    remembers: bool,
}

impl<'model> Context<'model> {
    /// # Errors
    /// [`Error::LoadFailed`] with what llama.cpp says.
    pub(super) fn new(
        backend: &'model LlamaBackend,
        model: &'model LlamaModel,
        settings: Settings,
    ) -> Result<Self, Error> {
        let mut context = Self {
            backend,
            model,
            settings,
            remembers: false,
            made: None,
        };
        context.made = Some(context.make(BATCH_TOKENS)?);
        Ok(context)
    }

    /// Most tokens of a text. Smaller than it could be until something was computed.
    pub(super) fn max_tokens(&self) -> u32 {
        if self.computes_parts() {
            self.settings.trained
        } else {
            self.settings.trained.min(MOST_AT_ONCE)
        }
    }

    fn computes_parts(&self) -> bool {
        self.settings.wants_last && self.remembers
    }

    fn make(&self, room: u32) -> Result<Made<'model>, Error> {
        let Settings {
            threads,
            flash_attention,
            pooling,
            texts,
            ..
        } = self.settings;
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(room))
            .with_n_seq_max(texts)
            // One cache for all, so that a batch is not taken apart and one text may use all the room.
            .with_kv_unified(true)
            .with_n_batch(room)
            .with_n_ubatch(if self.computes_parts() {
                room.min(PART_TOKENS)
            } else {
                room
            })
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_flash_attention_policy(load::flash_attention(flash_attention))
            .with_swa_full(true)
            .with_embeddings(true)
            .with_pooling_type(pooling)
            .with_no_perf(true);
        let (context, errors) = complaints::heard(|| self.model.new_context(self.backend, params));
        Ok(Made {
            context: context.map_err(|_| load::failed(&errors))?,
            batch: LlamaBatch::new(room as usize, 1),
            room,
            remembers: false,
        })
    }

    /// Computes texts, at most as many as the settings say, and gives the pooled output of each.
    ///
    /// # Errors
    /// [`Error::Engine`] when the computation failed.
    pub(super) fn compute(&mut self, texts: &[&Tokenized]) -> Result<Vec<Vec<f32>>, Error> {
        let tokens: usize = texts.iter().map(|text| text.ids.len()).sum();
        let made = self.with_room(tokens)?;
        let computed = made.compute(texts);
        let remembers = made.remembers;
        self.remembers |= remembers;
        computed
    }

    /// A context with room for so many tokens.
    fn with_room(&mut self, tokens: usize) -> Result<&mut Made<'model>, Error> {
        let tokens = u32::try_from(tokens)
            .ok()
            .filter(|&tokens| tokens <= self.max_tokens().max(BATCH_TOKENS))
            .ok_or_else(|| Error::Engine(format!("a batch of {tokens} tokens")))?;
        let made = match self.made.take() {
            Some(made) if made.room >= tokens => made,
            // Gone before the larger one is made: there need not be memory for both.
            small => {
                drop(small);
                let room = tokens
                    .next_power_of_two()
                    .min(self.max_tokens())
                    .max(BATCH_TOKENS);
                self.make(room)
                    .map_err(|error| Error::Engine(error.to_string()))?
            }
        };
        Ok(self.made.insert(made))
    }
}

impl Made<'_> {
    fn compute(&mut self, texts: &[&Tokenized]) -> Result<Vec<Vec<f32>>, Error> {
        self.batch.clear();
        for (sequence, text) in (0..).zip(texts) {
            for (position, id) in (0..).zip(&text.ids) {
                self.batch
                    .add(LlamaToken(id.cast_signed()), position, &[sequence], true)
                    .map_err(|error| Error::Engine(error.to_string()))?;
            }
        }
        let computed = self.context.decode(&mut self.batch);
        self.remembers = self.context.kv_cache_seq_pos_max(0) >= 0;
        // What a model with a memory keeps of a batch is of no use to the next. A whole sequence can always be removed.
        for (sequence, _) in (0..).zip(texts) {
            let _ = self.context.clear_kv_cache_seq(Some(sequence), None, None);
        }
        computed.map_err(|error| Error::Engine(format!("computing a batch: {error}")))?;
        let output = |sequence: i32| {
            let output = self.context.embeddings_seq_ith(sequence);
            output
                .map(<[f32]>::to_vec)
                .map_err(|error| Error::Engine(format!("the model gave no output: {error}")))
        };
        (0..).take(texts.len()).map(output).collect()
    }
}
