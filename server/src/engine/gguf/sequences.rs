//! The engine: a context of llama.cpp with several sequences, behind the port that the generation loop drives.

use std::cell::OnceCell;
use std::sync::Arc;

use llama_cpp_2::token::data::LlamaTokenData;

use super::ffi::context::{Batch, Context, Entry};
use super::ffi::projector::Place;
use super::grammar::{Compiler, Lexicon};
use super::layout::Layout;
use super::sampling::{Chosen, Sampler, Scratch, top};
use super::vision::{Vision, is_placeholder};
use super::vocabulary::Vocabulary;
use crate::inference::generate::{
    self, Begin, Choice, Engine, Feed, Limits, Logprob, Sampled, Seeing, Slot, TokenLogprob,
};
use crate::inference::{Error, Token};

/// A loaded model with `limits.slots` independent sequences.
pub(super) struct Sequences<'model> {
    pub(super) context: Context<'model>,
    pub(super) vocabulary: Vocabulary<'model>,
    pub(super) limits: Limits,
    /// Whether positions in the cache can be moved.
    pub(super) can_shift: bool,
    batch: Batch,
    slots: Vec<Option<Chooser>>,
    scratch: Scratch,
    vision: Option<Vision>,
    /// What each sequence's cache holds.
    layouts: Vec<Layout>,
    compiler: OnceCell<Arc<Compiler>>,
}

/// What was asked of a sequence by [`Engine::begin`].
struct Chooser {
    sampler: Sampler,
    logprobs: Option<u8>,
}

/// What [`Sequences::new`] joins.
pub(super) struct Parts<'model> {
    pub(super) context: Context<'model>,
    pub(super) vocabulary: Vocabulary<'model>,
    pub(super) limits: Limits,
    pub(super) can_shift: bool,
    pub(super) vision: Option<Vision>,
}

impl<'model> Sequences<'model> {
    pub(super) fn new(parts: Parts<'model>) -> Self {
        Self {
            batch: Batch::new(parts.limits.step_tokens),
            slots: (0..parts.limits.sequences).map(|_| None).collect(),
            scratch: Scratch::new(),
            vision: parts.vision,
            layouts: vec![Layout::default(); parts.limits.sequences as usize],
            compiler: OnceCell::new(),
            context: parts.context,
            vocabulary: parts.vocabulary,
            limits: parts.limits,
            can_shift: parts.can_shift,
        }
    }

    /// Computes one token, so that the weights are read and the buffers are made before the first job needs them.
    ///
    /// # Errors
    /// [`Error::LoadFailed`] if the model cannot compute, or keeps nothing of what it computed.
    pub(super) fn warm_up(&mut self) -> Result<(), Error> {
        let feed = Feed {
            slot: 0,
            position: 0,
            tokens: &[self.vocabulary.beginning().unwrap_or(0)],
            sample: false,
            guessed: 0,
        };
        self.decode(&[feed])
            .map_err(|error| Error::LoadFailed(format!("the first step failed: {error}")))?;
        if self.context.last_position(sequence(0)) < 0 {
            return Err(Error::LoadFailed(
                "the model keeps no memory of a sequence, so it cannot continue a prompt".into(),
            ));
        }
        self.context.release();
        self.layouts.fill(Layout::default());
        Ok(())
    }

