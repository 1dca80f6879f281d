//! What an answer has to look like, in words that every engine can be told, and the port that enforces it.

use serde::{Deserialize, Serialize};

use crate::inference::{Error, Token};

/// A grammar, and what may come before it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Constraint {
    /// What the answer is a sentence of.
    pub grammar: Grammar,
    /// What the model may write before it, as a model that thinks does; `None` binds the first token.
    pub preface: Option<Preface>,
}

/// Free text before the grammar binds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Preface {
    /// The preface is there only if the answer begins with this; `None` says that the prompt has begun it already.
    pub open: Option<String>,
    /// What it ends with. Whitespace after it belongs to it.
    pub close: String,
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
    /// One after the other.
    Sequence(Vec<Grammar>),
    /// One of them.
    Choice(Vec<Grammar>),
    /// The first, then at least `least - 1` and at most `most - 1` times the separator and another.
    Repeat {
        /// What is repeated.
        item: Box<Grammar>,
        /// What stands between two of them.
        separator: String,
        /// At least 1.
        least: u32,
        /// At least `least`.
        most: u32,
    },
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
