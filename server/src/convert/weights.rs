//! The tensors of safetensors files: where they are, and their numbers, streamed.
//!
//! Format: <https://huggingface.co/docs/safetensors>. The header is a JSON object that the `safetensors` crate checks;
//! data is read where it lies, a piece at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;

use super::folder::{Folder, MAX_SETTINGS_BYTES};
use super::{Error, Float};
use crate::store::gguf::TensorType;

/// The longest header that the reference implementation takes.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Tensors of all files together; a mixture of experts has some ten thousand.
const MAX_TENSORS: usize = 1 << 18;
/// Numbers converted at a time.
const PIECE_NUMBERS: u64 = 256 << 10;
/// Which tensors are in which file.
const INDEX: &str = "model.safetensors.index.json";

/// The tensors of a model by name.
#[derive(Debug)]
pub struct Weights {
    files: Vec<File>,
    tensors: BTreeMap<String, Source>,
}

/// Where a tensor is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    file: usize,
    start: u64,
    /// How its numbers are encoded.
    pub dtype: Float,
    /// Its dimensions, the contiguous one last.
    pub shape: Vec<u64>,
}

/// Which rows of a tensor are written, and in which order. A row is what the last dimension runs over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rows {
    /// All as they come.
    All,
    /// All but so many at the beginning.
    From(u64),
    /// Only so many.
    First(u64),
    /// Hugging Face keeps the two halves of what a rotary embedding turns apart, llama.cpp's Llama turns neighbours:
    /// row `i` of the second half comes after row `i` of the first, within each of so many heads.
    Interleaved {
        /// Heads, each with the same number of rows.
        heads: u64,
    },
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Finds the tensors of all safetensors files at the top of the folder whose names begin with one of `prefixes`,
    /// or with anything if there is none.
    ///
    /// # Errors
    /// When a file is not whole, or an index names tensors that are not there.
    pub fn open(folder: Folder<'_>, prefixes: &[&str]) -> Result<Self, Error> {
        let all: Vec<_> = folder
            .names()
            .filter(|name| name.ends_with(".safetensors") && !name.contains('/'))
            .collect();
        let preferred: Vec<_> = all
            .iter()
            .copied()
            .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
            .collect();
        let chosen = if preferred.is_empty() { all } else { preferred };
        let mut weights = Self {
            files: Vec::new(),
            tensors: BTreeMap::new(),
        };
        for name in chosen {
            weights.add(folder, name)?;
        }
        if let Some(index) = folder.json::<Index>(INDEX, MAX_SETTINGS_BYTES)? {
            let missing: BTreeSet<_> = index
                .weight_map
                .iter()
                .filter(|(tensor, _)| !weights.tensors.contains_key(*tensor))
                .map(|(_, file)| file.as_str())
                .take(4)
                .collect();
            if !missing.is_empty() {
                let missing: Vec<_> = missing.into_iter().collect();
                return Err(Error::refused(format!(
                    "{INDEX} names tensors that are not there, of {}",
                    missing.join(", ")
                )));
            }
        }
        Ok(weights)
    }

    /// The tensors by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.tensors
            .iter()
            .map(|(name, source)| (name.as_str(), source))
    }

    fn add(&mut self, folder: Folder<'_>, name: &str) -> Result<(), Error> {
        let broken = |what: &str| Error::refused(format!("{name} is no safetensors file: {what}"));
        let Some(mut file) = folder.open(name)? else {
            return Err(broken("it is not there"));
        };
        let reading = Error::io("reading a safetensors file");
        let length = file.metadata().map_err(&reading)?.len();
        let mut prefix = [0; 8];
        file.read_exact(&mut prefix)
            .map_err(|_| broken("it is too short"))?;
        let header_length = u64::from_le_bytes(prefix);
        if header_length > MAX_HEADER_BYTES.min(length.saturating_sub(8)) {
            return Err(broken("its header is longer than the file or than may be"));
        }
        let mut header = vec![0; usize::try_from(header_length).expect("it is bounded")];
        file.read_exact(&mut header).map_err(&reading)?;
        let header: Metadata =
            serde_json::from_slice(&header).map_err(|error| broken(&error.to_string()))?;
        let data = 8 + header_length;
        for (tensor, info) in header.tensors() {
            let end = data.checked_add(info.data_offsets.1 as u64);
            if end.is_none_or(|end| end > length) {
                return Err(broken(&format!(
                    "tensor '{tensor}' ends beyond the end of the file; is the file truncated?"
                )));
            }
            let dtype = match info.dtype {
                Dtype::F32 => Float::F32,
                Dtype::F16 => Float::F16,
                Dtype::BF16 => Float::Bf16,
                // Positions and masks, which no model needs; whatever needs this tensor will miss it.
                _ => continue,
            };
            let source = Source {
                file: self.files.len(),
                start: data + info.data_offsets.0 as u64,
                dtype,
                shape: info
                    .shape
                    .iter()
                    .map(|&dimension| dimension as u64)
                    .collect(),
            };
            if self.tensors.insert(tensor.clone(), source).is_some() {
                return Err(broken(&format!("tensor '{tensor}' is in several files")));
            }
            if self.tensors.len() > MAX_TENSORS {
                return Err(broken("it has too many tensors"));
            }
        }
        self.files.push(file);
        Ok(())
    }

    /// Streams a tensor's numbers as `kind` (one of the three floats), `add` added to each.
    ///
    /// # Errors
    /// Those of `put`, and when the file cannot be read.
    pub fn stream(
        &self,
        source: &Source,
        rows: Rows,
        add: f32,
        kind: TensorType,
        put: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let width = source.width();
        let (first, count) = source.kept_rows(rows);
        match rows {
            Rows::Interleaved { heads } => {
                let per_head = count / heads;
                for row in 0..count {
                    let (head, place) = (row / per_head, row % per_head);
                    let from = head * per_head + place % 2 * (per_head / 2) + place / 2;
                    self.segment(source, from * width, width, add, kind, put)?;
                }
                Ok(())
            }
            Rows::All | Rows::From(_) | Rows::First(_) => {
                self.segment(source, first * width, count * width, add, kind, put)
            }
        }
    }

    /// Streams numbers that lie next to each other.
    fn segment(
        &self,
        source: &Source,
        first: u64,
        count: u64,
        add: f32,
        kind: TensorType,
        put: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let size = source.dtype.bytes();
        let is_same = source.dtype.tensor_type() == kind && add == 0.0;
        let mut position = source.start + first * size;
        let mut left = count;
        while left > 0 {
            let numbers = left.min(PIECE_NUMBERS);
            let length = usize::try_from(numbers * size).expect("a piece is small");
            let mut piece = vec![0; length];
            self.files[source.file]
                .read_exact_at(&mut piece, position)
                .map_err(Error::io("reading a safetensors file"))?;
            if is_same {
                put(&piece)?;
            } else {
                put(&encoded(&decoded(&piece, source.dtype), add, kind))?;
            }
            position += numbers * size;
            left -= numbers;
        }
        Ok(())
    }
}