    fn decode(&mut self, feeds: &[Feed<'_>]) -> Result<(), Error> {
        let computed = self.fill(feeds).and_then(|()| {
            (self.context.decode(&self.batch))
                .map_err(|error| Error::Engine(format!("decoding a batch: {error}")))
        });
        // llama.cpp takes back what the failed part of a batch put into the cache, but not what earlier parts did.
        let slots = self.limits.sequences;
        for feed in feeds.iter().filter(|feed| feed.slot < slots) {
            match computed {
                Ok(()) => self.layouts[feed.slot as usize].extend(length(feed.tokens)),
                Err(_) => self.empty(feed.slot),
            }
        }
        computed
    }

    /// Makes the batch. llama.cpp aborts on some of what is refused here.
    fn fill(&mut self, feeds: &[Feed<'_>]) -> Result<(), Error> {
        self.batch.clear();
        for feed in feeds {
            if feed.slot >= self.limits.sequences || feed.tokens.len() <= feed.guessed as usize {
                return Err(Error::Engine(format!(
                    "{} tokens for slot {} of {}",
                    feed.tokens.len(),
                    feed.slot,
                    self.limits.sequences
                )));
            }
            let layout = &self.layouts[feed.slot as usize];
            if feed.position != layout.tokens() {
                return Err(Error::Engine(format!(
                    "token {} was fed to a sequence of {}",
                    feed.position,
                    layout.tokens()
                )));
            }
            // The last one before the guesses, and these.
            let sampled = feed.tokens.len() - 1 - feed.guessed as usize;
            let first = position(layout.position(feed.position))?;
            for (position, (index, &token)) in (first..).zip(feed.tokens.iter().enumerate()) {
                if !self.vocabulary.contains(token) {
                    return Err(Error::InvalidJob(format!("there is no token {token}")));
                }
                let entry = Entry {
                    token,
                    position,
                    sequence: sequence(feed.slot),
                    output: feed.sample && index >= sampled,
                };
                if !self.batch.add(entry) {
                    return Err(Error::Engine(format!(
                        "a step of more than {} tokens",
                        self.limits.step_tokens
                    )));
                }
            }
        }
        Ok(())
    }

    fn empty(&mut self, slot: Slot) {
        // The whole of a sequence can always be removed, so the result says nothing.
        let _ = self.context.forget(sequence(slot), 0, None);
        self.layouts[slot as usize] = Layout::default();
    }
}

/// llama.cpp's number of a sequence.
fn sequence(slot: Slot) -> i32 {
    i32::try_from(slot).expect("llama.cpp takes at most 256 sequences, which loading has checked")
}

/// A position as llama.cpp counts it.
fn position(position: u32) -> Result<i32, Error> {
    i32::try_from(position).map_err(|_| Error::Engine("a position beyond 2^31".into()))
}

fn length(tokens: &[Token]) -> u32 {
    u32::try_from(tokens.len()).expect("a feed is no longer than the context")
}

impl Engine for Sequences<'_> {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn beginning(&self) -> Option<Token> {
        self.vocabulary.beginning()
    }

