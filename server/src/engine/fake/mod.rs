//! Scripted words, delays and faults: what the tests of frames, scheduler and supervisor run on.
//!
//! Tokens are the script's words, every single byte, and the two control tokens `<|begin|>` and `<|end|>`. An echo is
//! read from the cache, not from the job: it comes out right only if the loop fed, reused and cut the right tokens.
//! Under a grammar it says what its script says as far as the grammar allows, and the first sentence of the grammar else.

mod sentences;
mod trespass;

use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::sentences::Sentences;
use super::{Ability, Computing, Facts, Memory};
use crate::inference::generate::{
    self, Begin, Choice, Compiler, Feed, Limits, Logprob, Policy, Rules, Sampled, Seeing, Sight,
    Slot, TokenLogprob,
};
use crate::inference::{Error, Inbox, Outbox, Token};

/// What the fake does.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Spec {
    /// Its answer to every prompt, one word a token, with a blank before all but the first; then it ends. Empty: it
    /// echoes the prompt, mostly one byte a token.
    pub words: Vec<String>,
    /// Sequences that advance together; 0 is 1.
    pub slots: u32,
    /// Tokens one sequence can hold; 0 is 4,096.
    pub context: u32,
    /// Time of every engine call in microseconds.
    pub step_us: u64,
    /// Time of loading in microseconds.
    pub load_us: u64,
    /// What goes wrong, and when.
    pub fault: Option<Fault>,
}

/// Something that goes wrong in a worker.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Fault {
    /// Loading fails with an error.
    FailLoad,
    /// The process aborts while loading.
    AbortLoad,
    /// The engine reports an error at this step (from 1).
    FailStep(u64),
    /// The first sequence that is sampled at this step has no numbers to sample from.
    FailSample(u64),
    /// The process aborts at this step.
    AbortStep(u64),
    /// The engine never returns from this step.
    HangStep(u64),
    /// The loop panics at this step.
    PanicStep(u64),
    /// Loading writes more than a hundred megabytes on standard error, in lines and without any.
    Flood,
    /// Loading takes a gibibyte of memory and keeps it.
    TakeMemory,
    /// Loading tries what a worker must not be able to do, and describes the model by what came of it.
    Trespass,
    /// The worker writes bytes that are no frame at this step. This is its outbox's doing: an engine knows no frames.
    GarbageStep(u64),
}

/// Loads the script and runs the generation loop on it.
///
/// # Errors
/// See [`super::serve`].
pub fn serve(
    spec: &Spec,
    inbox: &Inbox,
    outbox: &mut dyn Outbox,
    ready: &mut dyn FnMut(Facts),
) -> Result<(), Error> {
    thread::sleep(Duration::from_micros(spec.load_us));
    match spec.fault {
        Some(Fault::FailLoad) => return Err(Error::LoadFailed("a scripted failure".into())),
        Some(Fault::AbortLoad) => std::process::abort(),
        Some(Fault::Flood) => flood(),
        Some(Fault::TakeMemory) => drop(std::hint::black_box(vec![1_u8; 1 << 30])),
        _ => {}
    }
    let mut engine = Engine::new(spec);
    let limits = generate::Engine::limits(&engine);
    ready(Facts {
        ability: Ability::Generate,
        context: limits.context,
        slots: limits.slots,
        threads: 1,
        computing: Computing::default(),
        description: match spec.fault {
            Some(Fault::Trespass) => trespass::report(),
            _ => "scripted words".into(),
        },
        memory: Memory::default(),
    });
    generate::run(&mut engine, Policy::default(), inbox, outbox);
    Ok(())
}

fn flood() {
    let lines = [
        b"a worker that never ends to talk \xff\n".repeat(2_000),
        vec![b'x'; 64 << 10],
    ];
    let mut log = std::io::stderr().lock();
    for piece in lines.iter().cycle().take(2_000) {
        // Whoever does not take it is what the test is about.
        let _ = log.write_all(piece);
    }
}

/// Most tokens in one step: small, so that prompts of a test's size are computed in parts.
const STEP_TOKENS: u32 = 128;

/// Sequences beyond those that advance.
const SPARE_SEQUENCES: u32 = 3;

