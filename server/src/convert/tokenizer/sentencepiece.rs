//! SentencePiece: words with scores, as `tokenizer.model` has them
//! (<https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto>), or as Hugging Face writes
//! them into `tokenizer.json`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::bytepair::numbered_words;
use super::file::TokenizerFile;
use super::{Error, Kind, Vocabulary, Word, added, unused};
use crate::convert::config::Config;
use crate::convert::family::Family;
use crate::convert::folder::{Folder, MAX_SETTINGS_BYTES, MAX_TOKENIZER_BYTES};

/// What words get that were added to a model.
const ADDED_SCORE: f32 = -1000.0;

#[derive(Default, Deserialize)]
struct Settings {
    #[serde(default)]
    added_tokens_decoder: BTreeMap<String, AddedToken>,
}

#[derive(Deserialize)]
struct AddedToken {
    content: String,
    #[serde(default)]
    special: bool,
}

/// The vocabulary of `tokenizer.model`, if the folder has it.
///
/// # Errors
/// When it is not what it should be.
pub(super) fn read(
    folder: Folder<'_>,
    config: &Config,
    family: Family,
    file: Option<&TokenizerFile>,
) -> Result<Option<Vocabulary>, Error> {
    let Some(bytes) = folder.bytes("tokenizer.model", MAX_TOKENIZER_BYTES)? else {
        return Ok(None);
    };
    let pieces = pieces(&bytes)?;
    let found = u32::try_from(pieces.len()).map_err(|_| broken("it has too many words"))?;
    let count = config.count(&["vocab_size"])?.unwrap_or(found);
    let mut words = unused(count)?;
    for (place, piece) in words.iter_mut().zip(pieces) {
        *place = piece;
    }
    let mut put = |number: u64, text: Vec<u8>, kind: Kind| {
        // A word beyond the model's last has no vector and cannot be used.
        let place = usize::try_from(number)
            .ok()
            .and_then(|index| words.get_mut(index));
        if let Some(place) = place {
            *place = Word {
                text,
                score: ADDED_SCORE,
                kind,
            };
        }
    };
    let more: BTreeMap<String, u64> = folder
        .json("added_tokens.json", MAX_SETTINGS_BYTES)?
        .unwrap_or_default();
    for (text, number) in more {
        put(number, text.into_bytes(), Kind::UserDefined);
    }
    let settings: Settings = folder
        .json("tokenizer_config.json", MAX_SETTINGS_BYTES)?
        .unwrap_or_default();
    for (number, token) in settings.added_tokens_decoder {
        let number = number
            .parse()
            .map_err(|_| Error::refused("tokenizer_config.json numbers a word wrongly"))?;
        let (text, kind) = added(&token.content, token.special);
        put(number, text, kind);
    }
    // Phi's added words are in this file only.
    if family == Family::Phi3 {
        for token in file.iter().flat_map(|file| &file.added_tokens) {
            let (text, kind) = added(&token.content, token.special);
            put(token.id.into(), text, kind);
        }
    }
    Ok(Some(Vocabulary {
        model: "llama",
        pre: "default".to_owned(),
        words,
        has_scores: true,
        merges: Vec::new(),
        more: Vec::new(),
    }))
}

/// The vocabulary of a `tokenizer.json` that was made of a `tokenizer.model` and tells ranks of merges in the place of
/// scores: the word that is merged first has the highest.
///
/// # Errors
/// When a word is missing.
pub(super) fn of_merges(file: &TokenizerFile, config: &Config) -> Result<Vocabulary, Error> {
    let numbers = file.words()?;
    let mut words = numbered_words(file, config)?;
    for word in &mut words {
        word.score = ADDED_SCORE * 1000.0;
        if word.kind == Kind::Normal && is_byte(&word.text) {
            word.kind = Kind::Byte;
        } else if word.text == b"<unk>" {
            word.kind = Kind::Unknown;
        }
    }
    for (rank, merge) in file.model.merges.iter().enumerate().rev() {
        let Some((left, right)) = merge.parts() else {
            continue;
        };
        if let Some(&number) = numbers.get(&format!("{left}{right}")) {
            #[expect(
                clippy::cast_precision_loss,
                reason = "beyond 2^24 merges their order no longer matters"
            )]
            let score = -(rank as f32);
            words[number as usize].score = score;
        }
    }
    Ok(Vocabulary {
        model: "llama",
        pre: "default".to_owned(),
        words,
        has_scores: true,
        merges: Vec::new(),
        more: Vec::new(),
    })
}

