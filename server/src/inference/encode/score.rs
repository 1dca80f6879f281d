//! From what the model computed to what the caller asked for: pure arithmetic.

use super::{Activation, LabelScore};

/// Scales a vector to length 1. A vector of zeros stays as it is.
pub fn normalize(vector: &mut [f32]) {
    let squares: f64 = vector.iter().map(|&x| f64::from(x).powi(2)).sum();
    let length = squares.sqrt();
    if length > 0.0 {
        for x in vector {
            *x = (f64::from(*x) / length) as f32;
        }
    }
}

/// Keeps the first `dimensions` numbers of a vector (`None` or more than there are: all) and, if asked, scales what is
/// left to length 1.
#[must_use]
pub fn vector(mut output: Vec<f32>, dimensions: Option<u32>, normalized: bool) -> Vec<f32> {
    if let Some(dimensions) = dimensions {
        output.truncate(dimensions as usize);
    }
    if normalized {
        normalize(&mut output);
    }
    output
}

/// Which of a text's labels are reported.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection {
    /// Only the best so many.
    pub top_k: Option<u32>,
    /// Only those with this score or a higher one.
    pub threshold: Option<f32>,
}

/// Names a text's scores, best first, and keeps those that are selected. Equal scores stay in the model's order.
#[must_use]
pub fn labels(
    logits: &[f32],
    names: &[String],
    activation: Activation,
    selection: Selection,
) -> Vec<LabelScore> {
    let scored = names.iter().cloned().zip(activate(logits, activation));
    ordered(scored, selection)
}

/// How well a text answers a query, from the output of a model with a single label.
#[must_use]
pub fn relevance(output: &[f32], activation: Activation) -> f32 {
    // A model with a single label gives a single number, which loading has checked.
    activate(&output[..1], activation)[0]
}

fn activate(logits: &[f32], activation: Activation) -> Vec<f32> {
    match activation {
        Activation::Identity | Activation::Done => logits.to_vec(),
        Activation::Sigmoid => logits.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
        Activation::Softmax => softmax(logits),
    }
}

/// Scores that sum to 1.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    // Taking the largest away first keeps exp() in range and changes nothing else.
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// The words of the vocabulary that have a weight.
#[must_use]
pub fn sparse(weights: &[f32]) -> Vec<(u32, f32)> {
    (0..)
        .zip(weights.iter().copied())
        .filter(|(_, weight)| *weight > 0.0)
        .collect()
}

/// Where a model that tells whether one text follows from another has its answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entailment {
    /// Index of the label that says so.
    pub yes: usize,
    /// Index of the label that says the opposite.
    pub no: usize,
}

impl Entailment {
    /// By the names of the labels, as Hugging Face's zero-shot pipeline finds them: the label whose name begins with `entail`;
    /// without one the last label counts, which says so in such models. The opposite is the first label, or the last.
    #[must_use]
    pub fn of(names: &[String]) -> Option<Self> {
        let last = names.len().checked_sub(1).filter(|last| *last > 0)?;
        let is_yes = |name: &String| name.to_lowercase().starts_with("entail");
        let yes = names.iter().position(is_yes).unwrap_or(last);
        let no = if yes == 0 { last } else { 0 };
        Some(Self { yes, no })
    }

    /// The scores of candidates, from the logits of "yes" and "no" that each of them got. Of several candidates that exclude
    /// each other, the "yes" are compared with each other; else each "yes" with its "no".
    #[must_use]
    pub fn scores(logits: &[[f32; 2]], exclusive: bool) -> Vec<f32> {
        if exclusive && logits.len() > 1 {
            let yes: Vec<f32> = logits.iter().map(|[yes, _]| *yes).collect();
            softmax(&yes)
        } else {
            logits.iter().map(|pair| softmax(pair)[0]).collect()
        }
    }
}

