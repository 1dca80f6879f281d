//! Texts to tokens and back, in the form of Hugging Face's `tokenizer.json`.

use tokenizers::{Encoding, PostProcessor};

use crate::inference::encode::{Frame, Special};
use crate::inference::{Error, Token};

/// A tokenizer.
pub(super) struct Tokenizer {
    inner: tokenizers::Tokenizer,
    frame: Frame,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::LoadFailed`] if it is not understood.
    pub fn new(json: &[u8]) -> Result<Self, Error> {
        let failed =
            |error| Error::LoadFailed(format!("tokenizer.json is not understood: {error}"));
        let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(failed)?;
        // Texts are cut by each job's own limit, and padded only as far as their batch needs.
        inner.with_truncation(None).map_err(failed)?;
        inner.with_padding(None);
        let frame = frame(&inner).map_err(failed)?;
        Ok(Self { inner, frame })
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

/// What the tokenizer puts around texts, found by having it put something around one token.
fn frame(tokenizer: &tokenizers::Tokenizer) -> tokenizers::Result<Frame> {
    let Some(processor) = tokenizer.get_post_processor() else {
        return Ok(Frame::default());
    };
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
