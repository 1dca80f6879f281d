//! The special tokens around a text or a pair of texts, and how much of the texts fits between them.

use super::Side;
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
    /// Leading tokens that pooling passes over: a prompt that is to have no part in the vector.
    pub passed_over: u32,
    /// What is wanted of it.
    pub output: Output,
}

/// What is wanted of a text.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Output {
    /// What the model's main head gives.
    #[default]
    Head,
    /// What the named head with this index gives.
    Named(usize),
    /// The vectors of its tokens.
    Tokens,
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
    /// Where texts are cut unless somebody says otherwise.
    pub cut: Side,
}

/// How a text is made to fit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    /// Most tokens in all.
    pub max_tokens: u32,
    /// Where what is too long is cut.
    pub side: Side,
}

/// Which text of a pair is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shorten {
    /// The longer one down to the shorter, then both alike: Hugging Face's `longest_first`.
    Longest,
    /// The first, while anything is left of it, as Hugging Face's `only_first`; then as above.
    First,
}

impl Frame {
    /// Puts the frame around a text, whose end is cut off so that at most `max_tokens` remain in all.
    ///
    /// # Errors
    /// [`Error::NothingLeft`] if the limit leaves no room beside the special tokens, [`Error::EmptyPrompt`] if there is
    /// nothing to compute.
    pub fn single(&self, text: &[u32], max_tokens: u32) -> Result<Tokenized, Error> {
        let side = Side::End;
        self.one(text, Limit { max_tokens, side })
    }

    /// Puts the frame around a text that is cut as the limit says.
    ///
    /// # Errors
    /// As of [`Frame::single`].
    pub fn one(&self, text: &[u32], limit: Limit) -> Result<Tokenized, Error> {
        let [before, after] = &self.single;
        let room = Room::new(before.len() + after.len(), text.len(), limit.max_tokens)?;
        Tokens::default()
            .special(before)
            .text(limit.side.kept(text, room.left), 0)
            .special(after)
            .finish(room.full_length)
    }

    /// Puts frames around the parts of a text of which none is too long. Every part but the first begins with `prefix`.
    ///
    /// # Errors
    /// As of [`Frame::single`].
    pub fn parts(
        &self,
        prefix: &[u32],
        text: &[u32],
        max_tokens: u32,
    ) -> Result<Vec<Tokenized>, Error> {
        let [before, after] = &self.single;
        let special = before.len() + after.len();
        let room = Room::new(special, text.len(), max_tokens)?;
        let (first, mut rest) = text.split_at(room.left.min(text.len()));
        let mut parts = vec![first.to_vec()];
        if !rest.is_empty() {
            // A prefix that leaves no room would never come to an end.
            let step = room.left.checked_sub(prefix.len()).filter(|step| *step > 0);
            let step = step.ok_or(Error::NothingLeft)?;
            while !rest.is_empty() {
                let (part, left) = rest.split_at(step.min(rest.len()));
                parts.push([prefix, part].concat());
                rest = left;
            }
        }
        parts
            .iter()
            .map(|part| self.single(part, max_tokens))
            .collect()
    }

    /// Tokens without the frame around them, if they have it.
    #[must_use]
    pub fn inside<'a>(&self, ids: &'a [u32]) -> &'a [u32] {
        let [before, after] = &self.single;
        let is = |ids: &[u32], special: &[Special]| {
            ids.iter().eq(special.iter().map(|special| &special.id))
        };
        let Some(inside) = ids.len().checked_sub(before.len() + after.len()) else {
            return ids;
        };
        let (first, rest) = ids.split_at(before.len());
        let (text, last) = rest.split_at(inside);
        if is(first, before) && is(last, after) {
            text
        } else {
            ids
        }
    }

    /// Puts the frame around two texts, of which the longer one is cut first, at its end.
    ///
    /// # Errors
    /// As of [`Frame::single`].
    pub fn pair(&self, first: &[u32], second: &[u32], max_tokens: u32) -> Result<Tokenized, Error> {
        let side = Side::End;
        self.two(first, second, Limit { max_tokens, side }, Shorten::Longest)
    }

    /// Puts the frame around two texts that are cut as the limit and `shorten` say.
    ///
    /// # Errors
    /// As of [`Frame::single`].
    pub fn two(
        &self,
        first: &[u32],
        second: &[u32],
        limit: Limit,
        shorten: Shorten,
    ) -> Result<Tokenized, Error> {
        let [before, between, after] = &self.pair;
        let special = before.len() + between.len() + after.len();
        let room = Room::new(special, first.len() + second.len(), limit.max_tokens)?;
        let beside_second = room.left.saturating_sub(second.len());
        let kept_first = match shorten {
            Shorten::First if beside_second > 0 => first.len().min(beside_second),
            Shorten::First | Shorten::Longest => first.len().min(beside_second.max(room.left / 2)),
        };
        let kept_second = second.len().min(room.left - kept_first);
        Tokens::default()
            .special(before)
            .text(limit.side.kept(first, kept_first), 0)
            .special(between)
            .text(limit.side.kept(second, kept_second), self.second_type_id)
            .special(after)
            .finish(room.full_length)
    }
}

