//! Whether our own encoder may stand in for a graph: only where their results agree on texts that it was not calibrated with.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::model::Model;
use super::modules::AfterTokens;
use super::{Spec, folder};
use crate::engine::encoder::{Classifier, Config, Encoder, Graph, Unsuitable};
use crate::inference::encode::{Encoder as _, Head, Tokenized};

/// Texts on which the ranges of activations are seen: languages, scripts, code, numbers, short and long.
const CALIBRATION: &str = include_str!("calibration.txt");

/// Texts on which results are compared.
const COMPARED: &str = include_str!("compared.txt");

/// Least cosine between two vectors of one text.
const LEAST: f32 = 0.999;

/// Least cosine at which stored weights are those that were recorded: other instructions than those they were judged with round here and there another way.
const LEAST_RECORDED: f32 = 0.995;

/// Most that a label's probability may move.
const MOST_SHIFT: f32 = 0.02;

/// Texts whose results are recorded with a stored encoder, ...
const RECORDED: usize = 4;
/// ... none of them of more tokens than this, so that trying them takes no time.
const MOST_RECORDED_TOKENS: usize = 64;

/// What computes instead of the graph.
pub(super) struct Own {
    pub encoder: Encoder,
    /// What makes logits of token vectors, for a classifier.
    pub classifier: Option<Classifier>,
    record: Record,
}

/// What was found out when an encoder was compared, and what it takes to notice that it does not compute the same any more.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    agreement: Agreement,
    results: Vec<Recorded>,
}

/// A text's tokens, and what ONNX Runtime makes of them.
#[derive(Debug, Deserialize, Serialize)]
struct Recorded {
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    expected: Vec<f32>,
}

/// How well our own encoder agrees with ONNX Runtime.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) enum Agreement {
    /// Cosines between two vectors of one text.
    Cosine { mean: f32, least: f32 },
    /// The most that a label's probability moved.
    Shift { most: f32 },
}

impl Agreement {
    /// Whether that is enough. Not below, rather than above: what is not a number is no agreement.
    fn suffices(self) -> bool {
        match self {
            Self::Cosine { mean, least } => mean >= LEAST && least >= LEAST,
            Self::Shift { most } => most <= MOST_SHIFT,
        }
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cosine { mean, least } => {
                write!(
                    formatter,
                    "cosine {mean:.5} on average, {least:.5} at least"
                )
            }
            Self::Shift { most } => write!(formatter, "probabilities within {most:.4}"),
        }
    }
}

