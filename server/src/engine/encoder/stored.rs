//! An encoder as a file: made once, when a model is created, and mapped whenever it is loaded.
//!
//! The file begins with [`MAGIC`], the length of its head (32 bits, little-endian) and the head in postcard's encoding. Sections follow, each from
//! a multiple of [`ALIGNMENT`] on, in the order in which [`write()`] writes them: bytes as the products want them, and floats and sums
//! as little-endian numbers of 32 bits. Their lengths follow from the head. The file ends with the last section.
//!
//! It may come from a stranger: a length that is not the file's, or a size that no model of the family has, is refused.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::build::{MOST_LAYERS, Unsuitable};
use super::classifier::{Classifier, ClassifierShape};
use super::network::{ByteTable, Layer, Linear, Network, Norm, Shape, Table};
use super::simd::{MOST_INPUTS, Matrix, MatrixParts};
use crate::engine::mapping::{Mapping, SignedBytes};

/// What the file begins with; the digit is the version of the format.
const MAGIC: [u8; 8] = *b"chaski8\x01";

/// Sections begin at multiples of this: a tile's row, and a line of the cache.
const ALIGNMENT: usize = 64;

/// Longest head. Most of it are the vectors that it records.
const MOST_HEAD_BYTES: usize = 1 << 20;

/// Most rows of a table; the largest vocabularies have 250,000.
const MOST_ROWS: usize = 1 << 22;

/// The version of the rounding: what a changed one would round differently is made anew.
pub(super) const ROUNDING: u32 = 2;

/// What is said of the numbers in the file.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Head<Record> {
    /// Of the rounding: [`ROUNDING`].
    rounding: u32,
    /// What it was made of.
    source: String,
    /// What was found out about it.
    pub record: Record,
    shape: Shape,
    vocabulary: usize,
    positions: usize,
    types: Option<usize>,
    layers: usize,
    classifier: Option<ClassifierShape>,
}

/// Writes a file.
///
/// # Errors
/// Those of `output`; [`io::ErrorKind::InvalidInput`] for a record that is too long.
pub(super) fn write(
    network: &Network,
    classifier: Option<&Classifier>,
    source: &str,
    record: &impl Serialize,
    output: &mut impl Write,
) -> io::Result<()> {
    let head = Head {
        rounding: ROUNDING,
        source: source.to_owned(),
        record,
        shape: network.shape,
        vocabulary: network.words.scales.len(),
        positions: rows(&network.positions),
        types: network.types.as_ref().map(rows),
        layers: network.layers.len(),
        classifier: classifier.map(Classifier::shape),
    };
    let head = postcard::to_allocvec(&head).map_err(io::Error::other)?;
    let length = u32::try_from(head.len())
        .ok()
        .filter(|_| head.len() <= MOST_HEAD_BYTES);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    let mut writer = Writer { output, at: 0 };
    writer.put(&MAGIC)?;
    writer.put(&length.to_le_bytes())?;
    writer.put(&head)?;

    writer.section(network.words.bytes.as_unsigned())?;
    writer.floats(&network.words.scales)?;
    writer.floats(&network.positions.numbers)?;
    if let Some(types) = &network.types {
        writer.floats(&types.numbers)?;
    }
    writer.norm(&network.norm)?;
    for layer in &network.layers {
        writer.linear(&layer.attention)?;
        writer.linear(&layer.output)?;
        writer.norm(&layer.attention_norm)?;
        writer.linear(&layer.expand)?;
        writer.linear(&layer.reduce)?;
        writer.norm(&layer.norm)?;
    }
    if let Some(classifier) = classifier {
        for numbers in classifier.numbers() {
            writer.floats(numbers)?;
        }
    }
    Ok(())
}

/// Maps a file that was made of `source`.
///
/// # Errors
/// [`Unsuitable`] if it cannot be read, is damaged, or was made of something else or by another version.
pub(super) fn open<Record: for<'a> Deserialize<'a>>(
    path: &Path,
    source: &str,
) -> Result<(Network, Option<Classifier>, Record), Unsuitable> {
    let unreadable = |error| Unsuitable(format!("the file of its weights cannot be read: {error}"));
    let file = Arc::new(Mapping::open(path).map_err(unreadable)?);
    let mut reader = Reader { file: &file, at: 0 };
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(Unsuitable(
            "the file of its weights is of another version".into(),
        ));
    }
    let length = reader.take(4)?.try_into().expect("four bytes were taken");
    let length = u32::from_le_bytes(length) as usize;
    if length > MOST_HEAD_BYTES {
        return Err(damaged());
    }
    let head: Head<Record> = postcard::from_bytes(reader.take(length)?).map_err(|_| damaged())?;
    if head.rounding != ROUNDING {
        return Err(Unsuitable(
            "its weights were rounded by another version".into(),
        ));
    }
    if head.source != source {
        return Err(Unsuitable(
            "its weights were rounded from other files".into(),
        ));
    }
    let (network, classifier) = reader.network(&head)?;
    if reader.at != file.len() {
        return Err(damaged());
    }
    Ok((network, classifier, head.record))
}

fn rows(table: &Table) -> usize {
    table.numbers.len() / table.width
}

