//! One job under way: texts that are not tokens yet, tokens that wait for their batch, outputs that wait for the rest.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::score::{self, Selection};
use super::{
    Activation, Classified, Classify, Embed, Embedded, Encoder, Event, Head, Input, Overflow,
    Rerank, Reranked, Tokenized, Usage,
};
use crate::inference::Error;

/// Texts of one job that are tokenised and not yet computed: enough to find mates of the same length, and no more, so
/// that a long list does not turn into tokens all at once.
const TOKENIZED_AHEAD: usize = 256;

/// Bytes of text that one job tokenises between two batches: about 5 ms of work.
const SLICE_BYTES: usize = 16 * 1024;

/// What a text costs beside its bytes, so that a slice of empty texts ends too.
const TEXT_OVERHEAD_BYTES: usize = 16;

/// An encoding job that was accepted.
#[derive(Debug)]
pub struct Task {
    want: Want,
    inputs: Vec<Input>,
    /// The tokens of the text that comes first in every pair, where they are all asked the same.
    query: Option<Vec<u32>>,
    truncate: bool,
    max_tokens: u32,
    /// Inputs before this one are tokenised.
    next_input: usize,
    tokenized: HashMap<usize, Tokenized>,
    /// What the model computed, by input; empty until then.
    outputs: Vec<Vec<f32>>,
    outputs_missing: usize,
    arrived: Instant,
    first_batch: Option<Instant>,
    usage: Usage,
}

/// What the outputs are wanted for.
#[derive(Debug)]
enum Want {
    Vectors {
        dimensions: Option<u32>,
        normalize: bool,
    },
    Labels {
        names: Vec<String>,
        activation: Activation,
        selection: Selection,
    },
    Relevance {
        activation: Activation,
    },
}

impl Task {
    /// Accepts an embedding job.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model gives no vectors.
    pub fn embed(job: Embed, encoder: &dyn Encoder) -> Result<Self, Error> {
        if let Head::Labels { .. } = encoder.head() {
            return Err(Error::Unsupported(
                "this model classifies texts and does not support embeddings".into(),
            ));
        }
        let want = Want::Vectors {
            dimensions: job.dimensions,
            normalize: job.normalize,
        };
        let inputs = job.inputs.into_iter().map(Input::Text).collect();
        Ok(Self::new(want, inputs, job.overflow, encoder))
    }

    /// Accepts a classification job.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model has no labels.
    pub fn classify(job: Classify, encoder: &dyn Encoder) -> Result<Self, Error> {
        let Head::Labels { names, activation } = encoder.head() else {
            return Err(Error::Unsupported(
                "this model embeds texts and does not support classification".into(),
            ));
        };
        let want = Want::Labels {
            names: names.clone(),
            activation: if job.raw_scores {
                Activation::Identity
            } else {
                *activation
            },
            selection: Selection {
                top_k: job.top_k,
                threshold: job.threshold,
            },
        };
        Ok(Self::new(want, job.inputs, job.overflow, encoder))
    }

    /// Accepts a reranking job.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model does not give one score, and what the tokenizer says of the query.
    pub fn rerank(job: Rerank, encoder: &dyn Encoder) -> Result<Self, Error> {
        let activation = match encoder.head() {
            Head::Labels { names, activation } if names.len() == 1 => *activation,
            Head::Labels { .. } | Head::Embedding { .. } => {
                return Err(Error::Unsupported(
                    "this model does not score pairs of texts and does not support rerank".into(),
                ));
            }
        };
        let want = Want::Relevance {
            activation: match activation {
                _ if job.raw_scores => Activation::Identity,
                Activation::Done => Activation::Done,
                // Whatever the model was trained to give: callers compare with thresholds between 0 and 1.
                Activation::Sigmoid | Activation::Softmax | Activation::Identity => {
                    Activation::Sigmoid
                }
            },
        };
        let documents = job.documents.into_iter().map(Input::Text).collect();
        Ok(Self {
            query: Some(encoder.split(&job.query)?),
            ..Self::new(want, documents, job.overflow, encoder)
        })
    }

    fn new(want: Want, inputs: Vec<Input>, overflow: Overflow, encoder: &dyn Encoder) -> Self {
        let most = encoder.max_tokens();
        Self {
            want,
            query: None,
            truncate: overflow.truncate,
            max_tokens: overflow.max_tokens.map_or(most, |limit| limit.min(most)),
            next_input: 0,
            tokenized: HashMap::new(),
            outputs: vec![Vec::new(); inputs.len()],
            outputs_missing: inputs.len(),
            inputs,
            arrived: Instant::now(),
            first_batch: None,
            usage: Usage::default(),
        }
    }

