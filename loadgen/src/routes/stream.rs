//! What the streams of all dialects have in common: their lines, how they end, and what counts must be true of them.

use std::time::Instant;

use serde::de::DeserializeOwned;

use super::{Answer, Failure, Reading, malformed};
use crate::client::Exchange;

/// Checks a stream, adding the time of each piece of text to the list that it is given.
pub(super) type Check = fn(&Exchange, u64, &mut Vec<Instant>) -> Result<Answer, Failure>;

/// What a stream of at most `max_tokens` tokens showed; the pieces of a failed one keep their times.
pub(super) fn read(exchange: &Exchange, max_tokens: u64, check: Check) -> Reading {
    let mut chunks: Vec<Instant> = Vec::new();
    let outcome = check(exchange, max_tokens, &mut chunks);
    Reading { chunks, outcome }
}

/// One line as what the dialect says it is.
///
/// # Errors
/// What a broken connection cut off is not the server's bad JSON.
pub(super) fn parsed<T: DeserializeOwned>(line: &[u8], exchange: &Exchange) -> Result<T, Failure> {
    match (serde_json::from_slice(line), &exchange.failure) {
        (Ok(parsed), _) => Ok(parsed),
        (Err(_), Some(failure)) => Err(failure.clone().into()),
        (Err(error), None) => Err(malformed(&error)),
    }
}

/// How a stream ended.
pub(super) struct End<'a> {
    /// In the words of the dialect: `stop` or `length`.
    pub reason: Option<&'a str>,
    /// What the dialect calls that, for messages.
    pub reason_field: &'static str,
    /// Tokens generated, as the server counts.
    pub tokens: Option<u64>,
    /// What the dialect calls that.
    pub tokens_field: &'static str,
}

impl End<'_> {
    /// Tokens, and whether the model ended the text itself; or what is wrong with that.
    ///
    /// # Errors
    /// [`Failure::Empty`] without a piece of text; [`Failure::DoneReason`] and [`Failure::TokenCount`] when what the server says
    /// cannot be true of `pieces` pieces and a limit of `max_tokens`.
    pub(super) fn checked(&self, pieces: usize, max_tokens: u64) -> Result<(u64, bool), Failure> {
        if pieces == 0 {
            return Err(Failure::Empty);
        }
        let ended_by_model = match self.reason {
            Some("stop") => true,
            Some("length") => false,
            other => return Err(Failure::DoneReason(other.unwrap_or_default().into())),
        };
        let missing = || Failure::TokenCount(format!("no {}", self.tokens_field));
        let tokens = self.tokens.ok_or_else(missing)?;
        if tokens > max_tokens || (!ended_by_model && tokens != max_tokens) {
            return Err(Failure::TokenCount(format!(
                "{tokens} with {} {:?} for a limit of {max_tokens}",
                self.reason_field,
                self.reason.unwrap_or_default()
            )));
        }
        if pieces as u64 > tokens {
            return Err(Failure::TokenCount(format!(
                "{tokens} for {pieces} pieces of text"
            )));
        }
        Ok((tokens, ended_by_model))
    }
}
