//! The shape that an answer is to have, whichever dialect asked for it.
//!
//! A dialect reads its own fields into a [`Shape`], offers the model the tools that [`Shape::offered`] leaves, and puts
//! the [`Constraint`] that comes of it into the job. The worker compiles it before it admits the job.

mod calls;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use super::Error;
use crate::inference::generate::{Constraint, Grammar, Preface};
use crate::prompt::{Expectations, Think, Tool, Traits};

/// Longest schema or grammar, in bytes. The worker bounds what becomes of it.
pub const MAX_GRAMMAR_BYTES: usize = 256 << 10;

/// What is asked of an answer's shape. The default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    /// Of an answer that calls no tool.
    pub format: Format,
    /// Whether tools are called.
    pub tool_choice: ToolChoice,
    /// At most one tool is called where a call is forced.
    pub one_call: bool,
}

/// What the text of an answer is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Format {
    /// Anything.
    #[default]
    Free,
    /// A JSON object.
    Json,
    /// JSON that this JSON Schema accepts.
    Schema(Map<String, Value>),
    /// A sentence of a grammar.
    Grammar(Grammar),
}

/// Whether the model calls tools.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// Never: it is not told of them.
    None,
    /// It must call one or more.
    Required,
    /// It must call this one.
    Named(String),
}

impl Shape {
    /// The tools that the model is told of.
    #[must_use]
    pub fn offered(&self, tools: Vec<Tool>) -> Vec<Tool> {
        match self.tool_choice {
            ToolChoice::None => Vec::new(),
            ToolChoice::Auto | ToolChoice::Required | ToolChoice::Named(_) => tools,
        }
    }

    /// Refuses what cannot be kept whatever the model.
    ///
    /// # Errors
    /// [`Error::BadRequest`] for a schema or grammar that is too long, and for a choice among tools that are not there.
    pub fn check(&self, tools: &[Tool]) -> Result<(), Error> {
        let length = match &self.format {
            Format::Free | Format::Json => 0,
            Format::Schema(schema) => text(schema).len(),
            Format::Grammar(Grammar::Regex(text) | Grammar::Lark(text) | Grammar::Gbnf(text)) => {
                text.len()
            }
            Format::Grammar(_) => 0,
        };
        if length > MAX_GRAMMAR_BYTES {
            return Err(Error::BadRequest(format!(
                "the format has {length} bytes; at most {MAX_GRAMMAR_BYTES} are supported"
            )));
        }
        self.forced(tools).map(|_| ())
    }

    /// What the worker is to enforce; `None` where the model may write what it likes. Where the model decides whether it
    /// calls tools, its calls are held to those it was offered. `expectations` is what the answer's
    /// parser is made from, with the tools that were offered.
    ///
    /// # Errors
    /// See [`Shape::check`].
    pub fn constraint(
        &self,
        expectations: Expectations<'_>,
    ) -> Result<Option<Box<Constraint>>, Error> {
        let Expectations {
            traits,
            tools,
            think,
            prompt_end,
        } = expectations;
        let forced = self.forced(tools)?;
        let answer = self.format.grammar();
        let called = |tools: &[&Tool]| calls::demanded(traits, tools, self.one_call);
        let can_call = traits.tools.is_some() || traits.call_prefix.is_some();
        let headed = |answer| headed(traits, prompt_end, answer);
        let grammar = match (forced, answer) {
            (Some(tools), _) => called(&tools),
            (None, None) => {
                let calls = calls::offered(expectations).map(Constraint::Calls);
                return Ok(calls.map(Box::new));
            }
            (None, Some(answer)) if tools.is_empty() || !can_call => headed(answer),
            // The shape is that of an answer; the model may still decide to call a tool first.
            (None, Some(answer)) => {
                let all: Vec<&Tool> = tools.iter().collect();
                Grammar::Choice(vec![called(&all), headed(answer)])
            }
        };
        Ok(Some(Box::new(Constraint::Whole {
            grammar,
            preface: preface(traits, think, prompt_end),
        })))
    }

    /// What an answer is held to that continues a text without a template, with neither thinking nor tools in it.
    #[must_use]
    pub fn of_raw_answer(&self) -> Option<Box<Constraint>> {
        let grammar = self.format.grammar()?;
        Some(Box::new(Constraint::Whole {
            grammar,
            preface: None,
        }))
    }

    /// The tools of which one must be called; `None` if none must.
    fn forced<'a>(&self, tools: &'a [Tool]) -> Result<Option<Vec<&'a Tool>>, Error> {
        match &self.tool_choice {
            ToolChoice::Auto | ToolChoice::None => Ok(None),
            ToolChoice::Required if tools.is_empty() => Err(Error::BadRequest(
                "tool_choice demands a call, but there are no tools".into(),
            )),
            ToolChoice::Required => Ok(Some(tools.iter().collect())),
            ToolChoice::Named(name) => {
                let tool = tools.iter().find(|tool| tool.name == *name);
                let tool = tool.ok_or_else(|| {
                    Error::BadRequest(format!(
                        "tool_choice names {name:?}, which is not among the tools"
                    ))
                })?;
                Ok(Some(vec![tool]))
            }
        }
    }
}

impl Format {
    fn grammar(&self) -> Option<Grammar> {
        match self {
            Self::Free => None,
            Self::Json => Some(Grammar::Json),
            Self::Schema(schema) => Some(Grammar::JsonSchema(text(schema))),
            Self::Grammar(grammar) => Some(grammar.clone()),
        }
    }
}

/// An answer with its header, where answers consist of messages.
fn headed(traits: &Traits, prompt_end: &str, answer: Grammar) -> Grammar {
    match traits.answer_header(prompt_end) {
        Some(header) => Grammar::Sequence(vec![Grammar::Marks(header.into()), answer]),
        None => answer,
    }
}

/// The thinking before the shape begins. Told not to think, a model that does so all the same writes an answer; one whose
/// answers consist of messages cannot be told, and says what is a thought.
fn preface(traits: &Traits, think: Think, prompt_end: &str) -> Option<Preface> {
    let (open, close) = traits.thoughts()?;
    let is_free = match traits.answer_prefix() {
        "" => think != Think::Off,
        _ => traits.answer_header(prompt_end).is_some(),
    };
    let is_open = prompt_end.trim_end().ends_with(open);
    is_free.then(|| Preface {
        open: (!is_open).then(|| open.to_owned()),
        close: close.to_owned(),
    })
}

fn text(schema: &Map<String, Value>) -> String {
    serde_json::to_string(schema).expect("a JSON object has a text")
}
