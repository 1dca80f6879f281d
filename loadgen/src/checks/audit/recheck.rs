use super::put;
use crate::{
    checks::{
        Check, Outcome,
        preflight::{ACROSS, cosine},
    },
    client::Client,
    routes::{Answer, Asker, Content},
    workload::Item,
};

/// The least share of texts that must get the same label alone as under load: a score on the border may fall to either side.
const SAME_LABELS: f64 = 0.9;

/// Tokens asked for where only the prompt is counted: enough for a text that is not empty.
const COUNT_TOKENS: u64 = 8;

/// A reply that was given under load, and to what.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The work.
    pub item: Item,
    /// The reply.
    pub answer: Answer,
}

/// What two replies to the same work have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Likeness {
    /// The least cosine between their vectors.
    Cosine(f64),
    /// Whether their best labels are the same.
    Label(bool),
    /// Whether both count the same tokens of input.
    Tokens(bool),
}

/// Asks some of the measured work again, alone: a server that gives other vectors, labels or counts when it is busy was fast at
/// something else.
pub(super) async fn audit(scope: &str, client: &Client, asker: &Asker, kept: &[Kept]) -> Check {
    let mut likenesses = Vec::new();
    for one in kept {
        let mut item = one.item.clone();
        if matches!(one.answer.content, Content::Text(_)) {
            // Only the prompt is counted: what busy kernels round differently may change every word after it.
            item.max_tokens = item.max_tokens.min(COUNT_TOKENS);
        }
        let replied = put(client, asker, &item).await;
        likenesses.extend(replied.and_then(|replied| likeness(&one.answer, &replied.answer)));
    }
    let (outcome, found, value) = judge(&likenesses);
    Check {
        id: "same_under_load",
        title: "replies under load are those given alone",
        outcome,
        detail: format!("{scope}: {found}"),
        value,
    }
}

fn likeness(busy: &Answer, alone: &Answer) -> Option<Likeness> {
    match (&busy.content, &alone.content) {
        (Content::Vectors(busy), Content::Vectors(alone)) => {
            let exact = |vector: &[f32]| vector.iter().copied().map(f64::from).collect::<Vec<_>>();
            let pairs = busy.values.iter().zip(&alone.values);
            let least = pairs
                .map(|(busy, alone)| cosine(&exact(busy), &exact(alone)))
                .reduce(f64::min)?;
            Some(Likeness::Cosine(least))
        }
        (Content::Label(busy), Content::Label(alone)) => {
            Some(Likeness::Label(busy.best == alone.best))
        }
        _ => {
            let (busy, alone) = busy.input_tokens.zip(alone.input_tokens)?;
            Some(Likeness::Tokens(busy == alone))
        }
    }
}

fn judge(likenesses: &[Likeness]) -> (Outcome, String, Option<f64>) {
    let count = likenesses.len();
    let share = |of: &dyn Fn(&Likeness) -> bool| {
        let same = likenesses.iter().filter(|one| of(one)).count();
        (same, same as f64 / count.max(1) as f64)
    };
    let outcome = |holds| if holds { Outcome::Pass } else { Outcome::Fail };
    match likenesses.first() {
        None => (Outcome::Unknown, "nothing was answered twice".into(), None),
        Some(Likeness::Cosine(_)) => {
            let cosines = likenesses.iter().filter_map(|one| match one {
                Likeness::Cosine(cosine) => Some(*cosine),
                Likeness::Label(_) | Likeness::Tokens(_) => None,
            });
            let least = cosines.fold(1.0, f64::min);
            let found = format!("least cosine {least:.6} of {count} replies");
            (outcome(least >= ACROSS), found, Some(least))
        }
        Some(Likeness::Label(_)) => {
            let (same, share) = share(&|one| *one == Likeness::Label(true));
            let found = format!("{same} of {count} labels are the same");
            (outcome(share >= SAME_LABELS), found, Some(share))
        }
        Some(Likeness::Tokens(_)) => {
            let (same, share) = share(&|one| *one == Likeness::Tokens(true));
            let found = format!("{same} of {count} prompts have as many tokens");
            (outcome(same == count), found, Some(share))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::routes::{Generation, Labelled, Vectors};

    fn vectors(values: &[[f32; 2]]) -> Answer {
        answer(Content::Vectors(Vectors {
            count: values.len(),
            dimensions: 2,
            values: values.iter().map(|vector| vector.to_vec()).collect(),
        }))
    }

    fn label(best: &str) -> Answer {
        answer(Content::Label(Labelled {
            best: best.into(),
            scores: Vec::new(),
            right: None,
        }))
    }

    fn answer(content: Content) -> Answer {
        Answer {
            input_tokens: None,
            cached_tokens: None,
            content,
        }
    }

    #[track_caller]
    fn check(pairs: &[(Answer, Answer)], expected: Outcome) {
        let likenesses: Vec<Likeness> = pairs
            .iter()
            .filter_map(|(busy, alone)| likeness(busy, alone))
            .collect();
        let (outcome, found, _) = judge(&likenesses);
        assert_eq!(outcome, expected, "{found}");
    }

    #[test]
    fn one_vector_that_turned_is_enough() {
        let (east, north) = ([1.0, 0.0], [0.0, 1.0]);
        check(
            &[(vectors(&[east, north]), vectors(&[east, north]))],
            Outcome::Pass,
        );
        let mixed = (vectors(&[east, north]), vectors(&[north, east]));
        check(
            &[(vectors(&[east]), vectors(&[east])), mixed],
            Outcome::Fail,
        );
        check(&[], Outcome::Unknown);
    }

    #[test]
    fn one_label_of_many_may_fall_to_the_other_side() {
        let mut pairs = vec![(label("a"), label("a")); 9];
        pairs.push((label("a"), label("b")));
        check(&pairs, Outcome::Pass);
        check(&pairs[8..], Outcome::Fail);
    }

    #[test]
    fn counts_must_be_equal() {
        let counted = |tokens| Answer {
            input_tokens: Some(tokens),
            ..answer(Content::Text(Generation {
                text: "x".into(),
                tokens: 1,
                ended_by_model: false,
                claimed_tokens_per_second: None,
                load: Duration::ZERO,
                logprobs: None,
            }))
        };
        check(&[(counted(4), counted(4))], Outcome::Pass);
        check(
            &[(counted(4), counted(4)), (counted(4), counted(5))],
            Outcome::Fail,
        );
    }
}
