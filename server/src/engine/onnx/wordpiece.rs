//! WordPiece, the model of BERT's tokenizers, with its vocabulary in three arrays.
//!
//! The `tokenizers` library keeps every word twice, as keys of two maps: 6 MB for BERT's 30,522 words, beside 8-bit weights of 22 MB. Here they take
//! 0.8 MB, and looking for a part of a word allocates nothing. What a word is cut into is the same; the library's own model is the test's reference.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokenizers::models::wordpiece::{Error, WordPieceTrainer};
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::{Model, Result, Token};

/// The model of a tokenizer.
pub(super) enum Vocabulary {
    /// WordPiece.
    WordPiece(WordPiece),
    /// Any other, as the library has it.
    Other(ModelWrapper),
}

/// The vocabulary of WordPiece, and how words are cut.
pub(super) struct WordPiece {
    words: Words,
    unknown: String,
    /// What the parts of a word begin with in the vocabulary, but for the first.
    prefix: String,
    /// Longer words are unknown.
    most_characters: usize,
}

/// Words and their ids.
#[derive(Default)]
struct Words {
    /// The words one after another.
    text: String,
    /// In the order of the file.
    entries: Vec<Entry>,
    /// Places in `entries` by the hash of the word; [`EMPTY`] elsewhere. At most half full.
    table: Vec<u32>,
    /// Places in `entries` in the order of ids.
    by_id: Vec<u32>,
    /// Bytes of the longest word.
    longest: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    id: u32,
    start: u32,
    length: u32,
}

const EMPTY: u32 = u32::MAX;

/// The hash of a word that is seen byte by byte: FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    const NEW: Self = Self(0xcbf2_9ce4_8422_2325);

    fn of(word: &str) -> Self {
        let mut hash = Self::NEW;
        hash.add(word.as_bytes());
        hash
    }

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// The first place to look at in a table of a power of two.
    fn slot(self, slots: usize) -> usize {
        // The low bits of the hash know little of the last bytes' high ones.
        (self.0 ^ (self.0 >> 32)) as usize & (slots - 1)
    }
}

impl Words {
    /// Adds a word. The last of equal ones counts.
    fn push(&mut self, word: &str, id: u32) -> Option<()> {
        let start = u32::try_from(self.text.len()).ok()?;
        self.entries.push(Entry {
            id,
            start,
            length: u32::try_from(word.len()).ok()?,
        });
        self.text.push_str(word);
        self.longest = self.longest.max(word.len());
        Some(())
    }

    /// Makes what was added findable.
    fn index(&mut self) {
        self.text.shrink_to_fit();
        self.entries.shrink_to_fit();
        let slots = (2 * self.entries.len()).next_power_of_two().max(2);
        self.table = vec![EMPTY; slots];
        for index in 0..self.entries.len() {
            let word = self.word(self.entries[index]);
            let slot = self.slot(Hash::of(word), "", word);
            self.table[slot] = index as u32;
        }
        let mut by_id: Vec<u32> = self
            .table
            .iter()
            .copied()
            .filter(|it| *it != EMPTY)
            .collect();
        by_id.sort_unstable_by_key(|&index| (self.entries[index as usize].id, Reverse(index)));
        self.by_id = by_id;
    }

    fn word(&self, entry: Entry) -> &str {
        &self.text[entry.start as usize..][..entry.length as usize]
    }

    /// The place in the table of the word that is these two parts together, or the empty one where it would be.
    fn slot(&self, hash: Hash, first: &str, second: &str) -> usize {
        let mut slot = hash.slot(self.table.len());
        loop {
            let index = self.table[slot];
            if index == EMPTY {
                return slot;
            }
            let entry = self.entries[index as usize];
            if entry.length as usize == first.len() + second.len() {
                let word = self.word(entry);
                if word.starts_with(first) && word.ends_with(second) {
                    return slot;
                }
            }
            slot = (slot + 1) & (self.table.len() - 1);
        }
    }

    fn find(&self, hash: Hash, first: &str, second: &str) -> Option<Entry> {
        let index = self.table[self.slot(hash, first, second)];
        self.entries.get(index as usize).copied()
    }

    fn id(&self, word: &str) -> Option<u32> {
        self.find(Hash::of(word), "", word).map(|entry| entry.id)
    }

    fn name(&self, id: u32) -> Option<&str> {
        let entry = |index: u32| self.entries[index as usize];
        let place = self.by_id.partition_point(|&index| entry(index).id < id);
        let entry = entry(*self.by_id.get(place)?);
        (entry.id == id).then(|| self.word(entry))
    }
}

