//! Whether our own encoder may stand in for a graph: only where their results agree on texts that it was not calibrated with.

use super::folder::Folder;
use super::model::Model;
use super::{Spec, folder};
use crate::engine::encoder::{Classifier, Config, Encoder, Graph, Unsuitable};
use crate::inference::encode::{Encoder as _, Head, Tokenized};

/// Texts on which the ranges of activations are seen: languages, scripts, code, numbers, short and long.
const CALIBRATION: &str = include_str!("calibration.txt");

/// Texts on which results are compared.
const COMPARED: &str = include_str!("compared.txt");

/// Least cosine between two vectors of one text, on average and of the worst.
const LEAST_MEAN: f32 = 0.999;
const LEAST: f32 = 0.995;

/// Most that a label's probability may move.
const MOST_SHIFT: f32 = 0.02;

/// What computes instead of the graph.
pub(super) struct Own {
    pub encoder: Encoder,
    /// What makes logits of token vectors, for a classifier.
    pub classifier: Option<Classifier>,
    /// How well it agrees, for people.
    pub agreement: String,
}

/// Makes our own encoder for a loaded graph and compares the two.
///
/// # Errors
/// [`Unsuitable`] where the graph has to serve.
pub(super) fn own(model: &mut Model, spec: &Spec, threads: usize) -> Result<Own, Unsuitable> {
    let folder = Folder(&spec.files);
    let understood = |error: crate::inference::Error| Unsuitable(error.to_string());
    let config: Config = folder
        .json("config.json")
        .map_err(understood)?
        .unwrap_or_default();
    let description = folder::describe(folder).map_err(understood)?;
    let graph = Graph::open(&spec.graph, &|name| {
        let path = folder.path(&spec.beside_graph(name));
        path.map(std::path::Path::to_owned)
    })?;
    let calibration = tokenized(model, CALIBRATION)?;
    let compared = tokenized(model, COMPARED)?;
    let mut encoder = Encoder::build(
        &graph,
        &config,
        description.first_position,
        &calibration,
        threads,
    )?;
    let expected = compared
        .iter()
        .map(|text| Ok(model.encode(&[text])?.remove(0)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(understood)?;
    let tokens = encoder
        .encode(&compared.iter().collect::<Vec<_>>())
        .map_err(understood)?;
    if let Head::Embedding { .. } = model.head() {
        let Some(after) = model.after_tokens() else {
            return Err(Unsuitable("its graph pools by itself".into()));
        };
        let width = encoder.width();
        let cosines: Vec<f32> = tokens
            .iter()
            .zip(&expected)
            .map(|(tokens, expected)| cosine(&after.apply(tokens, width), expected))
            .collect();
        let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
        let least = cosines.iter().copied().fold(1.0, f32::min);
        let agreement = format!("cosine {mean:.5} on average, {least:.5} at least");
        // Not below, rather than above: a cosine that is not a number is no agreement.
        return if mean >= LEAST_MEAN && least >= LEAST {
            Ok(Own {
                encoder,
                classifier: None,
                agreement,
            })
        } else {
            Err(Unsuitable(format!("its results differ: {agreement}")))
        };
    }
    let mut nearest = f32::INFINITY;
    for classifier in Classifier::candidates(&graph, encoder.width()) {
        let shifts = tokens
            .iter()
            .zip(&expected)
            .map(|(tokens, expected)| shift(&classifier.logits(tokens, encoder.width()), expected));
        let most = shifts.fold(0.0, f32::max);
        if most <= MOST_SHIFT {
            let agreement = format!("probabilities within {most:.4}");
            return Ok(Own {
                encoder,
                classifier: Some(classifier),
                agreement,
            });
        }
        nearest = nearest.min(most);
    }
    Err(Unsuitable(format!(
        "its results differ: probabilities by {nearest:.4}"
    )))
}

fn tokenized(model: &Model, texts: &str) -> Result<Vec<Tokenized>, Unsuitable> {
    let texts = texts.lines().filter(|line| !line.is_empty());
    texts
        .map(|text| {
            model
                .frame()
                .single(&model.split(text)?, model.max_tokens())
        })
        .collect::<Result<_, _>>()
        .map_err(|error| Unsuitable(format!("its tokenizer refuses plain texts: {error}")))
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    if a.len() != b.len() {
        return f32::NAN;
    }
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// How far the logits' probabilities lie apart, whether labels exclude each other or not; infinitely where they cannot be compared.
fn shift(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() || a.iter().chain(b).any(|x| !x.is_finite()) {
        return f32::INFINITY;
    }
    let independent = |x: f32| 1.0 / (1.0 + (-x).exp());
    let exclusive = |logits: &[f32]| {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = logits.iter().map(|x| (x - largest).exp()).sum();
        logits
            .iter()
            .map(|x| (x - largest).exp() / sum)
            .collect::<Vec<_>>()
    };
    let each = a
        .iter()
        .zip(b)
        .map(|(a, b)| (independent(*a) - independent(*b)).abs());
    let together = exclusive(a)
        .into_iter()
        .zip(exclusive(b))
        .map(|(a, b)| (a - b).abs());
    each.chain(together).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_compared_does_not_agree() {
        assert!(cosine(&[1.0], &[1.0, 0.0]).is_nan());
        assert!(cosine(&[0.0], &[1.0]).is_nan());
        assert_eq!(shift(&[f32::NAN], &[0.0]), f32::INFINITY);
        assert_eq!(shift(&[0.0], &[0.0, 1.0]), f32::INFINITY);
    }

    #[test]
    fn a_shift_is_of_probabilities() {
        assert_eq!(shift(&[0.0, 1.0], &[0.0, 1.0]), 0.0);
        let one = shift(&[0.0, 0.0], &[0.0, f32::ln(3.0)]);
        assert!((one - 0.25).abs() < 1e-6, "{one}");
    }
}
