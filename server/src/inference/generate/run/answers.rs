//! Whether an engine answered what it was asked.

use crate::inference::generate::{Feed, Sampled};
use crate::inference::{Error, Token};

/// Refuses a step whose samples are not those that were asked for: they would reach the wrong callers.
pub(super) fn check(feeds: &[Feed<'_>], sampled: &[Sampled], vocabulary: u32) -> Result<(), Error> {
    let mut rest = sampled;
    for feed in feeds {
        let own = rest
            .iter()
            .take_while(|sampled| sampled.slot == feed.slot)
            .count();
        let (answers, others) = rest.split_at(own);
        if !answers_feed(feed, answers) {
            return Err(Error::Engine(
                "it sampled other than it was asked to".into(),
            ));
        }
        rest = others;
    }
    if !rest.is_empty() {
        return Err(Error::Engine(
            "it sampled for other sequences than it was asked to".into(),
        ));
    }
    let known = |token: Token| u32::try_from(token).is_ok_and(|token| token < vocabulary);
    let mut tokens = (sampled.iter())
        .filter_map(|sampled| sampled.choice.as_ref().ok())
        .map(|choice| choice.token);
    match tokens.find(|token| !known(*token)) {
        None => Ok(()),
        Some(token) => Err(Error::Engine(format!(
            "it sampled the unknown token {token}"
        ))),
    }
}

/// Whether these follow from what was fed: one more than guesses were right. Any feed may fail.
fn answers_feed(feed: &Feed<'_>, answers: &[Sampled]) -> bool {
    let Some((last, before)) = answers.split_last() else {
        return !feed.sample;
    };
    let guesses = &feed.tokens[feed.tokens.len() - feed.guessed as usize..];
    let right = before.len() <= guesses.len()
        && before.iter().zip(guesses).all(|(sampled, guess)| {
            (sampled.choice.as_ref()).is_ok_and(|choice| choice.token == *guess)
        });
    right && (feed.sample || last.choice.is_err() && before.is_empty())
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::inference::generate::{Choice, Feed, Sampled};
    use crate::inference::{Error, Token};

    const FEEDS: [Feed<'static>; 3] = [
        Feed {
            slot: 0,
            position: 4,
            tokens: &[1, 2, 3],
            sample: true,
            guessed: 2,
        },
        Feed {
            slot: 1,
            position: 0,
            tokens: &[5],
            sample: false,
            guessed: 0,
        },
        Feed {
            slot: 2,
            position: 9,
            tokens: &[6],
            sample: true,
            guessed: 0,
        },
    ];

    fn answers(answers: &[(u32, Option<Token>)]) -> Result<(), Error> {
        let sampled: Vec<Sampled> = (answers.iter())
            .map(|(slot, token)| Sampled {
                slot: *slot,
                choice: match token {
                    Some(token) => Ok(Choice {
                        token: *token,
                        logprob: None,
                        is_last: false,
                    }),
                    None => Err(Error::Engine("scripted".into())),
                },
            })
            .collect();
        check(&FEEDS, &sampled, 10)
    }

    #[test]
    fn what_was_asked_for_is_taken() {
        for right in [
            vec![(0, Some(7)), (2, Some(9))],
            vec![(0, Some(2)), (0, Some(7)), (2, Some(9))],
            vec![(0, Some(2)), (0, Some(3)), (0, Some(0)), (2, Some(9))],
            vec![(0, Some(2)), (0, None), (2, Some(9))],
            vec![(0, None), (1, None), (2, None)],
        ] {
            assert_eq!(answers(&right), Ok(()), "{right:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            vec![],
            vec![(0, Some(7))],
            vec![(2, Some(9)), (0, Some(7))],
            // Goes on after a wrong guess.
            vec![(0, Some(7)), (0, Some(3)), (2, Some(9))],
            vec![
                (0, Some(2)),
                (0, Some(3)),
                (0, Some(1)),
                (0, Some(1)),
                (2, Some(9)),
            ],
            vec![(0, Some(7)), (1, Some(1)), (2, Some(9))],
            vec![(0, Some(7)), (2, Some(9)), (3, Some(1))],
            vec![(0, Some(7)), (2, Some(10))],
            vec![(0, Some(-1)), (2, Some(9))],
        ] {
            assert!(answers(&wrong).is_err(), "{wrong:?}");
        }
    }
}
