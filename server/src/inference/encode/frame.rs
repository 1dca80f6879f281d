//! The special tokens around a text or a pair of texts, and how much of the texts fits between them.

use crate::inference::Error;

/// A text, or a pair, as the model sees it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tokenized {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// Segment of each token, same length.
    pub type_ids: Vec<u32>,
    /// Tokens that the whole of it would have had.
    pub full_length: u32,
}

/// A special token and the segment it counts to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Special {
    /// Its id.
    pub id: u32,
    /// Its segment.
    pub type_id: u32,
}

/// What a model wants around texts, such as `[CLS] text [SEP]` and `[CLS] text [SEP] pair [SEP]`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Frame {
    /// Before a single text, and after it.
    pub single: [Vec<Special>; 2],
    /// Before, between and after the two texts of a pair.
    pub pair: [Vec<Special>; 3],
    /// Segment of a pair's second text; the first is in segment 0.
    pub second_type_id: u32,
}

impl Frame {
    /// Puts the frame around a text, whose end is cut off so that at most `max_tokens` remain in all.
    ///
    /// # Errors
    /// [`Error::NothingLeft`] if the limit leaves no room beside the special tokens, [`Error::EmptyPrompt`] if there is
    /// nothing to compute.
    pub fn single(&self, text: &[u32], max_tokens: u32) -> Result<Tokenized, Error> {
        let [before, after] = &self.single;
        let room = Room::new(before.len() + after.len(), text.len(), max_tokens)?;
        Tokens::default()
            .special(before)
            .text(&text[..text.len().min(room.left)], 0)
            .special(after)
            .finish(room.full_length)
    }

    /// Puts the frame around two texts. Where they are too long together, the longer one is cut down to the shorter, then
    /// both alike, as Hugging Face's `longest_first` does.
    ///
    /// # Errors
    /// As of [`Frame::single`].
    pub fn pair(&self, first: &[u32], second: &[u32], max_tokens: u32) -> Result<Tokenized, Error> {
        let [before, between, after] = &self.pair;
        let special = before.len() + between.len() + after.len();
        let room = Room::new(special, first.len() + second.len(), max_tokens)?;
        let beside_second = room.left.saturating_sub(second.len());
        let kept_first = first.len().min(beside_second.max(room.left / 2));
        let kept_second = second.len().min(room.left - kept_first);
        Tokens::default()
            .special(before)
            .text(&first[..kept_first], 0)
            .special(between)
            .text(&second[..kept_second], self.second_type_id)
            .special(after)
            .finish(room.full_length)
    }
}

/// How many tokens of the texts fit.
struct Room {
    left: usize,
    full_length: usize,
}

impl Room {
    fn new(special: usize, texts: usize, max_tokens: u32) -> Result<Self, Error> {
        let full_length = special + texts;
        let max_tokens = max_tokens as usize;
        let left = if full_length <= max_tokens {
            texts
        } else {
            max_tokens
                .checked_sub(special)
                .filter(|left| *left > 0)
                .ok_or(Error::NothingLeft)?
        };
        Ok(Self { left, full_length })
    }
}

#[derive(Default)]
struct Tokens(Tokenized);

impl Tokens {
    fn special(mut self, tokens: &[Special]) -> Self {
        self.0.ids.extend(tokens.iter().map(|token| token.id));
        self.0
            .type_ids
            .extend(tokens.iter().map(|token| token.type_id));
        self
    }

    fn text(mut self, tokens: &[u32], type_id: u32) -> Self {
        self.0.ids.extend(tokens);
        self.0.type_ids.resize(self.0.ids.len(), type_id);
        self
    }

    fn finish(mut self, full_length: usize) -> Result<Tokenized, Error> {
        if self.0.ids.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        self.0.full_length = u32::try_from(full_length).unwrap_or(u32::MAX);
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn special(ids: &[u32], type_id: u32) -> Vec<Special> {
        ids.iter().map(|&id| Special { id, type_id }).collect()
    }

    fn bert() -> Frame {
        Frame {
            single: [special(&[101], 0), special(&[102], 0)],
            pair: [special(&[101], 0), special(&[102], 0), special(&[102], 1)],
            second_type_id: 1,
        }
    }

    #[test]
    fn texts_and_pairs_are_framed() {
        let single = bert().single(&[7, 8], 100).unwrap();
        assert_eq!(single.ids, [101, 7, 8, 102]);
        assert_eq!(single.type_ids, [0, 0, 0, 0]);
        let pair = bert().pair(&[7, 8], &[9], 100).unwrap();
        assert_eq!(pair.ids, [101, 7, 8, 102, 9, 102]);
        assert_eq!(pair.type_ids, [0, 0, 0, 0, 1, 1]);
        assert_eq!(pair.full_length, 6);
    }

    #[test]
    fn the_longer_text_of_a_pair_is_cut_first() {
        let check = |first: usize, second: usize, max_tokens: u32, expected: (usize, usize)| {
            let pair = bert().pair(&vec![7; first], &vec![8; second], max_tokens);
            let pair = pair.unwrap();
            let count = |id| pair.ids.iter().filter(|kept| **kept == id).count();
            assert_eq!((count(7), count(8)), expected, "{first} and {second}");
        };
        check(300, 10, 103, (90, 10));
        check(10, 300, 103, (10, 90));
        check(300, 300, 103, (50, 50));
        check(300, 300, 104, (50, 51));
        check(3, 3, 9, (3, 3));
        check(300, 0, 103, (100, 0));
    }

    #[test]
    fn a_limit_without_room_for_text_leaves_nothing() {
        assert_eq!(bert().single(&[7], 2), Err(Error::NothingLeft));
        assert_eq!(bert().single(&[7], 0), Err(Error::NothingLeft));
        assert_eq!(bert().single(&[], 2).unwrap().ids, [101, 102]);
        assert_eq!(Frame::default().single(&[], 2), Err(Error::EmptyPrompt));
    }

    proptest! {
        #[test]
        fn a_pair_uses_all_the_room_there_is(first in 0usize..400, second in 0usize..400, max_tokens in 4u32..300) {
            let pair = bert().pair(&vec![7; first], &vec![8; second], max_tokens).unwrap();
            prop_assert_eq!(pair.ids.len(), (first + second + 3).min(max_tokens as usize));
            prop_assert_eq!(pair.ids.len(), pair.type_ids.len());
            prop_assert_eq!(pair.full_length as usize, first + second + 3);
        }
    }
}
