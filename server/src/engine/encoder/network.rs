//! An encoder of the BERT family: embeddings, then layers of attention and feed-forward with normalisation after each.
//!
//! Texts are packed one after another without padding. Threads share a pack by columns: a layer has four steps, each cut into pieces of some heads or some
//! outputs of a linear layer, for all tokens, so that every weight is read by one thread only. What needs whole rows (normalising, turning into
//! bytes) one thread does between the steps, the leader.

use std::ops::Range;
use std::sync::{RwLock, RwLockReadGuard};

use serde::{Deserialize, Serialize};

use super::board::Board;
use super::simd::{Activation, Buffer, Head, Kernels, Matrix, PANEL, Product, Rows, Scratch};
use crate::engine::mapping::SignedBytes;
use crate::inference::encode::Tokenized;

/// An encoder's weights.
#[derive(Debug)]
pub struct Network {
    pub shape: Shape,
    pub words: ByteTable,
    pub positions: Table,
    /// Some members of the family have none.
    pub types: Option<Table>,
    pub norm: Norm,
    pub layers: Vec<Layer>,
}

/// An encoder's sizes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Shape {
    /// Numbers of a token.
    pub width: usize,
    pub heads: usize,
    /// Numbers of a token between the two halves of a feed-forward layer.
    pub inner: usize,
    pub activation: Activation,
    pub epsilon: f32,
    /// Row of the position table for the first token.
    pub first_position: usize,
}

impl Shape {
    pub fn head_size(&self) -> usize {
        self.width / self.heads
    }

    /// Columns of a head's queries, keys and values: whole panels, so that heads can be divided among threads.
    pub fn head_columns(&self) -> usize {
        (3 * self.head_size()).next_multiple_of(PANEL)
    }

    pub fn padded_width(&self) -> usize {
        self.width.next_multiple_of(PANEL)
    }
}

/// A layer.
#[derive(Debug)]
pub struct Layer {
    /// For each head its queries (scaled by the root of the head's size), keys and values, filled up to whole panels.
    pub attention: Linear,
    pub output: Linear,
    pub attention_norm: Norm,
    pub expand: Linear,
    pub reduce: Linear,
    pub norm: Norm,
}

/// A linear layer. Inputs are multiplied by `stretch`, whose inverse is in the weights: inputs that are much larger than
/// the others would leave those few of the 255 steps (SmoothQuant, <https://arxiv.org/abs/2211.10438>).
#[derive(Debug)]
pub struct Linear {
    pub weights: Matrix,
    pub stretch: Vec<f32>,
}

/// Gains and shifts of a normalisation, filled up with zeros.
#[derive(Debug)]
pub struct Norm {
    pub gain: Vec<f32>,
    pub shift: Vec<f32>,
}

/// Rows of floats.
#[derive(Debug, Default)]
pub struct Table {
    pub numbers: Vec<f32>,
    pub width: usize,
}

/// Rows of signed bytes, with a scale each.
#[derive(Debug, Default)]
pub struct ByteTable {
    pub bytes: SignedBytes,
    pub scales: Vec<f32>,
    pub width: usize,
}

/// Most tokens of a short text. Its vector is that of few tokens, in which no errors cancel out: it is computed with activations of two bytes, which costs
/// little where it is the weights that take the time.
pub const SHORT_TOKENS: usize = 8;

/// A pack of texts.
#[derive(Debug, Default)]
pub struct Pack {
    /// Whether activations have two bytes.
    pub is_precise: bool,
    /// Whether other threads may help with it.
    pub is_shared: bool,
    pub ids: Vec<u32>,
    pub type_ids: Vec<u32>,
    /// Where each text is in `ids`.
    pub texts: Vec<Range<usize>>,
}

/// Working memory of the leader.
#[derive(Debug, Default)]
pub struct Memory {
    tokens: Buffer<f32>,
    row: Buffer<f32>,
    pub tools: Tools,
}

