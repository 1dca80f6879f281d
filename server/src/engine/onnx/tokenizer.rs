//! Texts to tokens and back, in the form of Hugging Face's `tokenizer.json`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::models::ModelWrapper;
use tokenizers::{
    Decoder, DecoderWrapper, Encoding, Model, NormalizerWrapper, PostProcessor,
    PostProcessorWrapper, PreTokenizerWrapper, TokenizerImpl,
};

use super::template;
use super::wordpiece::Vocabulary;
use crate::inference::encode::{Frame, Piece, Place, Side, Special};
use crate::inference::{Error, Token};

/// The library's tokenizer around a model of ours.
type Inner = TokenizerImpl<
    Vocabulary,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// A tokenizer.
pub(super) struct Tokenizer {
    inner: Inner,
    frame: Frame,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::LoadFailed`] if it is not understood.
    pub fn new(json: &[u8], cut: Side) -> Result<Self, Error> {
        let failed = |error: tokenizers::Error| {
            Error::LoadFailed(format!("tokenizer.json is not understood: {error}"))
        };
        let read = || -> tokenizers::Result<Self> {
            let mut inner = Inner::from_bytes(json)?;
            // Texts are cut by each job's own limit, and padded only as far as their batch needs.
            inner.with_truncation(None)?;
            inner.with_padding(None);
            let frame = Frame {
                cut,
                ..frame(&inner)?
            };
            Ok(Self { inner, frame })
        };
        // The library panics on some files, such as one whose map of characters cannot be read. Nothing that it has begun is kept.
        let read = catch_unwind(AssertUnwindSafe(read));
        read.unwrap_or_else(|_| Err("the library gave up on it".into()))
            .map_err(failed)
    }

    /// See [`crate::inference::encode::Encoder::frame`].
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// See [`crate::inference::encode::Encoder::split`].
    pub fn split(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.inner.encode_fast(text, false).map_err(refused)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// See [`crate::inference::encode::Encoder::spell`].
    pub fn spell(&self, text: &str) -> Result<Vec<Piece>, Error> {
        // In characters, because a token may be a part of one, and then bytes would not say which.
        let encoding = self
            .inner
            .encode_char_offsets(text, false)
            .map_err(refused)?;
        let words = Words::of(&self.inner);
        let mut bytes: Vec<u32> = text.char_indices().map(|(at, _)| at as u32).collect();
        bytes.push(text.len() as u32);
        let tokens = encoding.get_ids().iter().zip(encoding.get_tokens());
        let pieces = tokens.zip(encoding.get_offsets());
        Ok(pieces
            .map(|((&id, name), &(start, end))| {
                // A tokenizer that adds characters may say that they are behind the end.
                let byte = |character: usize| bytes[character.min(bytes.len() - 1)];
                let place = Place {
                    start: start as u32,
                    end: end as u32,
                    start_byte: byte(start),
                    end_byte: byte(end),
                };
                let own = &text[byte(start) as usize..byte(end).max(byte(start)) as usize];
                let is_unknown = words.unknown == Some(id);
                Piece {
                    id,
                    name: if is_unknown { own } else { name }.to_owned(),
                    special: false,
                    continues: !is_unknown && words.continues(name, own, text, place),
                    place: Some(place),
                }
            })
            .collect())
    }

    /// See [`crate::inference::encode::Encoder::is_special`].
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary();
        let name = self.inner.id_to_token(id);
        name.is_some_and(|name| added.is_special_token(&name))
    }

    /// See [`crate::inference::encode::Encoder::join`].
    pub fn join(&self, names: Vec<String>) -> Result<String, Error> {
        match self.inner.get_decoder() {
            Some(decoder) => decoder
                .decode(names)
                .map_err(|error| Error::Engine(format!("joining tokens: {error}"))),
            None => Ok(names.join(" ")),
        }
    }

    /// See [`crate::inference::encode::Encoder::tokens`].
    pub fn tokens(
        &mut self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, Error> {
        self.inner.set_encode_special_tokens(!parse_special);
        let encoding = self.inner.encode_fast(text, add_special);
        self.inner.set_encode_special_tokens(false);
        let encoding = encoding.map_err(refused)?;
        let ids = encoding.get_ids().iter();
        Ok(ids
            .map(|&id| Token::try_from(id).expect("vocabularies are far smaller than 2^31"))
            .collect())
    }

    /// See [`crate::inference::encode::Encoder::detokenize`].
    pub fn detokenize(&self, tokens: &[Token]) -> Result<String, Error> {
        let ids: Result<Vec<u32>, Error> = tokens
            .iter()
            .map(|&token| self.known(token).map(|(id, _)| id))
            .collect();
        self.inner.decode(&ids?, false).map_err(refused)
    }

    /// See [`crate::inference::encode::Encoder::pieces`].
    pub fn pieces(&self, tokens: &[Token]) -> Result<Vec<Vec<u8>>, Error> {
        let name = |&token: &Token| Ok(self.known(token)?.1.into_bytes());
        tokens.iter().map(name).collect()
    }

    /// A token's id and its text in the vocabulary.
    fn known(&self, token: Token) -> Result<(u32, String), Error> {
        u32::try_from(token)
            .ok()
            .and_then(|id| Some((id, self.inner.id_to_token(id)?)))
            .ok_or_else(|| Error::InvalidJob(format!("token {token} is not in the vocabulary")))
    }

    /// The token that fills up shorter texts of a batch. The attention mask hides it, so any would do.
    pub fn padding(&self) -> u32 {
        ["[PAD]", "<pad>"]
            .iter()
            .find_map(|name| self.inner.token_to_id(name))
            .unwrap_or(0)
    }
}

/// How a tokenizer shows which tokens belong to one word, by the rules of Hugging Face's token classification pipeline.
struct Words {
    /// Whether the names of tokens inside a word have a prefix.
    marks_parts: bool,
    unknown: Option<u32>,
}

impl Words {
    fn of(tokenizer: &Inner) -> Self {
        let (marks_parts, unknown) = match tokenizer.get_model() {
            Vocabulary::WordPiece(model) => (model.marks_parts(), model.unknown()),
            Vocabulary::Other(ModelWrapper::WordPiece(model)) => (
                !model.continuing_subword_prefix.is_empty(),
                model.token_to_id(&model.unk_token),
            ),
            Vocabulary::Other(ModelWrapper::BPE(model)) => {
                let prefix = model.continuing_subword_prefix.as_ref();
                let unknown = model.unk_token.as_ref();
                (
                    prefix.is_some_and(|prefix| !prefix.is_empty()),
                    unknown.and_then(|name| model.token_to_id(name)),
                )
            }
            Vocabulary::Other(ModelWrapper::WordLevel(model)) => {
                (false, model.token_to_id(&model.unk_token))
            }
            Vocabulary::Other(ModelWrapper::Unigram(model)) => (false, model.token_to_id("<unk>")),
        };
        Self {
            marks_parts,
            unknown,
        }
    }

    /// Whether a token goes on with the word before it. `own` is what it stands for in the text.
    fn continues(&self, name: &str, own: &str, text: &str, place: Place) -> bool {
        if self.marks_parts {
            return name.chars().count() != own.chars().count();
        }
        let before = text[..place.start_byte as usize].chars().next_back();
        let first = text[place.start_byte as usize..].chars().next();
        before.is_some_and(|before| before != ' ') && first != Some(' ')
    }
}

/// What the tokenizer puts around texts, found by having it put something around one token.
fn frame(tokenizer: &Inner) -> tokenizers::Result<Frame> {
    let Some(processor) = tokenizer.get_post_processor() else {
        return Ok(Frame::default());
    };
    template::check(processor)?;
    let text = || Encoding::from_tokens(vec![tokenizers::Token::new(0, "x".into(), (0, 1))], 0);
    let single = parts(&processor.process(text(), None, true)?);
    let pair = processor.process(text(), Some(text()), true)?;
    let mut texts = pair
        .get_special_tokens_mask()
        .iter()
        .zip(pair.get_type_ids());
    let second_type_id = texts
        .rfind(|(is_special, _)| **is_special == 0)
        .map_or(0, |(_, type_id)| *type_id);
    Ok(Frame {
        single,
        pair: parts(&pair),
        second_type_id,
        cut: Side::End,
    })
}

/// The runs of special tokens that the other tokens stand between.
fn parts<const N: usize>(encoding: &Encoding) -> [Vec<Special>; N] {
    let mut parts = [const { Vec::new() }; N];
    let mut part = 0;
    let tokens = encoding.get_ids().iter().zip(encoding.get_type_ids());
    for ((&id, &type_id), &is_special) in tokens.zip(encoding.get_special_tokens_mask()) {
        if is_special == 0 {
            part = (part + 1).min(N - 1);
        } else {
            parts[part].push(Special { id, type_id });
        }
    }
    parts
}

fn refused(error: tokenizers::Error) -> Error {
    Error::InvalidJob(format!("the tokenizer refused the input: {error}"))
}
