//! Texts to tokens and back, with our own limit in place of the one in `tokenizer.json`.

use tokenizers::{PostProcessor, TruncationDirection};

use crate::inference::encode::Tokenized;
use crate::inference::{Error, Token};

/// A tokenizer in the form of Hugging Face's `tokenizer.json`.
pub(super) struct Tokenizer(tokenizers::Tokenizer);

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::LoadFailed`] if it is not understood.
    pub fn new(json: &[u8]) -> Result<Self, Error> {
        let failed =
            |error| Error::LoadFailed(format!("tokenizer.json is not understood: {error}"));
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(json).map_err(failed)?;
        // Texts are cut by each job's own limit, and padded only as far as their batch needs.
        tokenizer.with_truncation(None).map_err(failed)?;
        tokenizer.with_padding(None);
        Ok(Self(tokenizer))
    }

    /// See [`crate::inference::encode::Encoder::tokenize`].
    pub fn tokenize(&self, text: &str, max_tokens: u32) -> Result<Tokenized, Error> {
        let max_tokens = max_tokens as usize;
        let special = self
            .0
            .get_post_processor()
            .map_or(0, |p| p.added_tokens(false));
        let mut encoding = self.0.encode_fast(text, false).map_err(refused)?;
        let full_length = encoding.len() + special;
        if full_length > max_tokens {
            let room = max_tokens
                .checked_sub(special)
                .filter(|room| *room > 0)
                .ok_or(Error::NothingLeft)?;
            encoding.truncate(room, 0, TruncationDirection::Right);
            encoding.take_overflowing();
        }
        let encoding = self.0.post_process(encoding, None, true).map_err(refused)?;
        if encoding.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        Ok(Tokenized {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            full_length: u32::try_from(full_length).unwrap_or(u32::MAX),
        })
    }

    /// See [`crate::inference::encode::Encoder::tokens`].
    pub fn tokens(
        &mut self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, Error> {
        self.0.set_encode_special_tokens(!parse_special);
        let encoding = self.0.encode_fast(text, add_special);
        self.0.set_encode_special_tokens(false);
        let encoding = encoding.map_err(refused)?;
        let ids = encoding.get_ids().iter();
        Ok(ids
            .map(|&id| Token::try_from(id).expect("vocabularies are far smaller than 2^31"))
            .collect())
    }

    /// See [`crate::inference::encode::Encoder::detokenize`].
    pub fn detokenize(&self, tokens: &[Token]) -> Result<String, Error> {
        let mut ids = Vec::with_capacity(tokens.len());
        for &token in tokens {
            let id = u32::try_from(token).ok();
            let known = id.filter(|&id| self.0.id_to_token(id).is_some());
            ids.push(known.ok_or_else(|| {
                Error::InvalidJob(format!("token {token} is not in the vocabulary"))
            })?);
        }
        self.0.decode(&ids, false).map_err(refused)
    }

    /// The token that fills up shorter texts of a batch. The attention mask hides it, so any would do.
    pub fn padding(&self) -> u32 {
        ["[PAD]", "<pad>"]
            .iter()
            .find_map(|name| self.0.token_to_id(name))
            .unwrap_or(0)
    }
}

fn refused(error: tokenizers::Error) -> Error {
    Error::InvalidJob(format!("the tokenizer refused the input: {error}"))
}
