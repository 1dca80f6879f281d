//! A bounded reader of GGUF files: what is in the header, and whether the native loader may be shown the file.
//!
//! Everything a file says is taken as a claim: counts are bounded by what is left of the file before anything is
//! allocated, sums and products are checked, and every tensor must lie inside the file. Format:
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little-endian.

mod asserted;
mod reader;
mod types;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Seek};
use std::ops::Range;

use self::reader::Reader;
pub use self::types::{TensorType, file_type_name};
use super::StoreError;

const MAX_ENTRIES: u64 = 65_536;
const MAX_TENSORS: u64 = 65_536;
const MAX_KEY_BYTES: u64 = 65_535;
const MAX_TEXT_BYTES: u64 = 16 << 20;
/// `GGML_MAX_NAME` less its final zero.
const MAX_TENSOR_NAME_BYTES: u64 = 63;
const MAX_DIMENSIONS: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;
const MAX_ALIGNMENT: u64 = 65_536;

/// Memory for metadata when arrays are skipped, and when they are kept.
const HELD_WITHOUT_ARRAYS_BYTES: u64 = 32 << 20;
const HELD_WITH_ARRAYS_BYTES: u64 = 128 << 20;

/// Numbers that native loaders size fixed arrays by or switch on: the key after the architecture, and what it may be.
const BOUNDED_NUMBERS: [(&str, std::ops::RangeInclusive<u64>); 5] = [
    // LLAMA_MAX_LAYERS and LLAMA_MAX_EXPERTS of llama.cpp.
    ("block_count", 1..=512),
    ("expert_count", 0..=1024),
    ("embedding_length", 1..=(1 << 24)),
    ("context_length", 1..=(1 << 31)),
    // The kinds of `llama_pooling_type`, from none to rank.
    ("pooling_type", 0..=4),
];

/// The header of a GGUF file.
#[derive(Clone, Debug)]
pub struct Gguf {
    /// 2 or 3.
    pub version: u32,
    /// The metadata, by key.
    pub metadata: BTreeMap<String, Value>,
    /// The tensors, in the file's order.
    pub tensors: Vec<Tensor>,
    /// Where in the file each entry of the metadata is, key and type included, in the file's order: for writing it
    /// again as it is.
    pub places: Places,
    /// Where the tensors' data begins, in bytes from the file's start.
    pub data_start: u64,
}

/// Where entries of the metadata are in their file, by key.
pub type Places = Vec<(String, Range<u64>)>;

/// A metadata value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// A number of 32 bits, kept so because its shortest decimal form differs from that of 64 bits.
    Float32(f32),
    /// A number of 64 bits.
    Float64(f64),
    /// A truth value.
    Bool(bool),
    /// Text; bytes that are not UTF-8 are replaced.
    Text(String),
    /// Values of one type.
    Array {
        /// How many there are.
        length: u64,
        /// The values, if they were asked for.
        values: Option<Vec<Value>>,
    },
}

/// Whether to hold the values of arrays: a vocabulary has hundreds of thousands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrays {
    /// Check them and keep their lengths.
    Skip,
    /// Keep their values too.
    Keep,
}

/// A tensor's place in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its dimensions, the contiguous one first; at most four, none of them zero.
    pub shape: Vec<u64>,
    /// How its numbers are encoded.
    pub kind: TensorType,
    /// Where it begins, in bytes after the header.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

impl Gguf {
    /// Reads and checks the header of a whole file. Tensor data is measured, not read.
    pub fn read(input: impl Read + Seek, arrays: Arrays) -> Result<Self, StoreError> {
        let held = match arrays {
            Arrays::Skip => HELD_WITHOUT_ARRAYS_BYTES,
            Arrays::Keep => HELD_WITH_ARRAYS_BYTES,
        };
        let mut reader = Reader::new(input, held)?;
        let version = read_version(&mut reader)?;
        let tensor_count = reader.count("tensor count", MAX_TENSORS)?;
        let entry_count = reader.count("metadata count", MAX_ENTRIES)?;
        let (metadata, places) = read_metadata(&mut reader, entry_count, arrays)?;
        let alignment = alignment(&metadata)?;
        let mut tensors = Vec::new();
        for _ in 0..tensor_count {
            tensors.push(read_tensor(&mut reader, alignment)?);
        }
        let gguf = Self {
            version,
            metadata,
            tensors,
            places,
            data_start: reader.position().next_multiple_of(alignment),
        };
        gguf.check_places(reader.length())?;
        gguf.check_numbers()?;
        asserted::check(&gguf)?;
        Ok(gguf)
    }

    /// `general.architecture`; empty only in the later parts of a split file.
    pub fn architecture(&self) -> &str {
        self.text("general.architecture").unwrap_or_default()
    }

    /// Which part of how many this file is, counted from 0, if it is one of several.
    pub fn part(&self) -> Option<(u64, u64)> {
        part(&self.metadata)
    }

    /// The model's own chat template, in Jinja.
    pub fn chat_template(&self) -> Option<&str> {
        self.text("tokenizer.chat_template")
    }