/// `<0x0A>` and its like.
fn is_byte(text: &[u8]) -> bool {
    text.len() == 6
        && text.starts_with(b"<0x")
        && text.ends_with(b">")
        && text[3..5].iter().all(u8::is_ascii_hexdigit)
}

/// Field 1 of the file, again and again.
fn pieces(bytes: &[u8]) -> Result<Vec<Word>, Error> {
    let mut pieces = Vec::new();
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        if let (1, Data::Bytes(piece)) = field {
            pieces.push(self::piece(piece)?);
        }
    }
    if pieces.is_empty() {
        return Err(broken("it has no words"));
    }
    Ok(pieces)
}

/// A word: its text, score and kind.
fn piece(bytes: &[u8]) -> Result<Word, Error> {
    let mut word = Word {
        text: Vec::new(),
        score: 0.0,
        kind: Kind::Normal,
    };
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Data::Bytes(text)) => word.text = text.to_vec(),
            (2, Data::Four(score)) => word.score = f32::from_le_bytes(score),
            (3, Data::Number(kind)) => {
                word.kind = match kind {
                    2 => Kind::Unknown,
                    3 => Kind::Control,
                    5 => Kind::Unused,
                    6 => Kind::Byte,
                    // Words that users defined are found by their scores, like others.
                    _ => Kind::Normal,
                };
            }
            _ => {}
        }
    }
    Ok(word)
}

fn broken(what: &str) -> Error {
    Error::refused(format!("tokenizer.model is no SentencePiece file: {what}"))
}

/// A message in protocol buffers' encoding, field by field.
struct Fields<'a>(&'a [u8]);

enum Data<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Four([u8; 4]),
    Eight,
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Data<'a>)>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.number()?;
        let data = match key & 7 {
            0 => Data::Number(self.number()?),
            1 => {
                self.take(8)?;
                Data::Eight
            }
            2 => {
                let length = self.number()?;
                Data::Bytes(self.take(length)?)
            }
            5 => Data::Four(self.take(4)?.try_into().expect("four were taken")),
            _ => return Err(broken("a field is of no known type")),
        };
        Ok(Some((key >> 3, data)))
    }

    fn number(&mut self) -> Result<u64, Error> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(broken("a number is too long"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Error> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| broken("it ends inside a field"))?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of these words with scores and kinds.
    fn file(words: &[(&str, f32, u8)]) -> Vec<u8> {
        let mut file = Vec::new();
        for (text, score, kind) in words {
            let mut piece = vec![0x0a, u8::try_from(text.len()).unwrap()];
            piece.extend(text.as_bytes());
            piece.push(0x15);
            piece.extend(score.to_le_bytes());
            piece.extend([0x18, *kind]);
            file.extend([0x0a, u8::try_from(piece.len()).unwrap()]);
            file.extend(piece);
        }
        // The trainer's settings, which are of no interest.
        file.extend([0x12, 2, 0x18, 2]);
        file
    }

    #[test]
    fn words_are_read_with_their_scores_and_kinds() {
        let words = pieces(&file(&[
            ("<unk>", 0.0, 2),
            ("<s>", 0.0, 3),
            ("<0x0A>", 0.0, 6),
            ("▁the", -1.5, 1),
            ("▁mine", -2.5, 4),
        ]))
        .unwrap();
        let kinds: Vec<_> = words.iter().map(|word| word.kind).collect();
        use Kind::{Byte, Control, Normal, Unknown};
        assert_eq!(kinds, [Unknown, Control, Byte, Normal, Normal]);
        assert_eq!(words[3].text, "▁the".as_bytes());
        assert_eq!(words[3].score.to_bits(), (-1.5_f32).to_bits());
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        let good = file(&[("a", 0.0, 1)]);
        for length in [1, 2, 5, 9] {
            assert!(pieces(&good[..length]).is_err(), "{length}");
        }
        for bytes in [
            &b""[..],
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x0b",
            b"{}",
        ] {
            assert!(pieces(bytes).is_err(), "{bytes:?}");
        }
    }
}
