//! The port that a generating engine implements. It computes; it decides nothing.

use std::any::Any;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Weak};

use super::{Compiler, Rules, Sampling, TokenLogprob};
use crate::inference::{Error, Token};

/// Index of one of an engine's sequences, `0..limits().sequences`.
pub type Slot = u32;

/// What an engine was loaded for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Sequences that can advance together.
    pub slots: u32,
    /// Sequences that it keeps, at least as many: those beyond hold what later ones may go on from.
    pub sequences: u32,
    /// Tokens one sequence can hold.
    pub context: u32,
    /// Tokens that all sequences together can hold, at least one context. Shared ones count once.
    pub cells: u32,
    /// Most tokens of all sequences together in one [`Engine::step`].
    pub step_tokens: u32,
    /// Most of them that something is sampled after.
    pub step_outputs: u32,
    /// Whether [`Engine::share`] works. If not, each sequence has cells of its own, enough for its context.
    pub shares: bool,
    /// Steps with streams in them after which the cache of an ended job has cost, by its mere presence, as much time as
    /// computing it again would; [`u32::MAX`] if it costs none.
    pub kept_steps: u32,
    /// Whether the end of a sequence can be taken back with [`Engine::cut`], wherever that is.
    pub rewinds: bool,
    /// Number of tokens in the vocabulary: valid ids are `0..vocabulary`.
    pub vocabulary: u32,
}

/// The next tokens of one sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feed<'a> {
    /// Which sequence.
    pub slot: Slot,
    /// Position of the first token in the sequence: the number of tokens it already holds.
    pub position: u32,
    /// At least one.
    pub tokens: &'a [Token],
    /// Whether to sample the token that follows the last one.
    pub sample: bool,
    /// How many of the tokens, at the end, are guesses. Only where something is sampled, and fewer than there are tokens.
    ///
    /// Then the token that follows the last one before the guesses is sampled first, and as long as what is sampled is
    /// what was guessed, the token after that too.
    pub guessed: u32,
}

/// What was sampled for one sequence in a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// The sequence it continues.
    pub slot: Slot,
    /// The token, or why there is none. What goes wrong for one sequence is no matter of the others; its cache is in
    /// doubt then.
    pub choice: Result<Choice, Error>,
}

/// A token that was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The token.
    pub token: Token,
    /// Present when the sequence was begun with logprobs.
    pub logprob: Option<TokenLogprob>,
    /// The sequence's rules let nothing follow: the answer ends with this token.
    pub is_last: bool,
}

/// An image as a prompt has it.
#[derive(Clone, Debug)]
pub struct Sight {
    /// What stands for it: negative numbers, one for each token it takes in the cache, that are the same for the same
    /// image and no other.
    pub tokens: Vec<Token>,
    /// Keeps the image in the engine's memory; to be held until the job that shows it is over.
    pub hold: Arc<dyn Any + Send + Sync>,
}

/// An image that the engine is taking in. Dropped, it is wanted no more.
#[derive(Debug)]
pub struct Seeing {
    result: Receiver<Result<Sight, Error>>,
    _wanted: Arc<()>,
}

/// The other end of a [`Seeing`].
#[derive(Debug)]
pub struct Seen {
    result: SyncSender<Result<Sight, Error>>,
    wanted: Weak<()>,
}

impl Seeing {
    /// Both ends.
    #[must_use]
    pub fn begin() -> (Self, Seen) {
        let (tell, result) = sync_channel(1);
        let wanted = Arc::new(());
        let seen = Seen {
            result: tell,
            wanted: Arc::downgrade(&wanted),
        };
        let seeing = Self {
            result,
            _wanted: wanted,
        };
        (seeing, seen)
    }

    /// One that is over.
    #[must_use]
    pub fn done(result: Result<Sight, Error>) -> Self {
        let (seeing, seen) = Self::begin();
        seen.tell(result);
        seeing
    }

    /// What came of it, once, if it is over.
    ///
    /// # Errors
    /// Those of [`Engine::see`].
    pub fn poll(&self) -> Option<Result<Sight, Error>> {
        match self.result.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(unread())),
        }
    }

    /// What came of it, when it is over.
    ///
    /// # Errors
    /// Those of [`Engine::see`].
    pub fn wait(self) -> Result<Sight, Error> {
        self.result.recv().unwrap_or_else(|_| Err(unread()))
    }
}