/// Working memory for pieces.
#[derive(Debug, Default)]
pub struct Tools {
    heads: Buffer<f32>,
    scratch: Scratch,
}

/// The threads that share a pack, and what they hand to each other.
#[derive(Debug)]
pub struct Team {
    board: Board,
    /// What the leader hands to all: the inputs of the step's linear layer, ...
    rows: RwLock<Rows>,
    /// ... and where the texts are in them.
    texts: RwLock<Vec<Range<usize>>>,
    /// What each piece of the step results in: its columns, for all tokens.
    results: Vec<RwLock<Buffer<f32>>>,
}

impl Team {
    /// A team that cuts each step into so many pieces.
    pub fn new(pieces: usize) -> Self {
        Self {
            board: Board::new(pieces),
            rows: RwLock::default(),
            texts: RwLock::default(),
            results: (0..pieces).map(|_| RwLock::default()).collect(),
        }
    }

    /// Lets the leader's helpers come, and go.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Into how many pieces a step of a pack is cut. Alone, only attention's are: what lies in memory between its two parts is then as little.
    fn pieces(&self, pack: &Pack, site: Site) -> usize {
        match site {
            Site::Output | Site::Expand | Site::Reduce if !pack.is_shared => 1,
            _ => self.board.pieces(),
        }
    }

    /// What so many pieces resulted in.
    fn results(&self, pieces: usize) -> Vec<RwLockReadGuard<'_, Buffer<f32>>> {
        let results = self.results[..pieces].iter();
        results
            .map(|result| result.read().expect(UNHARMED))
            .collect()
    }
}

/// Why locks between threads hold. None is ever waited for: pieces read what the leader wrote before it opened their step, and the leader goes
/// on when all pieces are done.
const UNHARMED: &str = "no thread panics with a lock held and lets the others live";

/// The part of `count` things that member `member` of `members` has.
fn part(count: usize, member: usize, members: usize) -> Range<usize> {
    count * member / members..count * (member + 1) / members
}

