//! How tensors are encoded, from `ggml.h` and `ggml-common.h` of the llama.cpp this project is built with.

use std::fmt;

/// A tensor encoding that the native loader knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorType(&'static Encoding);

#[derive(PartialEq, Eq, Hash)]
struct Encoding {
    id: u32,
    name: &'static str,
    /// Numbers in one block.
    block_elements: u64,
    /// Bytes of one block.
    block_bytes: u64,
}

const fn encoding(id: u32, name: &'static str, block_elements: u64, block_bytes: u64) -> Encoding {
    Encoding {
        id,
        name,
        block_elements,
        block_bytes,
    }
}

static ENCODINGS: [Encoding; 35] = [
    encoding(0, "F32", 1, 4),
    encoding(1, "F16", 1, 2),
    encoding(2, "Q4_0", 32, 18),
    encoding(3, "Q4_1", 32, 20),
    encoding(6, "Q5_0", 32, 22),
    encoding(7, "Q5_1", 32, 24),
    encoding(8, "Q8_0", 32, 34),
    encoding(9, "Q8_1", 32, 36),
    encoding(10, "Q2_K", 256, 84),
    encoding(11, "Q3_K", 256, 110),
    encoding(12, "Q4_K", 256, 144),
    encoding(13, "Q5_K", 256, 176),
    encoding(14, "Q6_K", 256, 210),
    encoding(15, "Q8_K", 256, 292),
    encoding(16, "IQ2_XXS", 256, 66),
    encoding(17, "IQ2_XS", 256, 74),
    encoding(18, "IQ3_XXS", 256, 98),
    encoding(19, "IQ1_S", 256, 50),
    encoding(20, "IQ4_NL", 32, 18),
    encoding(21, "IQ3_S", 256, 110),
    encoding(22, "IQ2_S", 256, 82),
    encoding(23, "IQ4_XS", 256, 136),
    encoding(24, "I8", 1, 1),
    encoding(25, "I16", 1, 2),
    encoding(26, "I32", 1, 4),
    encoding(27, "I64", 1, 8),
    encoding(28, "F64", 1, 8),
    encoding(29, "IQ1_M", 256, 56),
    encoding(30, "BF16", 1, 2),
    encoding(34, "TQ1_0", 256, 54),
    encoding(35, "TQ2_0", 256, 66),
    encoding(39, "MXFP4", 32, 17),
    encoding(40, "NVFP4", 64, 36),
    encoding(41, "Q1_0", 128, 18),
    encoding(42, "Q2_0", 64, 18),
];

impl TensorType {
    /// 32-bit floats.
    pub const F32: Self = Self(&ENCODINGS[0]);
    /// 16-bit floats as IEEE 754 has them.
    pub const F16: Self = Self(&ENCODINGS[1]);
    /// The upper halves of 32-bit floats.
    pub const BF16: Self = Self(&ENCODINGS[28]);

    pub(super) fn from_id(id: u32) -> Option<Self> {
        ENCODINGS
            .iter()
            .find(|encoding| encoding.id == id)
            .map(Self)
    }

    /// Its number in files (`enum ggml_type`).
    pub fn id(self) -> u32 {
        self.0.id
    }

    /// The length in bytes of a tensor of this shape; `None` if there can be no such tensor.
    ///
    /// A row is whole blocks, no dimension is zero, and neither elements nor bytes exceed what a signed 64-bit number
    /// counts, since that is what native code counts with.
    pub fn bytes(self, shape: &[u64]) -> Option<u64> {
        let row = shape.first().copied().unwrap_or(1);
        let elements = shape
            .iter()
            .try_fold(1_u64, |product, &dimension| product.checked_mul(dimension))?;
        if elements == 0
            || elements > i64::MAX.unsigned_abs()
            || !row.is_multiple_of(self.0.block_elements)
        {
            return None;
        }
        let bytes = (elements / self.0.block_elements).checked_mul(self.0.block_bytes)?;
        (bytes <= i64::MAX.unsigned_abs()).then_some(bytes)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.name)
    }
}

impl fmt::Debug for TensorType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.name)
    }
}

/// Ollama's name for a value of `general.file_type` (`enum llama_ftype` in `llama.h`).
pub fn file_type_name(file_type: u64) -> &'static str {
    match file_type {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4",
        39 => "NVFP4",
        40 => "Q1_0",
        41 => "Q2_0",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::TensorType;

    #[test]
    fn the_named_encodings_are_the_ones_they_are_called() {
        for (kind, id, name) in [
            (TensorType::F32, 0, "F32"),
            (TensorType::F16, 1, "F16"),
            (TensorType::BF16, 30, "BF16"),
        ] {
            assert_eq!((kind.id(), kind.to_string().as_str()), (id, name));
        }
    }
}