impl Side {
    /// What is left of tokens of which at most `most` may stay.
    fn kept(self, tokens: &[u32], most: usize) -> &[u32] {
        let kept = tokens.len().min(most);
        match self {
            Self::End => &tokens[..kept],
            Self::Start => &tokens[tokens.len() - kept..],
        }
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
            cut: Side::End,
        }
    }

    fn limit(max_tokens: u32, side: Side) -> Limit {
        Limit { max_tokens, side }
    }

    #[test]
    fn a_text_is_cut_at_the_side_that_is_named() {
        let ids = |side| bert().one(&[1, 2, 3, 4], limit(4, side)).unwrap().ids;
        assert_eq!(ids(Side::End), [101, 1, 2, 102]);
        assert_eq!(ids(Side::Start), [101, 3, 4, 102]);
        let pair = |side, shorten| {
            let pair = bert().two(&[1, 2, 3, 4], &[5, 6, 7], limit(7, side), shorten);
            pair.unwrap().ids
        };
        let longest = Shorten::Longest;
        assert_eq!(pair(Side::End, longest), [101, 1, 2, 102, 5, 6, 102]);
        assert_eq!(pair(Side::Start, longest), [101, 3, 4, 102, 6, 7, 102]);
        assert_eq!(pair(Side::End, Shorten::First), [101, 1, 102, 5, 6, 7, 102]);
        let hardly = bert().two(&[1, 2], &[5, 6, 7], limit(6, Side::End), Shorten::First);
        assert_eq!(hardly.unwrap().ids, [101, 1, 102, 5, 6, 102]);
    }

    #[test]
    fn tokens_that_have_the_frame_get_no_other() {
        assert_eq!(bert().inside(&[101, 7, 102]), [7]);
        assert_eq!(bert().inside(&[101, 102]), [0; 0]);
        for bare in [&[7, 102][..], &[101, 7], &[7], &[101], &[]] {
            assert_eq!(bert().inside(bare), bare);
        }
        assert_eq!(Frame::default().inside(&[7]), [7]);
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
        fn parts_are_the_whole_text_each_with_what_belongs_before_it(
            length in 0usize..400, prefix in 0usize..4, max_tokens in 7u32..60,
        ) {
            let text: Vec<u32> = (1000..).take(length).collect();
            let prefix = vec![5; prefix];
            let parts = bert().parts(&prefix, &text, max_tokens).unwrap();
            let mut whole: Vec<u32> = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                prop_assert!(part.ids.len() <= max_tokens as usize);
                let inside = bert().inside(&part.ids);
                let inside = if index == 0 { Some(inside) } else { inside.strip_prefix(&prefix[..]) };
                whole.extend(inside.unwrap());
            }
            prop_assert_eq!(whole, text);
            prop_assert!(parts.iter().rev().skip(1).all(|part| part.ids.len() == max_tokens as usize));
        }

        #[test]
        fn a_pair_uses_all_the_room_there_is(first in 0usize..400, second in 0usize..400, max_tokens in 4u32..300) {
            let pair = bert().pair(&vec![7; first], &vec![8; second], max_tokens).unwrap();
            prop_assert_eq!(pair.ids.len(), (first + second + 3).min(max_tokens as usize));
            prop_assert_eq!(pair.ids.len(), pair.type_ids.len());
            prop_assert_eq!(pair.full_length as usize, first + second + 3);
        }
    }
}
