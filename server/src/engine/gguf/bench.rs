//! What `benches/` times, choosing tokens, and what `fuzz/` tries, compiling grammars.

use super::grammar;
use super::sampling::{Sampler, Scratch};
use crate::inference::generate::{Begin, Compiler as _, Constraint, Grammar, Sampling};
use crate::inference::{Error, Token};

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

/// Compiles what answers are held to, over a vocabulary of single bytes.
pub struct Grammars(grammar::Compiler);

impl Grammars {
    /// Nothing compiled yet.
    #[must_use]
    pub fn new() -> Self {
        // The last byte is in no text, and would mark a control token.
        let words: Vec<[u8; 1]> = (0..u8::MAX).map(|byte| [byte]).collect();
        let words = words.iter().map(<[u8; 1]>::as_slice);
        // The first ends an answer.
        let words: Vec<&[u8]> = std::iter::once(&b"<end>"[..]).chain(words).collect();
        Self(grammar::Compiler::new(grammar::Lexicon::of_words(&words)))
    }

    /// Whether answers can be held to it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(&self, grammar: Grammar) -> Result<(), Error> {
        let whole = Constraint::Whole {
            grammar,
            preface: None,
        };
        self.0.compile(&whole).map(drop)
    }
}

impl Default for Grammars {
    fn default() -> Self {
        Self::new()
    }
}
