//! A job that the scheduler knows: what was asked of it, and what it has said so far.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::inference::Token;
use crate::inference::generate::text::Assembler;
use crate::inference::generate::{
    Choice, Engine, Finish, Finished, Rules, Sampling, Text, TokenLogprob, Usage, prompt,
};

/// A job that waits or runs.
pub(super) struct Active {
    pub(super) sampling: Sampling,
    pub(super) logprobs: Option<u8>,
    pub(super) logit_bias: Vec<(Token, f32)>,
    /// Until the job has a slot.
    pub(super) rules: Option<Box<dyn Rules>>,
    /// Control tokens that are shown, with their names.
    pub(super) visible: HashMap<Token, String>,
    /// Held for the engine's sake.
    pub(super) _images: prompt::Images,
    pub(super) text: Assembler,
    pub(super) usage: Usage,
    /// When its present phase began: waiting, prefill, decode.
    pub(super) phase_began: Instant,
}

/// What a token did to an answer.
pub(super) struct Said {
    /// What may be shown now.
    pub(super) text: Text,
    /// The answer is complete.
    pub(super) is_over: bool,
}

impl Active {
    /// It has a slot now, with so many tokens of its prompt in the cache.
    pub(super) fn begins(&mut self, cached_tokens: u32, now: Instant) {
        self.usage.cached_tokens = cached_tokens;
        self.usage.queue_ns = self.lap(now);
    }

    /// Takes a token on. `bytes` is memory to work in.
    pub(super) fn say(
        &mut self,
        choice: Choice,
        engine: &dyn Engine,
        bytes: &mut Vec<u8>,
        now: Instant,
    ) -> Said {
        self.usage.generated_tokens += 1;
        if self.usage.generated_tokens == 1 {
            self.usage.prefill_ns = self.lap(now);
        }
        let token = choice.token;
        if engine.is_end(token) {
            return Said {
                text: Text::default(),
                is_over: true,
            };
        }
        bytes.clear();
        match self.visible.get(&token) {
            Some(name) => bytes.extend(name.as_bytes()),
            None => engine.write_piece(token, bytes),
        }
        let assembled = self.text.push(bytes, choice.logprob.map(writable));
        Said {
            text: assembled.text,
            is_over: assembled.stopped || choice.is_last,
        }
    }

    /// What is left to show, and how it ended. `tokens` are its prompt and all that was sampled.
    pub(super) fn finish(
        mut self,
        reason: Finish,
        tokens: Vec<Token>,
        beginning: Option<Token>,
        now: Instant,
    ) -> (Text, Finished) {
        let text = self.text.finish();
        let lap = self.lap(now);
        match self.usage.generated_tokens {
            0 => self.usage.prefill_ns = lap,
            _ => self.usage.decode_ns = lap,
        }
        let mut context = tokens;
        // The end token and the tokens of a stop string are no part of the answer.
        context.truncate(self.usage.prompt_tokens as usize + self.text.reported_tokens());
        if context.first().copied() == beginning {
            context.remove(0);
        }
        // The numbers of images mean nothing to a caller.
        context.retain(|token| *token >= 0);
        let finished = Finished {
            reason,
            stop: self.text.found().map(str::to_owned),
            usage: self.usage,
            context,
        };
        (text, finished)
    }

    /// The time since the last lap. Something that happened took time, whatever the clock's resolution.
    fn lap(&mut self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.phase_began);
        self.phase_began = now;
        nanoseconds(elapsed).max(1)
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Log probabilities as every dialect can write them: a probability of 0 and a NaN become the least number, as in
/// llama.cpp's server.
fn writable(mut logprob: TokenLogprob) -> TokenLogprob {
    for entry in std::iter::once(&mut logprob.chosen).chain(&mut logprob.top) {
        if entry.logprob.is_finite() {
            entry.logprob = entry.logprob.min(0.0);
        } else {
            entry.logprob = f32::MIN;
        }
    }
    logprob
}

#[cfg(test)]
mod tests {
    use super::writable;
    use crate::inference::generate::{Logprob, TokenLogprob};

    #[test]
    fn log_probabilities_can_always_be_written() {
        let entry = |logprob| Logprob {
            bytes: Vec::new(),
            logprob,
        };
        let strange = TokenLogprob {
            chosen: entry(f32::NAN),
            top: vec![entry(f32::NEG_INFINITY), entry(1e-7), entry(-1.5)],
        };
        let written = writable(strange);
        assert_eq!(written.chosen.logprob, f32::MIN);
        let top: Vec<f32> = written.top.iter().map(|entry| entry.logprob).collect();
        assert_eq!(top, [f32::MIN, 0.0, -1.5]);
    }
}
