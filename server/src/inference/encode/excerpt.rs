//! How much of a long text is turned into tokens.
//!
//! Turning a text into tokens is one call of the tokenizer, three seconds for ten megabytes, and everything else waits for it. Of a text that is cut to
//! what the model takes, only one end counts, so only that is read; what is beyond [`MOST_SPLIT_BYTES`] is not.

use super::frame::Limit;
use super::{Piece, Side, TooLong};
use crate::inference::Error;

/// Most bytes of text that are turned into tokens in one go: a third of a second.
pub const MOST_SPLIT_BYTES: usize = 1 << 20;

/// Most ids of tokens that are looked up or turned into text in one go.
pub const MOST_SPLIT_TOKENS: usize = 1 << 20;

/// Bytes that are read first, and for each token that is wanted; tokens of prose have four to six.
const FIRST_BYTES: usize = 16 << 10;
const BYTES_PER_TOKEN: usize = 16;

/// How many times more is read if that was not enough, as it is of text that is mostly white space.
const GROWTH: usize = 8;

/// Tokens that are wanted beyond those that are kept: the last ones of an excerpt may be those of a word that goes on.
const SPARE_TOKENS: usize = 64;

/// How far from its end an excerpt may end earlier, between two words.
const MOST_WORD_BYTES: usize = 256;

/// What is done with texts, and which of their tokens count.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Most tokens, and the side where others are cut off.
    pub limit: Limit,
    /// What is done with longer ones.
    pub too_long: TooLong,
}

impl Reach {
    /// A text's tokens; of a text with more than the limit perhaps not all, but more than the limit, and all that are kept.
    ///
    /// # Errors
    /// [`Error::InputTooLong`] and [`Error::InvalidJob`] for texts that are too long to be read whole where that is wanted; those of `split`.
    pub fn split(
        self,
        text: &str,
        split: impl Fn(&str) -> Result<Vec<u32>, Error>,
    ) -> Result<Vec<u32>, Error> {
        Ok(self.read(text, split)?.0)
    }

    /// The same with the tokens' names, and their places in the whole text.
    ///
    /// # Errors
    /// As of [`Reach::split`].
    pub fn spell(
        self,
        text: &str,
        spell: impl Fn(&str) -> Result<Vec<Piece>, Error>,
    ) -> Result<Vec<Piece>, Error> {
        let (mut pieces, start) = self.read(text, spell)?;
        if start > 0 {
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let (bytes, characters) = (count(start), count(text[..start].chars().count()));
            for place in pieces.iter_mut().filter_map(|piece| piece.place.as_mut()) {
                place.start = place.start.saturating_add(characters);
                place.end = place.end.saturating_add(characters);
                place.start_byte = place.start_byte.saturating_add(bytes);
                place.end_byte = place.end_byte.saturating_add(bytes);
            }
        }
        Ok(pieces)
    }

    /// The tokens, and from which byte on they are.
    fn read<Token>(
        self,
        text: &str,
        read: impl Fn(&str) -> Result<Vec<Token>, Error>,
    ) -> Result<(Vec<Token>, usize), Error> {
        if self.too_long == TooLong::Split {
            return Ok((read(whole(text)?)?, 0));
        }
        let tokens = self.limit.max_tokens as usize;
        let wanted = tokens.saturating_add(SPARE_TOKENS);
        let mut bytes = tokens.saturating_mul(BYTES_PER_TOKEN).max(FIRST_BYTES);
        loop {
            bytes = bytes.min(MOST_SPLIT_BYTES);
            let part = excerpt(text, bytes, self.limit.side);
            let read = read(part)?;
            let start = match self.limit.side {
                Side::End => 0,
                Side::Start => text.len() - part.len(),
            };
            if part.len() == text.len() || read.len() >= wanted {
                return Ok((read, start));
            }
            if bytes == MOST_SPLIT_BYTES {
                // Whether the rest has any tokens is not known.
                return match self.too_long {
                    TooLong::Refuse => Err(Error::InputTooLong),
                    TooLong::Cut(_) | TooLong::Split => Ok((read, start)),
                };
            }
            bytes = bytes.saturating_mul(GROWTH);
        }
    }
}

/// A text of which every token counts.
///
/// # Errors
/// [`Error::InvalidJob`] if it is too long for that.
pub fn whole(text: &str) -> Result<&str, Error> {
    match text.len() {
        ..=MOST_SPLIT_BYTES => Ok(text),
        bytes => Err(Error::InvalidJob(format!(
            "the text has {bytes} bytes, and at most {MOST_SPLIT_BYTES} are turned into tokens at a time"
        ))),
    }
}

/// Tokens of which every one counts.
///
/// # Errors
/// [`Error::InvalidJob`] if they are too many for that.
pub fn all<Token>(tokens: &[Token]) -> Result<&[Token], Error> {
    match tokens.len() {
        ..=MOST_SPLIT_TOKENS => Ok(tokens),
        count => Err(Error::InvalidJob(format!(
            "there are {count} tokens, and at most {MOST_SPLIT_TOKENS} are looked up at a time"
        ))),
    }
}

