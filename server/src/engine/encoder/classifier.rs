//! What stands on top of an encoder that gives scores to labels: a pooled vector, perhaps a layer, and one number per label.

use serde::{Deserialize, Serialize};

use super::build::Unsuitable;
use super::graph::{Graph, StoredMatrix};

/// Most labels of a classifier that was stored.
const MOST_LABELS: usize = 1 << 16;

/// The head of a classifier.
#[derive(Debug)]
pub struct Classifier {
    pooled: Pooled,
    hidden: Option<(Dense, Between)>,
    labels: Dense,
}

/// What a classifier is made of but its numbers, as it is kept in files.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ClassifierShape {
    pooled: Pooled,
    hidden: Option<(DenseShape, Between)>,
    labels: DenseShape,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct DenseShape {
    outputs: usize,
    by_output: bool,
}

/// What a classifier sees of a text.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Pooled {
    /// The first token's vector.
    First,
    /// The mean of all tokens' vectors.
    Mean,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
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

    /// Number of labels.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.labels.bias.len()
    }

    /// What [`ClassifierShape::read`] makes a classifier of, with [`Classifier::numbers`].
    #[must_use]
    pub fn shape(&self) -> ClassifierShape {
        let hidden = self.hidden.as_ref();
        ClassifierShape {
            pooled: self.pooled,
            hidden: hidden.map(|(dense, between)| (dense.shape(), *between)),
            labels: self.labels.shape(),
        }
    }

    /// Its numbers, layer by layer: weights, biases.
    pub fn numbers(&self) -> impl Iterator<Item = &[f32]> {
        let hidden = self.hidden.iter().map(|(dense, _)| dense);
        hidden
            .chain([&self.labels])
            .flat_map(|dense| [dense.weights.numbers(), &dense.bias])
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

impl ClassifierShape {
    /// Makes a classifier on vectors of `width` numbers. `read` gives so many of its numbers.
    ///
    /// # Errors
    /// [`Unsuitable`] for sizes that none has, and what `read` returns.
    pub fn read(
        &self,
        width: usize,
        read: &mut dyn FnMut(usize) -> Result<Vec<f32>, Unsuitable>,
    ) -> Result<Classifier, Unsuitable> {
        let mut inputs = width;
        let mut dense = |DenseShape { outputs, by_output }: DenseShape| {
            if !(1..=MOST_LABELS).contains(&outputs) {
                return Err(Unsuitable("its classifier is damaged".into()));
            }
            let numbers = read(inputs * outputs)?;
            let weights = StoredMatrix::new(numbers, inputs, outputs, by_output);
            inputs = outputs;
            Ok(Dense {
                weights,
                bias: read(outputs)?,
            })
        };
        let hidden = match self.hidden {
            Some((shape, between)) => Some((dense(shape)?, between)),
            None => None,
        };
        Ok(Classifier {
            pooled: self.pooled,
            hidden,
            labels: dense(self.labels)?,
        })
    }
}

impl Dense {
    fn shape(&self) -> DenseShape {
        DenseShape {
            outputs: self.weights.outputs(),
            by_output: self.weights.is_by_output(),
        }
    }

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
