//! Grammars through llguidance: which tokens may come next, so that an answer keeps to its shape.
//!
//! [`compose`] writes a grammar in llguidance's terms, [`gbnf`] translates llama.cpp's notation, [`lexicon`] tells
//! llguidance the vocabulary, [`rules`] follows one answer, and [`watch`] one that is free but for the calls that
//! [`reader`] finds in it. Everything that a caller controls is bounded by [`limits`], in time, memory and depth.

mod compose;
mod gbnf;
mod lexicon;
mod reader;
mod rules;
#[cfg(test)]
mod tests;
mod watch;
#[cfg(test)]
mod watch_tests;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use llguidance::api::ParserLimits;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv};
use llguidance::{Matcher, ParserFactory, TokenParser};

use self::lexicon::Controls;
pub(super) use self::lexicon::Lexicon;
use self::rules::Following;
use self::watch::Watch;
use crate::inference::Error;
use crate::inference::generate::{self, Calls, Constraint, Grammar, Preface, Rules};

/// Compiled constraints that are kept, for callers that ask for the same shape again and again.
const KEPT: usize = 16;

/// Longest text of a complaint about a grammar, in bytes.
const MAX_COMPLAINT_BYTES: usize = 500;

/// Longest time spent on finding out which schemas of tools on offer cannot be compiled.
const SEARCH: Duration = Duration::from_secs(1);

/// Compiles constraints for one vocabulary.
pub(super) struct Compiler {
    /// Until the first constraint comes.
    lexicon: Mutex<Option<Lexicon>>,
    controls: Arc<Controls>,
    /// The vocabulary as tries: some megabytes and a tenth of a second, so it is made when it is first needed, once.
    factory: OnceLock<Result<ParserFactory, Error>>,
    /// The latest last.
    kept: Mutex<Vec<(Known, TokenParser)>>,
}

/// What a compiled grammar was made from.
#[derive(Clone, PartialEq)]
struct Known {
    grammar: Grammar,
    preface: Option<Preface>,
    /// Parts that cannot be compiled may be left out.
    is_loose: bool,
}

impl Compiler {
    pub(super) fn new(mut lexicon: Lexicon) -> Self {
        Self {
            controls: Arc::new(lexicon.take_controls()),
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

    fn recall(&self, wanted: &Known) -> Option<TokenParser> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, parser) = kept.iter().find(|(known, _)| known == wanted)?;
        // A copy of its own, lexer included: nothing that one answer does can reach another.
        Some(parser.deep_clone())
    }

    fn keep(&self, known: Known, parser: &TokenParser) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((known, parser.deep_clone()));
    }

    fn parser(&self, known: Known) -> Result<TokenParser, Error> {
        if let Some(parser) = self.recall(&known) {
            return Ok(parser);
        }
        let mut parser = match known.is_loose {
            false => self.make(&known.grammar, known.preface.as_ref())?,
            true => self.make_loosely(&known.grammar)?,
        };
        for warning in parser.grammar_warnings() {
            tracing::info!(%warning, "a part of a grammar is not enforced");
        }
        self.keep(known, &parser);
        Ok(parser)
    }

    fn make(&self, grammar: &Grammar, preface: Option<&Preface>) -> Result<TokenParser, Error> {
        let composed = compose::compose(grammar, preface, &self.controls).map_err(invalid)?;
        self.factory()?.create_parser(composed).map_err(invalid)
    }

    /// Leaves out what cannot be compiled: first the schemas that cannot, then all of them.
    fn make_loosely(&self, grammar: &Grammar) -> Result<TokenParser, Error> {
        let error = match self.make(grammar, None) {
            Ok(parser) => return Ok(parser),
            Err(error) => error,
        };
        let began = Instant::now();
        let mut left_out = 0;
        let loosened = grammar.with_schemas(&mut |schema| {
            let schema = Grammar::JsonSchema(schema.to_owned());
            if began.elapsed() < SEARCH && self.make(&schema, None).is_ok() {
                return schema;
            }
            left_out += 1;
            Grammar::Json
        });
        tracing::info!(%error, left_out, "calls are not held to the schemas of all tools");
        self.make(&loosened, None).or_else(|error| {
            tracing::info!(%error, "calls are held to the names of tools alone");
            self.make(&grammar.with_schemas(&mut |_| Grammar::Json), None)
        })
    }

    fn watch(&self, calls: &Calls) -> Result<Watch, Error> {
        let parsers = calls.openings.iter().map(|opening| {
            self.parser(Known {
                grammar: opening.grammar.clone(),
                preface: None,
                is_loose: true,
            })
        });
        let parsers = parsers.collect::<Result<_, Error>>()?;
        let environment = self.factory()?.tok_env().clone();
        Watch::new(calls, parsers, environment, Arc::clone(&self.controls)).map_err(invalid)
    }
}

impl generate::Compiler for Compiler {
    fn compile(&self, constraint: &Constraint) -> Result<Box<dyn Rules>, Error> {
        let (grammar, preface) = match constraint {
            Constraint::Calls(calls) => return Ok(Box::new(self.watch(calls)?)),
            Constraint::Whole { grammar, preface } => (grammar.clone(), preface.clone()),
        };
        let parser = self.parser(Known {
            grammar,
            preface,
            is_loose: false,
        })?;
        let ends = self.factory()?.tok_env().tok_trie().eos_tokens().to_vec();
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
