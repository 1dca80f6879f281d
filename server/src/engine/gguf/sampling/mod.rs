//! From logits to a token.
//!
//! The order is llama-server's: bias, penalties, top-k, typical, top-p, min-p, temperature. The steps that look at the whole
//! vocabulary (penalties, top-k, greedy) are done here without building candidate arrays for it; the others are
//! llama.cpp's own samplers, which then see only the few candidates that are left.
//!
//! Under rules a token is chosen as if there were none, and only if it may not follow, chosen again among those that may:
//! most of the time the model keeps to the rules by itself, and looking at one token costs a fraction of a look at all.
//! For plain sampling the result is distributed as if the rules came first; llama.cpp's sampler does the same.

mod penalties;
mod select;
#[cfg(test)]
mod tests;

use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use self::penalties::Penalties;
pub(super) use self::select::top;
use self::select::{all, most_probable};
use crate::inference::generate::{Begin, Rules, Sampling};
use crate::inference::{Error, Token};

/// llama.cpp's `LLAMA_DEFAULT_SEED`, which makes it draw a seed.
const DRAW_A_SEED: u32 = u32::MAX;
/// Least candidates that llama.cpp's samplers leave; 0 is what llama-server passes.
const MIN_KEEP: usize = 0;

/// Chooses the tokens of one sequence.
pub(super) struct Sampler {
    bias: Vec<(Token, f32)>,
    penalties: Option<Penalties>,
    rules: Option<Box<dyn Rules>>,
    choice: Choice,
}

/// What was chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Chosen {
    pub(super) token: Token,
    /// The rules let nothing follow.
    pub(super) is_last: bool,
}

enum Choice {
    Greedy,
    Random {
        /// 0 keeps all.
        top_k: usize,
        rest: LlamaSampler,
    },
}

/// Buffers that the sequences of an engine share, so that no token allocates.
pub(super) struct Scratch {
    logits: Vec<f32>,
    candidates: LlamaTokenDataArray,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            logits: Vec::new(),
            candidates: LlamaTokenDataArray::new(Vec::new(), false),
        }
    }
}

impl Sampler {
    /// A sampler for a sequence that can hold `context` tokens.
    pub(super) fn new(begin: Begin<'_>, context: u32) -> Result<Self, Error> {
        let sampling = begin.sampling;
        check(sampling)?;
        let choice = if sampling.temperature <= 0.0 {
            Choice::Greedy
        } else {
            let mut rest = Vec::new();
            if sampling.typical_p < 1.0 {
                rest.push(LlamaSampler::typical(sampling.typical_p, MIN_KEEP));
            }
            if sampling.top_p < 1.0 {
                rest.push(LlamaSampler::top_p(sampling.top_p, MIN_KEEP));
            }
            if sampling.min_p > 0.0 {
                rest.push(LlamaSampler::min_p(sampling.min_p, MIN_KEEP));
            }
            rest.push(LlamaSampler::temp(sampling.temperature));
            rest.push(LlamaSampler::dist(sampling.seed.unwrap_or(DRAW_A_SEED)));
            Choice::Random {
                top_k: usize::try_from(sampling.top_k).unwrap_or(0),
                rest: LlamaSampler::chain(rest, true),
            }
        };
        Ok(Self {
            bias: begin.logit_bias.to_vec(),
            penalties: Penalties::new(sampling, context, begin.recent),
            rules: begin.rules,
            choice,
        })
    }

    /// Chooses the next token and remembers it.
    ///
    /// # Errors
    /// [`Error::Engine`] if no logit is a number, or the rules cannot be followed; [`Error::InvalidJob`] if the bias and
    /// the rules together allow no token.
    pub(super) fn sample(
        &mut self,
        logits: &[f32],
        scratch: &mut Scratch,
    ) -> Result<Chosen, Error> {
        let Scratch {
            logits: patched,
            candidates,
        } = scratch;
        let is_patched = !self.bias.is_empty() || self.penalties.is_some();
        if is_patched {
            patched.clear();
            patched.extend_from_slice(logits);
            self.patch(patched);
        }
        let seen = if is_patched {
            patched.as_slice()
        } else {
            logits
        };
        let mut token = self
            .choice
            .choose(seen, candidates)
            .ok_or_else(|| nothing(logits))?;
        let mut is_last = false;
        if let Some(rules) = &mut self.rules {
            if !rules.allows(token)? {
                if !is_patched {
                    patched.clear();
                    patched.extend_from_slice(logits);
                }
                rules.restrict(patched)?;
                token = self
                    .choice
                    .choose(patched, candidates)
                    .ok_or_else(|| nothing(logits))?;
            }
            is_last = rules.accept(token)?;
        }
        if let Some(penalties) = &mut self.penalties {
            penalties.accept(token);
        }
        Ok(Chosen { token, is_last })
    }

    fn patch(&self, logits: &mut [f32]) {
        for (token, bias) in &self.bias {
            let index = usize::try_from(*token).ok();
            if let Some(logit) = index.and_then(|index| logits.get_mut(index)) {
                *logit += bias;
            }
        }
        if let Some(penalties) = &self.penalties {
            penalties.apply(logits);
        }
    }
}

impl Choice {
    fn choose(&mut self, logits: &[f32], candidates: &mut LlamaTokenDataArray) -> Option<Token> {
        let (top_k, rest) = match self {
            Self::Greedy => return most_probable(logits),
            Self::Random { top_k, rest } => (*top_k, rest),
        };
        candidates.selected = None;
        if top_k == 0 || top_k >= logits.len() {
            all(logits, &mut candidates.data);
            candidates.sorted = false;
        } else {
            top(logits, top_k, &mut candidates.data);
            candidates.sorted = true;
        }
        // llama.cpp ends the process when it is given nothing to choose from.
        if candidates.data.is_empty() {
            return None;
        }
        candidates.apply_sampler(rest);
        candidates.selected_token().map(|token| token.0)
    }
}

/// Why no token could be chosen.
fn nothing(logits: &[f32]) -> Error {
    if logits.iter().any(|logit| *logit > f32::NEG_INFINITY) {
        Error::InvalidJob("logit_bias and format together allow no token".into())
    } else {
        Error::Engine("the model computed logits that are no numbers".into())
    }
}

/// Refuses what has no meaning. What llama.cpp defines (a negative temperature is greedy, probabilities above 1 keep
/// everything) is left to it.
fn check(sampling: &Sampling) -> Result<(), Error> {
    let numbers = [
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("min_p", sampling.min_p),
        ("typical_p", sampling.typical_p),
        ("repeat_penalty", sampling.repeat_penalty),
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
    ];
    for (name, value) in numbers {
        if !value.is_finite() {
            return Err(Error::InvalidJob(format!("{name} must be a number")));
        }
    }
    if sampling.repeat_penalty <= 0.0 {
        return Err(Error::InvalidJob("repeat_penalty must be above 0".into()));
    }
    if sampling.repeat_last_n < -1 {
        return Err(Error::InvalidJob(
            "repeat_last_n must be at least -1".into(),
        ));
    }
    Ok(())
}