impl WordPiece {
    /// Whether tokens inside a word look different from those at its beginning.
    pub fn marks_parts(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// The token of words that cannot be cut.
    pub fn unknown(&self) -> Option<u32> {
        self.words.id(&self.unknown)
    }

    /// The longest word of the vocabulary that a word has from this byte on, and where it ends.
    fn longest(&self, word: &str, start: usize) -> Option<(Entry, usize)> {
        let prefix = if start == 0 { "" } else { &self.prefix };
        let mut hash = Hash::of(prefix);
        let mut found = None;
        for character in word[start..].char_indices() {
            let (at, end) = (
                start + character.0,
                start + character.0 + character.1.len_utf8(),
            );
            if prefix.len() + end - start > self.words.longest {
                break;
            }
            hash.add(&word.as_bytes()[at..end]);
            let entry = self.words.find(hash, prefix, &word[start..end]);
            found = entry.map(|entry| (entry, end)).or(found);
        }
        found
    }

    fn cut(&self, word: &str) -> Option<Vec<Token>> {
        if word.chars().count() > self.most_characters {
            return None;
        }
        let mut tokens = Vec::new();
        let mut start = 0;
        while start < word.len() {
            let (entry, end) = self.longest(word, start)?;
            tokens.push(Token {
                id: entry.id,
                value: self.words.word(entry).to_owned(),
                offsets: (start, end),
            });
            start = end;
        }
        Some(tokens)
    }
}

impl Model for Vocabulary {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, word: &str) -> Result<Vec<Token>> {
        match self {
            Self::WordPiece(model) => match model.cut(word) {
                Some(tokens) => Ok(tokens),
                None => Ok(vec![Token {
                    id: model.unknown().ok_or(Error::MissingUnkToken)?,
                    value: model.unknown.clone(),
                    offsets: (0, word.len()),
                }]),
            },
            Self::Other(model) => model.tokenize(word),
        }
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        match self {
            Self::WordPiece(model) => model.words.id(token),
            Self::Other(model) => model.token_to_id(token),
        }
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        match self {
            Self::WordPiece(model) => model.words.name(id).map(str::to_owned),
            Self::Other(model) => model.id_to_token(id),
        }
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        match self {
            Self::WordPiece(WordPiece { words, .. }) => {
                let entries = words.by_id.iter().map(|&it| words.entries[it as usize]);
                entries
                    .map(|entry| (words.word(entry).to_owned(), entry.id))
                    .collect()
            }
            Self::Other(model) => model.get_vocab(),
        }
    }

    fn get_vocab_size(&self) -> usize {
        match self {
            Self::WordPiece(model) => model.words.by_id.len(),
            Self::Other(model) => model.get_vocab_size(),
        }
    }

    fn save(&self, folder: &Path, prefix: Option<&str>) -> Result<Vec<PathBuf>> {
        match self {
            Self::WordPiece(_) => Err("a vocabulary is only read here".into()),
            Self::Other(model) => model.save(folder, prefix),
        }
    }

    // Nobody asks for one: vocabularies are only read here.
    fn get_trainer(&self) -> TrainerWrapper {
        match self {
            Self::WordPiece(_) => WordPieceTrainer::default().into(),
            Self::Other(model) => model.get_trainer(),
        }
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(OfModel)
    }
}

/// Reads the model of a `tokenizer.json`. Files say first which one it is; what does not is left to the library.
struct OfModel;

impl<'de> Visitor<'de> for OfModel {
    type Value = Vocabulary;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the model of a tokenizer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Vocabulary, A::Error> {
        let mut rest = serde_json::Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value: serde_json::Value = map.next_value()?;
            if rest.is_empty() && name == "type" && value == "WordPiece" {
                return Ok(Vocabulary::WordPiece(word_piece(map)?));
            }
            rest.insert(name, value);
        }
        let model = ModelWrapper::deserialize(serde_json::Value::Object(rest));
        model.map(Vocabulary::Other).map_err(A::Error::custom)
    }
}

