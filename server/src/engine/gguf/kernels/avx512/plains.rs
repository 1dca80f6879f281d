//! Formats with blocks of 32.
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]
#![expect(
    clippy::needless_range_loop,
    reason = "a row's number is that of a vector and of a place in memory"
)]

use std::arch::x86_64::*;

use super::super::Format;
use super::super::formats::PLAIN;
use super::super::plan::GROUP;
use super::unpack::factors;
use super::{COLUMNS, Job, add_up_halves};

/// A format with blocks of 32.
pub trait Plain {
    const FORMAT: Format;
    /// What is added to a weight to make it unsigned.
    const ZERO: i8;
    unsafe fn read(block: *const u8) -> __m256i;
}

pub struct Q40;
pub struct Q80;

impl Plain for Q40 {
    const FORMAT: Format = Format::Q4_0;
    const ZERO: i8 = 8;
    #[inline(always)]
    unsafe fn read(block: *const u8) -> __m256i {
        unsafe {
            let both = _mm256_broadcastsi128_si256(_mm_loadu_si128(block.add(2).cast()));
            let shifts = _mm256_inserti128_si256::<1>(_mm256_setzero_si256(), _mm_set1_epi16(4));
            _mm256_and_si256(_mm256_srlv_epi16(both, shifts), _mm256_set1_epi8(15))
        }
    }
}

impl Plain for Q80 {
    const FORMAT: Format = Format::Q8_0;
    const ZERO: i8 = i8::MIN;
    #[inline(always)]
    unsafe fn read(block: *const u8) -> __m256i {
        unsafe {
            let signed = _mm256_loadu_si256(block.add(2).cast());
            _mm256_xor_si256(signed, _mm256_set1_epi8(i8::MIN))
        }
    }
}

#[inline(always)]
pub unsafe fn plains<F: Plain, const COUNT: usize>(job: &Job) {
    unsafe {
        let Job { plan, columns, .. } = job;
        let blocks = plan.blocks();
        let count = if COUNT == 0 { job.count } else { COUNT };
        let stride = job.weights.stride;
        let bytes = F::FORMAT.bytes();
        let rows = job.rows();
        let mut totals = [_mm512_setzero_ps(); COLUMNS];
        let mut sums = [[_mm512_setzero_si512(); GROUP]; COLUMNS];
        let mut excess = [_mm512_setzero_si512(); COLUMNS];
        for block in (0..blocks).step_by(2) {
            let from = rows.add(block * bytes);
            // An odd block at the end has zeros beside it.
            let two = block + 1 < blocks;
            let unit = |n: usize| (job.start + n) * blocks + block;
            let load = |n: usize| {
                let activations = columns.bytes.add(unit(n) * PLAIN).cast::<__m256i>();
                if two {
                    _mm512_loadu_si512(activations.cast())
                } else {
                    _mm512_zextsi256_si512(_mm256_loadu_si256(activations))
                }
            };
            for (n, excess) in excess[..count].iter_mut().enumerate() {
                let zero = _mm512_set1_epi8(F::ZERO);
                let sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), zero, load(n));
                *excess = _mm512_sub_epi32(_mm512_setzero_si512(), sum);
            }
            for row in 0..GROUP {
                let at = from.add(row * stride);
                job.prefetch(block / 2 * GROUP + row, 2 * bytes);
                let first = _mm512_castsi256_si512(F::read(at));
                let second = F::read(if two { at.add(bytes) } else { at });
                let weights = _mm512_inserti64x4::<1>(first, second);
                for n in 0..count {
                    sums[n][row] = _mm512_dpbusd_epi32(excess[n], weights, load(n));
                }
            }
            let first = factors(from, stride);
            let second = factors(from.add(if two { bytes } else { 0 }), stride);
            for n in 0..count {
                let [lower, upper] = add_up_halves(&sums[n]);
                let scale = columns.scales.add(unit(n));
                let factor = _mm512_mul_ps(first, _mm512_set1_ps(*scale));
                totals[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(lower), factor, totals[n]);
                if two {
                    let factor = _mm512_mul_ps(second, _mm512_set1_ps(*scale.add(1)));
                    totals[n] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(upper), factor, totals[n]);
                }
            }
        }
        job.store(&totals[..count]);
    }
}
