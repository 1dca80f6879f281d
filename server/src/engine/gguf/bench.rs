//! What `benches/` times: choosing tokens.

use super::sampling::{Sampler, Scratch};
use crate::inference::Token;
use crate::inference::generate::{Begin, Sampling};

/// Tokens of the context that penalties may look back at.
const CONTEXT: u32 = 4096;

/// Chooses tokens from logits that mean nothing.
pub struct Chooser {
    sampler: Sampler,
    scratch: Scratch,
    logits: Vec<f32>,
}

impl Chooser {
    /// Over a vocabulary of this size.
    ///
    /// # Panics
    /// If the options make no sense.
    #[must_use]
    pub fn new(sampling: &Sampling, vocabulary: usize) -> Self {
        let begin = Begin {
            sampling,
            logprobs: None,
            recent: &[],
            logit_bias: &[],
            rules: None,
        };
        // Most tokens are improbable, as with a model.
        let logit = |n: usize| (n * 7919 % 20_011) as f32 / 1000.0 - 10.0;
        Self {
            sampler: Sampler::new(begin, CONTEXT).expect("the options make sense"),
            scratch: Scratch::new(),
            logits: (0..vocabulary).map(logit).collect(),
        }
    }

    /// The next token.
    ///
    /// # Panics
    /// Never: all logits are numbers.
    pub fn choose(&mut self) -> Token {
        let chosen = self.sampler.sample(&self.logits, &mut self.scratch);
        chosen.expect("all logits are numbers").token
    }
}
