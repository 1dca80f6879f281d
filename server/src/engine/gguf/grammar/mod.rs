//! Grammars through llguidance: which tokens may come next, so that an answer keeps to its shape.
//!
//! [`compose`] writes a constraint in llguidance's terms, [`gbnf`] translates llama.cpp's notation, [`lexicon`] tells
//! llguidance the vocabulary, and [`rules`] follows one answer. Everything that a caller controls is bounded by
//! [`limits`], in time, memory and depth.

mod compose;
mod gbnf;
mod lexicon;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use llguidance::api::ParserLimits;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv};
use llguidance::{Matcher, ParserFactory, TokenParser};

pub(super) use self::lexicon::Lexicon;
use self::rules::Following;
use crate::inference::Error;
use crate::inference::generate::{self, Constraint, Rules};

/// Compiled constraints that are kept, for callers that ask for the same shape again and again.
const KEPT: usize = 16;

/// Longest text of a complaint about a grammar, in bytes.
const MAX_COMPLAINT_BYTES: usize = 500;

/// Compiles constraints for one vocabulary.
pub(super) struct Compiler {
    /// Until the first constraint comes.
    lexicon: Mutex<Option<Lexicon>>,
    /// The vocabulary as tries: some megabytes and a tenth of a second, so it is made when it is first needed, once.
    factory: OnceLock<Result<ParserFactory, Error>>,
    /// The latest last.
    kept: Mutex<Vec<(Constraint, TokenParser)>>,
}

impl Compiler {
    pub(super) fn new(lexicon: Lexicon) -> Self {
        Self {
            lexicon: Mutex::new(Some(lexicon)),
            factory: OnceLock::new(),
            kept: Mutex::default(),
        }
    }

    fn factory(&self) -> Result<&ParserFactory, Error> {
        let made = self.factory.get_or_init(|| {
            let lexicon = (self.lexicon.lock())
                .unwrap_or_else(PoisonError::into_inner)
                .take()
                .expect("it is taken once");
            factory(&lexicon)
        });
        made.as_ref().map_err(Clone::clone)
    }

    fn recall(&self, constraint: &Constraint) -> Option<TokenParser> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, parser) = kept.iter().find(|(known, _)| known == constraint)?;
        // A copy of its own, lexer included: nothing that one answer does can reach another.
        Some(parser.deep_clone())
    }

    fn keep(&self, constraint: &Constraint, parser: &TokenParser) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((constraint.clone(), parser.deep_clone()));
    }
}

impl generate::Compiler for Compiler {
    fn compile(&self, constraint: &Constraint) -> Result<Box<dyn Rules>, Error> {
        let factory = self.factory()?;
        let parser = match self.recall(constraint) {
            Some(parser) => parser,
            None => {
                let grammar = compose::compose(constraint).map_err(invalid)?;
                let mut parser = factory.create_parser(grammar).map_err(invalid)?;
                for warning in parser.grammar_warnings() {
                    tracing::info!(%warning, "a part of a grammar is not enforced");
                }
                self.keep(constraint, &parser);
                parser
            }
        };
        let trie = factory.tok_env().tok_trie();
        let ends = trie.eos_tokens().to_vec();
        let following = Following::new(Matcher::new(Ok(parser)), ends).map_err(invalid)?;
        Ok(Box::new(following))
    }
}

fn factory(lexicon: &Lexicon) -> Result<ParserFactory, Error> {
    let environment: TokEnv = Arc::new(ApproximateTokEnv::new(lexicon.trie()?));
    let mut factory = ParserFactory::new_simple(&environment)
        .map_err(|error| Error::Unsupported(format!("no grammar fits this vocabulary: {error}")))?;
    factory.quiet();
    *factory.limits_mut() = limits();
    Ok(factory)
}

/// What one grammar may cost. llguidance's own figures, where no reason is given.
fn limits() -> ParserLimits {
    ParserLimits {
        // At about 1.5 kB each.
        max_lexer_states: 40_000,
        // The text of a failure reaches callers; the whole grammar is not to be in it.
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

fn invalid(error: impl std::fmt::Display) -> Error {
    let text = format!("{error:#}");
    let text = text.trim_end_matches("\n<non-verbose/>");
    let mut end = text.len().min(MAX_COMPLAINT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Error::InvalidJob(format!("invalid format: {}", &text[..end]))
}
