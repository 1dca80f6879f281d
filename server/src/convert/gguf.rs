//! Writes GGUF files, version 3, little-endian: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.
//!
//! The header says where every tensor will be, so shapes and encodings must be known before the first number is
//! written; the numbers themselves are streamed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::{Done, Error};
use crate::store::gguf::TensorType;

/// Where tensors begin is a multiple of this: the default, which needs no entry of its own.
pub const ALIGNMENT: u64 = 32;

/// How often progress is told.
const TOLD_EVERY_BYTES: u64 = 4 << 20;

/// The metadata of a file, encoded as it is put in.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    bytes: Vec<u8>,
    count: u64,
}

/// A value of the metadata, with its type in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Meta {
    /// A number that is not negative.
    U32(u32),
    /// A number with a sign.
    I32(i32),
    /// A 32-bit float.
    F32(f32),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(String),
    /// Texts, not necessarily UTF-8: the words of some vocabularies are bytes.
    Texts(Vec<Vec<u8>>),
    /// Numbers with a sign.
    I32s(Vec<i32>),
    /// Numbers that are not negative.
    U32s(Vec<u32>),
    /// 32-bit floats.
    F32s(Vec<f32>),
    /// Truth values.
    Bools(Vec<bool>),
}

/// A tensor to be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tensor {
    /// Its name in the file.
    pub name: String,
    /// Its dimensions, the contiguous one first.
    pub shape: Vec<u64>,
    /// How its numbers are encoded.
    pub kind: TensorType,
}

/// A file whose header is written and whose tensors come one after another.
#[derive(Debug)]
pub struct Writer<'a> {
    output: Counted<'a>,
    tensors: std::vec::IntoIter<(String, u64)>,
}

impl Entries {
    /// Adds an entry.
    pub fn put(&mut self, key: &str, value: impl Into<Meta>) {
        self.text(key.as_bytes());
        match value.into() {
            Meta::U32(number) => self.scalar(4, &number.to_le_bytes()),
            Meta::I32(number) => self.scalar(5, &number.to_le_bytes()),
            Meta::F32(number) => self.scalar(6, &number.to_le_bytes()),
            Meta::Bool(value) => self.scalar(7, &[value.into()]),
            Meta::Text(text) => {
                self.number(8);
                self.text(text.as_bytes());
            }
            Meta::Texts(texts) => {
                self.array(8, texts.len());
                texts.iter().for_each(|text| self.text(text));
            }
            Meta::U32s(numbers) => {
                self.array(4, numbers.len());
                for number in numbers {
                    self.bytes.extend(number.to_le_bytes());
                }
            }
            Meta::I32s(numbers) => {
                self.array(5, numbers.len());
                for number in numbers {
                    self.bytes.extend(number.to_le_bytes());
                }
            }
            Meta::F32s(numbers) => {
                self.array(6, numbers.len());
                for number in numbers {
                    self.bytes.extend(number.to_le_bytes());
                }
            }
            Meta::Bools(values) => {
                self.array(7, values.len());
                self.bytes.extend(values.into_iter().map(u8::from));
            }
        }
        self.count += 1;
    }

    /// Adds an entry as it stands in another file, key and type included.
    pub fn put_encoded(&mut self, entry: &[u8]) {
        self.bytes.extend(entry);
        self.count += 1;
    }

    fn scalar(&mut self, kind: u32, value: &[u8]) {
        self.number(kind);
        self.bytes.extend(value);
    }

    fn array(&mut self, kind: u32, length: usize) {
        self.number(9);
        self.number(kind);
        self.bytes.extend((length as u64).to_le_bytes());
    }

    fn number(&mut self, number: u32) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.bytes.extend((text.len() as u64).to_le_bytes());
        self.bytes.extend(text);
    }
}

