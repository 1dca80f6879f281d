//! Both know the same labels, and mostly give the same one; where the labels say what is good, both are right equally often.

use super::{Side, item};
use crate::{
    checks::{Check, Outcome},
    routes::Content,
    workload::Input,
};

/// Opinions and whether they are good (`true`), bad or neither.
const OPINIONS: [(&str, Option<bool>); 12] = [
    ("This product exceeded my expectations!", Some(true)),
    (
        "The delivery was late and the box was damaged.",
        Some(false),
    ),
    ("It works, nothing more and nothing less.", None),
    ("I would buy it again without thinking twice.", Some(true)),
    (
        "The screen broke after two days, and nobody answers my letters.",
        Some(false),
    ),
    ("The colour is as shown in the picture.", None),
    (
        "Absolutely wonderful, my whole family loves it.",
        Some(true),
    ),
    ("A complete waste of money.", Some(false)),
    (
        "The manual is forty pages long and comes in six languages.",
        None,
    ),
    (
        "Support solved my problem within minutes, thank you!",
        Some(true),
    ),
    (
        "Loud, slow and far too expensive for what it does.",
        Some(false),
    ),
    ("It arrived on Tuesday as announced.", None),
];

/// Two servers of the same classifier round differently; this share of equal labels is still the same model.
const AGREEMENT: f64 = 0.9;
/// How far apart two accuracies may be.
const ACCURACY_APART: f64 = 0.01;

/// What one side said to each opinion.
type Labels = Vec<String>;

pub(super) async fn compare(pair: &str, candidate: &Side<'_>, baseline: &Side<'_>) -> Vec<Check> {
    let (one, other) = match (labels(candidate).await, labels(baseline).await) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(error), _) | (_, Err(error)) => {
            return vec![Check {
                id: "valid_labels",
                title: "every label exists",
                outcome: Outcome::Fail,
                detail: format!("classify: {error}"),
                value: None,
            }];
        }
    };
    // Two models that were never meant to be equal are measured side by side, not compared.
    let is_same_model = candidate.asker.route == baseline.asker.route;
    vec![
        agreement(pair, &one, &other, is_same_model),
        accuracy(pair, &one, &other, is_same_model),
    ]
}

async fn labels(side: &Side<'_>) -> Result<Labels, String> {
    let mut labels = Vec::new();
    for (text, _) in OPINIONS {
        let answer = side.put(&item(Input::Text(text.into()))).await;
        match answer.map_err(|one| one.to_string())?.content {
            Content::Label(labelled) => labels.push(labelled.best),
            Content::Text(_) | Content::Vectors(_) => {
                return Err(format!("{}: no label", side.name));
            }
        }
    }
    Ok(labels)
}

/// The share of opinions that both gave the same label.
fn agreement_share(one: &[String], other: &[String]) -> f64 {
    let same = one
        .iter()
        .zip(other)
        .filter(|(one, other)| one == other)
        .count();
    same as f64 / one.len().max(1) as f64
}

fn agreement(pair: &str, one: &Labels, other: &Labels, is_same_model: bool) -> Check {
    let share = agreement_share(one, other);
    Check {
        id: "same_labels",
        title: "both give the same labels",
        outcome: match (share >= AGREEMENT, is_same_model) {
            (true, _) => Outcome::Pass,
            (false, true) => Outcome::Fail,
            (false, false) => Outcome::Warn,
        },
        detail: format!("{pair}: {:.0} % of {} texts", share * 100.0, OPINIONS.len()),
        value: Some(share),
    }
}

/// The share of right labels among the opinions that are clearly good or bad; `None` when the labels do not say which is
/// which.
fn accuracy_share(labels: &[String]) -> Option<f64> {
    let is_good = |label: &str| {
        let label = label.to_ascii_lowercase();
        match label.as_str() {
            _ if label.contains("pos") || label == "good" => Some(true),
            _ if label.contains("neg") || label == "bad" => Some(false),
            _ => None,
        }
    };
    let judged: Vec<bool> = labels
        .iter()
        .zip(OPINIONS)
        .filter_map(|(label, (_, truth))| Some(is_good(label) == Some(truth?)))
        .collect();
    let says_which = labels.iter().any(|label| is_good(label).is_some());
    says_which
        .then(|| judged.iter().filter(|right| **right).count() as f64 / judged.len().max(1) as f64)
}

fn accuracy(pair: &str, one: &Labels, other: &Labels, is_same_model: bool) -> Check {
    let (outcome, found) = match (accuracy_share(one), accuracy_share(other)) {
        (Some(one), Some(other)) => {
            let apart = (one - other).abs() > ACCURACY_APART;
            let outcome = match (apart, is_same_model) {
                (false, _) => Outcome::Pass,
                (true, true) => Outcome::Fail,
                (true, false) => Outcome::Warn,
            };
            (
                outcome,
                format!("{:.0} % and {:.0} % right", one * 100.0, other * 100.0),
            )
        }
        _ => (
            Outcome::Unknown,
            "the labels do not say which is the good one".into(),
        ),
    };
    Check {
        id: "same_accuracy",
        title: "both are right equally often",
        outcome,
        detail: format!("{pair}: {found}"),
        value: accuracy_share(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a perfect classifier says.
    fn right() -> Labels {
        OPINIONS
            .iter()
            .map(|(_, truth)| match truth {
                Some(true) => "POSITIVE".into(),
                Some(false) => "NEGATIVE".into(),
                None => "neutral".into(),
            })
            .collect()
    }

    #[test]
    fn equal_labels_agree_and_are_equally_right() {
        let labels = right();
        assert_eq!(
            agreement("p", &labels, &labels, true).outcome,
            Outcome::Pass
        );
        assert_eq!(accuracy("p", &labels, &labels, true).outcome, Outcome::Pass);
        assert_eq!(accuracy_share(&labels), Some(1.0));
    }

    #[test]
    fn another_model_is_found_out_unless_it_was_meant_to_be_another() {
        let (good, wrong) = (right(), vec!["POSITIVE".to_owned(); OPINIONS.len()]);
        assert_eq!(accuracy_share(&wrong), Some(0.5));
        assert_eq!(agreement("p", &good, &wrong, true).outcome, Outcome::Fail);
        assert_eq!(accuracy("p", &good, &wrong, true).outcome, Outcome::Fail);
        assert_eq!(accuracy("p", &good, &wrong, false).outcome, Outcome::Warn);
    }

    #[test]
    fn labels_without_a_meaning_have_no_accuracy() {
        let spam = vec!["spam".to_owned(); OPINIONS.len()];
        assert_eq!(accuracy_share(&spam), None);
        assert_eq!(accuracy("p", &spam, &spam, true).outcome, Outcome::Unknown);
    }
}