/// The rest of a WordPiece model. As in the library nothing has a default.
fn word_piece<'de, A: MapAccess<'de>>(mut map: A) -> std::result::Result<WordPiece, A::Error> {
    let (mut words, mut unknown, mut prefix, mut most_characters) = (None, None, None, None);
    while let Some(name) = map.next_key::<String>()? {
        match &*name {
            "vocab" => words = Some(map.next_value::<Words>()?),
            "unk_token" => unknown = Some(map.next_value()?),
            "continuing_subword_prefix" => prefix = Some(map.next_value()?),
            "max_input_chars_per_word" => most_characters = Some(map.next_value()?),
            _ => drop(map.next_value::<serde::de::IgnoredAny>()?),
        }
    }
    let missing = A::Error::missing_field;
    Ok(WordPiece {
        words: words.ok_or_else(|| missing("vocab"))?,
        unknown: unknown.ok_or_else(|| missing("unk_token"))?,
        prefix: prefix.ok_or_else(|| missing("continuing_subword_prefix"))?,
        most_characters: most_characters.ok_or_else(|| missing("max_input_chars_per_word"))?,
    })
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct OfWords;

        impl<'de> Visitor<'de> for OfWords {
            type Value = Words;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("words and their ids")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Words, A::Error> {
                let mut words = Words::default();
                while let Some((word, id)) = map.next_entry::<String, u32>()? {
                    let pushed = words.push(&word, id);
                    pushed.ok_or_else(|| A::Error::custom("the vocabulary is too large"))?;
                }
                words.index();
                Ok(words)
            }
        }

        deserializer.deserialize_map(OfWords)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(model: &serde_json::Value) -> (Vocabulary, ModelWrapper) {
        let text = model.to_string();
        (
            serde_json::from_str(&text).unwrap(),
            serde_json::from_str(&text).unwrap(),
        )
    }

    fn small() -> serde_json::Value {
        json!({
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 8,
            "vocab": {
                "[UNK]": 0, "a": 1, "##a": 2, "ab": 3, "##ab": 4, "é": 5, "##é": 6, "#": 7, "###": 8, "aba": 900, "##b#": 4_000_000_000_u32,
                "": 11, "##": 12, "世": 13, "##世界": 14,
            },
        })
    }

    #[track_caller]
    fn check(ours: &Vocabulary, theirs: &ModelWrapper, word: &str) {
        assert!(matches!(ours, Vocabulary::WordPiece(_)));
        assert_eq!(
            ours.tokenize(word).unwrap(),
            theirs.tokenize(word).unwrap(),
            "{word:?}"
        );
        assert_eq!(ours.token_to_id(word), theirs.token_to_id(word), "{word:?}");
    }

    proptest! {
        #[test]
        fn words_are_cut_as_the_library_cuts_them(word in "[ab#é世界c]{0,10}") {
            let (ours, theirs) = read(&small());
            check(&ours, &theirs, &word);
        }
    }

    #[test]
    fn a_vocabulary_is_the_librarys() {
        let file = include_str!("../../../../models/tiny-embed/tokenizer.json");
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let (ours, theirs) = read(&file["model"]);
        assert_eq!(ours.get_vocab(), theirs.get_vocab());
        assert_eq!(ours.get_vocab_size(), theirs.get_vocab_size());
        for id in (0..5000).chain([u32::MAX]) {
            assert_eq!(ours.id_to_token(id), theirs.id_to_token(id));
        }
        for word in ["unbelievably", "weather", "zzzzqqqq", "naïve", ""] {
            check(&ours, &theirs, word);
        }
        let (ours, theirs) = read(&small());
        assert_eq!(ours.get_vocab(), theirs.get_vocab());
        for id in [0, 1, 10, 900, 901, 4_000_000_000] {
            assert_eq!(ours.id_to_token(id), theirs.id_to_token(id));
        }
    }

    #[test]
    fn of_two_equal_words_the_last_counts() {
        let text = r###"{"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 9, "vocab": {"u": 0, "a": 1, "a": 2}}"###;
        let model: Vocabulary = serde_json::from_str(text).unwrap();
        assert_eq!(model.token_to_id("a"), Some(2));
        assert_eq!(model.id_to_token(1), None);
        assert_eq!(model.get_vocab_size(), 2);
    }

    #[test]
    fn what_is_not_wordpiece_is_left_to_the_library() {
        let level = json!({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"});
        assert!(matches!(
            read(&level).0,
            Vocabulary::Other(ModelWrapper::WordLevel(_))
        ));
        // Files from before there were types.
        let mut old = small();
        old.as_object_mut().unwrap().remove("type");
        let Vocabulary::Other(old) = read(&old).0 else {
            panic!("the library knows what it is");
        };
        assert_eq!(old.token_to_id("aba"), Some(900));
    }

    #[test]
    fn nothing_is_made_up() {
        for field in [
            "vocab",
            "unk_token",
            "continuing_subword_prefix",
            "max_input_chars_per_word",
        ] {
            let mut model = small();
            model.as_object_mut().unwrap().shift_remove(field);
            let text = model.to_string();
            let Err(error) = serde_json::from_str::<Vocabulary>(&text) else {
                panic!("read without {field}");
            };
            assert!(error.to_string().contains(field), "{error}");
        }
        // A word that cannot be cut, and no token for it.
        let mut model = small();
        model["unk_token"] = json!("nowhere");
        assert!(read(&model).0.tokenize("c").is_err());
    }
}
