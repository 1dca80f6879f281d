//! From a model's weights to a network: find its parts by their names, see the range of its activations, round its weights.

use std::collections::BTreeMap;

use super::Config;
use super::graph::{Graph, StoredMatrix};
use super::network::{
    ByteTable, Layer, Linear, Memory, Network, Norm, Pack, Shape, Site, Table, Team,
};
use super::simd::{Activation, Kernels, MOST_INPUTS, Matrix, PANEL, mixing_gain};
use crate::engine::mapping::SignedBytes;
use crate::inference::encode::Tokenized;

/// How much of the difference between inputs' ranges goes from the activations to the weights: 0 nothing, 1 all.
const SMOOTHING: f32 = 0.6;

/// Most layers of a model; the largest of the family have 24.
pub(super) const MOST_LAYERS: usize = 128;

/// Tokens that are calibrated with at a time.
const CALIBRATION_TOKENS: usize = 128;

/// Rows of a table that are turned into bytes at a time.
const TABLE_ROWS: usize = 1024;

/// Why a model is left to another engine.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{0}")]
pub struct Unsuitable(pub String);

/// Names of a model's parts.
struct Names {
    /// What stands before all of them.
    prefix: String,
    layer: &'static str,
    attention: [&'static str; 4],
    attention_norm: &'static str,
    feed_forward: [&'static str; 2],
    norm: &'static str,
}

const BERT: Names = Names {
    prefix: String::new(),
    layer: "encoder.layer",
    attention: [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
    ],
    attention_norm: "attention.output.LayerNorm",
    feed_forward: ["intermediate.dense", "output.dense"],
    norm: "output.LayerNorm",
};

const DISTILBERT: Names = Names {
    prefix: String::new(),
    layer: "transformer.layer",
    attention: [
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
    ],
    attention_norm: "sa_layer_norm",
    feed_forward: ["ffn.lin1", "ffn.lin2"],
    norm: "output_layer_norm",
};

impl Names {
    /// The names that a model of this kind has in this graph.
    fn of(graph: &Graph, config: &Config) -> Result<Self, Unsuitable> {
        let names = match config.model_type.as_deref() {
            Some("bert" | "roberta" | "xlm-roberta" | "camembert") => BERT,
            Some("distilbert") => DISTILBERT,
            Some(other) => {
                return Err(Unsuitable(format!(
                    "its type '{other}' is not one of the BERT family"
                )));
            }
            None => return Err(Unsuitable("its type is not given".into())),
        };
        let words = "embeddings.word_embeddings.weight";
        let prefix = graph
            .names()
            .find_map(|name| name.strip_suffix(words))
            .map(str::to_owned);
        let prefix = prefix.ok_or_else(|| Unsuitable(format!("it has no table '{words}'")))?;
        Ok(Self { prefix, ..names })
    }

    fn embedding(&self, part: &str) -> String {
        format!("{}embeddings.{part}", self.prefix)
    }

    fn part(&self, layer: usize, part: &str) -> String {
        format!("{}{}.{layer}.{part}", self.prefix, self.layer)
    }
}

/// Makes the network. It is made twice: plain, to see the activations of the calibration texts, and then with the layers stretched to
/// their ranges.
///
/// # Errors
/// [`Unsuitable`] if the model is not understood.
pub(super) fn network(
    graph: &Graph,
    config: &Config,
    first_position: usize,
    calibration: &[Tokenized],
    kernels: Kernels,
) -> Result<Network, Unsuitable> {
    let (names, shape) = parts(graph, config, first_position)?;
    let maker = Maker {
        graph,
        names: &names,
        shape,
        kernels,
    };
    let mut network = maker.network()?;
    for text in calibration {
        network.check(text).map_err(Unsuitable)?;
    }
    let peaks = observe(&network, calibration, kernels);
    for (number, layer) in network.layers.iter_mut().enumerate() {
        *layer = maker.layer(number, &peaks)?;
    }
    Ok(network)
}

/// Whether the parts of a model of this family are there.
///
/// # Errors
/// [`Unsuitable`] if not.
pub(super) fn examine(graph: &Graph, config: &Config) -> Result<(), Unsuitable> {
    parts(graph, config, 0).map(drop)
}

fn parts(
    graph: &Graph,
    config: &Config,
    first_position: usize,
) -> Result<(Names, Shape), Unsuitable> {
    if !matches!(
        config.position_embedding_type.as_deref(),
        None | Some("absolute")
    ) {
        return Err(Unsuitable("its positions are relative".into()));
    }
    let names = Names::of(graph, config)?;
    let shape = shape(graph, config, &names, first_position)?;
    Ok((names, shape))
}

fn shape(
    graph: &Graph,
    config: &Config,
    names: &Names,
    first_position: usize,
) -> Result<Shape, Unsuitable> {
    let words = names.embedding("word_embeddings.weight");
    let Some(&[_, width]) = graph.dimensions(&words) else {
        return Err(Unsuitable(format!("'{words}' is no table")));
    };
    let heads = config
        .num_attention_heads
        .filter(|&heads| heads > 0 && width % heads == 0);
    let inner = graph.dimensions(&format!("{}.bias", names.part(0, names.feed_forward[0])));
    let (Some(heads), Some(&[inner])) = (heads, inner) else {
        return Err(Unsuitable("its sizes are not understood".into()));
    };
    if width == 0 || width > MOST_INPUTS || inner == 0 || inner > MOST_INPUTS {
        return Err(Unsuitable(format!(
            "its sizes {width} and {inner} are not supported"
        )));
    }
    Ok(Shape {
        width,
        heads,
        inner,
        activation: match config.hidden_act.as_deref() {
            None | Some("gelu") => Activation::Gelu,
            Some("relu") => Activation::Relu,
            Some(other) => {
                return Err(Unsuitable(format!(
                    "its activation '{other}' is not supported"
                )));
            }
        },
        epsilon: config.layer_norm_eps.unwrap_or(1e-12),
        first_position,
    })
}

/// The largest magnitude of every input of a layer's linear layers.
type Peaks = BTreeMap<(usize, Site), Vec<f32>>;

fn observe(network: &Network, texts: &[Tokenized], kernels: Kernels) -> Peaks {
    let mut peaks = Peaks::new();
    let team = Team::new(1);
    let mut memory = Memory::default();
    let mut rest = texts;
    while !rest.is_empty() {
        let mut tokens = 0;
        let fitting = rest.iter().take_while(|text| {
            tokens += text.ids.len();
            tokens <= CALIBRATION_TOKENS
        });
        let (now, later) = rest.split_at(fitting.count().max(1));
        rest = later;
        network.lead(
            kernels,
            &Pack::of(now),
            &team,
            &mut memory,
            &mut |layer, site, row| {
                let peaks = peaks
                    .entry((layer, site))
                    .or_insert_with(|| vec![0.0; row.len()]);
                for (peak, x) in peaks.iter_mut().zip(row) {
                    *peak = peak.max(x.abs());
                }
            },
        );
    }
    peaks
}

struct Maker<'a> {
    graph: &'a Graph,
    names: &'a Names,
    shape: Shape,
    kernels: Kernels,
}

impl Maker<'_> {
    fn network(&self) -> Result<Network, Unsuitable> {
        let table = |part: &str| self.table(&self.names.embedding(part));
        let types = self.names.embedding("token_type_embeddings.weight");
        let layers = (0..MOST_LAYERS)
            .take_while(|&number| self.has_layer(number))
            .map(|number| self.layer(number, &Peaks::new()))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Network {
            shape: self.shape,
            words: self.words()?,
            positions: table("position_embeddings.weight")?,
            types: match self.graph.dimensions(&types) {
                Some(_) => Some(self.table(&types)?),
                None => None,
            },
            norm: self.norm(&self.names.embedding("LayerNorm"))?,
            layers,
        })
    }

    fn has_layer(&self, number: usize) -> bool {
        let bias = format!("{}.bias", self.names.part(number, self.names.attention[0]));
        self.graph.dimensions(&bias).is_some()
    }

    fn layer(&self, number: usize, peaks: &Peaks) -> Result<Layer, Unsuitable> {
        let part = |part: &str| self.names.part(number, part);
        let peaks = |site: Site| peaks.get(&(number, site)).map(Vec::as_slice);
        let [expand, reduce] = self.names.feed_forward;
        let Shape { width, inner, .. } = self.shape;
        Ok(Layer {
            attention: self.attention(number, peaks(Site::Attention))?,
            output: self.linear(
                &part(self.names.attention[3]),
                (width, width),
                peaks(Site::Output),
            )?,
            attention_norm: self.norm(&part(self.names.attention_norm))?,
            expand: self.linear(&part(expand), (width, inner), peaks(Site::Expand))?,
            reduce: self.linear(&part(reduce), (inner, width), peaks(Site::Reduce))?,
            norm: self.norm(&part(self.names.norm))?,
        })
    }

    /// The joined layer of queries, keys and values, in the order of [`Layer::attention`].
    fn attention(&self, number: usize, peaks: Option<&[f32]>) -> Result<Linear, Unsuitable> {
        let Shape { width, heads, .. } = self.shape;
        let [queries, keys, values, _] = self.names.attention;
        let parts = [queries, keys, values]
            .map(|part| self.weights(&self.names.part(number, part), (width, width)));
        let [queries, keys, values] = parts;
        let parts = [queries?, keys?, values?];
        let stretch = stretch(width, peaks, parts.iter().map(|(matrix, _)| matrix));
        let (size, columns) = (self.shape.head_size(), self.shape.head_columns());
        let mut weights = Matrix::zero(width, heads * columns);
        for head in 0..heads {
            for (index, (matrix, bias)) in parts.iter().enumerate() {
                let scale = if index == 0 {
                    1.0 / (size as f32).sqrt()
                } else {
                    1.0
                };
                for n in 0..size {
                    let output = head * size + n;
                    let row = self.mixed(matrix, output, &stretch, scale);
                    weights.set(
                        head * columns + index * size + n,
                        &row,
                        bias[output] * scale,
                    );
                }
            }
        }
        Ok(Linear { weights, stretch })
    }

    fn linear(
        &self,
        name: &str,
        sizes: (usize, usize),
        peaks: Option<&[f32]>,
    ) -> Result<Linear, Unsuitable> {
        let (matrix, bias) = self.weights(name, sizes)?;
        let stretch = stretch(sizes.0, peaks, [&matrix]);
        let mut weights = Matrix::zero(sizes.0, sizes.1);
        for (output, bias) in bias.into_iter().enumerate() {
            let row = self.mixed(&matrix, output, &stretch, 1.0);
            weights.set(output, &row, bias);
        }
        Ok(Linear { weights, stretch })
    }

    /// An output's weights, times `scale`, for inputs that are stretched and mixed; filled up to whole panels.
    fn mixed(&self, matrix: &StoredMatrix, output: usize, stretch: &[f32], scale: f32) -> Vec<f32> {
        let scale = scale / mixing_gain(stretch.len());
        let weights = matrix.output(output).zip(stretch);
        let mut row: Vec<f32> = weights
            .map(|(weight, stretch)| weight * scale / stretch)
            .collect();
        row.resize(stretch.len(), 0.0);
        self.kernels.mix(&mut row);
        row
    }

    fn weights(
        &self,
        name: &str,
        (inputs, outputs): (usize, usize),
    ) -> Result<(StoredMatrix, Vec<f32>), Unsuitable> {
        let matrix = self.graph.matrix(name)?;
        let bias = self.graph.vector(&format!("{name}.bias"))?;
        if (matrix.inputs(), matrix.outputs(), bias.len()) != (inputs, outputs, outputs) {
            return Err(Unsuitable(format!("'{name}' has an unexpected size")));
        }
        Ok((matrix, bias))
    }

    fn norm(&self, name: &str) -> Result<Norm, Unsuitable> {
        let numbers = |part: &str| {
            let mut numbers = self.graph.vector(&format!("{name}.{part}"))?;
            if numbers.len() != self.shape.width {
                return Err(Unsuitable(format!("'{name}' has an unexpected size")));
            }
            numbers.resize(self.shape.padded_width(), 0.0);
            Ok(numbers)
        };
        Ok(Norm {
            gain: numbers("weight")?,
            shift: numbers("bias")?,
        })
    }

    fn table(&self, name: &str) -> Result<Table, Unsuitable> {
        let rows = self.table_rows(name)?;
        Ok(Table {
            numbers: self.graph.rows(name, 0, rows)?,
            width: self.shape.width,
        })
    }

    fn table_rows(&self, name: &str) -> Result<usize, Unsuitable> {
        match self.graph.dimensions(name) {
            Some(&[rows, width]) if width == self.shape.width => Ok(rows),
            _ => Err(Unsuitable(format!("it has no table '{name}'"))),
        }
    }

    fn words(&self) -> Result<ByteTable, Unsuitable> {
        let name = self.names.embedding("word_embeddings.weight");
        let rows = self.table_rows(&name)?;
        let width = self.shape.width;
        let mut bytes = SignedBytes::zeros(rows * width);
        let mut left = bytes.own().expect("they were made here");
        let mut scales = Vec::with_capacity(rows);
        for first in (0..rows).step_by(TABLE_ROWS) {
            let numbers = self
                .graph
                .rows(&name, first, TABLE_ROWS.min(rows - first))?;
            for row in numbers.chunks_exact(width) {
                let largest = row.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
                let scale = if (largest / 127.0).is_normal() {
                    largest / 127.0
                } else {
                    1.0
                };
                let (to, behind) = left.split_at_mut(width);
                for (byte, x) in to.iter_mut().zip(row) {
                    *byte = (x / scale).round_ties_even() as i8;
                }
                left = behind;
                scales.push(scale);
            }
        }
        Ok(ByteTable {
            bytes,
            scales,
            width,
        })
    }
}

/// What inputs are multiplied by, so that the large ones take less of a token's range; filled up to whole panels.
fn stretch<'a>(
    inputs: usize,
    peaks: Option<&[f32]>,
    matrices: impl IntoIterator<Item = &'a StoredMatrix>,
) -> Vec<f32> {
    let padded = inputs.next_multiple_of(PANEL);
    let Some(peaks) = peaks else {
        return vec![1.0; padded];
    };
    let mut weights = vec![0.0f32; inputs];
    for matrix in matrices {
        for output in 0..matrix.outputs() {
            for (largest, weight) in weights.iter_mut().zip(matrix.output(output)) {
                *largest = largest.max(weight.abs());
            }
        }
    }
    let mut stretch: Vec<f32> = weights
        .iter()
        .zip(peaks)
        .map(|(&weight, &peak)| {
            // An input that was never seen, or goes nowhere, tells nothing.
            let factor = weight.powf(1.0 - SMOOTHING) / peak.powf(SMOOTHING);
            if factor.is_finite() && factor > 1e-6 {
                factor
            } else {
                1.0
            }
        })
        .collect();
    stretch.resize(padded, 1.0);
    stretch
}
