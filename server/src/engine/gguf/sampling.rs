//! From logits to a token.
//!
//! The order is llama-server's: penalties, top-k, typical, top-p, min-p, temperature. The steps that look at the whole
//! vocabulary (penalties, top-k, greedy) are done here without building candidate arrays for it; the others are
//! llama.cpp's own samplers, which then see only the few candidates that are left.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};

use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use crate::inference::generate::Sampling;
use crate::inference::{Error, Token};

/// llama.cpp's `LLAMA_DEFAULT_SEED`, which makes it draw a seed.
const DRAW_A_SEED: u32 = u32::MAX;
/// Least candidates that llama.cpp's samplers leave; 0 is what llama-server passes.
const MIN_KEEP: usize = 0;

/// Chooses the tokens of one sequence.
pub(super) struct Sampler {
    penalties: Option<Penalties>,
    choice: Choice,
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
    /// A sampler for a sequence that can hold `context` tokens and begins with `recent`.
    pub(super) fn new(sampling: &Sampling, context: u32, recent: &[Token]) -> Result<Self, Error> {
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
            penalties: Penalties::new(sampling, context, recent),
            choice,
        })
    }

    /// Chooses the next token and remembers it.
    ///
    /// # Errors
    /// [`Error::Engine`] if no logit is a number.
    pub(super) fn sample(&mut self, logits: &[f32], scratch: &mut Scratch) -> Result<Token, Error> {
        let Scratch {
            logits: patched,
            candidates,
        } = scratch;
        let logits = match &self.penalties {
            Some(penalties) => {
                patched.clear();
                patched.extend_from_slice(logits);
                penalties.apply(patched);
                patched
            }
            None => logits,
        };
        let token = match &mut self.choice {
            Choice::Greedy => most_probable(logits),
            Choice::Random { top_k, rest } => {
                candidates.selected = None;
                if *top_k == 0 || *top_k >= logits.len() {
                    all(logits, &mut candidates.data);
                    candidates.sorted = false;
                } else {
                    top(logits, *top_k, &mut candidates.data);
                    candidates.sorted = true;
                }
                // llama.cpp ends the process when it is given nothing to choose from.
                if candidates.data.is_empty() {
                    None
                } else {
                    candidates.apply_sampler(rest);
                    candidates.selected_token().map(|token| token.0)
                }
            }
        };
        let token = token
            .ok_or_else(|| Error::Engine("the model computed logits that are no numbers".into()))?;
        if let Some(penalties) = &mut self.penalties {
            penalties.accept(token);
        }
        Ok(token)
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

/// llama.cpp's penalties: of the last tokens, each present one is made less probable.
struct Penalties {
    repeat: f32,
    presence: f32,
    frequency: f32,
    /// Tokens to look back at.
    window: usize,
    recent: VecDeque<Token>,
    counts: HashMap<Token, u32>,
}

impl Penalties {
    /// `None` if they would change nothing.
    fn new(sampling: &Sampling, context: u32, prompt: &[Token]) -> Option<Self> {
        let window = match u32::try_from(sampling.repeat_last_n) {
            Ok(window) => window.min(context) as usize,
            Err(_) => context as usize,
        };
        #[expect(clippy::float_cmp, reason = "exactly these values mean no penalty")]
        let idle = sampling.repeat_penalty == 1.0
            && sampling.presence_penalty == 0.0
            && sampling.frequency_penalty == 0.0;
        if window == 0 || idle {
            return None;
        }
        let mut penalties = Self {
            repeat: sampling.repeat_penalty,
            presence: sampling.presence_penalty,
            frequency: sampling.frequency_penalty,
            window,
            recent: VecDeque::with_capacity(window),
            counts: HashMap::new(),
        };
        for &token in &prompt[prompt.len().saturating_sub(window)..] {
            penalties.accept(token);
        }
        Some(penalties)
    }

    fn accept(&mut self, token: Token) {
        if self.recent.len() == self.window
            && let Some(oldest) = self.recent.pop_front()
            && let Some(count) = self.counts.get_mut(&oldest)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&oldest);
            }
        }
        self.recent.push_back(token);
        *self.counts.entry(token).or_default() += 1;
    }

    /// The formula of `llama_sampler_penalties_apply`. A negative logit is multiplied where CTRL's paper divides, which
    /// would make the token more probable.
    fn apply(&self, logits: &mut [f32]) {
        for (&token, &count) in &self.counts {
            let Some(logit) = usize::try_from(token)
                .ok()
                .and_then(|id| logits.get_mut(id))
            else {
                continue;
            };
            if *logit <= 0.0 {
                *logit *= self.repeat;
            } else {
                *logit /= self.repeat;
            }
            #[expect(
                clippy::cast_precision_loss,
                reason = "counts are at most the context's length"
            )]
            let count = count as f32;
            *logit -= count * self.frequency + self.presence;
        }
    }
}