/// Whoever was to read the image has failed.
fn unread() -> Error {
    Error::InvalidJob("the image could not be read".into())
}

impl Seen {
    /// Whether anybody waits for it.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted.strong_count() > 0
    }

    /// Says what came of the image.
    pub fn tell(self, result: Result<Sight, Error>) {
        // It is the only message, so there is room; that nobody waits any more is no fault.
        let _ = self.result.try_send(result);
    }
}

/// A loaded model that generates: several sequences, each with its own cache and sampler.
pub trait Engine {
    /// What it was loaded for; never changes.
    fn limits(&self) -> Limits;

    /// The beginning-of-sequence token, if every prompt of this model starts with one.
    fn beginning(&self) -> Option<Token>;

    /// Text to tokens. `parse_special` makes the names of control tokens in the text these tokens.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for text the model cannot express.
    fn tokenize(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, Error>;

    /// Begins to take in an image file, beside the steps. Its placeholders are fed like tokens.
    ///
    /// It comes to [`Error::InvalidJob`] for what is no image or too large a one, and to [`Error::Unsupported`] if the
    /// model sees none.
    fn see(&self, image: Vec<u8>) -> Seeing;

    /// How many of these tokens can be fed now. What the next one waits for, as the embeddings of an image, is being made
    /// meanwhile.
    fn ready(&mut self, feed: Feed<'_>) -> usize {
        feed.tokens.len()
    }

    /// Appends the bytes that a token of the answer stands for; control tokens have none.
    fn write_piece(&self, token: Token, bytes: &mut Vec<u8>);

    /// Appends the bytes of a token, for those who want to see it: control tokens have their names.
    fn write_name(&self, token: Token, bytes: &mut Vec<u8>) {
        self.write_piece(token, bytes);
    }

    /// Whether the model ends its answer with this token.
    fn is_end(&self, token: Token) -> bool;

    /// What compiles the constraints of answers.
    fn compiler(&self) -> Arc<dyn Compiler>;

    /// Gives a slot a fresh sampler. The slot's cache is left as it is.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] for options that the engine refuses.
    fn begin(&mut self, slot: Slot, begin: Begin<'_>) -> Result<(), Error>;

    /// Forgets a sequence from this position on; 0 empties it. Returns the position that is really left: an engine that
    /// cannot cut its cache at will (a recurrent one) empties it and returns 0.
    fn cut(&mut self, slot: Slot, position: u32) -> u32;

    /// Makes the first tokens of one sequence the beginning of another, which is empty, without computing them. Returns how
    /// many are there then.
    fn share(&mut self, from: Slot, to: Slot, tokens: u32) -> u32;

    /// Removes `count` tokens after the first `keep` and moves the rest down. False if the engine cannot.
    fn shift(&mut self, slot: Slot, keep: u32, count: u32) -> bool;

    /// Gives the memory of all caches back to the system, as far as the engine can. All of them are empty afterwards.
    fn release(&mut self);

    /// Computes the feeds of one batch, at most [`Limits::step_tokens`] tokens in all, and appends to `sampled` one
    /// entry per feed that asks for it, in the order of the feeds, and further ones for guesses that are right. A feed that
    /// does not ask has one if it failed alone. What was fed of wrong guesses is left for the caller to cut.
    ///
    /// # Errors
    /// [`Error::Engine`] when the computation failed as a whole; the caches of the fed slots are then in doubt.
    fn step(&mut self, feeds: &[Feed<'_>], sampled: &mut Vec<Sampled>) -> Result<(), Error>;
}

/// What [`Engine::begin`] is given.
pub struct Begin<'a> {
    /// How tokens are chosen.
    pub sampling: &'a Sampling,
    /// Report log probabilities with this many alternatives.
    pub logprobs: Option<u8>,
    /// The prompt: the tokens that the penalties start from.
    pub recent: &'a [Token],
    /// Added to the logits of these tokens.
    pub logit_bias: &'a [(Token, f32)],
    /// What the answer must keep to.
    pub rules: Option<Box<dyn Rules>>,
}
