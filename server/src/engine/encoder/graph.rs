//! The weights of an ONNX graph, found by name, and read from its files as they are wanted.
//!
//! Exporters keep the names of biases, norms and tables (`encoder.layer.0.attention.self.query.bias`), but fold the weights of linear
//! layers into nameless matrices. Such a matrix is found through the addition that gives its product the bias: `Add(MatMul(x,
//! matrix), bias)`.
//!
//! Nothing is held in memory but the graph's outline, so that a model is never there twice. Fields are those of `onnx.proto`
//! (onnx/onnx 1.19).

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::Unsuitable;

/// Longest name, node or list that is read into memory; real ones have some hundred bytes.
const MOST_BYTES: u64 = 1 << 20;

/// Most tensors and nodes of a graph.
const MOST_ENTRIES: usize = 1 << 17;

/// ONNX's numbers for types of elements.
const FLOAT: u64 = 1;
const FLOAT16: u64 = 10;

/// A graph's outline.
#[derive(Debug)]
pub struct Graph {
    tensors: HashMap<String, Tensor>,
    /// The matrix of a product by the bias that is added to it.
    matrices: HashMap<String, String>,
}

/// A tensor of floats.
#[derive(Clone, Debug)]
struct Tensor {
    dimensions: Vec<usize>,
    half: bool,
    place: Place,
}

#[derive(Clone, Debug)]
struct Place {
    file: PathBuf,
    offset: u64,
}

/// A matrix, as it is stored.
#[derive(Debug)]
pub struct StoredMatrix {
    numbers: Vec<f32>,
    inputs: usize,
    outputs: usize,
    /// Whether an output's weights lie one after another.
    by_output: bool,
}

impl StoredMatrix {
    /// A matrix of so many numbers.
    ///
    /// # Panics
    /// If there are more or fewer.
    pub fn new(numbers: Vec<f32>, inputs: usize, outputs: usize, by_output: bool) -> Self {
        assert_eq!(numbers.len(), inputs * outputs);
        Self {
            numbers,
            inputs,
            outputs,
            by_output,
        }
    }

    /// Its numbers, in the order in which they are stored.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// Whether an output's weights lie one after another.
    pub fn is_by_output(&self) -> bool {
        self.by_output
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// An output's weights, by input.
    pub fn output(&self, output: usize) -> impl Iterator<Item = f32> + Clone + '_ {
        let (start, step) = if self.by_output {
            (output * self.inputs, 1)
        } else {
            (output, self.outputs)
        };
        self.numbers[start..]
            .iter()
            .step_by(step)
            .take(self.inputs)
            .copied()
    }
}

impl Graph {
    /// Reads the outline of the graph in `path`. `locate` tells where a file is that it names.
    ///
    /// # Errors
    /// [`Unsuitable`] if this is no ONNX model, or one that cannot be read.
    pub fn open(path: &Path, locate: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Self, Unsuitable> {
        let file = File::open(path).map_err(unreadable)?;
        let end = file.metadata().map_err(unreadable)?.len();
        let mut reader = Reader {
            file: BufReader::new(file),
            at: 0,
        };
        let mut outline = Outline {
            path,
            locate,
            tensors: HashMap::new(),
            products: HashMap::new(),
            sums: Vec::new(),
        };
        while reader.at < end {
            match reader.field(end)? {
                Field {
                    number: 7,
                    bytes: Some(graph),
                } => outline.graph(&mut reader, graph)?,
                field => reader.skip(field)?,
            }
        }
        Ok(outline.finish())
    }

    /// Names of tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor's dimensions, if it is there.
    pub fn dimensions(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| &tensor.dimensions[..])
    }

    /// A vector's numbers.
    ///
    /// # Errors
    /// [`Unsuitable`] if it is not there, or no vector.
    pub fn vector(&self, name: &str) -> Result<Vec<f32>, Unsuitable> {
        match self.dimensions(name) {
            Some(&[length]) => self.read(name, 0, length),
            _ => Err(Unsuitable(format!("it has no vector '{name}'"))),
        }
    }

    /// Reads some rows of a table: `[rows, width]`.
    ///
    /// # Errors
    /// [`Unsuitable`] if it is not there, or has no such rows.
    pub fn rows(&self, name: &str, first: usize, count: usize) -> Result<Vec<f32>, Unsuitable> {
        match self.dimensions(name) {
            Some(&[rows, width]) if first + count <= rows => {
                self.read(name, first * width, count * width)
            }
            _ => Err(Unsuitable(format!("it has no table '{name}'"))),
        }
    }