/// Most tokens of a step that something is sampled after.
const STEP_OUTPUTS: u32 = 48;

const BEGIN: (Token, &str) = (0, "<|begin|>");
const END: (Token, &str) = (1, "<|end|>");
const FIRST_BYTE: Token = 2;
const FIRST_WORD: Token = FIRST_BYTE + 256;

/// The scripted engine.
pub struct Engine {
    /// Whether prompts begin with `<|begin|>`.
    pub begins_prompts: bool,
    /// Whether it is like a recurrent model, whose cache cannot be cut at will or shifted.
    pub recurrent: bool,
    /// Whether its answers, of letters, go on and on and mostly repeat themselves: each follows from all that the cache
    /// holds.
    pub walks: bool,
    /// Tokens that all sequences together can hold; 0 is a context for each that can advance.
    pub cells: u32,
    /// How often it says that an image is not encoded yet.
    pub slow_images: u32,
    /// The text of each word's token.
    words: Arc<[String]>,
    context: u32,
    step_time: Duration,
    fault: Option<Fault>,
    steps: u64,
    slots: u32,
    sequences: Vec<Sequence>,
}

#[derive(Default)]
struct Sequence {
    cache: Vec<Token>,
    logprobs: Option<u8>,
    /// What is sampled, last token first; made at the first sample after [`generate::Engine::begin`].
    answer: Option<Vec<Token>>,
    rules: Option<Box<dyn Rules>>,
}

impl Engine {
    /// An engine with empty caches.
    #[must_use]
    pub fn new(spec: &Spec) -> Self {
        let blank = |index: usize| if index == 0 { "" } else { " " };
        let words = spec.words.iter().enumerate();
        Self {
            begins_prompts: true,
            recurrent: false,
            walks: false,
            cells: 0,
            slow_images: 0,
            words: words
                .map(|(index, word)| format!("{}{word}", blank(index)))
                .collect(),
            context: if spec.context == 0 {
                4096
            } else {
                spec.context
            },
            step_time: Duration::from_micros(spec.step_us),
            fault: spec.fault,
            steps: 0,
            slots: spec.slots.max(1),
            sequences: (0..spec.slots.max(1) + SPARE_SEQUENCES)
                .map(|_| Sequence::default())
                .collect(),
        }
    }

    fn word(index: usize) -> Token {
        FIRST_WORD + Token::try_from(index).expect("a script has fewer than two billion words")
    }

    /// The token that the text begins with, and its length in bytes.
    fn first_token(&self, text: &[u8], parse_special: bool) -> (Token, usize) {
        let mut special = [BEGIN, END].into_iter();
        let special = special.find(|(_, name)| text.starts_with(name.as_bytes()));
        if let Some((token, name)) = special.filter(|_| parse_special) {
            return (token, name.len());
        }
        let words = self.words.iter().enumerate();
        let longest = words
            .filter(|(_, word)| !word.is_empty() && text.starts_with(word.as_bytes()))
            .max_by_key(|(_, word)| word.len());
        match longest {
            Some((index, word)) => (Self::word(index), word.len()),
            None => (FIRST_BYTE + Token::from(text[0]), 1),
        }
    }

    /// The answer to what the cache holds, last token first.
    fn answer(&self, cache: &[Token]) -> Vec<Token> {
        if self.words.is_empty() {
            // A beginning within the prompt is echoed like everything else, the one in front is not.
            let (front, rest) = cache.split_at(cache.len().min(1));
            let front = front.iter().filter(|&&token| token >= FIRST_BYTE);
            let rest = rest.iter().filter(|&&token| token != END.0);
            front.chain(rest).rev().copied().collect()
        } else {
            (0..self.words.len()).rev().map(Self::word).collect()
        }
    }

    /// Halves for the chosen token, a quarter for the one after it in the vocabulary, and so on.
    fn logprob(&self, chosen: Token, alternatives: u8) -> TokenLogprob {
        let vocabulary = generate::Engine::limits(self).vocabulary;
        let rank = |rank: u8| {
            let token = (chosen + Token::from(rank)).rem_euclid(vocabulary.cast_signed());
            let mut bytes = Vec::new();
            generate::Engine::write_piece(self, token, &mut bytes);
            Logprob {
                bytes,
                logprob: -std::f32::consts::LN_2 * f32::from(rank + 1),
            }
        };
        TokenLogprob {
            chosen: rank(0),
            top: (0..alternatives).map(rank).collect(),
        }
    }

