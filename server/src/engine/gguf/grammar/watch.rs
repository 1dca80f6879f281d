//! A free answer in which calls are held to their grammars.
//!
//! While the model writes freely no grammar is asked: its text is read for the mark of a call, and every token may
//! follow, even those that no grammar could allow. The grammar follows the answer from the mark to the end of the call.

use std::sync::Arc;

use llguidance::toktrie::{TokEnv, TokTrie, TokenId};
use llguidance::{Matcher, TokenParser};

use super::lexicon::Controls;
use super::reader::{Opened, Reader};
use super::rules::{Following, id};
use crate::inference::generate::{Calls, Rules};
use crate::inference::{Error, Token};

/// See the module.
pub(super) struct Watch {
    environment: TokEnv,
    controls: Arc<Controls>,
    reader: Reader,
    openings: Vec<Opening>,
    /// The one whose call is being written.
    within: Option<usize>,
}

/// A way in which a call begins.
struct Opening {
    /// At its beginning, or somewhere in the call that is being written.
    following: Following,
    /// At its beginning.
    compiled: TokenParser,
    close: Option<String>,
    is_last: bool,
}

impl Watch {
    /// Watches for `calls`, whose openings were compiled in their order.
    ///
    /// # Errors
    /// What is wrong with a grammar that cannot even be begun.
    pub(super) fn new(
        calls: &Calls,
        compiled: Vec<TokenParser>,
        environment: TokEnv,
        controls: Arc<Controls>,
    ) -> Result<Self, String> {
        let openings = calls.openings.iter().zip(compiled);
        let openings = openings.map(|(opening, compiled)| {
            Ok(Opening {
                following: begin(&compiled, environment.tok_trie())?,
                compiled,
                close: opening.close.clone(),
                is_last: opening.is_last,
            })
        });
        Ok(Self {
            openings: openings.collect::<Result<_, String>>()?,
            reader: Reader::new(calls),
            environment,
            controls,
            within: None,
        })
    }

    fn trie(&self) -> &TokTrie {
        self.environment.tok_trie()
    }

    fn is_end(&self, token: TokenId) -> bool {
        self.trie().eos_tokens().contains(&token)
    }

    /// What a token adds to the text; control tokens have their names.
    fn text(&self, token: TokenId) -> Vec<u8> {
        if let Some(name) = self.controls.name(token) {
            return name.to_vec();
        }
        match self.trie().token(token) {
            [TokTrie::SPECIAL_TOKEN_MARKER, ..] => Vec::new(),
            text => text.to_vec(),
        }
    }

    /// The tokens of what stands behind a mark in the same token; none if the vocabulary has none for it.
    fn tokens(&self, text: &[u8]) -> Option<Vec<TokenId>> {
        let tokens = self.trie().greedy_tokenize(text);
        let length: usize = tokens
            .iter()
            .map(|token| self.trie().token_len(*token))
            .sum();
        (length == text.len()).then_some(tokens)
    }

    /// Whether a token may follow free text: not if it begins a call and goes on as no call does.
    fn fits(&mut self, token: TokenId) -> Result<bool, Error> {
        let text = self.text(token);
        match self.reader.clone().read(&text) {
            Some(Opened { opening, length }) if length < text.len() => {
                match self.tokens(&text[length..]) {
                    Some(tokens) => self.openings[opening].following.fits(&tokens),
                    None => Ok(false),
                }
            }
            _ => Ok(true),
        }
    }

    fn take(&mut self, token: TokenId) -> Result<bool, Error> {
        let text = self.text(token);
        let (opening, is_over) = match self.within {
            Some(opening) => {
                self.reader.pass(&text);
                (opening, self.openings[opening].following.feed(&[token])?)
            }
            None => {
                let Some(Opened { opening, length }) = self.reader.read(&text) else {
                    return Ok(false);
                };
                let rest = &text[length..];
                self.within = Some(opening);
                if rest.is_empty() {
                    return Ok(false);
                }
                self.reader.pass(rest);
                let tokens = self.tokens(rest).unwrap_or_default();
                (opening, self.openings[opening].following.feed(&tokens)?)
            }
        };
        if !is_over {
            return Ok(false);
        }
        self.within = None;
        let opening = &mut self.openings[opening];
        self.reader.leave(opening.close.as_deref());
        if !opening.is_last {
            let begun = begin(&opening.compiled, self.environment.tok_trie());
            opening.following = begun.map_err(Error::Engine)?;
        }
        Ok(opening.is_last)
    }

    /// Watches no longer: a grammar that cannot be followed must not cost an answer that nobody wanted to have one.
    fn give_up(&mut self, error: &Error) {
        tracing::info!(%error, "a call is no longer held to its schema");
        self.openings.clear();
        self.within = None;
    }

    fn gave_up(&self) -> bool {
        self.openings.is_empty()
    }
}

fn begin(compiled: &TokenParser, trie: &TokTrie) -> Result<Following, String> {
    let matcher = Matcher::new(Ok(compiled.deep_clone()));
    Following::new(matcher, trie.eos_tokens().to_vec())
}

impl Rules for Watch {
    fn allows(&mut self, token: Token) -> Result<bool, Error> {
        if self.gave_up() {
            return Ok(true);
        }
        let allowed = match self.within {
            Some(opening) => self.openings[opening].following.allows(token),
            None if self.is_end(id(token)) => Ok(true),
            None => self.fits(id(token)),
        };
        allowed.or_else(|error| {
            self.give_up(&error);
            Ok(true)
        })
    }

    fn restrict(&mut self, logits: &mut [f32]) -> Result<(), Error> {
        if let Some(opening) = self.within {
            // On a copy of the logits it would be the same: what fails has changed none.
            let restricted = self.openings[opening].following.restrict(logits);
            return restricted.or_else(|error| {
                self.give_up(&error);
                Ok(())
            });
        }
        for (token, logit) in (0..).zip(logits) {
            if !self.allows(token)? {
                *logit = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    fn accept(&mut self, token: Token) -> Result<bool, Error> {
        let token = id(token);
        if self.is_end(token) {
            return Ok(true);
        }
        if self.gave_up() {
            return Ok(false);
        }
        self.take(token).or_else(|error| {
            self.give_up(&error);
            Ok(false)
        })
    }
}