    /// The matrix of the linear layer `name`: the one whose product gets `name.bias`, or `name.weight`, which has an output's weights
    /// together, as PyTorch stores them.
    ///
    /// # Errors
    /// [`Unsuitable`] if neither is there.
    pub fn matrix(&self, name: &str) -> Result<StoredMatrix, Unsuitable> {
        let folded = self.matrices.get(&format!("{name}.bias"));
        let by_output = folded.is_none();
        let weights = folded.cloned().unwrap_or_else(|| format!("{name}.weight"));
        let Some(&[rows, columns]) = self.dimensions(&weights) else {
            return Err(Unsuitable(format!("it has no matrix for '{name}'")));
        };
        let (inputs, outputs) = if by_output {
            (columns, rows)
        } else {
            (rows, columns)
        };
        Ok(StoredMatrix {
            numbers: self.read(&weights, 0, rows * columns)?,
            inputs,
            outputs,
            by_output,
        })
    }

    fn read(&self, name: &str, first: usize, count: usize) -> Result<Vec<f32>, Unsuitable> {
        let Tensor { half, place, .. } = &self.tensors[name];
        let size = if *half { 2 } else { 4 };
        let mut bytes = vec![0; count * size];
        let file = File::open(&place.file).map_err(unreadable)?;
        file.read_exact_at(&mut bytes, place.offset + (first * size) as u64)
            .map_err(unreadable)?;
        Ok(if *half {
            let numbers = bytes.as_chunks::<2>().0.iter();
            numbers
                .map(|&number| half::f16::from_le_bytes(number).to_f32())
                .collect()
        } else {
            let numbers = bytes.as_chunks::<4>().0.iter();
            numbers.map(|&number| f32::from_le_bytes(number)).collect()
        })
    }
}

/// What is gathered on the way through a graph.
struct Outline<'a> {
    path: &'a Path,
    locate: &'a dyn Fn(&str) -> Option<PathBuf>,
    tensors: HashMap<String, Tensor>,
    /// The second operand of products, by their result.
    products: HashMap<String, String>,
    /// The operands of additions.
    sums: Vec<[String; 2]>,
}

impl Outline<'_> {
    fn graph(&mut self, reader: &mut Reader, length: u64) -> Result<(), Unsuitable> {
        let end = reader.at + length;
        while reader.at < end {
            match reader.field(end)? {
                Field {
                    number: 1,
                    bytes: Some(length),
                } => self.node(&reader.bytes(length)?)?,
                Field {
                    number: 5,
                    bytes: Some(length),
                } => self.tensor(reader, length)?,
                field => reader.skip(field)?,
            }
            if self.tensors.len() + self.products.len() + self.sums.len() > MOST_ENTRIES {
                return Err(Unsuitable("its graph is too large".into()));
            }
        }
        Ok(())
    }

    fn node(&mut self, bytes: &[u8]) -> Result<(), Unsuitable> {
        let (mut inputs, mut output, mut operator) = (Vec::new(), None, String::new());
        for (number, bytes) in fields(bytes)? {
            let text = || String::from_utf8_lossy(bytes).into_owned();
            match number {
                1 => inputs.push(text()),
                2 => output = output.or_else(|| Some(text())),
                4 => operator = text(),
                _ => {}
            }
        }
        if let (Some(output), Ok([left, right])) = (output, <[String; 2]>::try_from(inputs)) {
            match operator.as_str() {
                "MatMul" => drop(self.products.insert(output, right)),
                "Add" => self.sums.push([left, right]),
                _ => {}
            }
        }
        Ok(())
    }

    fn tensor(&mut self, reader: &mut Reader, length: u64) -> Result<(), Unsuitable> {
        let end = reader.at + length;
        let (mut dimensions, mut kind, mut name) = (Vec::new(), 0, String::new());
        let (mut place, mut bytes) = (None, 0);
        let mut external: HashMap<String, String> = HashMap::new();
        while reader.at < end {
            let field = reader.field(end)?;
            match (field.number, field.bytes) {
                (1, None) => dimensions.push(reader.varint()? as usize),
                (1, Some(length)) => {
                    let packed = reader.at + length;
                    while reader.at < packed {
                        dimensions.push(reader.varint()? as usize);
                    }
                }
                (2, None) => kind = reader.varint()?,
                (8, Some(length)) => {
                    name = String::from_utf8_lossy(&reader.bytes(length)?).into_owned()
                }
                // Raw data, or packed floats: little-endian either way.
                (9 | 4, Some(length)) => {
                    place = Some(Place {
                        file: self.path.to_owned(),
                        offset: reader.at,
                    });
                    bytes = length;
                    reader.skip(field)?;
                }
                (13, Some(length)) => {
                    let entry = reader.bytes(length)?;
                    let [mut key, mut value] = [String::new(), String::new()];
                    for (number, bytes) in fields(&entry)? {
                        let text = String::from_utf8_lossy(bytes).into_owned();
                        if number == 1 {
                            key = text
                        } else {
                            value = text
                        }
                    }
                    external.insert(key, value);
                }
                _ => reader.skip(field)?,
            }
        }
        if let Some(location) = external.get("location") {
            let number = |key: &str| external.get(key).map_or(Some(0), |text| text.parse().ok());
            let file = (self.locate)(location);
            let (Some(file), Some(offset), Some(length)) =
                (file, number("offset"), number("length"))
            else {
                return Err(Unsuitable(format!(
                    "it keeps weights in '{location}', which is missing"
                )));
            };
            place = Some(Place { file, offset });
            bytes = length;
        }
        let elements = dimensions
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size));
        let half = kind == FLOAT16;
        let expected = elements.and_then(|elements| elements.checked_mul(if half { 2 } else { 4 }));
        // What is not floats, or does not say where they are, is not looked for either.
        if let (FLOAT | FLOAT16, Some(place), Some(expected)) = (kind, place, expected)
            && (bytes == expected as u64 || (bytes == 0 && !external.is_empty()))
        {
            self.tensors.insert(
                name,
                Tensor {
                    dimensions,
                    half,
                    place,
                },
            );
        }
        Ok(())
    }

    fn finish(self) -> Graph {
        let mut matrices = HashMap::new();
        for [left, right] in self.sums {
            for (sum, bias) in [(&left, &right), (&right, &left)] {
                if let Some(matrix) = self.products.get(sum)
                    && self.tensors.contains_key(bias)
                    && self.tensors.contains_key(matrix)
                {
                    matrices.insert(bias.clone(), matrix.clone());
                }
            }
        }
        Graph {
            tensors: self.tensors,
            matrices,
        }
    }
}