impl Network {
    /// Computes a pack as the leader of a team. Returns the vectors of all tokens: `[tokens, padded width]`.
    pub fn lead<'a>(
        &self,
        kernels: Kernels,
        pack: &Pack,
        team: &Team,
        memory: &'a mut Memory,
        watch: &mut dyn FnMut(usize, Site, &[f32]),
    ) -> &'a [f32] {
        team.texts.write().expect(UNHARMED).clone_from(&pack.texts);
        self.embed(kernels, pack, memory);
        let width = self.shape.padded_width();
        let mut before = 0;
        for (number, layer) in self.layers.iter().enumerate() {
            for (site, norm) in [
                (Site::Attention, None),
                (Site::Output, Some(&layer.attention_norm)),
                (Site::Expand, None),
                (Site::Reduce, Some(&layer.norm)),
            ] {
                {
                    let stretch = &layer.linear(site).stretch;
                    let mut rows = team.rows.write().expect(UNHARMED);
                    rows.resize(pack.ids.len(), stretch.len(), pack.is_precise);
                    let mut put = |index: usize, row: &[f32]| {
                        watch(number, site, row);
                        kernels.quantize(row, stretch, &mut rows, index);
                    };
                    match site {
                        Site::Attention | Site::Expand => {
                            let tokens = memory.tokens.chunks_exact(width).enumerate();
                            tokens.for_each(|(index, row)| put(index, row));
                        }
                        Site::Output | Site::Reduce => {
                            let results = team.results(before);
                            let count = pack.ids.len();
                            memory.row.fit(stretch.len());
                            memory.row.fill(0.0);
                            for index in 0..count {
                                match &results[..] {
                                    [whole] if whole.len() == count * stretch.len() => {
                                        put(
                                            index,
                                            &whole[index * stretch.len()..][..stretch.len()],
                                        );
                                    }
                                    pieces => {
                                        gather(pieces, index, count, |at, numbers| {
                                            memory.row[at..at + numbers.len()]
                                                .copy_from_slice(numbers);
                                        });
                                        put(index, &memory.row);
                                    }
                                }
                            }
                        }
                    }
                }
                let tools = &mut memory.tools;
                let pieces = team.pieces(pack, site);
                if pack.is_shared {
                    team.board.lead(4 * number + site as usize, &mut |piece| {
                        self.compute(kernels, team, (number, site), piece, pieces, tools);
                    });
                } else {
                    for piece in 0..pieces {
                        self.compute(kernels, team, (number, site), piece, pieces, tools);
                    }
                }
                before = pieces;
                if let Some(norm) = norm {
                    let results = team.results(pieces);
                    self.add_and_normalize(kernels, &results, norm, &mut memory.tokens);
                }
            }
        }
        &memory.tokens
    }

    /// Takes pieces of what the leader of the team computes, until it is computed.
    pub fn help(&self, kernels: Kernels, team: &Team, tools: &mut Tools) {
        team.board.help(&mut |step, piece| {
            let site = [Site::Attention, Site::Output, Site::Expand, Site::Reduce][step % 4];
            let pieces = team.board.pieces();
            self.compute(kernels, team, (step / 4, site), piece, pieces, tools);
        });
    }

    /// Computes a piece of a step, of so many.
    fn compute(
        &self,
        kernels: Kernels,
        team: &Team,
        (layer, site): (usize, Site),
        piece: usize,
        pieces: usize,
        tools: &mut Tools,
    ) {
        let rows = team.rows.read().expect(UNHARMED);
        let mut out = team.results[piece].write().expect(UNHARMED);
        let weights = &self.layers[layer].linear(site).weights;
        let activation = match site {
            Site::Attention => {
                let heads = part(self.shape.heads, piece, pieces);
                let panels = self.shape.head_columns() / PANEL;
                let panels = heads.start * panels..heads.end * panels;
                multiply(
                    kernels,
                    &rows,
                    weights,
                    panels,
                    Activation::None,
                    &mut tools.heads,
                );
                let texts = team.texts.read().expect(UNHARMED);
                return self.attend(kernels, &texts, heads.len(), tools, &mut out);
            }
            Site::Expand => self.shape.activation,
            Site::Output | Site::Reduce => Activation::None,
        };
        let panels = part(weights.panels(), piece, pieces);
        multiply(kernels, &rows, weights, panels, activation, &mut out);
    }

    /// Whether a text's tokens have their rows in the tables.
    pub fn check(&self, text: &Tokenized) -> Result<(), String> {
        let rows = |table: &Table| table.numbers.len() / table.width;
        let most = rows(&self.positions).saturating_sub(self.shape.first_position);
        if text.ids.len() > most {
            return Err(format!(
                "a text of {} tokens is longer than the model's {most} positions",
                text.ids.len()
            ));
        }
        if text
            .ids
            .iter()
            .any(|&id| id as usize >= self.words.scales.len())
        {
            return Err("a token is not in the model's vocabulary".into());
        }
        let kinds = self.types.as_ref().map_or(usize::MAX, rows);
        if text.type_ids.len() != text.ids.len()
            || text.type_ids.iter().any(|&id| id as usize >= kinds)
        {
            return Err("a token has a type that the model does not have".into());
        }
        Ok(())
    }

    fn embed(&self, kernels: Kernels, pack: &Pack, memory: &mut Memory) {
        let width = self.shape.padded_width();
        memory.tokens.fit(pack.ids.len() * width);
        for text in &pack.texts {
            for (position, index) in text.clone().enumerate() {
                let row = &mut memory.tokens[index * width..(index + 1) * width];
                let (bytes, scale) = self.words.row(pack.ids[index] as usize);
                let positions = self.positions.row(self.shape.first_position + position);
                for ((x, byte), position) in row.iter_mut().zip(bytes).zip(positions) {
                    *x = f32::from(*byte) * scale + position;
                }
                if let Some(types) = &self.types {
                    for (x, kind) in row.iter_mut().zip(types.row(pack.type_ids[index] as usize)) {
                        *x += kind;
                    }
                }
                row[self.shape.width..].fill(0.0);
                kernels.normalize(
                    row,
                    self.shape.width,
                    &self.norm.gain,
                    &self.norm.shift,
                    self.shape.epsilon,
                );
            }
        }
    }

    /// Attention of so many heads, whose queries, keys and values lie in `tools`.
    fn attend(
        &self,
        kernels: Kernels,
        texts: &[Range<usize>],
        heads: usize,
        tools: &mut Tools,
        out: &mut Buffer<f32>,
    ) {
        let size = self.shape.head_size();
        let columns = self.shape.head_columns();
        let stride = heads * columns;
        let out_stride = heads * size;
        let tokens = texts.last().map_or(0, |text| text.end);
        out.fit(tokens * out_stride);
        for text in texts {
            for head in 0..heads {
                let at = &tools.heads[text.start * stride + head * columns..];
                kernels.attend(
                    &Head {
                        queries: at,
                        keys: &at[size..],
                        values: &at[2 * size..],
                        stride,
                        tokens: text.len(),
                        size,
                    },
                    &mut tools.scratch,
                    &mut out[text.start * out_stride + head * size..],
                    out_stride,
                );
            }
        }
    }

    fn add_and_normalize(
        &self,
        kernels: Kernels,
        results: &[RwLockReadGuard<'_, Buffer<f32>>],
        norm: &Norm,
        tokens: &mut [f32],
    ) {
        let width = self.shape.padded_width();
        let count = tokens.len() / width;
        for (index, row) in tokens.chunks_exact_mut(width).enumerate() {
            gather(results, index, count, |at, numbers| {
                kernels.add(&mut row[at..at + numbers.len()], numbers);
            });
            kernels.normalize(
                row,
                self.shape.width,
                &norm.gain,
                &norm.shift,
                self.shape.epsilon,
            );
        }
    }
}

