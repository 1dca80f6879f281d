//! The scripted engine's grammars: those that are a few sentences, walked byte by byte.

use std::sync::Arc;

use super::{END, FIRST_BYTE, FIRST_WORD};
use crate::inference::generate::{Compiler, Constraint, Grammar, Preface, Rules};
use crate::inference::{Error, Token};

/// Most sentences of one grammar.
const SENTENCES: usize = 256;

/// Knows the text of every token.
#[derive(Debug)]
pub(super) struct Sentences {
    /// The text of each word's token.
    pub(super) words: Arc<[String]>,
}

impl Compiler for Sentences {
    fn compile(&self, constraint: &Constraint) -> Result<Box<dyn Rules>, Error> {
        let Constraint::Whole { grammar, preface } = constraint else {
            let error = "the scripted engine holds no calls to anything".into();
            return Err(Error::InvalidJob(error));
        };
        Ok(Box::new(Walk {
            words: Arc::clone(&self.words),
            sentences: sentences(grammar)?,
            preface: preface.clone(),
            written: Vec::new(),
        }))
    }
}

/// All sentences of a grammar.
fn sentences(grammar: &Grammar) -> Result<Vec<Vec<u8>>, Error> {
    let sentences = match grammar {
        Grammar::Json => vec![b"{}".to_vec()],
        Grammar::Text(text) | Grammar::Marks(text) => vec![text.clone().into_bytes()],
        Grammar::Space => vec![Vec::new()],
        Grammar::Digits => vec![b"0".to_vec()],
        Grammar::Choice(choices) => {
            let choices: Result<Vec<_>, _> = choices.iter().map(sentences).collect();
            choices?.concat()
        }
        Grammar::Sequence(parts) => {
            let mut whole = vec![Vec::new()];
            for part in parts {
                let part = sentences(part)?;
                whole = (whole.iter())
                    .flat_map(|before| part.iter().map(move |after| [&before[..], after].concat()))
                    .take(SENTENCES + 1)
                    .collect();
            }
            whole
        }
        Grammar::Repeat { item, .. } => sentences(item)?,
        Grammar::JsonSchema(_) | Grammar::Regex(_) | Grammar::Lark(_) | Grammar::Gbnf(_) => {
            return Err(Error::InvalidJob(format!(
                "the scripted engine cannot follow {grammar:?}"
            )));
        }
    };
    if sentences.len() > SENTENCES {
        return Err(Error::InvalidJob("too many sentences".into()));
    }
    Ok(sentences)
}

/// How far an answer has come.
#[derive(Debug)]
struct Walk {
    words: Arc<[String]>,
    sentences: Vec<Vec<u8>>,
    preface: Option<Preface>,
    /// What was written, since the preface if that is over.
    written: Vec<u8>,
}

impl Walk {
    /// The bytes of a token; control tokens have none.
    fn piece(&self, token: Token) -> Vec<u8> {
        if let Ok(byte) = u8::try_from(token - FIRST_BYTE) {
            vec![byte]
        } else if let Ok(index) = usize::try_from(token - FIRST_WORD) {
            self.words[index].clone().into_bytes()
        } else {
            Vec::new()
        }
    }

    /// Whether the answer is still in its preface: one that may be opened and begins in another way is not.
    fn is_free(&self) -> bool {
        self.preface
            .as_ref()
            .is_some_and(|preface| match &preface.open {
                None => true,
                Some(open) => self.written.starts_with(open.as_bytes()),
            })
    }

    fn continues(&self, text: &[u8]) -> bool {
        let longer = [&self.written[..], text].concat();
        let opening = (self.preface.as_ref())
            .and_then(|preface| preface.open.as_ref())
            .is_some_and(|open| open.as_bytes().starts_with(&longer));
        opening || (self.sentences.iter()).any(|sentence| sentence.starts_with(&longer))
    }

    fn is_complete(&self) -> bool {
        !self.is_free() && self.sentences.contains(&self.written)
    }
}

impl Rules for Walk {
    fn allows(&mut self, token: Token) -> Result<bool, Error> {
        if token == END.0 {
            return Ok(self.is_complete());
        }
        let piece = self.piece(token);
        Ok(!piece.is_empty() && (self.is_free() || self.continues(&piece)))
    }

    fn restrict(&mut self, logits: &mut [f32]) -> Result<(), Error> {
        for (token, logit) in (0..).zip(logits) {
            if !self.allows(token)? {
                *logit = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    fn accept(&mut self, token: Token) -> Result<bool, Error> {
        self.written.extend(self.piece(token));
        if self.is_free()
            && let Some(preface) = &self.preface
            && self.written.ends_with(preface.close.as_bytes())
        {
            self.preface = None;
            self.written.clear();
        }
        let could_go_on = (self.sentences.iter()).any(|sentence| {
            sentence.len() > self.written.len() && sentence.starts_with(&self.written)
        });
        Ok(self.is_complete() && !could_go_on)
    }
}