    /// The name of the quantisation most tensors have, as `general.file_type` claims.
    pub fn file_type(&self) -> &'static str {
        self.metadata
            .get("general.file_type")
            .and_then(Value::as_unsigned)
            .map_or("unknown", file_type_name)
    }

    /// How many numbers the tensors hold together.
    pub fn parameter_count(&self) -> u64 {
        self.tensors
            .iter()
            .fold(0, |sum, tensor| sum.saturating_add(tensor.elements()))
    }

    /// A text in the metadata.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// What the metadata says under `<architecture>.<key>`.
    pub fn of_architecture(&self, key: &str) -> Option<&Value> {
        self.metadata.get(&format!("{}.{key}", self.architecture()))
    }

    /// Every tensor is inside the file. Those of a split file's other parts are not expected here.
    fn check_places(&self, file_length: u64) -> Result<(), StoreError> {
        let mut names = HashSet::new();
        for tensor in &self.tensors {
            let name = &tensor.name;
            if !names.insert(name) {
                return Err(broken(format!("tensor '{name}' appears twice")));
            }
            let end = self
                .data_start
                .checked_add(tensor.offset)
                .and_then(|start| start.checked_add(tensor.bytes));
            if end.is_none_or(|end| end > file_length) {
                let text = format!(
                    "tensor '{name}' ends beyond the end of the file; is the file truncated?"
                );
                return Err(broken(text));
            }
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), StoreError> {
        for (key, range) in BOUNDED_NUMBERS {
            let Some(value) = self.of_architecture(key) else {
                continue;
            };
            if value
                .as_unsigned()
                .is_none_or(|number| !range.contains(&number))
            {
                let (low, high) = range.into_inner();
                let key = format!("{}.{key}", self.architecture());
                return Err(broken(format!(
                    "'{key}' must be a whole number from {low} to {high}"
                )));
            }
        }
        Ok(())
    }
}

impl Value {
    /// The value as a whole number that is not negative, if it is one.
    pub fn as_unsigned(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(number) => Some(number),
            Self::Signed(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }
}

impl Tensor {
    /// How many numbers the tensor holds.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

fn broken(text: impl AsRef<str>) -> StoreError {
    StoreError::broken(format!("invalid GGUF file: {}", text.as_ref()))
}

fn read_version(reader: &mut Reader<impl Read + Seek>) -> Result<u32, StoreError> {
    if reader.length() < 4 || &reader.bytes::<4>("magic number")? != b"GGUF" {
        return Err(broken("it does not begin with \"GGUF\""));
    }
    match reader.u32("version")? {
        version @ 2..=3 => Ok(version),
        version if matches!(version.swap_bytes(), 1..=3) => Err(broken("it is big-endian")),
        version => Err(broken(format!("version {version} is not supported"))),
    }
}

fn read_metadata<R: Read + Seek>(
    reader: &mut Reader<R>,
    count: u64,
    arrays: Arrays,
) -> Result<(BTreeMap<String, Value>, Places), StoreError> {
    let mut metadata = BTreeMap::new();
    let mut places = Vec::new();
    for _ in 0..count {
        let start = reader.position();
        let key = reader.name("metadata key", MAX_KEY_BYTES)?;
        let value = reader.value(&key, MAX_TEXT_BYTES, arrays)?;
        if metadata.contains_key(&key) {
            return Err(broken(format!("key '{key}' appears twice")));
        }
        places.push((key.clone(), start..reader.position()));
        metadata.insert(key, value);
    }
    match metadata.get("general.architecture") {
        Some(Value::Text(architecture)) if !architecture.is_empty() => Ok((metadata, places)),
        // All of a split file's metadata is in its first part.
        None if part(&metadata).is_some_and(|(index, _)| index > 0) => Ok((metadata, places)),
        _ => Err(broken(
            "'general.architecture' must be a text that is not empty",
        )),
    }
}

fn part(metadata: &BTreeMap<String, Value>) -> Option<(u64, u64)> {
    let number = |key| metadata.get(key).and_then(Value::as_unsigned);
    let count = number("split.count").filter(|&count| count > 1)?;
    Some((number("split.no")?, count))
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64, StoreError> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::Unsigned(number))
            if number.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(&number) =>
        {
            Ok(number)
        }
        Some(_) => Err(broken(format!(
            "'general.alignment' must be a power of two from 8 to {MAX_ALIGNMENT}"
        ))),
    }
}

fn read_tensor(
    reader: &mut Reader<impl Read + Seek>,
    alignment: u64,
) -> Result<Tensor, StoreError> {
    let name = reader.name("tensor name", MAX_TENSOR_NAME_BYTES)?;
    let dimensions = reader.u32("number of dimensions")?;
    if dimensions > MAX_DIMENSIONS {
        return Err(broken(format!(
            "tensor '{name}' has {dimensions} dimensions; at most {MAX_DIMENSIONS} exist"
        )));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        shape.push(reader.u64("dimension")?);
    }
    let kind = reader.u32("tensor type")?;
    let kind = TensorType::from_id(kind)
        .ok_or_else(|| broken(format!("tensor '{name}' has unknown type {kind}")))?;
    let offset = reader.u64("tensor offset")?;
    if !offset.is_multiple_of(alignment) {
        return Err(broken(format!(
            "tensor '{name}' is not aligned to {alignment} bytes"
        )));
    }
    let bytes = kind.bytes(&shape).ok_or_else(|| {
        broken(format!(
            "tensor '{name}' of type {kind} cannot have the shape {shape:?}"
        ))
    })?;
    Ok(Tensor {
        name,
        shape,
        kind,
        offset,
        bytes,
    })
}