/// The token with the highest logit, the first of equals, as llama.cpp's greedy sampler.
fn most_probable(logits: &[f32]) -> Option<Token> {
    let mut best = None;
    let mut highest = f32::NEG_INFINITY;
    for (token, &logit) in (0..).zip(logits) {
        if logit > highest {
            highest = logit;
            best = Some(token);
        }
    }
    best
}

/// Every token that has a probability.
fn all(logits: &[f32], candidates: &mut Vec<LlamaTokenData>) {
    candidates.clear();
    candidates.extend(
        (0..)
            .zip(logits)
            .filter(|(_, logit)| **logit > f32::NEG_INFINITY)
            .map(|(token, &logit)| LlamaTokenData::new(LlamaToken(token), logit, 0.0)),
    );
}

/// The `count` tokens with the highest logits, best first; fewer if fewer have a probability.
///
/// One pass that keeps at most twice as many and drops the lower half each time these are full, so that nearly all of
/// the vocabulary costs one comparison each.
pub(super) fn top(logits: &[f32], count: usize, candidates: &mut Vec<LlamaTokenData>) {
    candidates.clear();
    if count == 0 {
        return;
    }
    let full = count * 2;
    let mut threshold = f32::NEG_INFINITY;
    for (token, &logit) in (0..).zip(logits) {
        if logit > threshold {
            candidates.push(LlamaTokenData::new(LlamaToken(token), logit, 0.0));
            if candidates.len() == full {
                candidates.select_nth_unstable_by(count - 1, better_first);
                candidates.truncate(count);
                threshold = candidates[count - 1].logit();
            }
        }
    }
    candidates.sort_unstable_by(better_first);
    candidates.truncate(count);
}