/// The text without what is beyond so many bytes on this side, and without a word that this would cut, unless it is long.
fn excerpt(text: &str, bytes: usize, cut: Side) -> &str {
    if text.len() <= bytes {
        return text;
    }
    match cut {
        Side::End => {
            let text = &text[..text.floor_char_boundary(bytes)];
            let last = text.floor_char_boundary(text.len().saturating_sub(MOST_WORD_BYTES));
            match text[last..].rfind(char::is_whitespace) {
                Some(space) => &text[..last + space],
                None => text,
            }
        }
        Side::Start => {
            let text = &text[text.ceil_char_boundary(text.len() - bytes)..];
            let first = text.ceil_char_boundary(MOST_WORD_BYTES);
            match text[..first].find(char::is_whitespace) {
                Some(space) => &text[space..],
                None => text,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::super::Place;
    use super::*;

    fn reach(max_tokens: u32, side: Side, too_long: TooLong) -> Reach {
        Reach {
            limit: Limit { max_tokens, side },
            too_long,
        }
    }

    fn words(text: &str) -> Result<Vec<u32>, Error> {
        Ok(text
            .split_whitespace()
            .map(|word| word.len() as u32)
            .collect())
    }

    /// The tokens, and how many bytes were read for them.
    fn split(reach: Reach, text: &str) -> (Result<Vec<u32>, Error>, usize) {
        let read = Cell::new(0);
        let tokens = reach.split(text, |part| {
            read.set(read.get() + part.len());
            words(part)
        });
        (tokens, read.get())
    }

    #[test]
    fn of_a_text_that_is_cut_one_end_is_read() {
        let text = "eight of them ".repeat(1 << 20);
        for (side, first) in [(Side::End, [5, 2, 4]), (Side::Start, [4, 2, 5])] {
            let (tokens, read) = split(reach(512, side, TooLong::Cut(None)), &text);
            let mut tokens = tokens.unwrap();
            if side == Side::Start {
                tokens.reverse();
            }
            assert_eq!(tokens[..3], first);
            assert!(tokens.len() > 512 && read <= FIRST_BYTES, "{read} bytes");
        }
        let (refused, read) = split(reach(512, Side::End, TooLong::Refuse), &text);
        assert!(refused.unwrap().len() > 512 && read <= FIRST_BYTES);
    }

    #[test]
    fn more_is_read_of_white_space_and_not_without_end() {
        let spaces = " ".repeat(300_000);
        let text = format!("{spaces}one two three{spaces}");
        let cut = reach(2, Side::End, TooLong::Cut(None));
        assert_eq!(split(cut, &text).0, Ok(vec![3, 3, 5]));
        let endless = " ".repeat(MOST_SPLIT_BYTES + 1) + "one";
        let (tokens, read) = split(cut, &endless);
        assert_eq!(tokens, Ok(vec![]));
        assert!(read < 2 * MOST_SPLIT_BYTES);
        let refuse = reach(2, Side::End, TooLong::Refuse);
        assert_eq!(split(refuse, &endless).0, Err(Error::InputTooLong));
        assert_eq!(split(refuse, &text).0, Ok(vec![3, 3, 5]));
    }

    #[test]
    fn a_text_that_is_wanted_whole_is_refused_if_it_is_longer_than_that() {
        let parts = reach(20, Side::End, TooLong::Split);
        let text = "x".repeat(MOST_SPLIT_BYTES);
        assert_eq!(split(parts, &text).0, Ok(vec![MOST_SPLIT_BYTES as u32]));
        let (refused, read) = split(parts, &(text + "x"));
        let reason =
            "the text has 1048577 bytes, and at most 1048576 are turned into tokens at a time";
        assert_eq!((refused, read), (Err(Error::InvalidJob(reason.into())), 0));
        assert!(all(&vec![0u32; MOST_SPLIT_TOKENS]).is_ok());
        assert!(all(&vec![0u32; MOST_SPLIT_TOKENS + 1]).is_err());
    }

    #[test]
    fn places_are_those_in_the_whole_text() {
        let text = "grüße ".repeat(20_000) + "ende";
        let spell = |part: &str| {
            let piece = |(start_byte, word): (usize, &str)| {
                let start = part[..start_byte].chars().count();
                Piece {
                    id: 0,
                    name: word.to_owned(),
                    special: false,
                    continues: false,
                    place: Some(Place {
                        start: start as u32,
                        end: (start + word.chars().count()) as u32,
                        start_byte: start_byte as u32,
                        end_byte: (start_byte + word.len()) as u32,
                    }),
                }
            };
            let words = part
                .match_indices("grüße")
                .chain(part.match_indices("ende"));
            Ok(words.map(piece).collect())
        };
        let cut = reach(8, Side::Start, TooLong::Cut(None));
        let pieces = cut.spell(&text, spell).unwrap();
        assert!(pieces.len() < 20_000);
        for piece in &pieces {
            let place = piece.place.unwrap();
            let by_bytes = &text[place.start_byte as usize..place.end_byte as usize];
            assert_eq!(by_bytes, piece.name);
        }
        let last = pieces.last().unwrap().place.unwrap();
        assert_eq!((last.start, last.end), (120_000, 120_004));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_that_of_the_whole_text(
            text in "([a-zäßé日]{1,9}[ \n]{1,3}){0,12}",
            times in 1usize..4_000,
            max_tokens in 1u32..3_000,
        ) {
            let text = text.repeat(times);
            let all = words(&text).unwrap();
            for side in [Side::End, Side::Start] {
                let tokens = reach(max_tokens, side, TooLong::Cut(None)).split(&text, words).unwrap();
                let kept = tokens.len().min(max_tokens as usize);
                prop_assert_eq!(kept, all.len().min(max_tokens as usize));
                match side {
                    Side::End => prop_assert_eq!(&tokens[..kept], &all[..kept]),
                    Side::Start => prop_assert_eq!(&tokens[tokens.len() - kept..], &all[all.len() - kept..]),
                }
            }
        }
    }
}
