//! What stands on top of an encoder that gives scores to labels: a pooled vector, perhaps a layer, and one number per label.

use super::build::Unsuitable;
use super::graph::{Graph, StoredMatrix};

/// The head of a classifier.
#[derive(Debug)]
pub struct Classifier {
    pooled: Pooled,
    hidden: Option<(Dense, Between)>,
    labels: Dense,
}

/// What a classifier sees of a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pooled {
    /// The first token's vector.
    First,
    /// The mean of all tokens' vectors.
    Mean,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Between {
    Tanh,
    Relu,
}

#[derive(Debug)]
struct Dense {
    weights: StoredMatrix,
    bias: Vec<f32>,
}

impl Classifier {
    /// The heads that a graph's weights allow, the likelier first: which one it is shows in its results.
    #[must_use]
    pub fn candidates(graph: &Graph, width: usize) -> Vec<Self> {
        let made = |hidden: Option<(&str, Between)>,
                    labels: &str,
                    pooled: Pooled|
         -> Result<Self, Unsuitable> {
            let dense = |name: &str| Dense::find(graph, name, width);
            let hidden = hidden
                .map(|(name, between)| Ok((dense(name)?, between)))
                .transpose()?;
            Ok(Self {
                pooled,
                hidden,
                labels: dense(labels)?,
            })
        };
        let first = Pooled::First;
        [
            // RoBERTa.
            made(
                Some(("classifier.dense", Between::Tanh)),
                "classifier.out_proj",
                first,
            ),
            // DistilBERT.
            made(Some(("pre_classifier", Between::Relu)), "classifier", first),
            // BERT.
            made(Some(("pooler.dense", Between::Tanh)), "classifier", first),
            made(None, "classifier", Pooled::Mean),
            made(None, "classifier", first),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// A text's logits, from the vectors of its tokens: `[tokens, width]`.
    #[must_use]
    pub fn logits(&self, tokens: &[f32], width: usize) -> Vec<f32> {
        let mut pooled = tokens[..width].to_vec();
        if self.pooled == Pooled::Mean {
            for token in tokens[width..].chunks_exact(width) {
                for (sum, x) in pooled.iter_mut().zip(token) {
                    *sum += x;
                }
            }
            let count = (tokens.len() / width) as f32;
            pooled.iter_mut().for_each(|x| *x /= count);
        }
        if let Some((dense, between)) = &self.hidden {
            pooled = dense.apply(&pooled);
            for x in &mut pooled {
                *x = match between {
                    Between::Tanh => x.tanh(),
                    Between::Relu => x.max(0.0),
                };
            }
        }
        self.labels.apply(&pooled)
    }
}

impl Dense {
    /// The layer whose name ends with `name`, with `inputs` inputs.
    fn find(graph: &Graph, name: &str, inputs: usize) -> Result<Self, Unsuitable> {
        let bias = format!("{name}.bias");
        let full = graph.names().find(|full| {
            full.strip_suffix(&bias)
                .is_some_and(|before| before.is_empty() || before.ends_with('.'))
        });
        let full = full.and_then(|full| full.strip_suffix(".bias"));
        let full = full.ok_or_else(|| Unsuitable(format!("it has no layer '{name}'")))?;
        let (weights, bias) = (graph.matrix(full)?, graph.vector(&format!("{full}.bias"))?);
        if weights.inputs() != inputs || weights.outputs() != bias.len() {
            return Err(Unsuitable(format!("'{full}' has an unexpected size")));
        }
        Ok(Self { weights, bias })
    }

    fn apply(&self, input: &[f32]) -> Vec<f32> {
        let output = |(output, bias): (usize, &f32)| {
            let products = self
                .weights
                .output(output)
                .zip(input)
                .map(|(weight, x)| weight * x);
            bias + products.sum::<f32>()
        };
        self.bias.iter().enumerate().map(output).collect()
    }
}
