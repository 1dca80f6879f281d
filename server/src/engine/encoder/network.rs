//! An encoder of the BERT family: embeddings, then layers of attention and feed-forward with normalisation after each.
//!
//! Texts are packed one after another without padding. Threads share a pack by columns: each computes its own heads and its
//! own outputs of every linear layer, for all tokens, so that every weight is read by one thread only; what needs whole
//! rows (normalising, turning into bytes) each does for itself. Four times a layer they wait for each other.

use std::ops::Range;
use std::sync::RwLock;

use serde::{Deserialize, Serialize};

use super::barrier::Barrier;
use super::simd::{Activation, Head, Kernels, Matrix, PANEL, Product, Rows, Scratch};
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

    pub fn padded_inner(&self) -> usize {
        self.inner.next_multiple_of(PANEL)
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

/// A pack of texts.
#[derive(Debug, Default)]
pub struct Pack {
    pub ids: Vec<u32>,
    pub type_ids: Vec<u32>,
    /// Where each text is in `ids`.
    pub texts: Vec<Range<usize>>,
}

/// What threads hand to each other, one per thread.
#[derive(Debug, Default)]
struct Share {
    context: RwLock<Vec<f32>>,
    attended: RwLock<Vec<f32>>,
    expanded: RwLock<Vec<f32>>,
    reduced: RwLock<Vec<f32>>,
}

/// Working memory of a thread.
#[derive(Debug, Default)]
pub struct Memory {
    tokens: Vec<f32>,
    row: Vec<f32>,
    heads: Vec<f32>,
    rows: Rows,
    scratch: Scratch,
}

/// The threads that share a pack, and what they hand to each other.
#[derive(Debug)]
pub struct Team {
    barrier: Barrier,
    shares: Vec<Share>,
}

impl Team {
    pub fn new(members: usize) -> Self {
        Self {
            barrier: Barrier::new(members),
            shares: (0..members).map(|_| Share::default()).collect(),
        }
    }

    pub fn members(&self) -> usize {
        self.shares.len()
    }

    fn read(
        &self,
        part: fn(&Share) -> &RwLock<Vec<f32>>,
    ) -> Vec<std::sync::RwLockReadGuard<'_, Vec<f32>>> {
        self.shares
            .iter()
            .map(|share| {
                part(share)
                    .read()
                    .expect("no member panics with a lock held")
            })
            .collect()
    }
}

/// The part of `count` things that member `member` of `members` has.
fn part(count: usize, member: usize, members: usize) -> Range<usize> {
    count * member / members..count * (member + 1) / members
}

