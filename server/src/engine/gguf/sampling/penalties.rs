//! Penalties for tokens that were there already.

use std::collections::{HashMap, VecDeque};

use crate::inference::Token;
use crate::inference::generate::Sampling;

/// llama.cpp's penalties: of the last tokens, each present one is made less probable.
pub(super) struct Penalties {
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
    pub(super) fn new(sampling: &Sampling, context: u32, prompt: &[Token]) -> Option<Self> {
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

    pub(super) fn accept(&mut self, token: Token) {
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
    pub(super) fn apply(&self, logits: &mut [f32]) {
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
