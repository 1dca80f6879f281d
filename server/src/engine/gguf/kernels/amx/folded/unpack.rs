//! Blocks of Q4_K and, with `FIFTH`, of Q5_K as right-hand tiles: see [`super`].
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]

use std::arch::x86_64::*;

use super::super::super::avx512;
use super::super::super::formats::SUPER;
use super::super::super::plan::GROUP;
use super::super::Format;
use super::{INPUTS, VECTOR};

/// Bytes of a block.
pub const fn bytes(fifth: bool) -> usize {
    if fifth {
        Format::Q5_K.bytes()
    } else {
        Format::Q4_K.bytes()
    }
}

/// What goes with a block's sums.
#[repr(C, align(64))]
pub struct Head {
    pub factors: __m512,
    /// Less than nothing, as they are to be added.
    pub leasts: __m512,
    /// Least values of two sums in a lane, as 16-bit numbers.
    pub pairs: [__m512i; 4],
}

/// What is needed to unpack a block of sixteen rows, a row in each lane.
#[repr(C, align(64))]
pub struct Unpacking {
    /// Upper and lower halves of four sums' scales in the bytes of every lane, and of four more.
    scales: [[__m512i; 2]; 2],
    /// Every weight's fifth bit: of 16 bytes, and of the next 16.
    fifths: [[__m512i; 4]; 2],
}

impl Unpacking {
    #[inline(always)]
    pub unsafe fn begin<const FIFTH: bool>(
        &mut self,
        block: *const u8,
        stride: usize,
        head: &mut Head,
    ) {
        unsafe {
            let packed = avx512::head_with_leasts(avx512::turn(block, stride));
            head.factors = packed.factors;
            head.leasts = packed.leasts;
            head.pairs = packed.pairs;
            let three = _mm512_set1_epi8(7);
            for (bytes, [upper, lower]) in packed.scales.into_iter().zip(&mut self.scales) {
                *upper = _mm512_and_si512(_mm512_srli_epi16::<3>(bytes), three);
                *lower = _mm512_and_si512(bytes, three);
            }
            if FIFTH {
                self.fifths = [16, 32].map(|at| avx512::turn(block.add(at), stride));
            }
        }
    }

    /// The halves of a sum's scale, each as two numbers of 16 bits in every lane. These times two bytes of weights are the products of
    /// both bytes, as none of them is larger than a byte.
    #[inline(always)]
    unsafe fn scales(&self, sum: usize) -> [__m512i; 2] {
        unsafe {
            let places = _mm_set_epi32(0x000c_000c, 0x0008_0008, 0x0004_0004, 0);
            let place = _mm_set1_epi16(i16::MIN | (sum % 4) as i16);
            let places = _mm512_broadcast_i32x4(_mm_or_si128(places, place));
            self.scales[sum / 4].map(|bytes| _mm512_shuffle_epi8(bytes, places))
        }
    }

    /// Unpacks a tile of each half: 64 weights of each row, which have two scales.
    #[inline(always)]
    pub unsafe fn part<const FIFTH: bool>(
        &self,
        part: usize,
        block: *const u8,
        stride: usize,
        to: *mut u8,
    ) {
        unsafe {
            let [low_scales, high_scales] = [self.scales(2 * part), self.scales(2 * part + 1)];
            let nibbles = block.add(if FIFTH { 48 } else { 16 } + 32 * part);
            for half in 0..2 {
                let bytes = avx512::turn(nibbles.add(16 * half), stride);
                for (n, (bytes, bits)) in bytes.into_iter().zip(self.fifths[half]).enumerate() {
                    let four = _mm512_set1_epi8(0x0f);
                    let mut low = _mm512_and_si512(bytes, four);
                    let mut high = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), four);
                    if FIFTH {
                        // From wherever it is to where it belongs.
                        let bit = |at: usize| {
                            let right = _mm512_set1_epi32((at + 28) as i32 % 32);
                            _mm512_rorv_epi32(bits, right)
                        };
                        // a | b & c
                        let join = |four, bits| {
                            let fifth = _mm512_set1_epi8(0x10);
                            _mm512_ternarylogic_epi32::<0xf8>(four, bits, fifth)
                        };
                        low = join(low, bit(2 * part));
                        high = join(high, bit(2 * part + 1));
                    }
                    let row = to.add((INPUTS / 4 * part + 4 * half + n) * VECTOR);
                    for (at, scales) in [0, SUPER * GROUP].into_iter().zip([0, 1]) {
                        let low = _mm512_mullo_epi16(low, low_scales[scales]);
                        let high = _mm512_mullo_epi16(high, high_scales[scales]);
                        _mm512_store_si512(row.add(at).cast(), low);
                        _mm512_store_si512(row.add(at + 8 * VECTOR).cast(), high);
                    }
                }
            }
        }
    }
}