impl Source {
    /// Numbers in a row.
    fn width(&self) -> u64 {
        self.shape.last().copied().unwrap_or(1).max(1)
    }

    fn rows(&self) -> u64 {
        let dimensions = self.shape.len().saturating_sub(1);
        // Checked when the header was: the product with the last dimension fits, too.
        self.shape[..dimensions].iter().product()
    }

    /// The dimensions of what `rows` leaves, the contiguous one last.
    ///
    /// # Errors
    /// When those rows do not exist, or no numbers would be left.
    pub fn shape_of(&self, name: &str, rows: Rows) -> Result<Vec<u64>, Error> {
        let odd = || {
            let shape = &self.shape;
            Error::refused(format!("tensor '{name}' cannot have the shape {shape:?}"))
        };
        if self.shape.is_empty() || self.shape.contains(&0) {
            return Err(odd());
        }
        // A vector of one number per row is interleaved by its numbers.
        let is_possible = match rows {
            Rows::All => true,
            Rows::From(first) => self.shape.len() == 2 && first < self.shape[0],
            Rows::First(count) => self.shape.len() == 2 && count > 0,
            Rows::Interleaved { heads } => {
                heads > 0 && self.shape[0].is_multiple_of(heads.saturating_mul(2))
            }
        };
        if !is_possible {
            return Err(odd());
        }
        let mut shape = self.shape.clone();
        match rows {
            Rows::From(first) => shape[0] -= first,
            Rows::First(count) => shape[0] = shape[0].min(count),
            Rows::All | Rows::Interleaved { .. } => {}
        }
        Ok(shape)
    }

    /// The first row and how many there are.
    fn kept_rows(&self, rows: Rows) -> (u64, u64) {
        let all = self.rows();
        match rows {
            Rows::From(first) => (first, all - first),
            Rows::First(count) => (0, all.min(count)),
            Rows::All | Rows::Interleaved { .. } => (0, all),
        }
    }

    /// The same numbers as a matrix with rows of one number, for a vector whose numbers are reordered.
    #[must_use]
    pub fn upright(&self) -> Self {
        let mut source = self.clone();
        if source.shape.len() == 1 {
            source.shape.push(1);
        }
        source
    }
}

impl Float {
    /// Bytes of one number.
    fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The encoding's name in GGUF files.
    #[must_use]
    pub fn tensor_type(self) -> TensorType {
        match self {
            Self::F32 => TensorType::F32,
            Self::F16 => TensorType::F16,
            Self::Bf16 => TensorType::BF16,
        }
    }

    /// `general.file_type` of a model whose matrices are such numbers (`enum llama_ftype`).
    #[must_use]
    pub fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Bf16 => 32,
        }
    }
}

fn decoded(bytes: &[u8], dtype: Float) -> Vec<f32> {
    let pairs = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    match dtype {
        Float::F32 => bytes
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect(),
        Float::F16 => pairs()
            .map(|pair| f16::from_le_bytes(pair).to_f32())
            .collect(),
        Float::Bf16 => pairs()
            .map(|pair| bf16::from_le_bytes(pair).to_f32())
            .collect(),
    }
}

fn encoded(numbers: &[f32], add: f32, kind: TensorType) -> Vec<u8> {
    let numbers = numbers.iter().map(|number| number + add);
    if kind == TensorType::F16 {
        numbers
            .flat_map(|number| f16::from_f32(number).to_le_bytes())
            .collect()
    } else if kind == TensorType::BF16 {
        numbers
            .flat_map(|number| bf16::from_f32(number).to_le_bytes())
            .collect()
    } else {
        numbers.flat_map(f32::to_le_bytes).collect()
    }
}
