//! Models that turn texts into vectors or scores: the port of encoding on llama.cpp.
//!
//! `frame` finds the special tokens around texts, `context` computes batches of any texts and grows with the longest of
//! them, and this file says what comes out: a pooled vector, labels, or a single score.

mod context;
mod frame;

use llama_cpp_2::context::params::LlamaPoolingType;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;

use self::context::{Context, Settings};
use super::vocabulary::Vocabulary;
use super::{EncoderSpec, ffi, load};
use crate::engine::{Ability, Computing, Facts, Memory};
use crate::inference::encode::{
    Activation, BATCH_TEXTS, Company, Encoder, Frame, Head, Piece, Tokenized, try_out,
};
use crate::inference::{Error, Token};

/// How files write `LLAMA_POOLING_TYPE_LAST`.
const POOLING_LAST: &str = "3";

/// How files write `LLAMA_POOLING_TYPE_RANK`: a score or labels in place of a vector.
const POOLING_RANK: &str = "4";

/// A loaded model that encodes.
pub(super) struct GgufEncoder<'model> {
    vocabulary: Vocabulary<'model>,
    frame: Frame,
    context: Context<'model>,
    head: Head,
    company: Company,
}

/// Makes an encoder of a model and tries it on two short texts, so that what cannot work fails here and not at the first
/// request.
///
/// # Errors
/// [`Error::LoadFailed`] if it has no vocabulary, or cannot encode.
pub(super) fn load<'model>(
    backend: &'model LlamaBackend,
    model: &'model LlamaModel,
    spec: &EncoderSpec,
    weights: &load::Weights,
) -> Result<(GgufEncoder<'model>, Facts), Error> {
    let vocabulary = Vocabulary::new(model)?;
    let pooling = pooling(model);
    let (threads, thread_count) = load::threads(spec.threads)?;
    let context = Context::new(
        backend,
        model,
        Settings {
            threads: thread_count,
            flash_attention: spec.flash_attention,
            pooling,
            wants_last: wants_last(model, pooling),
            // The state of a recurrent model is large, and each text would need one.
            texts: if model.is_recurrent() || model.is_hybrid() {
                1
            } else {
                BATCH_TEXTS
            },
            trained: load::trained_context(model)?,
        },
    )?;
    let mut encoder = GgufEncoder {
        frame: frame::of(model, &vocabulary)?,
        vocabulary,
        context,
        head: labels(model).unwrap_or(Head::Embedding { dimensions: 0 }),
        company: Company::Alone,
    };
    let trial = try_out(&mut encoder)
        .map_err(|error| Error::LoadFailed(format!("the model does not work: {error}")))?;
    if trial.bears_company {
        encoder.company = Company::Any;
    }
    if let Head::Embedding { dimensions } = &mut encoder.head {
        *dimensions = u32::try_from(trial.width).unwrap_or(u32::MAX);
    }
    let mut facts = Facts {
        ability: Ability::of(&encoder.head),
        context: encoder.max_tokens(),
        slots: match encoder.company {
            Company::Alone => 1,
            Company::SameWidth | Company::Any => BATCH_TEXTS,
        },
        threads,
        computing: Computing {
            own_kernels: weights.are_for_own_kernels(),
            // Where llama.cpp chooses, it takes it on processors.
            flash_attention: spec.flash_attention.unwrap_or(true),
            cache_bits: 0,
            gpu_layers: spec.gpu_layers,
        },
        description: String::new(),
        memory: Memory {
            weights: ffi::weights_bytes(model),
            ..Memory::default()
        },
    };
    facts.description = load::description(backend, weights, &facts);
    Ok((encoder, facts))
}