    fn tokenize(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, Error> {
        self.vocabulary.tokenize(text, add_special, parse_special)
    }

    fn write_piece(&self, token: Token, bytes: &mut Vec<u8>) {
        self.vocabulary.write_piece(token, bytes);
    }

    fn write_name(&self, token: Token, bytes: &mut Vec<u8>) {
        self.vocabulary.write_name(token, bytes);
    }

    fn is_end(&self, token: Token) -> bool {
        self.vocabulary.is_end(token)
    }

    fn compiler(&self) -> Arc<dyn generate::Compiler> {
        let compiler =
            (self.compiler).get_or_init(|| Arc::new(Compiler::new(Lexicon::new(&self.vocabulary))));
        Arc::clone(compiler) as Arc<dyn generate::Compiler>
    }

    fn begin(&mut self, slot: Slot, begin: Begin<'_>) -> Result<(), Error> {
        let logprobs = begin.logprobs;
        self.slots[slot as usize] = Some(Chooser {
            sampler: Sampler::new(begin, self.limits.context)?,
            logprobs,
        });
        Ok(())
    }

    fn cut(&mut self, slot: Slot, position: u32) -> u32 {
        let layout = &self.layouts[slot as usize];
        if position >= layout.tokens() {
            return layout.tokens();
        }
        let left = layout.whole(position);
        let from = layout.position(left);
        if left > 0
            && let Ok(from) = i32::try_from(from)
            && self.context.forget(sequence(slot), from, None)
        {
            self.layouts[slot as usize].truncate(left);
            return left;
        }
        self.empty(slot);
        0
    }

    fn share(&mut self, from: Slot, to: Slot, tokens: u32) -> u32 {
        if !self.limits.shares || self.layouts[to as usize].tokens() > 0 {
            return 0;
        }
        let mut shared = self.layouts[from as usize].clone();
        shared.truncate(shared.whole(tokens));
        let Ok(before) = i32::try_from(shared.position(shared.tokens())) else {
            return 0;
        };
        (self.context).share(sequence(from), sequence(to), before);
        let tokens = shared.tokens();
        self.layouts[to as usize] = shared;
        tokens
    }

    fn shift(&mut self, slot: Slot, keep: u32, count: u32) -> bool {
        let moved = keep + count;
        let layout = &self.layouts[slot as usize];
        // Half of an image is none, and llama.cpp's server shifts none either.
        if !self.can_shift || layout.has_images() || moved > layout.tokens() {
            return false;
        }
        let (Ok(keep), Ok(moved)) = (i32::try_from(keep), i32::try_from(moved)) else {
            return false;
        };
        if !self.context.forget(sequence(slot), keep, Some(moved)) {
            return false;
        }
        self.context.move_down(sequence(slot), moved, moved - keep);
        self.layouts[slot as usize].remove(count);
        true
    }

    fn release(&mut self) {
        self.context.release();
        self.layouts.fill(Layout::default());
    }

    fn see(&self, image: Vec<u8>) -> Seeing {
        match &self.vision {
            Some(vision) => vision.see(image),
            None => Seeing::done(Err(Error::Unsupported(
                "this model does not see images".into(),
            ))),
        }
    }

    fn ready(&mut self, feed: Feed<'_>) -> usize {
        // An image is computed as a whole, so more may be there than was fed.
        let computed = self.layouts[feed.slot as usize]
            .tokens()
            .saturating_sub(feed.position) as usize;
        let computed = computed.min(feed.tokens.len());
        match &self.vision {
            Some(vision) => computed + vision.ready(&feed.tokens[computed..]),
            None => feed.tokens.len(),
        }
    }

    fn step(&mut self, feeds: &[Feed<'_>], sampled: &mut Vec<Sampled>) -> Result<(), Error> {
        let (shown, plain): (Vec<Feed<'_>>, Vec<Feed<'_>>) = feeds
            .iter()
            .partition(|feed| feed.tokens.iter().any(|token| is_placeholder(*token)));
        for feed in &shown {
            if let Err(error) = self.look(*feed, sampled) {
                self.empty(feed.slot);
                sampled.retain(|sampled| sampled.slot != feed.slot);
                sampled.push(Sampled {
                    slot: feed.slot,
                    choice: Err(error),
                });
            }
        }
        if !plain.is_empty() {
            self.advance(&plain, sampled)?;
        }
        if !shown.is_empty() {
            sampled.sort_by_key(|sampled| feeds.iter().position(|feed| feed.slot == sampled.slot));
        }
        Ok(())
    }
}

impl Sequences<'_> {
    /// Computes a feed with images in it, one part after the other.
    fn look(&mut self, feed: Feed<'_>, sampled: &mut Vec<Sampled>) -> Result<(), Error> {
        let end = feed.position + length(feed.tokens);
        let mut position = feed.position;
        let parts = feed.tokens.chunk_by(|one, other| {
            one == other || !is_placeholder(*one) && !is_placeholder(*other)
        });
        for part in parts {
            let next = position + length(part);
            if is_placeholder(part[0]) {
                self.show(feed.slot, part[0], next)?;
            } else {
                let text = Feed {
                    slot: feed.slot,
                    position,
                    tokens: part,
                    sample: feed.sample && next == end,
                    guessed: 0,
                };
                self.advance(&[text], sampled)?;
            }
            position = next;
        }
        Ok(())
    }

    /// Computes the images, all of the same, that the tokens before `end` are part of. An image is computed with its
    /// first token; for the others there is nothing left to do.
    fn show(&mut self, slot: Slot, image: Token, end: u32) -> Result<(), Error> {
        let vision = (self.vision.as_ref())
            .ok_or_else(|| Error::Engine("there are no images without a projector".into()))?;
        let layout = &mut self.layouts[slot as usize];
        while layout.tokens() < end {
            let place = Place {
                sequence: sequence(slot),
                position: position(layout.position(layout.tokens()))?,
            };
            layout.show(vision.compute(image, place, &mut self.context)?);
        }
        Ok(())
    }

    /// Computes feeds of nothing but tokens, as one batch.
    fn advance(&mut self, feeds: &[Feed<'_>], sampled: &mut Vec<Sampled>) -> Result<(), Error> {
        self.decode(feeds)?;
        let mut computed = 0;
        for feed in feeds {
            computed += feed.tokens.len();
            if feed.sample {
                self.verify(feed, computed, sampled)?;
            }
        }
        Ok(())
    }

    /// Samples after the last token of a feed before its guesses, and goes on while what is sampled was guessed. `end` is the
    /// feed's in the batch.
    fn verify(
        &mut self,
        feed: &Feed<'_>,
        end: usize,
        sampled: &mut Vec<Sampled>,
    ) -> Result<(), Error> {
        let guesses = &feed.tokens[feed.tokens.len() - feed.guessed as usize..];
        let last = end - 1 - guesses.len();
        for (entry, guess) in (last..end).zip(guesses.iter().map(Some).chain([None])) {
            let choice = self.sample(feed.slot, entry)?;
            let goes_on = (choice.as_ref())
                .is_ok_and(|choice| Some(&choice.token) == guess && !choice.is_last);
            sampled.push(Sampled {
                slot: feed.slot,
                choice,
            });
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Samples what follows an entry of the batch.
    fn sample(&mut self, slot: Slot, entry: usize) -> Result<Result<Choice, Error>, Error> {
        let entry = i32::try_from(entry).expect("a batch has fewer than 2^31 tokens");
        let logits = (self.context.logits(entry))
            .ok_or_else(|| Error::Engine("a token that was asked for has no logits".into()))?;
        let chooser = self.slots[slot as usize]
            .as_mut()
            .ok_or_else(|| Error::Engine(format!("slot {slot} was not begun")))?;
        let chosen = chooser.sampler.sample(logits, &mut self.scratch);
        Ok(chosen.map(|Chosen { token, is_last }| Choice {
            token,
            logprob: (chooser.logprobs)
                .map(|alternatives| logprobs(&self.vocabulary, logits, token, alternatives)),
            is_last,
        }))
    }
}

/// The log probability of the chosen token and of the most probable ones: the logarithm of the softmax of the logits,
/// before any sampling option.
fn logprobs(
    vocabulary: &Vocabulary<'_>,
    logits: &[f32],
    chosen: Token,
    alternatives: u8,
) -> TokenLogprob {
    let normaliser = log_sum_exp(logits);
    let logprob = |token: Token, logit: f32| {
        let mut bytes = Vec::new();
        vocabulary.write_piece(token, &mut bytes);
        // Rounding may leave a certain token a little above 0, and a token ruled out has no finite logarithm.
        let logprob = (logit - normaliser).clamp(f32::MIN, 0.0);
        Logprob { bytes, logprob }
    };
    let mut best: Vec<LlamaTokenData> = Vec::new();
    top(logits, usize::from(alternatives), &mut best);
    let index = usize::try_from(chosen).expect("a token was chosen by its index");
    TokenLogprob {
        chosen: logprob(chosen, logits[index]),
        top: (best.iter())
            .map(|data| logprob(data.id().0, data.logit()))
            .collect(),
    }
}

/// The logarithm of the sum of exponentials, without overflow; what is no number counts as nothing.
fn log_sum_exp(logits: &[f32]) -> f32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = (logits.iter())
        .filter(|logit| !logit.is_nan())
        .map(|logit| f64::from((logit - highest).exp()))
        .sum();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the logarithm of a sum of at most a vocabulary of ones"
    )]
    let logarithm = sum.ln() as f32;
    highest + logarithm
}

#[cfg(test)]
mod tests {
    use super::log_sum_exp;

    #[test]
    fn log_sum_exp_of_equal_and_of_huge_logits() {
        assert!((log_sum_exp(&[0.0; 4]) - 4_f32.ln()).abs() < 1e-6);
        assert!((log_sum_exp(&[1e30, 0.0]) - 1e30).abs() < 1e24);
        assert!((log_sum_exp(&[f32::NAN, 2.0, f32::NEG_INFINITY]) - 2.0).abs() < 1e-6);
    }
}
