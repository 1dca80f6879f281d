//! What steps cost, as measured, and what follows from that: how much of a prompt can be computed beside running streams
//! without delaying them much, and how many guessed tokens are worth their time. It is told times and knows no clock.

/// Prompt tokens beside decoding before anything was measured: about where a processor's matrix kernels become efficient.
pub const PROMPT_TOKENS_BESIDE_DECODE: u32 = 64;

/// Fewest prompt tokens beside decoding, so that prompts get on however slow they are.
pub const LEAST_PROMPT_TOKENS: u32 = 8;

/// How much longer than without prompts a step with running streams may take.
const LONGER: f64 = 0.75;

/// Weight of the newest measurement.
const NEWEST: f64 = 0.25;

/// How many times as long as usual a step is taken to have been at most: on a busy machine some are a hundred times as long,
/// which says nothing of the next.
const SLOWEST: f64 = 1.5;

/// How many times the tokens a second guesses must promise to be tried.
const GAIN: f64 = 1.08;

/// What twice as many tokens are taken to cost more before that was measured: hopeful, so that it is measured.
const HOPE: f64 = 1.15;

/// How much of what was measured is forgotten, in favour of that hope, with every smaller step: what was slow once, on a
/// busy machine, is tried again after some hundred.
const FORGOTTEN: f64 = 1.0 / 512.0;

/// Sizes of steps by powers of two, up to 2^15 tokens.
const SIZES: usize = 16;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Nanoseconds of a step that only decodes, by the logarithm of its tokens, rounded up.
    decoding: [Option<f64>; SIZES],
    /// Nanoseconds that a prompt's token adds to a step that decodes.
    prompt_token: Option<f64>,
    /// Nanoseconds of a prompt's token in a step of nothing else.
    lone_prompt_token: Option<f64>,
    /// Guesses are worth their time, whatever they take.
    is_hopeful: bool,
}

impl Pace {
    /// One that has everything guessed that can be.
    #[must_use]
    pub fn hopeful() -> Self {
        Self {
            is_hopeful: true,
            ..Self::default()
        }
    }

    /// Notes what a step took.
    pub fn learn(&mut self, decoded_tokens: u32, prompt_tokens: u32, nanoseconds: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a step takes no hundred days")]
        let took = nanoseconds as f64;
        if decoded_tokens == 0 {
            average(
                &mut self.lone_prompt_token,
                took / f64::from(prompt_tokens.max(1)),
            );
        } else if prompt_tokens == 0 {
            let size = size(decoded_tokens);
            average(&mut self.decoding[size], took);
            self.forget(size);
        } else if let Some(quiet) = self.decoding[size(decoded_tokens)] {
            let each = (took - quiet).max(0.0) / f64::from(prompt_tokens);
            average(&mut self.prompt_token, each);
        }
    }

    /// How many prompt tokens may share a step with so many that decode.
    #[must_use]
    pub fn prompt_tokens_beside(&self, decoding: u32) -> u32 {
        let quiet = self.decoding[size(decoding)];
        let each = self.prompt_token.or(self.lone_prompt_token);
        let (Some(quiet), Some(each)) = (quiet, each) else {
            return PROMPT_TOKENS_BESIDE_DECODE;
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it saturates"
        )]
        let tokens = (quiet * LONGER / each) as u32;
        tokens.max(LEAST_PROMPT_TOKENS)
    }

    /// How many tokens to guess for one of several streams: of those that are there, the number that promises most tokens a
    /// second. `tokens` are part of the step already, from which `results` tokens are expected; `expects` says how many of
    /// some guesses will be right.
    pub fn worth(
        &self,
        tokens: u32,
        results: f64,
        there: usize,
        expects: impl Fn(usize) -> f64,
    ) -> usize {
        if self.is_hopeful {
            return there;
        }
        let without = results / self.time(tokens);
        let mut best = (without * GAIN, 0);
        // Batches whose sizes are powers of two: what is measured for one holds for all below it.
        let sizes = (1..u32::BITS).map(|log| (1_u32 << log).saturating_sub(tokens) as usize);
        for guessed in sizes.filter(|&guessed| guessed > 0) {
            let guessed = guessed.min(there);
            let count = u32::try_from(guessed).expect("no more than are guessed at a time");
            let promised = (results + expects(guessed)) / self.time(tokens + count);
            if promised > best.0 {
                best = (promised, guessed);
            }
            if guessed == there {
                break;
            }
        }
        best.1
    }

    /// Lets what is known of larger steps than this go towards what would be expected of them.
    fn forget(&mut self, size: usize) {
        let (known, larger) = self.decoding.split_at_mut(size + 1);
        let Some(mut expected) = known[size] else {
            return;
        };
        for time in larger {
            expected *= HOPE;
            if let Some(time) = time {
                *time += FORGOTTEN * (expected - *time).min(0.0);
            }
        }
    }

    /// What a step that decodes so many tokens takes, as far as known.
    fn time(&self, tokens: u32) -> f64 {
        let size = size(tokens);
        let known = (0..=size)
            .rev()
            .find_map(|at| Some((at, self.decoding[at]?)));
        match known {
            Some((at, time)) => (at..size).fold(time, |time, _| time * HOPE),
            None => (0..size).fold(1.0, |time, _| time * HOPE),
        }
    }
}

