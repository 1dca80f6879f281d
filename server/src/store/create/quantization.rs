//! The encodings that a model's numbers can be asked to have.

use std::fmt;
use std::str::FromStr;

use crate::store::StoreError;

/// What a model is to be quantised to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quantization {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// The upper halves of 32-bit floats.
    Bf16,
    /// 8 bits and a scale for every 32 numbers.
    Q8_0,
    /// 4 bits and a scale for every 32 numbers; more than Ollama offers.
    Q4_0,
    /// 4 bits in blocks of 256.
    Q4KSmall,
    /// The same, with more bits for sensitive matrices.
    Q4KMedium,
}

impl Quantization {
    /// Whether it loses nothing but precision of floats.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }
}

impl FromStr for Quantization {
    type Err = StoreError;

    /// Ollama's names, in any case.
    fn from_str(text: &str) -> Result<Self, StoreError> {
        let upper = text.to_uppercase();
        Ok(match upper.as_str() {
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "Q8_0" => Self::Q8_0,
            "Q4_0" => Self::Q4_0,
            "Q4_K_S" => Self::Q4KSmall,
            "Q4_K_M" | "Q4_K" => Self::Q4KMedium,
            _ => {
                return Err(StoreError::InvalidRequest(format!(
                    "unsupported quantization type {upper} - supported types are F32, F16, Q4_K_S, Q4_K_M, Q8_0"
                )));
            }
        })
    }
}

impl fmt::Display for Quantization {
    /// As `/api/show` calls it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4KSmall => "Q4_K_S",
            Self::Q4KMedium => "Q4_K_M",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_written_in_ollamas() {
        for (text, name) in [
            ("q8_0", "Q8_0"),
            ("Q4_k", "Q4_K_M"),
            ("q4_K_M", "Q4_K_M"),
            ("Q4_K_S", "Q4_K_S"),
            ("q4_0", "Q4_0"),
            ("f16", "F16"),
            ("bf16", "BF16"),
            ("F32", "F32"),
        ] {
            assert_eq!(text.parse::<Quantization>().unwrap().to_string(), name);
        }
        let error = "q5_9".parse::<Quantization>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unsupported quantization type Q5_9 - supported types are F32, F16, Q4_K_S, Q4_K_M, Q8_0"
        );
    }
}
