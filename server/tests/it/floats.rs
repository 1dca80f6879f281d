//! The chat model that the repository ships, in 16-bit floats: what quantising and splitting start from.

use std::path::{Path, PathBuf};

use chaski::convert::gguf::{Entries, Tensor, Writer};
use chaski::store::gguf::{Arrays, Gguf, TensorType};
use half::f16;

/// The shipped model, whose matrices are Q8_0.
pub fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny/tiny.gguf")
}

/// A model taken apart.
pub struct Parts {
    /// Each entry of the metadata as it stands in the file, by key.
    pub entries: Vec<(String, Vec<u8>)>,
    /// Each tensor with its data.
    pub tensors: Vec<(Tensor, Vec<u8>)>,
}

impl Parts {
    /// Of a GGUF file.
    pub fn of(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let gguf = Gguf::read(std::io::Cursor::new(&bytes), Arrays::Skip).unwrap();
        let cut = |start: u64, end: u64| bytes[start as usize..end as usize].to_vec();
        let entries = gguf
            .places
            .iter()
            .map(|(key, place)| (key.clone(), cut(place.start, place.end)))
            .collect();
        let tensors = gguf
            .tensors
            .iter()
            .map(|tensor| {
                let start = gguf.data_start + tensor.offset;
                let written = Tensor {
                    name: tensor.name.clone(),
                    shape: tensor.shape.clone(),
                    kind: tensor.kind,
                };
                (written, cut(start, start + tensor.bytes))
            })
            .collect();
        Self { entries, tensors }
    }

    /// `tiny` with its matrices as 16-bit floats, and without an entry that says what they are.
    pub fn of_tiny_in_floats() -> Self {
        let mut parts = Self::of(&tiny());
        for (tensor, data) in &mut parts.tensors {
            if tensor.kind.to_string() == "Q8_0" {
                *data = floats_of_q8_0(data)
                    .into_iter()
                    .flat_map(|number| f16::from_f32(number).to_le_bytes())
                    .collect();
                tensor.kind = TensorType::F16;
            }
        }
        parts.entries.retain(|(key, _)| key != "general.file_type");
        parts
    }

    /// The same with matrices of 32-bit floats, in which sums of products can be compared.
    pub fn of_tiny_in_long_floats() -> Self {
        let mut parts = Self::of_tiny_in_floats();
        for (tensor, data) in &mut parts.tensors {
            if tensor.kind == TensorType::F16 {
                *data = numbers(data, TensorType::F16)
                    .into_iter()
                    .flat_map(f32::to_le_bytes)
                    .collect();
                tensor.kind = TensorType::F32;
            }
        }
        parts
    }

    /// A tensor and its numbers.
    pub fn tensor(&mut self, name: &str) -> &mut (Tensor, Vec<u8>) {
        let mut tensors = self.tensors.iter_mut();
        tensors.find(|(tensor, _)| tensor.name == name).unwrap()
    }

    /// Writes them as one file.
    pub fn write(&self, path: &Path, more: impl FnOnce(&mut Entries)) {
        let mut entries = Entries::default();
        for (_, entry) in &self.entries {
            entries.put_encoded(entry);
        }
        more(&mut entries);
        let tensors: Vec<_> = self
            .tensors
            .iter()
            .map(|(tensor, _)| tensor.clone())
            .collect();
        let mut told = |_| {};
        let mut writer = Writer::begin(path, &entries, &tensors, &mut told).unwrap();
        for (_, data) in &self.tensors {
            writer.tensor(|put| put(data)).unwrap();
        }
        writer.finish().unwrap();
    }
}

/// Numbers of 16 or 32 bits.
pub fn numbers(data: &[u8], kind: TensorType) -> Vec<f32> {
    if kind == TensorType::F16 {
        data.chunks_exact(2)
            .map(|two| f16::from_le_bytes([two[0], two[1]]).to_f32())
            .collect()
    } else {
        data.chunks_exact(4)
            .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
            .collect()
    }
}

/// Blocks of a 16-bit scale and 32 signed bytes.
fn floats_of_q8_0(data: &[u8]) -> Vec<f32> {
    data.chunks_exact(34)
        .flat_map(|block| {
            let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
            block[2..]
                .iter()
                .map(move |&byte| f32::from(byte.cast_signed()) * scale)
        })
        .collect()
}
