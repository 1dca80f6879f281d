//! Generation: the job, its events, and the loop that advances many of them together.
//!
//! [`prompt`] turns what was asked into tokens that fit, [`admission`] prepares a job and compiles its grammar,
//! [`scheduler`] decides, an [`Engine`] computes, [`text`] turns tokens into what may be shown, and [`run()`] joins them.

mod admission;
mod constraint;
mod engine;
mod prompt;
mod run;
pub mod scheduler;
mod sightings;
pub mod text;

use serde::{Deserialize, Serialize};

pub use self::constraint::{
    Calls, Compiler, Constraint, Grammar, Opening, Preface, Rules, Thoughts,
};
pub use self::engine::{Begin, Choice, Engine, Feed, Limits, Sampled, Seeing, Seen, Sight, Slot};
pub use self::run::{Guesses, Policy, run};
use super::{Error, Token};

/// Continue a prompt.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Generate {
    /// The prompt, in order. Several pieces only where a caller mixes tokens and text.
    pub prompt: Vec<Piece>,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Generation ends before the first occurrence of any of these, and none of their bytes is shown.
    pub stop: Vec<String>,
    /// Most tokens to generate. `None` is ten times the context, Ollama's bound for "no limit" and for any limit above it.
    /// 0 computes the prompt, which fills the cache, and generates nothing, as in llama.cpp's server.
    pub max_tokens: Option<u32>,
    /// What to do with a prompt that is longer than the context, and when the context is full.
    pub overflow: Overflow,
    /// Report the log probability of every token and of this many alternatives (0 to 20).
    pub logprobs: Option<u8>,
    /// Names of control tokens that are shown as text when the model writes them; all others are not.
    pub visible: Vec<String>,
    /// What the answer, or the calls in it, are held to.
    pub constraint: Option<Box<Constraint>>,
    /// Added to the logits of these tokens before any other step; negative infinity forbids a token.
    pub logit_bias: Vec<(Token, f32)>,
    /// Whose job it is. A prompt goes on only from what was computed for the same caller: else the time that a reply takes would
    /// tell what others asked.
    pub caller: u64,
}

/// A part of a prompt.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Piece {
    /// Text, in which the names of control tokens become these tokens.
    Text(String),
    /// Tokens as an earlier reply reported them.
    Tokens(Vec<Token>),
    /// An image file.
    Image(Vec<u8>),
}

/// What happens at the end of the context.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Overflow {
    /// Cut a prompt that is too long (needs `shift`) instead of refusing it.
    pub truncate: bool,
    /// Drop the older half of the context and go on when it is full, instead of ending with [`Finish::Length`].
    pub shift: bool,
    /// Tokens at the start of the prompt that cutting and shifting leave alone. Negative: all of the prompt.
    pub keep: i32,
}

/// How the next token is chosen: the options of Ollama's API, in the order llama.cpp applies them.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Sampling {
    /// Seed of the random numbers. `None` draws one.
    pub seed: Option<u32>,
    /// 0 is greedy: the most probable token, always.
    pub temperature: f32,
    /// Keep this many of the most probable tokens; 0 or less keeps all.
    pub top_k: i32,
    /// Keep the most probable tokens whose probabilities sum to this; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this probable relative to the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Locally typical sampling; 1 keeps all.
    pub typical_p: f32,
    /// Tokens the penalties look back at; 0 none, -1 the whole context.
    pub repeat_last_n: i32,
    /// Divides the logits of recent tokens; 1 is none.
    pub repeat_penalty: f32,
    /// Subtracted once from the logit of every recent token.
    pub presence_penalty: f32,
    /// Subtracted from the logit of a recent token for each time it occurred.
    pub frequency_penalty: f32,
}

/// Ollama's defaults.
impl Default for Sampling {
    fn default() -> Self {
        Self {
            seed: None,
            temperature: 0.8,
            top_k: 40,
            top_p: 0.9,
            min_p: 0.0,
            typical_p: 1.0,
            repeat_last_n: 64,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
        }
    }
}

/// What a [`Generate`] job reports: `Admitted` once, then `Text` any number of times, then one of the last two.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Event {
    /// The job was accepted; from here on it can only fail by a fault.
    Admitted(Admitted),
    /// The next piece of the answer.
    Text(Text),
    /// The answer is complete.
    Finished(Finished),
    /// The job was refused (before `Admitted`) or failed.
    Failed(Error),
}

/// What is known of a job when it is accepted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Admitted {
    /// Tokens of the prompt as it will be computed.
    pub prompt_tokens: u32,
    /// Tokens that were cut from the prompt to make it fit.
    pub truncated_tokens: u32,
}

/// A piece of an answer: whole UTF-8 characters that no stop string can take back.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Text {
    /// May be empty when only `logprobs` are to be told.
    pub text: String,
    /// Tokens that ended since the last piece.
    pub tokens: u32,
    /// One entry per token since the last piece, when the job asked for them. The token that ended the answer and those
    /// of a stop string have none.
    pub logprobs: Vec<TokenLogprob>,
}

impl Text {
    /// Adds what came after.
    pub fn append(&mut self, later: Self) {
        self.text.push_str(&later.text);
        self.tokens += later.tokens;
        self.logprobs.extend(later.logprobs);
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.logprobs.is_empty()
    }
}

/// A sampled token with its alternatives.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct TokenLogprob {
    /// The token that was chosen.
    pub chosen: Logprob,
    /// The most probable tokens, best first; as many as the job asked for.
    pub top: Vec<Logprob>,
}

/// A token and the natural logarithm of its probability before sampling options.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Logprob {
    /// The bytes the token stands for; not always whole characters.
    pub bytes: Vec<u8>,
    /// Natural logarithm, at most 0.
    pub logprob: f32,
}

/// How an answer ended and what it took.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Finished {
    /// Why it ended.
    pub reason: Finish,
    /// The stop string that ended it, if one did.
    pub stop: Option<String>,
    /// What it took.
    pub usage: Usage,
    /// Prompt and answer as tokens, without the beginning-of-sequence token: what a caller may send back as context.
    pub context: Vec<Token>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Finish {
    /// The model ended it, or a stop string did.
    Stop,
    /// The number of tokens asked for was reached, or the context is full.
    Length,
}

/// What an answer took. Times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Usage {
    /// Tokens of the prompt, computed or reused.
    pub prompt_tokens: u32,
    /// Tokens of the prompt whose results were still in the cache.
    pub cached_tokens: u32,
    /// Tokens sampled, the one that ended the answer and those of a stop string included, as llama.cpp's server counts.
    pub generated_tokens: u32,
    /// From the job's arrival to its slot; at least 1.
    pub queue_ns: u64,
    /// From the slot to the first token; at least 1.
    pub prefill_ns: u64,
    /// From the first token to the last; at least 1 if there is any.
    pub decode_ns: u64,
}