    /// The letter after what the cache holds: mostly the one after the last in the alphabet's first five.
    fn walk(cache: &[Token]) -> Token {
        const LETTERS: Token = 5;
        let first = FIRST_BYTE + Token::from(b'a');
        let last = cache.last().copied().unwrap_or(0);
        let all = cache.iter().fold(0, |sum: Token, token| {
            sum.wrapping_mul(31).wrapping_add(*token)
        });
        let step = if all % 8 == 0 { 2 } else { 1 };
        first + (last - first + step).rem_euclid(LETTERS)
    }

    /// What follows the first so many tokens of the cache.
    fn sample(&mut self, slot: Slot, length: usize) -> Sampled {
        let mut sequence = std::mem::take(&mut self.sequences[slot as usize]);
        let wanted = if self.walks {
            Self::walk(&sequence.cache[..length])
        } else {
            let answer = sequence
                .answer
                .get_or_insert_with(|| self.answer(&sequence.cache));
            answer.pop().unwrap_or(END.0)
        };
        let choice = match &mut sequence.rules {
            None => Ok((wanted, false)),
            Some(rules) => self.obey(rules.as_mut(), wanted),
        };
        let choice = choice.map(|(token, is_last)| Choice {
            token,
            logprob: sequence
                .logprobs
                .map(|alternatives| self.logprob(token, alternatives)),
            is_last,
        });
        self.sequences[slot as usize] = sequence;
        Sampled { slot, choice }
    }

    /// The wanted token if it may follow, and else the first that may.
    fn obey(&self, rules: &mut dyn Rules, wanted: Token) -> Result<(Token, bool), Error> {
        let token = if rules.allows(wanted)? {
            wanted
        } else {
            let mut logits = vec![0.0; generate::Engine::limits(self).vocabulary as usize];
            rules.restrict(&mut logits)?;
            (0..)
                .zip(&logits)
                .find(|(_, logit)| logit.is_finite())
                .map(|(token, _)| token)
                .ok_or_else(|| Error::Engine("no token may follow".into()))?
        };
        Ok((token, rules.accept(token)?))
    }

    /// Samples after a feed, and after each of its guesses that is right.
    fn verify(&mut self, feed: &Feed<'_>, sampled: &mut Vec<Sampled>) {
        let guesses = &feed.tokens[feed.tokens.len() - feed.guessed as usize..];
        let end = self.sequences[feed.slot as usize].cache.len();
        let mut length = end - guesses.len();
        loop {
            let one = self.sample(feed.slot, length);
            let guess = guesses.get(guesses.len() - (end - length));
            let goes_on = (one.choice.as_ref())
                .is_ok_and(|choice| Some(&choice.token) == guess && !choice.is_last);
            sampled.push(one);
            if !goes_on {
                return;
            }
            length += 1;
        }
    }

    fn misbehave(&self) -> Result<(), Error> {
        match self.fault {
            Some(Fault::FailStep(step)) if step == self.steps => {
                Err(Error::Engine("a scripted failure".into()))
            }
            Some(Fault::AbortStep(step)) if step == self.steps => std::process::abort(),
            Some(Fault::HangStep(step)) if step == self.steps => loop {
                thread::park();
            },
            Some(Fault::PanicStep(step)) if step == self.steps => panic!("a scripted panic"),
            _ => Ok(()),
        }
    }
}

impl generate::Engine for Engine {
    fn limits(&self) -> Limits {
        let count = |length: usize| u32::try_from(length).expect("a script of a test's size");
        Limits {
            slots: self.slots,
            sequences: count(self.sequences.len()),
            context: self.context,
            cells: match self.cells {
                0 => self.context * self.slots,
                cells => cells,
            },
            step_tokens: STEP_TOKENS,
            step_outputs: STEP_OUTPUTS,
            shares: !self.recurrent,
            kept_steps: u32::MAX,
            rewinds: !self.recurrent,
            vocabulary: FIRST_WORD.cast_unsigned() + count(self.words.len()),
        }
    }

