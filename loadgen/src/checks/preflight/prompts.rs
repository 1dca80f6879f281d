//! The same prompt has as many tokens on both sides, and greedy decoding says about the same.

use super::{Side, Unanswered};
use crate::{
    checks::{Check, Outcome},
    routes::{Answer, Content, Failure},
    workload::Item,
};

/// Prompts whose tokens are counted.
pub(super) const PROBES: usize = 20;
/// Probes whose greedy texts are compared.
const TEXTS: usize = 3;
/// Tokens asked for where only the prompt is counted: one alone may be no text, half a character or a space that is cut.
const COUNT_TOKENS: u64 = 4;
/// Tokens of each of those texts.
const TEXT_TOKENS: u64 = 24;
/// Below this share of common beginning, the texts are called different: kernels round differently, models do not.
const AGREEMENT: f64 = 0.5;

/// What one side said to one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reply {
    text: String,
    prompt_tokens: Option<u64>,
}

pub(super) async fn compare(
    pair: &str,
    candidate: &Side<'_>,
    baseline: &Side<'_>,
    probes: &[Item],
) -> Vec<Check> {
    let (one, other) = match (
        ask_all(candidate, probes).await,
        ask_all(baseline, probes).await,
    ) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(error), _) | (_, Err(error)) => {
            return vec![Check {
                id: "same_prompt_tokens",
                title: "both count the same prompt tokens",
                outcome: Outcome::Unknown,
                detail: format!("{pair}: {error}"),
                value: None,
            }];
        }
    };
    let texts = TEXTS.min(one.len());
    vec![
        same_counts(pair, &one, &other),
        same_texts(pair, &one[..texts], &other[..texts]),
    ]
}

async fn ask_all(side: &Side<'_>, probes: &[Item]) -> Result<Vec<Reply>, String> {
    let mut asker = side.asker.clone();
    // Whatever the workload samples with: two greedy texts can be compared, two drawn ones cannot.
    asker.options.insert("temperature".into(), 0.into());
    let side = Side {
        asker: &asker,
        ..*side
    };
    let mut replies = Vec::new();
    for (index, probe) in probes.iter().enumerate() {
        let probe = Item {
            max_tokens: if index < TEXTS {
                TEXT_TOKENS
            } else {
                COUNT_TOKENS
            },
            ..probe.clone()
        };
        replies.push(match side.put(&probe).await {
            Ok(answer) => reply(answer),
            // A model may end its text at once. That says nothing about the prompt, which another probe will count.
            Err(Unanswered {
                failure: Failure::Empty,
                ..
            }) => Reply {
                text: String::new(),
                prompt_tokens: None,
            },
            Err(unanswered) => return Err(unanswered.to_string()),
        });
    }
    Ok(replies)
}

fn reply(answer: Answer) -> Reply {
    Reply {
        prompt_tokens: answer.input_tokens,
        text: match answer.content {
            Content::Text(generation) => generation.text,
            Content::Vectors(_) | Content::Label(_) => String::new(),
        },
    }
}

fn same_counts(pair: &str, one: &[Reply], other: &[Reply]) -> Check {
    let counts: Vec<(u64, u64)> = one
        .iter()
        .zip(other)
        .filter_map(|(one, other)| one.prompt_tokens.zip(other.prompt_tokens))
        .collect();
    let (outcome, found) = match counts.iter().find(|(one, other)| one != other) {
        None if !counts.is_empty() && 2 * counts.len() >= one.len() => {
            (Outcome::Pass, format!("equal for {} probes", counts.len()))
        }
        None => (
            Outcome::Unknown,
            format!("told for {} of {} probes", counts.len(), one.len()),
        ),
        Some((one, other)) => (
            Outcome::Fail,
            format!("the same prompt has {one} and {other} tokens: another tokenizer or template"),
        ),
    };
    Check {
        id: "same_prompt_tokens",
        title: "both count the same prompt tokens",
        outcome,
        detail: format!("{pair}: {found}"),
        value: None,
    }
}

/// Differences only warn: two correct servers round differently, and one flipped token changes all that follow.
fn same_texts(pair: &str, one: &[Reply], other: &[Reply]) -> Check {
    let shares: Vec<f64> = one
        .iter()
        .zip(other)
        .map(|(one, other)| common_beginning(&one.text, &other.text))
        .collect();
    let mean = crate::stats::mean(&shares).unwrap_or(0.0);
    Check {
        id: "same_text",
        title: "both write the same greedy text",
        outcome: if mean >= AGREEMENT {
            Outcome::Pass
        } else {
            Outcome::Warn
        },
        detail: format!(
            "{pair}: the first {:.0} % of {} texts agree",
            mean * 100.0,
            shares.len()
        ),
        value: Some(mean),
    }
}

/// The share of the longer text that both begin with; two empty texts agree.
fn common_beginning(one: &str, other: &str) -> f64 {
    let longer = one.chars().count().max(other.chars().count());
    if longer == 0 {
        return 1.0;
    }
    let common = one
        .chars()
        .zip(other.chars())
        .take_while(|(one, other)| one == other)
        .count();
    common as f64 / longer as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(counts: &[Option<u64>]) -> Vec<Reply> {
        counts
            .iter()
            .map(|count| Reply {
                text: "a".into(),
                prompt_tokens: *count,
            })
            .collect()
    }

    fn said(text: &str) -> Reply {
        Reply {
            text: text.into(),
            prompt_tokens: None,
        }
    }

    #[test]
    fn one_prompt_of_another_length_is_enough() {
        let check = |one: &[Option<u64>], other: &[Option<u64>], expected| {
            let got = same_counts("p", &replies(one), &replies(other));
            assert_eq!(got.outcome, expected, "{}", got.detail);
        };
        check(&[Some(3), Some(9)], &[Some(3), Some(9)], Outcome::Pass);
        check(&[Some(3), Some(9)], &[Some(3), Some(8)], Outcome::Fail);
        check(&[Some(3), None], &[Some(3), Some(8)], Outcome::Pass);
        check(&[None, None], &[Some(3), Some(8)], Outcome::Unknown);
        check(
            &[Some(3), None, None],
            &[Some(3), Some(8), None],
            Outcome::Unknown,
        );
    }

    #[test]
    fn texts_agree_as_far_as_they_begin_alike() {
        let close = |one, other, expected: f64| {
            assert!(
                (common_beginning(one, other) - expected).abs() < 1e-9,
                "{one} {other}"
            );
        };
        close("", "", 1.0);
        close("río", "río abajo", 1.0 / 3.0);
        close("x", "y", 0.0);
        let warned = same_texts("p", &[said("yes")], &[said("no")]);
        assert_eq!(warned.outcome, Outcome::Warn, "never a reason to refuse");
    }
}