    /// Tokenises some of the inputs that are left and reports each with its length in tokens.
    ///
    /// # Errors
    /// [`Error::InputTooLong`] and [`Error::NothingLeft`] as the job's overflow rule says; what the tokenizer reports.
    pub fn tokenize(
        &mut self,
        encoder: &dyn Encoder,
        ready: &mut dyn FnMut(usize, u32),
    ) -> Result<(), Error> {
        let started = Instant::now();
        let mut bytes = 0;
        while self.next_input < self.inputs.len()
            && self.tokenized.len() < TOKENIZED_AHEAD
            && bytes < SLICE_BYTES
        {
            let index = self.next_input;
            let input = std::mem::replace(&mut self.inputs[index], Input::Text(String::new()));
            self.next_input += 1;
            bytes += input.bytes() + TEXT_OVERHEAD_BYTES;
            let tokenized = self.tokenize_one(&input, encoder)?;
            let tokens = count(tokenized.ids.len());
            ready(index, tokens);
            self.usage.prompt_tokens = self.usage.prompt_tokens.saturating_add(tokens);
            self.tokenized.insert(index, tokenized);
        }
        self.usage.tokenize_ns += elapsed_ns(started);
        Ok(())
    }

    fn tokenize_one(&mut self, input: &Input, encoder: &dyn Encoder) -> Result<Tokenized, Error> {
        let frame = encoder.frame();
        let framed = match (input, &self.query) {
            (Input::Text(text), None) => frame.single(&encoder.split(text)?, self.max_tokens),
            (Input::Text(text), Some(query)) => {
                frame.pair(query, &encoder.split(text)?, self.max_tokens)
            }
            (Input::Pair(first, second), _) => frame.pair(
                &encoder.split(first)?,
                &encoder.split(second)?,
                self.max_tokens,
            ),
        };
        let tokenized = match framed {
            Err(Error::NothingLeft) if !self.truncate => return Err(Error::InputTooLong),
            other => other?,
        };
        if tokenized.full_length > self.max_tokens {
            if !self.truncate {
                return Err(Error::InputTooLong);
            }
            self.usage.truncated_inputs += 1;
        }
        Ok(tokenized)
    }

    /// Takes the tokens of an input out, because its batch begins.
    pub fn begin(&mut self, index: usize) -> Tokenized {
        self.first_batch.get_or_insert_with(Instant::now);
        self.tokenized
            .remove(&index)
            .expect("only inputs reported as ready are put into a batch, once")
    }

    /// Takes in what the model computed for an input.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is not made of finite numbers.
    pub fn finish(&mut self, index: usize, output: Vec<f32>) -> Result<(), Error> {
        if !output.iter().all(|x| x.is_finite()) {
            let what = match self.want {
                Want::Vectors { .. } => "embedding",
                Want::Labels { .. } => "classification",
                Want::Relevance { .. } => "score",
            };
            return Err(Error::Unsupported(format!(
                "{what} contains NaN or Inf values"
            )));
        }
        self.outputs[index] = output;
        self.outputs_missing -= 1;
        Ok(())
    }

    /// Whether every input has its output.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.outputs_missing == 0
    }

    /// The answer, once the task is finished.
    #[must_use]
    pub fn answer(mut self) -> Event {
        if let Some(first_batch) = self.first_batch {
            self.usage.queue_ns = nanoseconds(first_batch - self.arrived);
            self.usage.compute_ns = elapsed_ns(first_batch);
        }
        let usage = self.usage;
        let outputs = self.outputs.into_iter();
        match self.want {
            Want::Vectors {
                dimensions,
                normalize,
            } => Event::Embedded(Embedded {
                vectors: outputs
                    .map(|output| score::vector(output, dimensions, normalize))
                    .collect(),
                usage,
            }),
            Want::Labels {
                names,
                activation,
                selection,
            } => Event::Classified(Classified {
                labels: outputs
                    .map(|logits| score::labels(&logits, &names, activation, selection))
                    .collect(),
                usage,
            }),
            Want::Relevance { activation } => Event::Reranked(Reranked {
                scores: outputs
                    .map(|output| score::relevance(&output, activation))
                    .collect(),
                usage,
            }),
        }
    }
}

impl Input {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Pair(first, second) => first.len() + second.len(),
        }
    }
}

fn elapsed_ns(since: Instant) -> u64 {
    nanoseconds(since.elapsed())
}

/// A duration in nanoseconds; 584 years fit.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A number of tokens or jobs as reports carry it.
pub fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