fn damaged() -> Unsuitable {
    Unsuitable("the file of its weights is damaged".into())
}

struct Writer<'a, W> {
    output: &'a mut W,
    at: usize,
}

impl<W: Write> Writer<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len();
        self.output.write_all(bytes)
    }

    fn align(&mut self) -> io::Result<()> {
        let filler = self.at.next_multiple_of(ALIGNMENT) - self.at;
        self.put(&[0; ALIGNMENT][..filler])
    }

    fn section(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.align()?;
        self.put(bytes)
    }

    fn floats(&mut self, numbers: &[f32]) -> io::Result<()> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.section(&bytes)
    }

    fn norm(&mut self, norm: &Norm) -> io::Result<()> {
        self.floats(&norm.gain)?;
        self.floats(&norm.shift)
    }

    fn linear(&mut self, linear: &Linear) -> io::Result<()> {
        let parts = linear.weights.parts();
        self.section(parts.bytes.as_unsigned())?;
        let sums: Vec<u8> = parts
            .sums
            .iter()
            .flat_map(|sum| sum.to_le_bytes())
            .collect();
        self.section(&sums)?;
        self.floats(parts.scales)?;
        self.floats(parts.bias)?;
        self.floats(&linear.stretch)
    }
}

struct Reader<'a> {
    file: &'a Arc<Mapping>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unsuitable> {
        let end = self.at.checked_add(length).ok_or_else(damaged)?;
        let bytes = self.file.get(self.at..end).ok_or_else(damaged)?;
        self.at = end;
        Ok(bytes)
    }

    /// A section of `count` elements of `size` bytes.
    fn section(&mut self, count: usize, size: usize) -> Result<&'a [u8], Unsuitable> {
        self.at = self.at.next_multiple_of(ALIGNMENT);
        self.take(count.checked_mul(size).ok_or_else(damaged)?)
    }

    fn signed(&mut self, count: usize) -> Result<SignedBytes, Unsuitable> {
        self.section(count, 1)?;
        SignedBytes::mapped(self.file, self.at - count..self.at).ok_or_else(damaged)
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>, Unsuitable> {
        let bytes = self.section(count, 4)?.as_chunks().0;
        Ok(bytes.iter().map(|&x| f32::from_le_bytes(x)).collect())
    }

    fn table(&mut self, rows: usize, width: usize) -> Result<Table, Unsuitable> {
        let numbers = self.floats(rows * width)?;
        Ok(Table { numbers, width })
    }

    fn norm(&mut self, shape: &Shape) -> Result<Norm, Unsuitable> {
        Ok(Norm {
            gain: self.floats(shape.padded_width())?,
            shift: self.floats(shape.padded_width())?,
        })
    }

    fn linear(&mut self, inputs: usize, outputs: usize) -> Result<Linear, Unsuitable> {
        let (bytes, padded) = Matrix::lengths(inputs, outputs);
        let bytes = self.signed(bytes)?;
        let sums = self.section(padded, 4)?.as_chunks().0;
        let parts = MatrixParts {
            bytes,
            sums: sums.iter().map(|&x| i32::from_le_bytes(x)).collect(),
            scales: self.floats(padded)?,
            bias: self.floats(padded)?,
        };
        Ok(Linear {
            weights: Matrix::of(inputs, outputs, parts).ok_or_else(damaged)?,
            stretch: self.floats(inputs.next_multiple_of(super::simd::PANEL))?,
        })
    }

    fn network<Record>(
        &mut self,
        head: &Head<Record>,
    ) -> Result<(Network, Option<Classifier>), Unsuitable> {
        let shape = head.shape;
        let Shape {
            width,
            heads,
            inner,
            ..
        } = shape;
        let sizes = 1..=MOST_INPUTS;
        let tables = [Some(head.vocabulary), Some(head.positions), head.types];
        if !(sizes.contains(&width)
            && sizes.contains(&inner)
            && (1..=width).contains(&heads)
            && width.is_multiple_of(heads)
            && head.layers <= MOST_LAYERS
            && tables
                .into_iter()
                .flatten()
                .all(|rows| (1..=MOST_ROWS).contains(&rows)))
        {
            return Err(damaged());
        }
        let words = ByteTable {
            bytes: self.signed(head.vocabulary * width)?,
            scales: self.floats(head.vocabulary)?,
            width,
        };
        let positions = self.table(head.positions, width)?;
        let types = match head.types {
            Some(rows) => Some(self.table(rows, width)?),
            None => None,
        };
        let norm = self.norm(&shape)?;
        let mut layers = Vec::new();
        for _ in 0..head.layers {
            layers.push(Layer {
                attention: self.linear(width, heads * shape.head_columns())?,
                output: self.linear(width, width)?,
                attention_norm: self.norm(&shape)?,
                expand: self.linear(width, inner)?,
                reduce: self.linear(inner, width)?,
                norm: self.norm(&shape)?,
            });
        }
        let classifier = match &head.classifier {
            None => None,
            Some(classifier) => {
                let read = &mut |count| self.floats(count);
                Some(classifier.read(width, read)?)
            }
        };
        let network = Network {
            shape,
            words,
            positions,
            types,
            norm,
            layers,
        };
        Ok((network, classifier))
    }
}
