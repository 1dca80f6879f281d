//! One of the engine's sequences: what it is to hold, what of that is computed, and the job that it runs, if any.

use super::cells::{Cell, Cells};
use super::guess::Luck;
use super::{Request, Scope};
use crate::inference::{JobId, Token};

#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// Whose tokens these are.
    pub(super) scope: Scope,
    /// What the sequence is to hold. Without a job: what it holds.
    pub(super) tokens: Vec<Token>,
    /// How many of them, from the start, are computed and in the cache.
    pub(super) computed: usize,
    /// How many of these saw exactly the tokens before them. What moved in a shift did not, and reusing it would give
    /// another text than computing it.
    pub(super) exact: usize,
    /// The cells of what is computed; while guesses are being verified, of these too.
    pub(super) cells: Vec<Cell>,
    pub(super) running: Option<Running>,
    /// Tick of the last release.
    pub(super) released: u64,
    /// Steps before that, or before another went on from here.
    pub(super) used: u64,
}

/// The job that holds a sequence.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: JobId,
    /// Its prompt, and all that was sampled.
    pub(super) history: Vec<Token>,
    pub(super) prompt_tokens: usize,
    /// How many of the sequence's tokens are part of the current step, without guesses.
    pub(super) planned: usize,
    /// What may follow them.
    pub(super) guesses: Vec<Token>,
    /// How many tokens before the guesses occurred before what they are taken from, too.
    pub(super) matching: usize,
    /// How many of the guesses, from the first, are part of the current step: at the end of the sequence's tokens until it is
    /// computed.
    pub(super) guessed: usize,
    /// How many of these turned out right.
    pub(super) right: usize,
    /// Whether its cells were taken away for others; it goes on when there is room for all of its tokens.
    pub(super) is_paused: bool,
    /// Whether the prompt has images.
    pub(super) has_images: bool,
    /// How many of the sequence's tokens the engine can feed by now, if not all.
    pub(super) reachable: Option<usize>,
    pub(super) keep: u32,
    pub(super) shift: bool,
    pub(super) max_tokens: u32,
    pub(super) luck: Luck,
    /// Tick of the assignment.
    pub(super) assigned: u64,
}

impl Running {
    pub(super) fn new(request: Request, luck: Luck, assigned: u64) -> Self {
        Self {
            id: request.id,
            prompt_tokens: request.prompt.len(),
            has_images: request.prompt.iter().any(|token| *token < 0),
            history: request.prompt,
            planned: 0,
            guesses: Vec::new(),
            matching: 0,
            guessed: 0,
            right: 0,
            is_paused: false,
            reachable: None,
            keep: request.keep,
            shift: request.shift,
            max_tokens: request.max_tokens,
            luck,
            assigned,
        }
    }

    /// Tokens sampled so far.
    pub(super) fn generated(&self) -> usize {
        self.history.len() - self.prompt_tokens
    }
}

impl Sequence {
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// When its job was assigned, unless it has none or its job is paused.
    pub(super) fn active(&self) -> Option<u64> {
        let running = self.running.as_ref()?;
        (!running.is_paused).then_some(running.assigned)
    }

    /// Whether all that is left to compute is the token that was sampled last.
    pub(super) fn decodes(&self) -> bool {
        self.running.as_ref().is_some_and(|running| {
            !running.is_paused && running.generated() > 0 && self.computed + 1 == self.tokens.len()
        })
    }

    /// Tokens that are neither computed nor planned.
    pub(super) fn missing(&self) -> usize {
        let planned = self.running.as_ref().map_or(0, |running| running.planned);
        self.tokens.len() - self.computed - planned
    }

    /// Those of them that are in reach.
    pub(super) fn left(&self) -> usize {
        let Some(running) = &self.running else {
            return 0;
        };
        let reachable = running.reachable.unwrap_or(self.tokens.len());
        reachable
            .min(self.tokens.len())
            .saturating_sub(self.computed + running.planned)
    }

    /// Tokens at the start of this prompt that are computed.
    pub(super) fn known(&self, scope: Scope, prompt: &[Token]) -> usize {
        self.common(scope, prompt, self.exact.min(self.computed))
    }

    /// Tokens at the start of this prompt that are computed or soon will be.
    pub(super) fn promised(&self, scope: Scope, prompt: &[Token]) -> usize {
        match &self.running {
            Some(running) if !running.is_paused && self.exact == self.computed => {
                self.common(scope, prompt, self.tokens.len())
            }
            _ => self.known(scope, prompt),
        }
    }

    fn common(&self, scope: Scope, prompt: &[Token], among: usize) -> usize {
        if scope != self.scope {
            return 0;
        }
        let same = self.tokens[..among].iter().zip(prompt);
        let same = same.take_while(|(one, other)| one == other).count();
        // The last token is computed again in any case, as its result is what the first token is sampled from.
        same.min(prompt.len() - 1)
    }

    /// Forgets what was planned and not computed.
    pub(super) fn unplan(&mut self) {
        if let Some(job) = &mut self.running {
            job.planned = 0;
            job.guesses.clear();
            let guessed = std::mem::take(&mut job.guessed);
            self.tokens.truncate(self.tokens.len() - guessed);
        }
    }

    /// Lets go of what is computed from this token on.
    pub(super) fn truncate(&mut self, length: usize, cells: &mut Cells) {
        for cell in self.cells.drain(length.min(self.cells.len())..) {
            cells.give(cell);
        }
        self.computed = self.computed.min(length);
        self.exact = self.exact.min(length);
        if self.running.is_none() {
            self.tokens.truncate(self.computed);
        }
    }

    pub(super) fn running(&self) -> &Running {
        self.running.as_ref().expect("the caller looked for one")
    }

    pub(super) fn running_mut(&mut self) -> &mut Running {
        self.running
            .as_mut()
            .expect("the loop names slots that it was given")
    }
}