/// Labels with their scores, best first. Equal scores stay in their order.
#[must_use]
pub fn ordered(
    labels: impl Iterator<Item = (String, f32)>,
    selection: Selection,
) -> Vec<LabelScore> {
    let mut labels: Vec<LabelScore> = labels
        .map(|(label, score)| LabelScore { label, score })
        .filter(|label| selection.threshold.is_none_or(|least| label.score >= least))
        .collect();
    labels.sort_by(|a, b| b.score.total_cmp(&a.score));
    if let Some(top_k) = selection.top_k {
        labels.truncate(top_k as usize);
    }
    labels
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("LABEL_{index}")).collect()
    }

    #[test]
    fn a_cut_vector_is_normalised_after_the_cut() {
        assert_eq!(vector(vec![3.0, 4.0, 12.0], Some(2), true), vec![0.6, 0.8]);
        assert_eq!(vector(vec![3.0, 4.0], Some(1), false), vec![3.0]);
        assert_eq!(vector(vec![3.0, 4.0], Some(9), false), vec![3.0, 4.0]);
        assert_eq!(vector(vec![0.0, 0.0], None, true), vec![0.0, 0.0]);
    }

    #[test]
    fn the_best_label_comes_first() {
        let check = |top_k, threshold, expected: &[(&str, f32)]| {
            let selection = Selection { top_k, threshold };
            let best = labels(&[0.0, 2.0, 1.0], &names(3), Activation::Identity, selection);
            let best: Vec<(&str, f32)> = best.iter().map(|l| (l.label.as_str(), l.score)).collect();
            assert_eq!(best, expected);
        };
        check(Some(2), None, &[("LABEL_1", 2.0), ("LABEL_2", 1.0)]);
        check(None, Some(1.5), &[("LABEL_1", 2.0)]);
        check(Some(1), Some(0.5), &[("LABEL_1", 2.0)]);
        check(None, Some(9.0), &[]);
    }

    #[test]
    fn an_entailment_is_found_by_its_name() {
        let check = |names: &[&str], expected: Option<(usize, usize)>| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let found = Entailment::of(&names).map(|found| (found.yes, found.no));
            assert_eq!(found, expected, "{names:?}");
        };
        check(&["contradiction", "neutral", "entailment"], Some((2, 0)));
        check(&["ENTAILMENT", "NEUTRAL", "CONTRADICTION"], Some((0, 2)));
        check(&["no", "entails"], Some((1, 0)));
        check(&["LABEL_0", "LABEL_1", "LABEL_2"], Some((2, 0)));
        check(&["relevance"], None);
        check(&[], None);
    }

    #[test]
    fn candidates_compete_unless_several_may_be_true() {
        let close = |found: Vec<f32>, expected: &[f32]| {
            let near = found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(near && found.len() == expected.len(), "{found:?}");
        };
        let logits = [[2.0, -1.0], [0.0, 0.0]];
        close(Entailment::scores(&logits, true), &[0.8808, 0.1192]);
        close(Entailment::scores(&logits, false), &[0.9526, 0.5]);
        close(Entailment::scores(&logits[..1], true), &[0.9526]);
    }

    #[test]
    fn words_without_weight_are_left_out() {
        assert_eq!(sparse(&[0.0, 0.5, -0.1, 1.0]), [(1, 0.5), (3, 1.0)]);
    }

    #[test]
    fn relevance_is_between_0_and_1_unless_raw() {
        assert!((relevance(&[0.0], Activation::Sigmoid) - 0.5).abs() < 1e-6);
        assert!((relevance(&[-7.0], Activation::Identity) + 7.0).abs() < 1e-6);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let scores = activate(&[1000.0, 999.0], Activation::Softmax);
        assert!((scores[0] - 0.731_058_6).abs() < 1e-6);
        assert_eq!(
            activate(&[1000.0, -1000.0], Activation::Sigmoid),
            [1.0, 0.0]
        );
    }

    proptest! {
        #[test]
        fn softmax_sums_to_one_and_keeps_the_order(
            logits in prop::collection::vec(-50.0f32..50.0, 1..20),
        ) {
            let scores = activate(&logits, Activation::Softmax);
            prop_assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-4);
            for (a, b) in logits.iter().zip(&scores) {
                for (c, d) in logits.iter().zip(&scores) {
                    prop_assert!(a < c || b >= d);
                }
            }
        }

        #[test]
        fn a_normalised_vector_has_length_one(
            output in prop::collection::vec(-1e6f32..1e6, 1..400),
            dimensions in prop::option::of(1u32..500),
        ) {
            prop_assume!(output[0].abs() > 1e-3);
            let length: f32 = vector(output, dimensions, true).iter().map(|x| x * x).sum();
            prop_assert!((length - 1.0).abs() < 1e-4);
        }
    }
}
