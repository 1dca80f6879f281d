//! What an answer has to look like, in words that every engine can be told, and the port that enforces it.

use serde::{Deserialize, Serialize};

use crate::inference::{Error, Token};

/// What is enforced, and from where on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Constraint {
    /// The answer is a sentence of a grammar. A grammar that cannot be compiled is refused.
    Whole {
        /// What the answer is a sentence of.
        grammar: Grammar,
        /// What the model may write before it, as a model that thinks does; `None` binds the first token.
        preface: Option<Preface>,
    },
    /// The answer is free, but for the calls in it. What cannot be compiled is not enforced: the caller demanded no call.
    Calls(Calls),
}

impl Constraint {
    /// Whether an answer is worth nothing without it.
    #[must_use]
    pub fn is_demanded(&self) -> bool {
        match self {
            Self::Whole { .. } => true,
            Self::Calls(_) => false,
        }
    }
}

/// Free text before the grammar binds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Preface {
    /// The preface is there only if the answer begins with this; `None` says that the prompt has begun it already.
    pub open: Option<String>,
    /// What it ends with. Whitespace after it belongs to it. Names of control tokens in both are these tokens.
    pub close: String,
}

/// Calls in an answer that is free otherwise.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Calls {
    /// The end of the prompt, where the mark of a call may begin in it; not read of a model that thinks first.
    pub before: String,
    /// What the model thinks is no call, whatever it looks like.
    pub thoughts: Option<Thoughts>,
    /// Each way in which a call begins.
    pub openings: Vec<Opening>,
}

/// Where a model thinks.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Thoughts {
    /// Before its thoughts.
    pub open: String,
    /// After them.
    pub close: String,
    /// The prompt has begun them already.
    pub are_begun: bool,
    /// They may begin anywhere in the answer, and not only with it.
    pub come_again: bool,
}

/// A way in which a call begins.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Opening {
    /// The text after which the model calls. Names of control tokens in it are these tokens.
    pub mark: String,
    /// What follows it. It has to tell where it ends: no sentence of it begins another.
    pub grammar: Grammar,
    /// Where the call ends, if it goes on freely behind the grammar.
    pub close: Option<String>,
    /// Nothing may follow the call.
    pub is_last: bool,
}

/// A language that an answer has to belong to.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Grammar {
    /// Any JSON object.
    Json,
    /// JSON that a JSON Schema, given as its text, accepts. Properties come in the schema's order.
    JsonSchema(String),
    /// A regular expression for the whole answer, in Rust's syntax.
    Regex(String),
    /// A grammar in llguidance's dialect of Lark.
    Lark(String),
    /// A grammar in llama.cpp's notation (GBNF).
    Gbnf(String),
    /// Exactly this text.
    Text(String),
    /// Exactly this text of the model's own notation: names of control tokens in it are these tokens.
    Marks(String),
    /// Whitespace, or nothing.
    Space,
    /// Some digits.
    Digits,
    /// One after the other.
    Sequence(Vec<Grammar>),
    /// One of them.
    Choice(Vec<Grammar>),
    /// The first, then at least `least - 1` and at most `most - 1` times the separator and another.
    Repeat {
        /// What is repeated.
        item: Box<Grammar>,
        /// What stands between two of them.
        separator: Box<Grammar>,
        /// At least 1.
        least: u32,
        /// At least `least`.
        most: u32,
    },
}

impl Grammar {
    /// The same with another grammar in the place of every JSON Schema.
    #[must_use]
    pub fn with_schemas(&self, other: &mut dyn FnMut(&str) -> Grammar) -> Grammar {
        let mut all =
            |parts: &[Grammar]| parts.iter().map(|part| part.with_schemas(other)).collect();
        match self {
            Self::JsonSchema(schema) => other(schema),
            Self::Sequence(parts) => Self::Sequence(all(parts)),
            Self::Choice(choices) => Self::Choice(all(choices)),
            Self::Repeat {
                item,
                separator,
                least,
                most,
            } => Self::Repeat {
                item: Box::new(item.with_schemas(other)),
                separator: separator.clone(),
                least: *least,
                most: *most,
            },
            Self::Json
            | Self::Regex(_)
            | Self::Lark(_)
            | Self::Gbnf(_)
            | Self::Text(_)
            | Self::Marks(_)
            | Self::Space
            | Self::Digits => self.clone(),
        }
    }
}

/// Turns constraints into rules. Belongs to a loaded model and works on any thread: it can take longer than a step.
pub trait Compiler: Send + Sync {
    /// The rules for one answer.
    ///
    /// # Errors
    /// [`Error::InvalidJob`] that says what is wrong with the grammar.
    fn compile(&self, constraint: &Constraint) -> Result<Box<dyn Rules>, Error>;
}

/// How far one answer has come in its grammar, and what may follow.
pub trait Rules: Send {
    /// Whether this token may be the next.
    ///
    /// # Errors
    /// [`Error::Engine`] when the grammar has become too complex to follow. Only the answer under these rules fails.
    fn allows(&mut self, token: Token) -> Result<bool, Error>;

    /// Sets the logits of all tokens that may not follow to negative infinity.
    ///
    /// # Errors
    /// See [`Rules::allows`].
    fn restrict(&mut self, logits: &mut [f32]) -> Result<(), Error>;

    /// Takes the token that was chosen; it is one of those allowed. True if the answer is complete and nothing may follow.
    ///
    /// # Errors
    /// See [`Rules::allows`].
    fn accept(&mut self, token: Token) -> Result<bool, Error>;
}