    fn beginning(&self) -> Option<Token> {
        self.begins_prompts.then_some(BEGIN.0)
    }

    fn tokenize(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, Error> {
        let mut tokens = Vec::new();
        tokens.extend(self.beginning().filter(|_| add_special));
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let (token, length) = self.first_token(rest, parse_special);
            tokens.push(token);
            rest = &rest[length..];
        }
        Ok(tokens)
    }

    /// An image is as many placeholders as it has bytes, all of the number that its first byte makes.
    fn see(&self, image: Vec<u8>) -> Seeing {
        let sight = |first: &u8| Sight {
            tokens: vec![-1 - Token::from(*first); image.len()],
            hold: Arc::new(()),
        };
        let refusal = || Error::InvalidJob("an empty image".into());
        Seeing::done(image.first().map(sight).ok_or_else(refusal))
    }

    fn ready(&mut self, feed: Feed<'_>) -> usize {
        match feed.tokens.iter().position(|token| *token < 0) {
            Some(image) if self.slow_images > 0 => {
                self.slow_images -= 1;
                image
            }
            _ => feed.tokens.len(),
        }
    }

    fn write_piece(&self, token: Token, bytes: &mut Vec<u8>) {
        if let Ok(byte) = u8::try_from(token - FIRST_BYTE) {
            bytes.push(byte);
        } else if let Ok(index) = usize::try_from(token - FIRST_WORD) {
            bytes.extend(self.words[index].as_bytes());
        }
    }

    fn is_end(&self, token: Token) -> bool {
        token == END.0
    }

    fn compiler(&self) -> Arc<dyn Compiler> {
        Arc::new(Sentences {
            words: Arc::clone(&self.words),
        })
    }

    fn begin(&mut self, slot: Slot, begin: Begin<'_>) -> Result<(), Error> {
        let sequence = &mut self.sequences[slot as usize];
        sequence.rules = begin.rules;
        sequence.logprobs = begin.logprobs;
        sequence.answer = None;
        Ok(())
    }

    fn cut(&mut self, slot: Slot, position: u32) -> u32 {
        let cache = &mut self.sequences[slot as usize].cache;
        let position = if self.recurrent && cache.len() > position as usize {
            0
        } else {
            position
        };
        cache.truncate(position as usize);
        position
    }

    fn share(&mut self, from: Slot, to: Slot, tokens: u32) -> u32 {
        let shared = self.sequences[from as usize].cache[..tokens as usize].to_vec();
        let cache = &mut self.sequences[to as usize].cache;
        if !cache.is_empty() {
            return 0;
        }
        *cache = shared;
        tokens
    }

    fn shift(&mut self, slot: Slot, keep: u32, count: u32) -> bool {
        if !self.recurrent {
            let cache = &mut self.sequences[slot as usize].cache;
            cache.drain(keep as usize..(keep + count) as usize);
        }
        !self.recurrent
    }

    fn release(&mut self) {
        for sequence in &mut self.sequences {
            sequence.cache.clear();
        }
    }

    fn step(&mut self, feeds: &[Feed<'_>], sampled: &mut Vec<Sampled>) -> Result<(), Error> {
        self.steps += 1;
        thread::sleep(self.step_time);
        self.misbehave()?;
        if feeds.iter().map(|feed| feed.tokens.len()).sum::<usize>() > STEP_TOKENS as usize {
            return Err(Error::Engine("the batch is too long".into()));
        }
        for feed in feeds {
            let cache = &mut self.sequences[feed.slot as usize].cache;
            if cache.len() != feed.position as usize {
                return Err(Error::Engine(format!(
                    "slot {} holds {} tokens and was fed position {}",
                    feed.slot,
                    cache.len(),
                    feed.position
                )));
            }
            cache.extend_from_slice(feed.tokens);
            if cache.len() > self.context as usize {
                return Err(Error::Engine(format!("slot {} is over-full", feed.slot)));
            }
            if feed.sample {
                self.verify(feed, sampled);
                if sampled.len() == 1 && self.fault == Some(Fault::FailSample(self.steps)) {
                    let error = "a scripted absence of numbers".into();
                    sampled[0].choice = Err(Error::Engine(error));
                }
            }
        }
        Ok(())
    }
}