/// What makes one vector of a text out of the vectors of its tokens. `Unspecified`: what the file says.
fn pooling(model: &LlamaModel) -> LlamaPoolingType {
    let stated = load::of_architecture(model, "pooling_type").is_some_and(|kind| kind != "0");
    if stated {
        return LlamaPoolingType::Unspecified;
    }
    let looks_both_ways = load::of_architecture(model, "attention.causal").as_deref()
        == Some("false")
        || load::architecture(model) == "gemma-embedding";
    if looks_both_ways {
        LlamaPoolingType::Mean
    } else {
        // Only the last token has seen the whole text.
        LlamaPoolingType::Last
    }
}

/// Whether a text's vector is that of its last token, which has seen all others before it.
fn wants_last(model: &LlamaModel, pooling: LlamaPoolingType) -> bool {
    let is_last = match pooling {
        LlamaPoolingType::Unspecified => {
            load::of_architecture(model, "pooling_type").as_deref() == Some(POOLING_LAST)
        }
        pooling => pooling == LlamaPoolingType::Last,
    };
    is_last && load::of_architecture(model, "attention.causal").as_deref() != Some("false")
}

/// The labels of a classifier or a reranker.
fn labels(model: &LlamaModel) -> Option<Head> {
    if load::of_architecture(model, "pooling_type").as_deref() != Some(POOLING_RANK) {
        return None;
    }
    let count = model.n_cls_out();
    let mut names: Vec<String> = (0..count)
        .map(|index| ffi::label(model, index).unwrap_or_else(|| format!("LABEL_{index}")))
        .collect();
    // llama.cpp ends these with a softmax over "yes" and "no", of which the first is the score.
    let is_yes_or_no = count == 2 && load::architecture(model).starts_with("qwen3");
    let activation = if is_yes_or_no {
        names.truncate(1);
        Activation::Done
    } else if count == 1 {
        Activation::Sigmoid
    } else {
        Activation::Softmax
    };
    Some(Head::Labels { names, activation })
}

impl Encoder for GgufEncoder<'_> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn max_tokens(&self) -> u32 {
        self.context.max_tokens()
    }

    fn company(&self) -> Company {
        self.company
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn split(&self, text: &str) -> Result<Vec<u32>, Error> {
        let tokens = self.vocabulary.tokenize(text, false, true)?;
        Ok(tokens.into_iter().map(Token::cast_unsigned).collect())
    }

    fn spell(&self, text: &str) -> Result<Vec<Piece>, Error> {
        let tokens = self.vocabulary.tokenize(text, false, true)?;
        let names = self.vocabulary.names(&tokens)?;
        let pieces = tokens.into_iter().zip(names);
        Ok(pieces
            .map(|(token, name)| Piece {
                id: token.cast_unsigned(),
                name: String::from_utf8_lossy(&name).into_owned(),
                special: false,
                continues: false,
                // llama.cpp does not tell.
                place: None,
            })
            .collect())
    }

    fn is_special(&self, id: u32) -> bool {
        let parts = self.frame.single.iter().chain(&self.frame.pair);
        parts.flatten().any(|special| special.id == id)
    }

    fn join(&self, names: Vec<String>) -> Result<String, Error> {
        Ok(names.concat())
    }

    fn tokens(
        &mut self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, Error> {
        let mut tokens = self.vocabulary.tokenize(text, false, parse_special)?;
        if add_special {
            let [before, after] = &self.frame.single;
            let special = |special: &crate::inference::encode::Special| special.id.cast_signed();
            tokens.splice(0..0, before.iter().map(special));
            tokens.extend(after.iter().map(special));
        }
        Ok(tokens)
    }

    fn detokenize(&self, tokens: &[Token]) -> Result<String, Error> {
        self.vocabulary.detokenize(tokens)
    }

    fn pieces(&self, tokens: &[Token]) -> Result<Vec<Vec<u8>>, Error> {
        self.vocabulary.names(tokens)
    }

    fn encode(&mut self, batch: &[&Tokenized]) -> Result<Vec<Vec<f32>>, Error> {
        let mut outputs = self.context.compute(batch)?;
        if let Head::Labels { names, .. } = &self.head {
            for output in &mut outputs {
                output.truncate(names.len());
            }
        }
        Ok(outputs)
    }
}
