//! A vocabulary as llguidance sees it: the bytes that every token adds to an answer.

use std::collections::BTreeMap;

use llguidance::toktrie::{TokRxInfo, TokTrie};

use crate::engine::gguf::vocabulary::Vocabulary;
use crate::inference::{Error, Token};

/// Longest token that a grammar can use, in bytes: llguidance's trie is at most this deep.
const MAX_TOKEN_BYTES: usize = 1000;

/// Largest vocabulary, and most bytes of all its tokens: more do not fit the numbers in llguidance's trie.
const MAX_TOKENS: usize = 1 << 21;
const MAX_BYTES: usize = (1 << 22) - 1;

/// Marks the tokens that are no text, in llguidance's notation. No text in UTF-8 has this byte.
const NO_TEXT: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

/// The tokens of a model.
pub(in crate::engine::gguf) struct Lexicon {
    /// By id. Empty for those that no grammar may use.
    words: Vec<Vec<u8>>,
    /// The tokens that end an answer.
    ends: Vec<u32>,
    controls: Controls,
}

impl Lexicon {
    /// Reads the whole vocabulary: some tens of milliseconds for a large one.
    pub(in crate::engine::gguf) fn new(vocabulary: &Vocabulary<'_>) -> Self {
        let mut lexicon = Self {
            words: Vec::with_capacity(vocabulary.size() as usize),
            ends: Vec::new(),
            controls: Controls::default(),
        };
        for id in 0..vocabulary.size() {
            let token = Token::try_from(id).expect("a vocabulary's size is a positive i32");
            let mut word = Vec::new();
            if vocabulary.is_end(token) {
                lexicon.ends.push(id);
            } else {
                vocabulary.write_piece(token, &mut word);
                if word.is_empty() {
                    let mut name = Vec::new();
                    vocabulary.write_name(token, &mut name);
                    lexicon.controls.add(id, name);
                }
            }
            lexicon.words.push(Self::word(id, word));
        }
        lexicon
    }

    /// The first word ends answers; those that begin with `NO_TEXT` are the names of control tokens.
    pub(in crate::engine::gguf) fn of_words(words: &[&[u8]]) -> Self {
        let mut controls = Controls::default();
        let words = (0..).zip(words).map(|(id, word)| {
            if let Some(name) = word.strip_prefix(&[NO_TEXT]) {
                controls.add(id, name.to_vec());
            }
            Self::word(id, word.to_vec())
        });
        Self {
            words: words.collect(),
            ends: vec![0],
            controls,
        }
    }

    /// Takes the control tokens out.
    pub(super) fn take_controls(&mut self) -> Controls {
        std::mem::take(&mut self.controls)
    }

    /// What a token adds, if anything that can be part of a text; otherwise its number, marked as no text.
    fn word(id: u32, word: Vec<u8>) -> Vec<u8> {
        if word.is_empty() || word.len() > MAX_TOKEN_BYTES || word.contains(&NO_TEXT) {
            let mut name = vec![NO_TEXT];
            name.extend(format!("<token-{id}>").bytes());
            return name;
        }
        word
    }

    /// The tokens as a trie.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a vocabulary that is beyond every measure, or of a model that never ends.
    pub(super) fn trie(&self) -> Result<TokTrie, Error> {
        let bytes: usize = self.words.iter().map(Vec::len).sum();
        let unsupported = |what: &str| {
            Err(Error::Unsupported(format!(
                "this model {what}, so its answers cannot be given a format"
            )))
        };
        if self.words.len() > MAX_TOKENS || bytes > MAX_BYTES {
            return unsupported("has too large a vocabulary");
        }
        let Some(&end) = self.ends.first() else {
            return unsupported("has no token that ends an answer");
        };
        let size = u32::try_from(self.words.len()).expect("it was just bounded");
        let trie = TokTrie::from(&TokRxInfo::new(size, end), &self.words);
        Ok(trie.with_eos_tokens(&self.ends))
    }
}

/// The tokens that are no text, but have a name: marks that a model may write where a text cannot.
#[derive(Debug, Default)]
pub(super) struct Controls {
    names: BTreeMap<u32, Vec<u8>>,
}

/// A piece of a text with names of control tokens in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Written<'a> {
    /// Text.
    Text(&'a str),
    /// A control token.
    Control(u32),
}

impl Controls {
    fn add(&mut self, id: u32, name: Vec<u8>) {
        if !name.is_empty() {
            self.names.insert(id, name);
        }
    }

    /// The name of a control token.
    pub(super) fn name(&self, id: u32) -> Option<&[u8]> {
        self.names.get(&id).map(Vec::as_slice)
    }

    /// Takes a text apart into control tokens and what is between them. Of two names the longer one counts.
    pub(super) fn split<'a>(&self, text: &'a str) -> Vec<Written<'a>> {
        let named = |rest: &str| {
            let names = (self.names.iter()).filter(|(_, name)| rest.as_bytes().starts_with(name));
            let longest = names.max_by_key(|(_, name)| name.len());
            longest.map(|(id, name)| (*id, name.len()))
        };
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let found = (rest.char_indices()).find_map(|(at, _)| Some((at, named(&rest[at..])?)));
            let Some((at, (id, length))) = found else {
                pieces.push(Written::Text(rest));
                break;
            };
            if at > 0 {
                pieces.push(Written::Text(&rest[..at]));
            }
            pieces.push(Written::Control(id));
            rest = &rest[at + length..];
        }
        pieces
    }
}
