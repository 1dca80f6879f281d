//! Go templates, as Ollama's models bring them, executed as Go's `text/template` executes them.
//!
//! `lex` and `parse` make a tree of the text, `execute` walks it, `evaluate` and `functions` compute values, `print` and
//! `marshal` write them; errors have Go's words, because clients see them. `turns`, `data` and `inspect` are what Ollama
//! adds: what a template is executed on, and what its text tells of its model.
//!
//! A template comes with a model, so it is untrusted. It is bounded in its length, its nesting, its steps and its output,
//! and it sees nothing but the conversation and the date.

mod compare;
mod data;
mod evaluate;
mod execute;
mod float;
mod functions;
mod inspect;
mod lex;
mod literal;
mod marshal;
mod parse;
mod print;
mod quote;
#[cfg(test)]
mod tests;
mod tree;
mod turns;
mod value;

use std::collections::BTreeSet;

use self::execute::{Allowance, Failure};
use self::functions::Clock;
use self::parse::Templates;
use self::turns::Rendering;
use super::{Conversation, PromptError, Tags, Think, allowance};

/// Longest template text in bytes, many times the longest in use.
const MAX_TEMPLATE_BYTES: usize = 128 << 10;

/// Longest prompt in bytes: four for each of four million tokens.
const MAX_PROMPT_BYTES: usize = 16 << 20;

/// Stack for parsing and executing, each of which limits its depth. Only what is used takes memory.
const STACK_BYTES: u64 = 64 << 20;

/// A parsed template.
#[derive(Debug)]
pub(super) struct Template {
    source: String,
    templates: Templates,
    /// What is executed: the text outside of every definition, with the answer at its end if nothing else says where
    /// it belongs.
    root: tree::List,
    /// The same up to where the answer belongs.
    last_turn: tree::List,
    /// All fields and variables in lower case.
    names: BTreeSet<String>,
}

impl Template {
    /// Parses a template's text.
    ///
    /// # Errors
    /// [`PromptError::Go`] in Go's words, or [`PromptError::TooLarge`].
    pub(super) fn parse(source: &str) -> Result<Self, PromptError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(PromptError::TooLarge {
                limit: MAX_TEMPLATE_BYTES,
            });
        }
        allowance::on_stack(STACK_BYTES, || {
            let templates = parse::parse(source).map_err(PromptError::Go)?;
            let names = inspect::names(&templates).map_err(PromptError::Go)?;
            let mut root = templates.by_name[""].clone();
            if !names.contains("messages") && !names.contains("response") {
                root.nodes.push(response());
            }
            Ok(Self {
                source: source.to_owned(),
                last_turn: inspect::up_to_response(&root),
                templates,
                root,
                names,
            })
        })
    }

    /// The prompt for a conversation. An answer that has begun is a message like every other.
    pub(super) fn render(&self, conversation: &Conversation<'_>) -> Result<String, PromptError> {
        let steps = allowance::units(conversation);
        self.on_stack(conversation.think, steps, &conversation.now, |rendering| {
            rendering.conversation(conversation)
        })
    }

    /// The prompt for what stands between two texts.
    pub(super) fn insert(
        &self,
        prompt: &str,
        suffix: &str,
        think: Think,
        now: &jiff::Zoned,
    ) -> Result<String, PromptError> {
        let steps = allowance::of_texts(&[prompt, suffix]);
        self.on_stack(think, steps, now, |rendering| {
            rendering.insertion(prompt, suffix)
        })
    }

    fn on_stack(
        &self,
        think: Think,
        steps: u64,
        now: &jiff::Zoned,
        work: impl FnOnce(&mut Rendering<'_>) -> Result<Vec<u8>, Failure> + Send,
    ) -> Result<String, PromptError> {
        let clock = Clock::at(now);
        let allowed = Allowance {
            steps,
            bytes: MAX_PROMPT_BYTES,
        };
        let prompt = allowance::on_stack(STACK_BYTES, || {
            let mut rendering = Rendering::new(self, think, &clock, allowed);
            work(&mut rendering).map_err(|failure| match failure {
                Failure::Wrong(what) => PromptError::Go(what),
                Failure::TooMuchWork => PromptError::TooMuchWork,
                Failure::TooLong => PromptError::TooLarge {
                    limit: MAX_PROMPT_BYTES,
                },
            })
        })?;
        Ok(match String::from_utf8(prompt) {
            Ok(prompt) => prompt,
            // A template may cut a character in two.
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// Whether it has a place for tools.
    pub(super) fn takes_tools(&self) -> bool {
        self.names.contains("tools")
    }

    /// Whether it has a place for what comes after the answer.
    pub(super) fn takes_suffix(&self) -> bool {
        self.names.contains("suffix")
    }

    /// Whether it has a place for the calls that were made and the replies to them.
    pub(super) fn repeats_calls(&self) -> bool {
        self.names.contains("tools")
            && self.names.contains("toolcalls")
            && ["eq .Role \"tool\"", "tool_response", "TOOL_RESULTS"]
                .iter()
                .any(|mark| self.source.contains(mark))
    }

    /// What it writes around thoughts.
    pub(super) fn thinking_tags(&self) -> Option<Tags> {
        inspect::thinking_tags(&self.root)
    }

    /// What it writes in front of tool calls.
    pub(super) fn tool_prefix(&self) -> String {
        inspect::tool_prefix(&self.root)
    }

    /// See [`inspect::arguments_key`].
    pub(super) fn arguments_key(&self) -> Option<&'static str> {
        inspect::arguments_key(&self.root)
    }
}

impl Clock {
    fn at(now: &jiff::Zoned) -> Self {
        let today = now.date();
        let yesterday = today.yesterday().unwrap_or(today);
        Self {
            today: today.to_string(),
            yesterday: yesterday.to_string(),
        }
    }
}

/// `{{ .Response }}`
fn response() -> tree::Node {
    let operand = tree::Operand {
        position: 0,
        term: tree::Term::Field(vec!["Response".into()]),
    };
    tree::Node::Action {
        position: 0,
        pipe: tree::Pipe {
            position: 0,
            is_assignment: false,
            variables: Vec::new(),
            commands: vec![tree::Command {
                position: 0,
                operands: vec![operand],
            }],
        },
    }
}
