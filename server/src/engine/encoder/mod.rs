//! Our own encoder for the BERT family: 8-bit weights, and activations in 8 bits with a range for each token.
//!
//! It computes what an ONNX graph of that family computes, without the graph: `graph` finds the weights in the model's files by
//! the names that exporters keep, `build` turns them into a [`Network`], `network` is the computation, `crew` the threads that share it, and
//! `simd` the arithmetic; `stored` keeps the result in a file. Whether the result is right is for others to judge: `onnx` compares it with the graph's own results before
//! it is used. Texts are packed, not padded, and a text's vector is the same, to the bit, in any company.

#[doc(hidden)]
pub mod bench;
mod board;
mod build;
mod classifier;
mod crew;
mod graph;
mod network;
mod simd;
mod stored;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::build::Unsuitable;
pub use self::classifier::{Classifier, Pooled};
use self::crew::Crew;
pub use self::graph::Graph;
use self::network::{Network, Pack};
use self::simd::Kernels;
use crate::inference::Error;
use crate::inference::encode::Tokenized;

/// What `config.json` says of a model of this family, under the names that its members use.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct Config {
    model_type: Option<String>,
    #[serde(alias = "n_heads")]
    num_attention_heads: Option<usize>,
    #[serde(alias = "activation")]
    hidden_act: Option<String>,
    layer_norm_eps: Option<f32>,
    position_embedding_type: Option<String>,
}

/// An encoder that is ready to compute.
#[derive(Debug)]
pub struct Encoder {
    network: Arc<Network>,
    crew: Crew,
    kernels: Kernels,
}

impl Encoder {
    /// Makes an encoder out of a model's weights. `calibration` are texts on which the ranges of its activations are seen;
    /// `first_position` is the first token's row of the position table.
    ///
    /// # Errors
    /// [`Unsuitable`] if the model is not of this family, or is in a way that is not understood.
    pub fn build(
        graph: &Graph,
        config: &Config,
        first_position: u32,
        calibration: &[Tokenized],
        threads: usize,
    ) -> Result<Self, Unsuitable> {
        let kernels = Kernels::best();
        let first_position = first_position as usize;
        let network = build::network(graph, config, first_position, calibration, kernels)?;
        Ok(Self::of(network, kernels, threads))
    }

    /// Whether the graph has the parts of a model of this family.
    ///
    /// # Errors
    /// [`Unsuitable`] if not.
    pub fn examine(graph: &Graph, config: &Config) -> Result<(), Unsuitable> {
        build::examine(graph, config)
    }

    /// Maps an encoder, and what stands on top of it, from the file that [`Encoder::write`] made of `source`; with what was recorded there.
    ///
    /// # Errors
    /// [`Unsuitable`] if the file cannot be read, is damaged, or was made of something else or by another version.
    pub fn open<Record: for<'a> Deserialize<'a>>(
        path: &Path,
        source: &str,
        threads: usize,
    ) -> Result<(Self, Option<Classifier>, Record), Unsuitable> {
        let (network, classifier, record) = stored::open(path, source)?;
        Ok((
            Self::of(network, Kernels::best(), threads),
            classifier,
            record,
        ))
    }

    /// Writes the encoder to a file, with what stands on top of it, what it was made of, and what is to be remembered of it.
    ///
    /// # Errors
    /// Those of `output`, and [`io::ErrorKind::InvalidInput`] for a record of more than a megabyte.
    pub fn write(
        &self,
        classifier: Option<&Classifier>,
        source: &str,
        record: &impl Serialize,
        output: &mut impl Write,
    ) -> io::Result<()> {
        stored::write(&self.network, classifier, source, record, output)
    }

    fn of(network: Network, kernels: Kernels, threads: usize) -> Self {
        let network = Arc::new(network);
        Self {
            crew: Crew::new(&network, kernels, threads),
            network,
            kernels,
        }
    }

    /// Numbers of a token's vector.
    pub fn width(&self) -> usize {
        self.network.shape.width
    }

    /// The vector instructions that it computes with, for people.
    pub fn kernels(&self) -> &'static str {
        self.kernels.name()
    }

    /// The vectors of every text's tokens: `[tokens, width]` each.
    ///
    /// # Errors
    /// [`Error::Engine`] for tokens that the model does not have, or a text that is longer than its table of positions.
    pub fn encode(&mut self, texts: &[&Tokenized]) -> Result<Vec<Vec<f32>>, Error> {
        for text in texts {
            self.network.check(text).map_err(Error::Engine)?;
        }
        Ok(self.crew.encode(texts))
    }
}

impl Pack {
    /// Texts one after another.
    fn of<'a>(texts: impl IntoIterator<Item = &'a Tokenized>) -> Self {
        let mut pack = Self::default();
        for text in texts {
            let start = pack.ids.len();
            pack.ids.extend(&text.ids);
            pack.type_ids.extend(&text.type_ids);
            pack.texts.push(start..pack.ids.len());
        }
        pack
    }
}