/// Equal logits in the order of their ids, so that the result does not depend on how they were selected.
fn better_first(one: &LlamaTokenData, other: &LlamaTokenData) -> Ordering {
    (other.logit().total_cmp(&one.logit())).then(one.id().cmp(&other.id()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn greedy() -> Sampling {
        Sampling {
            temperature: 0.0,
            ..Sampling::default()
        }
    }

    fn sample(sampling: &Sampling, recent: &[Token], logits: &[f32]) -> Token {
        let mut sampler = Sampler::new(sampling, 16, recent).unwrap();
        sampler.sample(logits, &mut Scratch::new()).unwrap()
    }

    #[test]
    fn greedy_takes_the_first_of_the_highest() {
        assert_eq!(sample(&greedy(), &[], &[0.5, 2.0, -1.0, 2.0]), 1);
        assert_eq!(sample(&greedy(), &[], &[f32::NAN, -3.0, -2.0]), 2);
    }

    #[test]
    fn logits_that_are_no_numbers_are_an_error() {
        for sampling in [greedy(), Sampling::default()] {
            let mut sampler = Sampler::new(&sampling, 16, &[]).unwrap();
            let result = sampler.sample(&[f32::NAN; 8], &mut Scratch::new());
            assert!(matches!(result, Err(Error::Engine(_))), "{result:?}");
        }
    }

    #[test]
    fn a_repeated_token_loses_to_the_next_best() {
        let sampling = Sampling {
            repeat_penalty: 2.0,
            ..greedy()
        };
        assert_eq!(sample(&sampling, &[], &[1.0, 1.5]), 1);
        assert_eq!(sample(&sampling, &[1], &[1.0, 1.5]), 0);
        // A negative logit is multiplied.
        assert_eq!(sample(&sampling, &[1], &[-1.5, -1.0]), 0);
    }

    #[test]
    fn frequency_counts_and_presence_does_not() {
        let frequency = Sampling {
            frequency_penalty: 0.4,
            ..greedy()
        };
        assert_eq!(sample(&frequency, &[1], &[1.0, 1.5]), 1);
        assert_eq!(sample(&frequency, &[1, 1], &[1.0, 1.5]), 0);
        let presence = Sampling {
            presence_penalty: 0.4,
            ..greedy()
        };
        assert_eq!(sample(&presence, &[1, 1], &[1.0, 1.5]), 1);
    }

    #[test]
    fn only_the_last_tokens_are_penalised() {
        let sampling = Sampling {
            repeat_penalty: 2.0,
            repeat_last_n: 2,
            ..greedy()
        };
        assert_eq!(sample(&sampling, &[1, 2, 3], &[1.0, 1.5, 0.0, 0.0]), 1);
        assert_eq!(sample(&sampling, &[2, 1, 3], &[1.0, 1.5, 0.0, 0.0]), 0);
        let whole = Sampling {
            repeat_last_n: -1,
            ..sampling
        };
        assert_eq!(sample(&whole, &[1, 2, 3], &[1.0, 1.5, 0.0, 0.0]), 0);
        let none = Sampling {
            repeat_last_n: 0,
            ..sampling
        };
        assert_eq!(sample(&none, &[1], &[1.0, 1.5]), 1);
    }

    #[test]
    fn a_chosen_token_is_penalised_from_then_on() {
        let sampling = Sampling {
            repeat_penalty: 2.0,
            ..greedy()
        };
        let mut sampler = Sampler::new(&sampling, 16, &[]).unwrap();
        let scratch = &mut Scratch::new();
        assert_eq!(sampler.sample(&[1.0, 1.5], scratch), Ok(1));
        assert_eq!(sampler.sample(&[1.0, 1.5], scratch), Ok(0));
    }

    #[test]
    fn a_seed_repeats_and_no_seed_does_not() {
        let logits = [0.0; 1000];
        let draw = |seed| {
            let sampling = Sampling {
                seed,
                temperature: 1.0,
                top_k: 0,
                top_p: 1.0,
                ..Sampling::default()
            };
            let mut sampler = Sampler::new(&sampling, 16, &[]).unwrap();
            let scratch = &mut Scratch::new();
            [(); 8].map(|()| sampler.sample(&logits, scratch).unwrap())
        };
        assert_eq!(draw(Some(7)), draw(Some(7)));
        assert_ne!(draw(Some(7)), draw(Some(8)));
        assert_ne!(draw(None), draw(None));
    }

    #[test]
    fn top_p_and_min_p_and_typical_p_leave_out_the_improbable() {
        // Probabilities of about 0.66, 0.24, 0.09 and 0.01.
        let logits = [4.0, 3.0, 2.0, 0.0];
        let drawn = |sampling: Sampling| {
            let mut sampler = Sampler::new(&sampling, 16, &[]).unwrap();
            let scratch = &mut Scratch::new();
            let mut tokens: Vec<_> = (0..400)
                .map(|_| sampler.sample(&logits, scratch).unwrap())
                .collect();
            tokens.sort_unstable();
            tokens.dedup();
            tokens
        };
        let open = Sampling {
            seed: Some(1),
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            ..Sampling::default()
        };
        assert_eq!(drawn(Sampling { top_k: 2, ..open }), [0, 1]);
        assert_eq!(drawn(Sampling { top_p: 0.8, ..open }), [0, 1]);
        assert_eq!(drawn(Sampling { min_p: 0.3, ..open }), [0, 1]);
        assert_eq!(
            drawn(Sampling {
                typical_p: 0.1,
                ..open
            })
            .len(),
            1
        );
        assert!(drawn(open).len() >= 3);
    }

    #[test]
    fn options_without_meaning_are_refused() {
        let refused = [
            Sampling {
                temperature: f32::NAN,
                ..Sampling::default()
            },
            Sampling {
                top_p: f32::INFINITY,
                ..Sampling::default()
            },
            Sampling {
                repeat_penalty: 0.0,
                ..Sampling::default()
            },
            Sampling {
                repeat_last_n: -2,
                ..Sampling::default()
            },
        ];
        for sampling in refused {
            let result = Sampler::new(&sampling, 16, &[]);
            assert!(
                matches!(result.map(|_| ()), Err(Error::InvalidJob(_))),
                "{sampling:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn top_is_the_beginning_of_a_full_sort(
            logits in prop::collection::vec(prop_oneof![-50_f32..50.0, Just(f32::NEG_INFINITY), Just(f32::NAN), Just(1.0)], 0..300),
            count in 0_usize..40,
        ) {
            let mut expected: Vec<(usize, f32)> = logits
                .iter()
                .copied()
                .enumerate()
                .filter(|(_, logit)| *logit > f32::NEG_INFINITY)
                .collect();
            expected.sort_by(|one, other| other.1.total_cmp(&one.1));
            expected.truncate(count);
            let mut found = Vec::new();
            top(&logits, count, &mut found);
            let found: Vec<_> = found.iter().map(|data| data.logit()).collect();
            let expected: Vec<_> = expected.iter().map(|(_, logit)| *logit).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