impl<'a> Writer<'a> {
    /// Writes the header of a file that will have these tensors, in this order.
    ///
    /// # Errors
    /// When a tensor cannot exist, or the file cannot be written.
    pub fn begin(
        path: &Path,
        entries: &Entries,
        tensors: &[Tensor],
        told: &'a mut dyn FnMut(Done),
    ) -> Result<Self, Error> {
        let mut header = b"GGUF\x03\0\0\0".to_vec();
        header.extend((tensors.len() as u64).to_le_bytes());
        header.extend(entries.count.to_le_bytes());
        header.extend(&entries.bytes);
        let mut places = Vec::with_capacity(tensors.len());
        let mut offset = 0_u64;
        for Tensor { name, shape, kind } in tensors {
            let impossible =
                || Error::refused(format!("tensor '{name}' cannot have the shape {shape:?}"));
            let bytes = kind.bytes(shape).ok_or_else(impossible)?;
            header.extend((name.len() as u64).to_le_bytes());
            header.extend(name.as_bytes());
            let dimensions = u32::try_from(shape.len()).map_err(|_| impossible())?;
            header.extend(dimensions.to_le_bytes());
            shape
                .iter()
                .for_each(|dimension| header.extend(dimension.to_le_bytes()));
            header.extend(kind.id().to_le_bytes());
            header.extend(offset.to_le_bytes());
            offset = offset
                .checked_add(bytes)
                .and_then(|end| end.checked_next_multiple_of(ALIGNMENT))
                .ok_or_else(impossible)?;
            places.push((name.clone(), bytes));
        }
        let padded = header
            .len()
            .next_multiple_of(usize::try_from(ALIGNMENT).expect("it is small"));
        header.resize(padded, 0);
        let file = File::create(path).map_err(Error::io("creating a GGUF file"))?;
        let mut output = Counted {
            file: BufWriter::with_capacity(1 << 20, file),
            completed: 0,
            // The sum cannot exceed what a signed number holds by much, since each part does not.
            total: offset.saturating_add(header.len() as u64),
            told_at: 0,
            told,
        };
        output.put(&header)?;
        Ok(Self {
            output,
            tensors: places.into_iter(),
        })
    }

    /// Writes the next tensor's numbers, which `write` gives piece by piece.
    ///
    /// # Errors
    /// Those of `write`, and when the file cannot be written.
    ///
    /// # Panics
    /// When there is no next tensor, or `write` gives another number of bytes than it has.
    pub fn tensor(
        &mut self,
        write: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (name, bytes) = self
            .tensors
            .next()
            .expect("no more tensors are written than were announced");
        let mut written = 0_u64;
        write(&mut |piece| {
            written += piece.len() as u64;
            self.output.put(piece)
        })?;
        assert_eq!(written, bytes, "tensor '{name}' has its announced length");
        let padding = [0; ALIGNMENT as usize];
        let missing = bytes.next_multiple_of(ALIGNMENT) - bytes;
        self.output
            .put(&padding[..usize::try_from(missing).expect("it is less than the alignment")])
    }

    /// Hands the file over to the system.
    ///
    /// # Errors
    /// When it cannot be written.
    ///
    /// # Panics
    /// When not all tensors were written.
    pub fn finish(mut self) -> Result<(), Error> {
        assert!(self.tensors.next().is_none(), "all tensors are written");
        self.output
            .file
            .flush()
            .map_err(Error::io("writing a GGUF file"))?;
        self.output.tell();
        Ok(())
    }
}

/// A file that tells how much of it is written.
struct Counted<'a> {
    file: BufWriter<File>,
    completed: u64,
    total: u64,
    told_at: u64,
    told: &'a mut dyn FnMut(Done),
}

impl Counted<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(|error: io::Error| Error::io("writing a GGUF file")(error))?;
        self.completed += bytes.len() as u64;
        if self.completed - self.told_at >= TOLD_EVERY_BYTES {
            self.tell();
        }
        Ok(())
    }

    fn tell(&mut self) {
        self.told_at = self.completed;
        (self.told)(Done {
            completed: self.completed,
            total: self.total,
        });
    }
}

impl std::fmt::Debug for Counted<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Counted")
            .field("completed", &self.completed)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {
        $(impl From<$type> for Meta {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from! {
    u32 => U32,
    i32 => I32,
    f32 => F32,
    bool => Bool,
    &str => Text,
    String => Text,
    Vec<Vec<u8>> => Texts,
    Vec<i32> => I32s,
    Vec<u32> => U32s,
    Vec<f32> => F32s,
    Vec<bool> => Bools,
}