impl Network {
    /// Computes a member's share; every member must be called with the same pack. Afterwards all have the vectors of all tokens
    /// in their memory: `[tokens, padded width]`.
    pub fn forward<'a>(
        &self,
        kernels: Kernels,
        pack: &Pack,
        team: &Team,
        member: usize,
        memory: &'a mut Memory,
        watch: &mut dyn FnMut(usize, Site, &[f32]),
    ) -> &'a [f32] {
        let members = team.members();
        let shape = self.shape;
        let width = shape.padded_width();
        let count = pack.ids.len();
        self.embed(kernels, pack, memory);
        let heads = part(shape.heads, member, members);
        for (number, layer) in self.layers.iter().enumerate() {
            // Queries, keys and values of this member's heads.
            memory.rows.resize(count, width);
            for (index, row) in memory.tokens.chunks_exact(width).enumerate() {
                watch(number, Site::Attention, row);
                kernels.quantize(row, &layer.attention.stretch, &mut memory.rows, index);
            }
            let head_columns = shape.head_columns();
            let stride = heads.len() * head_columns;
            memory.heads.resize(count * stride, 0.0);
            kernels.multiply(
                &memory.rows,
                &layer.attention.weights,
                &mut Product {
                    panels: heads.start * head_columns / PANEL..heads.end * head_columns / PANEL,
                    activation: Activation::None,
                    out: &mut memory.heads,
                    stride,
                },
            );
            self.attend(kernels, pack, heads.clone(), memory, &team.shares[member]);
            team.barrier.wait();

            // The attention's outputs.
            let contexts = team.read(|share| &share.context);
            memory.row.clear();
            memory.row.resize(width, 0.0);
            for index in 0..count {
                let mut at = 0;
                for (other, context) in contexts.iter().enumerate() {
                    let columns = part(shape.heads, other, members).len() * shape.head_size();
                    memory.row[at..at + columns]
                        .copy_from_slice(&context[index * columns..(index + 1) * columns]);
                    at += columns;
                }
                watch(number, Site::Output, &memory.row);
                kernels.quantize(&memory.row, &layer.output.stretch, &mut memory.rows, index);
            }
            drop(contexts);
            share(
                kernels,
                &memory.rows,
                &layer.output,
                Activation::None,
                (member, members),
                &team.shares[member].attended,
            );
            team.barrier.wait();
            self.add_and_normalize(
                kernels,
                team,
                |share| &share.attended,
                &layer.attention_norm,
                &mut memory.tokens,
            );

            // Feed forward.
            for (index, row) in memory.tokens.chunks_exact(width).enumerate() {
                watch(number, Site::Expand, row);
                kernels.quantize(row, &layer.expand.stretch, &mut memory.rows, index);
            }
            share(
                kernels,
                &memory.rows,
                &layer.expand,
                shape.activation,
                (member, members),
                &team.shares[member].expanded,
            );
            team.barrier.wait();
            let expanded = team.read(|share| &share.expanded);
            let inner = shape.padded_inner();
            memory.row.clear();
            memory.row.resize(inner, 0.0);
            memory.rows.resize(count, inner);
            for index in 0..count {
                gather(&expanded, index, inner, |at, numbers| {
                    memory.row[at..at + numbers.len()].copy_from_slice(numbers);
                });
                watch(number, Site::Reduce, &memory.row);
                kernels.quantize(&memory.row, &layer.reduce.stretch, &mut memory.rows, index);
            }
            drop(expanded);
            share(
                kernels,
                &memory.rows,
                &layer.reduce,
                Activation::None,
                (member, members),
                &team.shares[member].reduced,
            );
            team.barrier.wait();
            self.add_and_normalize(
                kernels,
                team,
                |share| &share.reduced,
                &layer.norm,
                &mut memory.tokens,
            );
        }
        &memory.tokens
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
        memory.tokens.resize(pack.ids.len() * width, 0.0);
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

    fn attend(
        &self,
        kernels: Kernels,
        pack: &Pack,
        heads: Range<usize>,
        memory: &mut Memory,
        share: &Share,
    ) {
        let size = self.shape.head_size();
        let columns = self.shape.head_columns();
        let stride = heads.len() * columns;
        let out_stride = heads.len() * size;
        let mut context = share
            .context
            .write()
            .expect("no member panics with a lock held");
        context.resize(pack.ids.len() * out_stride, 0.0);
        for text in &pack.texts {
            for head in 0..heads.len() {
                let at = &memory.heads[text.start * stride + head * columns..];
                kernels.attend(
                    &Head {
                        queries: at,
                        keys: &at[size..],
                        values: &at[2 * size..],
                        stride,
                        tokens: text.len(),
                        size,
                    },
                    &mut memory.scratch,
                    &mut context[text.start * out_stride + head * size..],
                    out_stride,
                );
            }
        }
    }

    fn add_and_normalize(
        &self,
        kernels: Kernels,
        team: &Team,
        part: fn(&Share) -> &RwLock<Vec<f32>>,
        norm: &Norm,
        tokens: &mut [f32],
    ) {
        let width = self.shape.padded_width();
        let parts = team.read(part);
        for (index, row) in tokens.chunks_exact_mut(width).enumerate() {
            gather(&parts, index, width, |at, numbers| {
                for (x, y) in row[at..].iter_mut().zip(numbers) {
                    *x += y;
                }
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

/// Where activations can be watched: the inputs of a layer's four linear layers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Site {
    Attention,
    Output,
    Expand,
    Reduce,
}

/// Computes a member's columns of a linear layer.
fn share(
    kernels: Kernels,
    rows: &Rows,
    linear: &Linear,
    activation: Activation,
    (member, members): (usize, usize),
    out: &RwLock<Vec<f32>>,
) {
    let panels = part(linear.weights.panels(), member, members);
    let stride = panels.len() * PANEL;
    let mut out = out.write().expect("no member panics with a lock held");
    out.resize(rows.count() * stride, 0.0);
    kernels.multiply(
        rows,
        &linear.weights,
        &mut Product {
            panels,
            activation,
            out: &mut out,
            stride,
        },
    );
}

/// A row of `width` numbers out of the members' columns.
fn gather(
    parts: &[std::sync::RwLockReadGuard<'_, Vec<f32>>],
    index: usize,
    width: usize,
    mut put: impl FnMut(usize, &[f32]),
) {
    let panels = width / PANEL;
    for (member, numbers) in parts.iter().enumerate() {
        let panels = part(panels, member, parts.len());
        let columns = panels.len() * PANEL;
        put(
            panels.start * PANEL,
            &numbers[index * columns..(index + 1) * columns],
        );
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