/// Makes our own encoder for a loaded graph and compares the two.
///
/// # Errors
/// [`Unsuitable`] where the graph has to serve.
pub(super) fn own(model: &mut Model, spec: &Spec, threads: usize) -> Result<Own, Unsuitable> {
    let folder = Folder(&spec.files);
    let understood = |error: crate::inference::Error| Unsuitable(error.to_string());
    let description = folder::describe(folder).map_err(understood)?;
    let graph = outline(spec)?;
    let calibration = tokenized(model, CALIBRATION)?;
    let compared = tokenized(model, COMPARED)?;
    let mut encoder = Encoder::build(
        &graph,
        &config(folder)?,
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
    let width = encoder.width();
    let (classifier, agreement) = match model.head() {
        Head::Embedding { .. } => {
            let Some(after) = model.after_tokens() else {
                return Err(Unsuitable("its graph pools by itself".into()));
            };
            let results = tokens.iter().map(|tokens| after.apply(tokens, width));
            (None, cosines(results, &expected))
        }
        Head::Labels { .. } => {
            let candidates = Classifier::candidates(&graph, width).into_iter();
            let compared = candidates.map(|classifier| {
                let results = tokens.iter().map(|tokens| classifier.logits(tokens, width));
                let agreement = shifts(results, &expected);
                (Some(classifier), agreement)
            });
            compared
                .reduce(|best, next| if best.1.suffices() { best } else { next })
                .ok_or_else(|| Unsuitable("its classifier is not understood".into()))?
        }
        Head::TokenLabels { .. } | Head::Sparse { .. } => {
            return Err(Unsuitable("has a result for each token".into()));
        }
    };
    if !agreement.suffices() {
        return Err(Unsuitable(format!("its results differ: {agreement}")));
    }
    let results = compared
        .into_iter()
        .zip(expected)
        .filter(|(text, _)| text.ids.len() <= MOST_RECORDED_TOKENS)
        .take(RECORDED)
        .map(|(text, expected)| Recorded {
            ids: text.ids,
            type_ids: text.type_ids,
            expected,
        })
        .collect();
    Ok(Own {
        encoder,
        classifier,
        record: Record { agreement, results },
    })
}

/// Whether a model may be one that can be computed, told from its files alone.
///
/// # Errors
/// [`Unsuitable`] if it cannot.
pub(super) fn examine(spec: &Spec) -> Result<(), Unsuitable> {
    Encoder::examine(&outline(spec)?, &config(Folder(&spec.files))?)
}

fn config(folder: Folder<'_>) -> Result<Config, Unsuitable> {
    let config = folder.json("config.json");
    let config = config.map_err(|error| Unsuitable(error.to_string()))?;
    Ok(config.unwrap_or_default())
}

fn outline(spec: &Spec) -> Result<Graph, Unsuitable> {
    let folder = Folder(&spec.files);
    Graph::open(&spec.graph, &|name| {
        folder.path(&spec.beside_graph(name)).map(Path::to_owned)
    })
}

impl Own {
    /// Maps an encoder from the file that [`Own::write`] made, and tries it on the texts recorded there. `after` is what happens to the
    /// vectors of tokens of a model that is no classifier.
    ///
    /// # Errors
    /// [`Unsuitable`] if the file is of no use, or its results are not those recorded.
    pub fn open(
        file: &Path,
        source: &str,
        after: AfterTokens,
        threads: usize,
    ) -> Result<Self, Unsuitable> {
        let (mut encoder, classifier, record) = Encoder::open::<Record>(file, source, threads)?;
        let width = encoder.width();
        for recorded in &record.results {
            let text = Tokenized {
                ids: recorded.ids.clone(),
                type_ids: recorded.type_ids.clone(),
                ..Tokenized::default()
            };
            let tokens = encoder
                .encode(&[&text])
                .map_err(|error| Unsuitable(error.to_string()))?
                .remove(0);
            if tokens.is_empty() {
                return Err(Unsuitable("what was recorded of it is damaged".into()));
            }
            let agrees = match &classifier {
                None => cosine(&after.apply(&tokens, width), &recorded.expected) >= LEAST_RECORDED,
                Some(classifier) => {
                    let logits = classifier.logits(&tokens, width);
                    shift(&logits, &recorded.expected) <= MOST_SHIFT
                }
            };
            if !agrees {
                return Err(Unsuitable(
                    "its stored weights do not give what was recorded of them".into(),
                ));
            }
        }
        Ok(Self {
            encoder,
            classifier,
            record,
        })
    }

    /// Writes it to a file. `source` names what it was made of.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn write(&self, source: &str, output: &mut impl Write) -> io::Result<()> {
        let classifier = self.classifier.as_ref();
        self.encoder.write(classifier, source, &self.record, output)
    }

    /// How well it agrees with the graph.
    pub fn agreement(&self) -> Agreement {
        self.record.agreement
    }
}

fn cosines(results: impl Iterator<Item = Vec<f32>>, expected: &[Vec<f32>]) -> Agreement {
    let cosines: Vec<f32> = results
        .zip(expected)
        .map(|(result, expected)| cosine(&result, expected))
        .collect();
    Agreement::Cosine {
        mean: cosines.iter().sum::<f32>() / cosines.len() as f32,
        // Not `min`, which passes over what is not a number.
        least: cosines.into_iter().fold(
            1.0,
            |least, cosine| {
                if cosine >= least { least } else { cosine }
            },
        ),
    }
}

fn shifts(results: impl Iterator<Item = Vec<f32>>, expected: &[Vec<f32>]) -> Agreement {
    let shifts = results
        .zip(expected)
        .map(|(result, expected)| shift(&result, expected));
    Agreement::Shift {
        most: shifts.fold(0.0, f32::max),
    }
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
    fn what_is_no_number_is_no_agreement() {
        let nan = cosines(
            [vec![f32::NAN], vec![1.0]].into_iter(),
            &[vec![1.0], vec![1.0]],
        );
        assert!(!nan.suffices(), "{nan}");
        let same = cosines([vec![2.0]].into_iter(), &[vec![1.0]]);
        assert!(same.suffices(), "{same}");
        assert!(!shifts([vec![f32::NAN]].into_iter(), &[vec![0.0]]).suffices());
    }

    #[test]
    fn a_shift_is_of_probabilities() {
        assert_eq!(shift(&[0.0, 1.0], &[0.0, 1.0]), 0.0);
        let one = shift(&[0.0, 0.0], &[0.0, f32::ln(3.0)]);
        assert!((one - 0.25).abs() < 1e-6, "{one}");
    }
}
