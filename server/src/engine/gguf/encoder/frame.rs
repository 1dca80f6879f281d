//! The special tokens that a GGUF model wants around texts: what llama.cpp adds to a text, and what its server puts between
//! the texts of a pair.
//!
//! They are found here and not by asking llama.cpp, which aborts where a file wants a token that it does not have.

use llama_cpp_2::model::LlamaModel;

use super::super::ffi::VocabularyKind;
use super::super::load;
use super::super::vocabulary::Vocabulary;
use crate::inference::encode::{Frame, Side, Special};
use crate::inference::{Error, Token};

/// Where a reranker that was made from a language model keeps its prompt. `{query}` and `{document}` stand for the texts.
const RERANK_TEMPLATE: &str = "tokenizer.chat_template.rerank";

/// The model's frame.
///
/// # Errors
/// [`Error::LoadFailed`] if the vocabulary lacks a token that the model wants.
pub(super) fn of(model: &LlamaModel, vocabulary: &Vocabulary<'_>) -> Result<Frame, Error> {
    let ends = ends(vocabulary)?;
    let pair = match load::metadata(model, RERANK_TEMPLATE) {
        Some(template) => of_template(&template, vocabulary)?,
        None => between(vocabulary, &ends)?,
    };
    let special = |tokens: &[Token]| -> Vec<Special> {
        tokens
            .iter()
            .map(|token| Special {
                id: token.cast_unsigned(),
                // llama.cpp computes every token as one of the first segment.
                type_id: 0,
            })
            .collect()
    };
    Ok(Frame {
        single: ends.each_ref().map(|tokens| special(tokens)),
        pair: pair.each_ref().map(|tokens| special(tokens)),
        second_type_id: 0,
        cut: Side::End,
    })
}

/// Before and after a single text.
fn ends(vocabulary: &Vocabulary<'_>) -> Result<[Vec<Token>; 2], Error> {
    Ok(match vocabulary.kind() {
        VocabularyKind::Rwkv => [Vec::new(), Vec::new()],
        VocabularyKind::WordPiece => [
            vec![needed(vocabulary.bos())?],
            vec![needed(vocabulary.separator().0)?],
        ],
        VocabularyKind::None | VocabularyKind::SentencePiece | VocabularyKind::Other => [
            Vec::from_iter(vocabulary.beginning()),
            match vocabulary.eos() {
                (eos, true) => vec![needed(eos)?],
                (_, false) => Vec::new(),
            },
        ],
    })
}

/// Before, between and after the texts of a pair, without a template.
fn between(
    vocabulary: &Vocabulary<'_>,
    [before, after]: &[Vec<Token>; 2],
) -> Result<[Vec<Token>; 3], Error> {
    let mut between = after.clone();
    if let (separator, true) = vocabulary.separator()
        && vocabulary.kind() != VocabularyKind::WordPiece
    {
        between.push(needed(separator)?);
    }
    Ok([before.clone(), between, after.clone()])
}

/// The parts of a template around its two places.
fn of_template(template: &str, vocabulary: &Vocabulary<'_>) -> Result<[Vec<Token>; 3], Error> {
    let parts = template
        .split_once("{query}")
        .and_then(|(before, rest)| Some((before, rest.split_once("{document}")?)));
    let Some((before, (between, after))) = parts else {
        return Err(Error::LoadFailed(
            "the model's template for reranking has no {query} before its {document}".into(),
        ));
    };
    let tokens = |text: &str| vocabulary.tokenize(text, false, true);
    Ok([tokens(before)?, tokens(between)?, tokens(after)?])
}

fn needed(token: Option<Token>) -> Result<Token, Error> {
    token.ok_or_else(|| {
        Error::LoadFailed("the vocabulary lacks a token that the model wants around texts".into())
    })
}