impl Layer {
    /// The linear layer with these inputs.
    fn linear(&self, site: Site) -> &Linear {
        match site {
            Site::Attention => &self.attention,
            Site::Output => &self.output,
            Site::Expand => &self.expand,
            Site::Reduce => &self.reduce,
        }
    }
}

/// The steps of a layer, by what they begin with: the inputs of its four linear layers, where activations can be watched.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Site {
    Attention,
    Output,
    Expand,
    Reduce,
}

/// Computes some panels of a linear layer.
fn multiply(
    kernels: Kernels,
    rows: &Rows,
    weights: &Matrix,
    panels: Range<usize>,
    activation: Activation,
    out: &mut Buffer<f32>,
) {
    let stride = panels.len() * PANEL;
    out.fit(rows.count() * stride);
    let mut product = Product {
        panels: panels.clone(),
        activation,
        out,
        stride,
    };
    if rows.is_precise() {
        product.activation = Activation::None;
        kernels.multiply(rows, weights, &mut product);
        kernels.join(weights, panels, activation, out);
        out.fit(out.len() / 2);
    } else {
        kernels.multiply(rows, weights, &mut product);
    }
}

/// A token's row out of the columns, for so many tokens, that the pieces resulted in.
fn gather(
    results: &[RwLockReadGuard<'_, Buffer<f32>>],
    index: usize,
    tokens: usize,
    mut put: impl FnMut(usize, &[f32]),
) {
    let mut at = 0;
    for numbers in results {
        let columns = numbers.len() / tokens;
        put(at, &numbers[index * columns..(index + 1) * columns]);
        at += columns;
    }
}

impl Table {
    pub fn row(&self, index: usize) -> &[f32] {
        &self.numbers[index * self.width..(index + 1) * self.width]
    }
}

impl ByteTable {
    fn row(&self, index: usize) -> (&[i8], f32) {
        (
            &self.bytes[index * self.width..(index + 1) * self.width],
            self.scales[index],
        )
    }
}
