//! What `benches/` times of the tokenizer.

use super::tokenizer::Tokenizer;
use crate::inference::Error;
use crate::inference::encode::Side;

/// A tokenizer on its own.
pub struct Splitter(Tokenizer);

impl Splitter {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::LoadFailed`] if it is not understood.
    pub fn new(json: &[u8]) -> Result<Self, Error> {
        Tokenizer::new(json, Side::End).map(Self)
    }

    /// How many tokens a text has; 0 for one that the tokenizer refuses.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.0.split(text).map_or(0, |tokens| tokens.len())
    }
}
