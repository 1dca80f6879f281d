//! One answer on its way through a grammar.

use llguidance::Matcher;
use llguidance::toktrie::TokenId;

use crate::inference::generate::Rules;
use crate::inference::{Error, Token};

/// A compiled grammar and how far an answer has come in it.
pub(super) struct Following {
    matcher: Matcher,
    ends: Vec<TokenId>,
}

impl Following {
    /// # Errors
    /// What is wrong with a grammar that cannot even be begun.
    pub(super) fn new(matcher: Matcher, ends: Vec<TokenId>) -> Result<Self, String> {
        match matcher.get_error() {
            None => Ok(Self { matcher, ends }),
            Some(error) => Err(error),
        }
    }

    fn is_end(&self, token: TokenId) -> bool {
        self.ends.contains(&token)
    }

    /// Whether all of these may follow.
    pub(super) fn fits(&mut self, tokens: &[TokenId]) -> Result<bool, Error> {
        let valid = self.matcher.validate_tokens(tokens).map_err(lost)?;
        Ok(valid == tokens.len())
    }

    /// Takes tokens that fit, and tells whether nothing may follow.
    pub(super) fn feed(&mut self, tokens: &[TokenId]) -> Result<bool, Error> {
        self.matcher.consume_tokens(tokens).map_err(lost)?;
        Ok(self.matcher.is_stopped())
    }
}

pub(super) fn id(token: Token) -> TokenId {
    TokenId::try_from(token)
        .expect("an engine chooses among its tokens, which have no negative ids")
}

fn lost(error: impl std::fmt::Display) -> Error {
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    Error::Engine(format!(
        "the answer cannot follow its format any further: {text}"
    ))
}

impl Rules for Following {
    fn allows(&mut self, token: Token) -> Result<bool, Error> {
        let token = id(token);
        if self.is_end(token) {
            return self.matcher.is_accepting().map_err(lost);
        }
        let valid = self.matcher.validate_tokens(&[token]).map_err(lost)?;
        Ok(valid == 1)
    }

    fn restrict(&mut self, logits: &mut [f32]) -> Result<(), Error> {
        let mask = self.matcher.compute_mask().map_err(lost)?;
        let known = mask.len().min(logits.len());
        mask.iter_unset_entries(|token| {
            if let Some(logit) = logits.get_mut(token) {
                *logit = f32::NEG_INFINITY;
            }
        });
        logits[known..].fill(f32::NEG_INFINITY);
        Ok(())
    }

    fn accept(&mut self, token: Token) -> Result<bool, Error> {
        let token = id(token);
        if self.is_end(token) {
            return Ok(true);
        }
        self.matcher.consume_token(token).map_err(lost)?;
        Ok(self.matcher.is_stopped())
    }
}