fn size(tokens: u32) -> usize {
    (tokens.max(1).next_power_of_two().ilog2() as usize).min(SIZES - 1)
}

fn average(value: &mut Option<f64>, newest: f64) {
    *value = Some(value.map_or(newest, |value| {
        value + NEWEST * (newest.min(value * SLOWEST) - value)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_take_what_streams_can_spare() {
        let mut pace = Pace::default();
        assert_eq!(pace.prompt_tokens_beside(1), PROMPT_TOKENS_BESIDE_DECODE);
        pace.learn(1, 0, 100_000);
        assert_eq!(pace.prompt_tokens_beside(1), PROMPT_TOKENS_BESIDE_DECODE);
        // 1.5 µs a token.
        pace.learn(1, 64, 196_000);
        assert_eq!(pace.prompt_tokens_beside(1), 50);
        // A stall says nothing.
        pace.learn(1, 0, 90_000_000);
        assert!(pace.prompt_tokens_beside(1) < 60);
        // However dear they are.
        for _ in 0..50 {
            pace.learn(1, 8, 9_000_000);
        }
        assert_eq!(pace.prompt_tokens_beside(1), LEAST_PROMPT_TOKENS);
    }

    #[test]
    fn a_prompt_alone_tells_what_prompts_cost() {
        let mut pace = Pace::default();
        pace.learn(0, 512, 512 * 1_000);
        pace.learn(1, 0, 100_000);
        assert_eq!(pace.prompt_tokens_beside(1), 75);
    }

    #[test]
    fn what_was_slow_once_is_tried_again() {
        let mut pace = Pace::default();
        pace.learn(1, 0, 100);
        pace.learn(8, 0, 900);
        let worth = |pace: &Pace| {
            pace.worth(1, 1.0, 7, |guessed| {
                [0.0, 0.9, 1.7, 2.4, 3.0, 3.5, 4.0, 4.4][guessed]
            })
        };
        let before = worth(&pace);
        let steps = (0..10_000).take_while(|_| {
            pace.learn(1, 0, 100);
            worth(&pace) < 7
        });
        let steps = steps.count();
        assert!(
            before < 7 && (200..2_000).contains(&steps),
            "{before} {steps}"
        );
    }

    #[test]
    fn guesses_are_worth_it_while_batches_are_cheap() {
        let check = |times: &[u64], rate: f64, streams: u32, there, expected| {
            let mut pace = Pace::default();
            for (log, time) in (0..).zip(times) {
                pace.learn(1 << log, 0, *time);
            }
            let expects = |guessed: usize| (1..=guessed).map(|i| rate.powi(i as i32)).sum::<f64>();
            let worth = pace.worth(streams, streams.into(), there, expects);
            assert_eq!(worth, expected, "{times:?} {rate} {streams}");
        };
        // Nothing known: hope.
        check(&[], 0.7, 1, 15, 7);
        check(&[100, 110, 120, 130, 140], 0.9, 1, 15, 15);
        check(&[100, 110, 120, 130, 140], 0.9, 1, 5, 5);
        check(&[100, 110, 120, 130, 140], 0.02, 1, 15, 0);
        // As dear as one after the other.
        check(&[100, 200, 400, 800, 1600], 0.9, 1, 15, 0);
        // Four streams fill a batch that would get dearer.
        check(&[100, 110, 120, 240, 480], 0.7, 4, 15, 0);
        check(&[100, 110, 120, 240, 480], 0.7, 1, 15, 3);
    }
}
