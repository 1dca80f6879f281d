//! Hugging Face's tokenizers as llama.cpp keeps them: words with their kinds, merges or scores, and which words are
//! special.
//!
//! Three kinds exist here: byte-pair encoding ([`bytepair`]), SentencePiece ([`sentencepiece`]) and WordPiece
//! ([`wordpiece`]). What they share is in this file; which words begin and end a text is [`special`]'s matter.

mod bytepair;
mod file;
mod sentencepiece;
mod special;
mod wordpiece;

use super::Error;
use super::config::Config;
use super::family::Family;
use super::folder::Folder;
use super::gguf::{Entries, Meta};
use file::TokenizerFile;

/// More words than any vocabulary has.
const MAX_WORDS: u32 = 1 << 22;

/// `enum llama_token_type`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(i32)]
enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// A word of a vocabulary.
#[derive(Clone, Debug, PartialEq)]
struct Word {
    text: Vec<u8>,
    score: f32,
    kind: Kind,
}

/// A vocabulary, in llama.cpp's terms.
#[derive(Debug)]
struct Vocabulary {
    /// `gpt2`, `llama` or `bert`.
    model: &'static str,
    /// How text is cut before it is merged.
    pre: String,
    words: Vec<Word>,
    /// Only SentencePiece has scores that mean something.
    has_scores: bool,
    merges: Vec<String>,
    /// What only some kinds have to say.
    more: Vec<(&'static str, bool)>,
}

/// Puts the tokenizer into the metadata and returns how many words it has.
///
/// # Errors
/// When there is none, or it is of a kind that llama.cpp does not know.
pub fn describe(
    folder: Folder<'_>,
    config: &Config,
    family: Family,
    entries: &mut Entries,
) -> Result<usize, Error> {
    let file = TokenizerFile::read(folder)?;
    let mut vocabulary = if family == Family::Bert || family == Family::DistilBert {
        wordpiece::read(file.as_ref(), config)?
    } else if let Some(vocabulary) = sentencepiece::read(folder, config, family, file.as_ref())? {
        vocabulary
    } else {
        let file = file
            .as_ref()
            .ok_or_else(|| Error::refused("the model needs tokenizer.model or tokenizer.json"))?;
        if file.is_sentencepiece() {
            sentencepiece::of_merges(file, config)?
        } else {
            bytepair::read(file, config)?
        }
    };
    if vocabulary.model == "llama" && family.is_gemma() {
        vocabulary
            .more
            .push(("tokenizer.ggml.add_space_prefix", false));
    } else if family == Family::Llama
        && let Some(adds) = special::adds_space(folder)?
    {
        vocabulary
            .more
            .push(("tokenizer.ggml.add_space_prefix", adds));
    }
    vocabulary.put(entries);
    special::describe(
        folder,
        config,
        file.as_ref(),
        vocabulary.words.len(),
        entries,
    )?;
    Ok(vocabulary.words.len())
}

impl Vocabulary {
    fn put(&self, entries: &mut Entries) {
        entries.put("tokenizer.ggml.model", self.model);
        entries.put("tokenizer.ggml.pre", self.pre.as_str());
        let texts = self.words.iter().map(|word| word.text.clone()).collect();
        entries.put("tokenizer.ggml.tokens", Meta::Texts(texts));
        if self.has_scores {
            let scores = self.words.iter().map(|word| word.score).collect();
            entries.put("tokenizer.ggml.scores", Meta::F32s(scores));
        }
        let kinds = self.words.iter().map(|word| word.kind as i32).collect();
        entries.put("tokenizer.ggml.token_type", Meta::I32s(kinds));
        if !self.merges.is_empty() {
            let merges = self.merges.iter().map(|merge| merge.clone().into_bytes());
            entries.put("tokenizer.ggml.merges", Meta::Texts(merges.collect()));
        }
        for (key, value) in &self.more {
            entries.put(key, *value);
        }
    }
}

/// Places for `count` words that stand for nothing until they are filled.
fn unused(count: u32) -> Result<Vec<Word>, Error> {
    if count > MAX_WORDS {
        return Err(Error::refused(format!(
            "a vocabulary of {count} words is larger than {MAX_WORDS}"
        )));
    }
    let place = |index| Word {
        text: format!("[PAD{index}]").into_bytes(),
        score: -10_000.0,
        kind: Kind::Unused,
    };
    Ok((0..count).map(place).collect())
}

/// Some models say of added words that they are not special, and they are
/// (`does_token_look_special` of llama.cpp's converter).
fn looks_special(word: &str) -> bool {
    let between = |start: &str, end: &str| word.starts_with(start) && word.ends_with(end);
    matches!(word, "<pad>" | "<mask>" | "<2mass>" | "[@BOS@]")
        || between("<|", "|>")
        || between("<｜", "｜>")
        || between("<unused", ">")
}

/// An added word and its kind.
fn added(word: &str, is_special: bool) -> (Vec<u8>, Kind) {
    if is_special || looks_special(word) {
        (word.as_bytes().to_vec(), Kind::Control)
    } else {
        // llama.cpp looks for such words in the text as it is typed.
        (
            word.replace('\u{2581}', " ").into_bytes(),
            Kind::UserDefined,
        )
    }
}
