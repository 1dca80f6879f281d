//! The weights of a shipped ONNX encoder, taken out of its graph or changed inside it, so that tests of other formats and
//! other heads need no other trained model.
//!
//! Fields are those of `onnx.proto` (onnx/onnx 1.19).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const GRAPH: u64 = 7;
const INITIALIZER: u64 = 5;
const DIMS: u64 = 1;
const DATA_TYPE: u64 = 2;
const NAME: u64 = 8;
const RAW_DATA: u64 = 9;
const GRAPH_OUTPUT: u64 = 12;

/// 32-bit floats.
const FLOAT: u64 = 1;

/// A matrix or a vector of 32-bit floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Rows and columns, or the length alone.
    pub shape: Vec<usize>,
    /// Row by row.
    pub numbers: Vec<f32>,
}

impl Weight {
    /// Rows become columns.
    pub fn transposed(&self) -> Self {
        let [rows, columns] = self.shape[..] else {
            panic!("only matrices are transposed");
        };
        let number = |index: usize| self.numbers[index % rows * columns + index / rows];
        Self {
            shape: vec![columns, rows],
            numbers: (0..rows * columns).map(number).collect(),
        }
    }
}

/// The folder of a shipped model.
pub fn folder(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../models")
        .join(model)
}

/// A shipped model's tensors of 32-bit floats, by name.
pub fn read(model: &str) -> BTreeMap<String, Weight> {
    let bytes = std::fs::read(folder(model).join("model.onnx")).unwrap();
    let graph = fields(&bytes)
        .find_map(|field| field.bytes_of(GRAPH))
        .unwrap();
    fields(graph)
        .filter_map(|field| field.bytes_of(INITIALIZER))
        .filter_map(weight)
        .collect()
}

/// A shipped classifier's graph with a head of one number: that of the label with this index.
pub fn with_one_label(model: &str, label: usize) -> Vec<u8> {
    let bytes = std::fs::read(folder(model).join("model.onnx")).unwrap();
    let weights = read(model);
    let mut output = Vec::new();
    for field in fields(&bytes) {
        match field.bytes_of(GRAPH) {
            Some(graph) => put(&mut output, GRAPH, &one_label(graph, &weights, label)),
            None => output.extend(field.whole),
        }
    }
    output
}

fn one_label(graph: &[u8], weights: &BTreeMap<String, Weight>, label: usize) -> Vec<u8> {
    let mut output = Vec::new();
    for field in fields(graph) {
        let name = field.bytes_of(INITIALIZER).and_then(weight);
        match name.as_ref().map(|(name, _)| name.as_str()) {
            Some(name @ ("classifier.weight" | "classifier.bias")) => {
                let weight = &weights[name];
                let columns = *weight.shape.last().unwrap();
                let column = weight.numbers.iter().skip(label).step_by(columns);
                let mut shape = weight.shape.clone();
                *shape.last_mut().unwrap() = 1;
                let mut tensor = Vec::new();
                for size in shape {
                    put_varint(&mut tensor, DIMS << 3);
                    put_varint(&mut tensor, size as u64);
                }
                put_varint(&mut tensor, DATA_TYPE << 3);
                put_varint(&mut tensor, FLOAT);
                put(&mut tensor, NAME, name.as_bytes());
                let raw: Vec<u8> = column.flat_map(|number| number.to_le_bytes()).collect();
                put(&mut tensor, RAW_DATA, &raw);
                put(&mut output, INITIALIZER, &tensor);
            }
            // The shape that the graph states of its result is no longer true; it need not state one.
            _ if field.number == GRAPH_OUTPUT => {
                let mut tensor = Vec::new();
                put_varint(&mut tensor, 1 << 3);
                put_varint(&mut tensor, FLOAT);
                // A shape of two unnamed dimensions.
                put(&mut tensor, 2, &[10, 0, 10, 0]);
                let mut kind = Vec::new();
                put(&mut kind, 1, &tensor);
                let mut value = Vec::new();
                put(&mut value, 1, b"logits");
                put(&mut value, 2, &kind);
                put(&mut output, GRAPH_OUTPUT, &value);
            }
            _ => output.extend(field.whole),
        }
    }
    output
}

/// A tensor of 32-bit floats.
fn weight(tensor: &[u8]) -> Option<(String, Weight)> {
    let mut shape = Vec::new();
    let mut name = String::new();
    let mut numbers = Vec::new();
    for field in fields(tensor) {
        match (field.number, field.bytes) {
            (DIMS, None) => shape.push(usize::try_from(field.value).unwrap()),
            (DIMS, Some(mut packed)) => {
                while !packed.is_empty() {
                    shape.push(usize::try_from(take_varint(&mut packed)).unwrap());
                }
            }
            (DATA_TYPE, _) if field.value != FLOAT => return None,
            (NAME, Some(bytes)) => name = String::from_utf8(bytes.to_vec()).unwrap(),
            (RAW_DATA, Some(bytes)) => {
                let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
                numbers = bytes.chunks_exact(4).map(number).collect();
            }
            _ => {}
        }
    }
    Some((name, Weight { shape, numbers }))
}

/// A field of a message in the encoding of Protocol Buffers.
struct Field<'a> {
    number: u64,
    /// Of a field that is a number.
    value: u64,
    /// Of a field that is a message or text.
    bytes: Option<&'a [u8]>,
    whole: &'a [u8],
}

impl<'a> Field<'a> {
    fn bytes_of(&self, number: u64) -> Option<&'a [u8]> {
        self.bytes.filter(|_| self.number == number)
    }
}

fn fields(mut message: &[u8]) -> impl Iterator<Item = Field<'_>> {
    std::iter::from_fn(move || {
        let start = message;
        let tag = (!message.is_empty()).then(|| take_varint(&mut message))?;
        let (mut value, mut bytes) = (0, None);
        match tag & 7 {
            0 => value = take_varint(&mut message),
            1 => message = &message[8..],
            2 => {
                let length = usize::try_from(take_varint(&mut message)).unwrap();
                let (taken, rest) = message.split_at(length);
                (bytes, message) = (Some(taken), rest);
            }
            5 => message = &message[4..],
            other => panic!("field of type {other}"),
        }
        Some(Field {
            number: tag >> 3,
            value,
            bytes,
            whole: &start[..start.len() - message.len()],
        })
    })
}

fn take_varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().unwrap();
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn put(output: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(output, number << 3 | 2);
    put_varint(output, bytes.len() as u64);
    output.extend(bytes);
}

fn put_varint(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    output.push(u8::try_from(value).unwrap());
}
