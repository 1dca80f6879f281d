//! Guessing what comes next from what was said before: rewriting, quoting and code repeat long stretches of the prompt. A
//! guess costs a longer batch and changes no text, as every token of it is kept only where the model itself chose it.
//!
//! Whether guesses would be right is learned from all of them, also from those that were not worth computing: what the model
//! says next tells, at no cost.

use crate::inference::Token;

/// Most tokens guessed at a time.
pub(super) const MOST: usize = 15;

/// Tokens at the end that must have occurred before, for what followed them then to be a guess.
const SHORTEST_MATCH: usize = 3;

/// Longest match that is looked for; a longer one makes no better guess.
const LONGEST_MATCH: usize = 24;

/// What followed the last occurrence of the end of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Guess<'a> {
    /// Nothing, if the end is new.
    pub(super) tokens: &'a [Token],
    /// How many tokens before them are the same as at the end of the text.
    pub(super) matching: usize,
}

/// A guess of at most so many tokens. Of several, the one after the longest match, and of these the last. Nothing of images.
pub(super) fn next(text: &[Token], most: usize) -> Guess<'_> {
    let mut longest = SHORTEST_MATCH - 1;
    let mut found = text.len();
    let last = text.last();
    for end in (SHORTEST_MATCH..text.len()).rev() {
        if text.get(end - 1) != last {
            continue;
        }
        let backwards = text[..end].iter().rev();
        let matching = backwards
            .zip(text.iter().rev())
            .take(LONGEST_MATCH)
            .take_while(|(one, other)| one == other)
            .count();
        if matching > longest {
            (longest, found) = (matching, end);
            if longest == LONGEST_MATCH {
                break;
            }
        }
    }
    let tokens = &text[found..(found + most).min(text.len())];
    let words = tokens.iter().position(|token| *token < 0);
    Guess {
        tokens: &tokens[..words.unwrap_or(tokens.len())],
        matching: longest,
    }
}

/// How guesses turned out so far, by how much of the text before them was the same: the more, the better they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Luck {
    rates: [Rate; CLASSES],
    /// Outcomes that are remembered.
    memory: f64,
}

/// A share of right ones among guessed tokens.
#[derive(Clone, Copy, Debug)]
struct Rate {
    right: f64,
    /// How many outcomes it stands for.
    outcomes: f64,
}

/// Lengths of matches at which the classes after the first begin.
const CLASSES_BEGIN: [usize; CLASSES - 1] = [4, 6, 9, 16];
const CLASSES: usize = 5;

/// What is expected before the first outcome, which counts as much as so many.
const FIRST_RATES: [f64; CLASSES] = [0.4, 0.5, 0.65, 0.8, 0.9];
const FIRST_OUTCOMES: f64 = 2.0;

/// Outcomes that are remembered of all jobs of a model, and of one.
const MEMORY_OF_ALL: f64 = 200.0;
const MEMORY_OF_ONE: f64 = 10.0;

/// As how many outcomes those of earlier jobs count for a new one.
const OUTCOMES_OF_OTHERS: f64 = 4.0;

impl Default for Luck {
    fn default() -> Self {
        Self {
            rates: FIRST_RATES.map(|right| Rate {
                right,
                outcomes: FIRST_OUTCOMES,
            }),
            memory: MEMORY_OF_ALL,
        }
    }
}

impl Luck {
    /// What to expect of a new job, after these.
    pub(super) fn of_one(&self) -> Self {
        let rates = self.rates.map(|rate| Rate {
            outcomes: rate.outcomes.min(OUTCOMES_OF_OTHERS),
            ..rate
        });
        Self {
            rates,
            memory: MEMORY_OF_ONE,
        }
    }

    /// How many of so many guessed tokens will be right.
    pub(super) fn expects(&self, matching: usize, guessed: usize) -> f64 {
        let mut chance = 1.0;
        (matching..matching + guessed)
            .map(|matching| {
                chance *= self.rates[class(matching)].right;
                chance
            })
            .sum()
    }

    /// Notes whether a token that was guessed after such a match was what the model chose.
    pub(super) fn learn(&mut self, matching: usize, is_right: bool) {
        let rate = &mut self.rates[class(matching)];
        rate.outcomes = (rate.outcomes + 1.0).min(self.memory);
        let outcome = if is_right { 1.0 } else { 0.0 };
        rate.right += (outcome - rate.right) / rate.outcomes;
    }
}

fn class(matching: usize) -> usize {
    CLASSES_BEGIN.partition_point(|begin| *begin <= matching)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_match_is_followed_and_the_last_of_equals() {
        let check = |text: &[Token], most, expected: &[Token]| {
            assert_eq!(next(text, most).tokens, expected);
        };
        check(&[], 4, &[]);
        check(&[1, 2, 3], 4, &[]);
        // Two tokens in common are too few.
        check(&[1, 2, 9, 1, 2], 4, &[]);
        check(&[1, 2, 3, 7, 8, 1, 2, 3], 4, &[7, 8, 1, 2]);
        check(&[1, 2, 3, 7, 8, 1, 2, 3], 1, &[7]);
        // Four in common, further back.
        check(&[0, 1, 2, 3, 7, 1, 2, 3, 8, 0, 1, 2, 3], 1, &[7]);
        check(&[1, 2, 3, 7, 1, 2, 3, 8, 1, 2, 3], 1, &[8]);
        check(&[1, 2, 3, 7, -9, -9, 1, 2, 3], 4, &[7]);
        // A loop overlaps itself.
        check(&[5, 5, 5, 5, 5], 2, &[5]);
        assert_eq!(next(&[0, 1, 2, 3, 7, 0, 1, 2, 3], 1).matching, 4);
    }

    #[test]
    fn a_long_match_is_trusted_more() {
        let luck = Luck::default();
        assert!(luck.expects(3, 4) < luck.expects(8, 4));
        assert!(luck.expects(8, 4) < luck.expects(24, 4));
        assert!(luck.expects(24, 15) > 5.0);
    }

    #[test]
    fn what_is_expected_follows_what_happened() {
        let mut luck = Luck::default();
        for _ in 0..40 {
            luck.learn(3, false);
            luck.learn(20, true);
        }
        assert!(luck.expects(3, 15) < 0.05, "{luck:?}");
        assert!(luck.expects(20, 15) > 12.0, "{luck:?}");
        // A job of another kind finds out within a few tokens, and does not change what others expect.
        let mut one = luck.of_one();
        for _ in 0..8 {
            one.learn(3, true);
        }
        assert!(one.expects(3, 1) > 0.5, "{one:?}");
        assert!(luck.of_one().expects(3, 1) < 0.05);
    }

    proptest! {
        #[test]
        fn a_guess_is_a_stretch_of_the_text_after_its_end(
            text in prop::collection::vec(0_i32..3, 0..60),
            most in 0_usize..8,
        ) {
            let guess = next(&text, most);
            prop_assert!(guess.tokens.len() <= most);
            if !guess.tokens.is_empty() {
                let end = &text[text.len() - guess.matching..];
                let stretch = [end, guess.tokens].concat();
                prop_assert!(text.windows(stretch.len()).any(|window| window == stretch));
            }
        }
    }
}