/// A field's number, and the length of its content if it has one.
struct Field {
    number: u64,
    bytes: Option<u64>,
}

/// Fields from a file.
struct Reader {
    file: BufReader<File>,
    at: u64,
}

impl Reader {
    /// The next field of a message that ends at `end`. A number is left to be read.
    fn field(&mut self, end: u64) -> Result<Field, Unsuitable> {
        let tag = self.varint()?;
        let bytes = match tag & 7 {
            0 => None,
            1 => Some(8),
            2 => Some(self.varint()?),
            5 => Some(4),
            _ => return Err(malformed()),
        };
        if bytes.is_some_and(|length| length > end.saturating_sub(self.at)) {
            return Err(malformed());
        }
        Ok(Field {
            number: tag >> 3,
            bytes,
        })
    }

    fn skip(&mut self, field: Field) -> Result<(), Unsuitable> {
        match field.bytes {
            None => drop(self.varint()?),
            Some(length) => {
                self.at += length;
                let seek = i64::try_from(length).map_err(|_| malformed())?;
                self.file.seek_relative(seek).map_err(unreadable)?;
            }
        }
        Ok(())
    }

    fn bytes(&mut self, length: u64) -> Result<Vec<u8>, Unsuitable> {
        if length > MOST_BYTES {
            return Err(Unsuitable("a part of its graph is too large".into()));
        }
        let mut bytes = vec![0; length as usize];
        self.file.read_exact(&mut bytes).map_err(unreadable)?;
        self.at += length;
        Ok(bytes)
    }

    fn varint(&mut self) -> Result<u64, Unsuitable> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self
                .file
                .fill_buf()
                .map_err(unreadable)?
                .first()
                .ok_or_else(malformed)?;
            self.file.consume(1);
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed())
    }
}

/// The length-delimited fields of a message in memory.
fn fields(mut message: &[u8]) -> Result<Vec<(u64, &[u8])>, Unsuitable> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let length = match tag & 7 {
            0 => {
                take_varint(&mut message)?;
                continue;
            }
            1 => 8,
            2 => take_varint(&mut message)?,
            5 => 4,
            _ => return Err(malformed()),
        };
        let length = usize::try_from(length).map_err(|_| malformed())?;
        let (bytes, rest) = message.split_at_checked(length).ok_or_else(malformed)?;
        message = rest;
        if tag & 7 == 2 {
            found.push((tag >> 3, bytes));
        }
    }
    Ok(found)
}

fn take_varint(message: &mut &[u8]) -> Result<u64, Unsuitable> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().ok_or_else(malformed)?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed())
}

fn malformed() -> Unsuitable {
    Unsuitable("its graph is damaged".into())
}

fn unreadable(error: std::io::Error) -> Unsuitable {
    Unsuitable(format!("its files cannot be read: {error}"))
}
