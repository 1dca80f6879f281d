//! The quantised forms of weights that there are kernels for, as GGUF files hold them.
//!
//! ggml's `ggml-common.h` defines them. Numbers of more than a byte are little-endian. A block stands for
//!
//! | | weights | bytes | a weight is |
//! |---|---|---|---|
//! | Q4_0 | 32 | 18 | `d * (q - 8)` |
//! | Q8_0 | 32 | 34 | `d * q` |
//! | Q4_K, Q5_K | 256 | 144, 176 | `d * scale * q - dmin * least`, with a scale and a least for every 32 |
//! | Q6_K | 256 | 210 | `d * scale * (q - 32)`, with a scale for every 16 |

use half::f16;

/// Weights of a block of the K formats, and of a block of activations that meets it.
pub(super) const SUPER: usize = 256;

/// Weights of a block of the other formats.
pub(super) const PLAIN: usize = 32;

/// A quantised form of weights.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(non_camel_case_types, reason = "these are their names everywhere")]
pub enum Format {
    Q4_0,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl Format {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Self; 5] = [Self::Q4_0, Self::Q8_0, Self::Q4_K, Self::Q5_K, Self::Q6_K];

    /// Weights of a block.
    pub const fn weights(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q8_0 => PLAIN,
            Self::Q4_K | Self::Q5_K | Self::Q6_K => SUPER,
        }
    }

    /// Bytes of a block.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q8_0 => 34,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
        }
    }

    /// Whether weights have a least value beside their scale.
    pub(super) const fn has_least(self) -> bool {
        matches!(self, Self::Q4_K | Self::Q5_K)
    }
}

/// A block taken apart: a weight is `scale * weights[n] - least * leasts[n / 32]`.
pub(super) struct Block {
    pub(super) weights: [i16; SUPER],
    pub(super) scale: f32,
    pub(super) least: f32,
    pub(super) leasts: [u8; 8],
}

impl Block {
    pub(super) const EMPTY: Self = Self {
        weights: [0; SUPER],
        scale: 0.0,
        least: 0.0,
        leasts: [0; 8],
    };

    /// Takes a block apart; a format with blocks of 32 fills that many weights.
    #[inline(always)]
    pub(super) fn read(&mut self, format: Format, bytes: &[u8]) {
        match format {
            Format::Q4_0 => {
                self.scale = half(bytes, 0);
                for n in 0..16 {
                    let byte = i16::from(bytes[2 + n]);
                    self.weights[n] = (byte & 15) - 8;
                    self.weights[n + 16] = (byte >> 4) - 8;
                }
            }
            Format::Q8_0 => {
                self.scale = half(bytes, 0);
                for n in 0..PLAIN {
                    self.weights[n] = i16::from(bytes[2 + n] as i8);
                }
            }
            Format::Q4_K => {
                let scales = self.read_head(bytes);
                for part in 0..4 {
                    let [low, high] = [scales[2 * part], scales[2 * part + 1]].map(i16::from);
                    for n in 0..32 {
                        let byte = i16::from(bytes[16 + 32 * part + n]);
                        self.weights[64 * part + n] = (byte & 15) * low;
                        self.weights[64 * part + 32 + n] = (byte >> 4) * high;
                    }
                }
            }
            Format::Q5_K => {
                let scales = self.read_head(bytes);
                for part in 0..4 {
                    let [low, high] = [scales[2 * part], scales[2 * part + 1]].map(i16::from);
                    for n in 0..32 {
                        let byte = i16::from(bytes[48 + 32 * part + n]);
                        let fifth = i16::from(bytes[16 + n] >> (2 * part));
                        self.weights[64 * part + n] = ((byte & 15) + ((fifth & 1) << 4)) * low;
                        self.weights[64 * part + 32 + n] =
                            ((byte >> 4) + ((fifth & 2) << 3)) * high;
                    }
                }
            }
            Format::Q6_K => {
                self.scale = half(bytes, 208);
                for part in 0..8 {
                    let (side, quarter) = (part / 4, part % 4);
                    for n in 0..32 {
                        let low = bytes[64 * side + 32 * (quarter % 2) + n] >> (quarter / 2 * 4);
                        let high = bytes[128 + 32 * side + n] >> (2 * quarter);
                        let weight = i16::from(low & 15 | (high & 3) << 4) - 32;
                        let scale = bytes[192 + 2 * part + n / 16] as i8;
                        self.weights[32 * part + n] = weight * i16::from(scale);
                    }
                }
            }
        }
    }

    /// The two factors and the leasts of a block of Q4_K or Q5_K; returns the scales.
    #[inline(always)]
    fn read_head(&mut self, bytes: &[u8]) -> [u8; 8] {
        self.scale = half(bytes, 0);
        self.least = half(bytes, 2);
        let packed = &bytes[4..16];
        let mut scales = [0; 8];
        for n in 0..4 {
            scales[n] = packed[n] & 63;
            self.leasts[n] = packed[n + 4] & 63;
            scales[n + 4] = packed[n + 8] & 15 | packed[n] >> 6 << 4;
            self.leasts[n + 4] = packed[n + 8] >> 4 | packed[n + 4] >> 6 << 4;
        }
        scales
    }
}

fn half(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}
