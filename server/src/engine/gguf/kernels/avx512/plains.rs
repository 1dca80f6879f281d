//! Formats with blocks of 32.
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]

use std::arch::x86_64::*;

use super::super::Format;
use super::super::formats::PLAIN;
use super::super::plan::GROUP;
use super::turn::{fours, lower_floats, upper_floats};
use super::{COLUMNS, Job, four};

/// A format with blocks of 32, which begin with a 16-bit factor.
pub trait Plain {
    const FORMAT: Format;
    /// A block's weights, four in a lane, made unsigned: see [`super::super::plan::Columns::excess`].
    unsafe fn read(job: &Job, block: *const u8) -> [__m512i; PLAIN / 4];
}

pub struct Q40;
pub struct Q80;

impl Plain for Q40 {
    const FORMAT: Format = Format::Q4_0;
    #[inline(always)]
    unsafe fn read(job: &Job, block: *const u8) -> [__m512i; PLAIN / 4] {
        unsafe {
            let both = job.turn(block.add(2));
            let mask = _mm512_set1_epi8(15);
            let [a, b, c, d] = both.map(|both| _mm512_and_si512(both, mask));
            let [e, f, g, h] =
                both.map(|both| _mm512_and_si512(_mm512_srli_epi16::<4>(both), mask));
            [a, b, c, d, e, f, g, h]
        }
    }
}

impl Plain for Q80 {
    const FORMAT: Format = Format::Q8_0;
    #[inline(always)]
    unsafe fn read(job: &Job, block: *const u8) -> [__m512i; PLAIN / 4] {
        unsafe {
            let zero = _mm512_set1_epi8(i8::MIN);
            job.turn_two(block.add(2))
                .map(|signed| _mm512_xor_si512(signed, zero))
        }
    }
}

#[inline(always)]
pub unsafe fn plains<F: Plain>(job: &Job) {
    unsafe {
        let blocks = job.plan.blocks();
        let stride = job.weights.stride;
        let bytes = F::FORMAT.bytes();
        let mut totals = [_mm512_setzero_ps(); COLUMNS];
        let totals = &mut totals[..job.count];
        for block in (0..blocks).step_by(2) {
            let from = job.rows.add(block * bytes);
            // What the factors take, beside the weights.
            job.ahead.ask(2 * 2 * GROUP);
            add::<F>(job, block, from, lower_floats(fours(from, stride)), totals);
            if block + 1 < blocks {
                // Four bytes that end with the factor: behind it, the last block may have less.
                let from = from.add(bytes);
                let factors = upper_floats(fours(from.sub(2), stride));
                add::<F>(job, block + 1, from, factors, totals);
            }
        }
        job.store(totals);
    }
}

/// One column of Q8_0. Nothing is turned for it: two rows' blocks fill a vector, and their products are added up across it.
#[inline(always)]
pub unsafe fn one_of_q80(job: &Job) {
    unsafe {
        let stride = job.weights.stride;
        let bytes = Format::Q8_0.bytes();
        let mut total = _mm512_setzero_ps();
        for block in 0..job.plan.blocks() {
            let from = job.rows.add(block * bytes);
            job.ahead.ask(GROUP * bytes);
            // The factor is in the first two of four bytes; but behind the last block there may be less, so those are read that end with it.
            let factors = if block == 0 {
                lower_floats(fours(from, stride))
            } else {
                upper_floats(fours(from.sub(2), stride))
            };
            let activations = _mm256_loadu_si256(job.columns.bytes.add(block * PLAIN).cast());
            let activations = _mm512_broadcast_i64x4(activations);
            // Once for each of the two rows.
            let excess = _mm512_maskz_set1_epi32(0x0101, *job.columns.excess.add(block));
            let products: [__m512i; GROUP / 2] = std::array::from_fn(|n| {
                // Rows 0 to 3, then 8 to 11, with those four behind.
                let row = n + n / 4 * 4;
                let weights = |row: usize| {
                    _mm256_loadu_si256(from.add(row * stride + size_of::<u16>()).cast())
                };
                let signed = _mm512_castsi256_si512(weights(row));
                let signed = _mm512_inserti64x4::<1>(signed, weights(row + 4));
                let unsigned = _mm512_xor_si512(signed, _mm512_set1_epi8(i8::MIN));
                _mm512_dpbusd_epi32(excess, unsigned, activations)
            });
            let sums = _mm512_cvtepi32_ps(across(products));
            let scale = _mm512_set1_ps(*job.columns.scales.add(block));
            total = _mm512_fmadd_ps(sums, _mm512_mul_ps(factors, scale), total);
        }
        job.store(&[total]);
    }
}

/// The sums of the halves of eight vectors: of the lower halves of four, then of their upper ones, and the same of the others.
#[inline(always)]
unsafe fn across([a, b, c, d, e, f, g, h]: [__m512i; 8]) -> __m512i {
    unsafe {
        let two = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let four =
            |a, b| _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
        let (low, high) = (four(two(a, b), two(c, d)), four(two(e, f), two(g, h)));
        _mm512_add_epi32(
            _mm512_shuffle_i32x4::<0b10_00_10_00>(low, high),
            _mm512_shuffle_i32x4::<0b11_01_11_01>(low, high),
        )
    }
}

/// Adds a block's products to the totals of each column.
#[inline(always)]
unsafe fn add<F: Plain>(
    job: &Job,
    block: usize,
    from: *const u8,
    factors: __m512,
    totals: &mut [__m512],
) {
    unsafe {
        let weights = F::read(job, from);
        let first = job.plan.unit(job.start, block);
        for (n, total) in totals.iter_mut().enumerate() {
            let activations = job.columns.bytes.add((first + n) * PLAIN);
            let mut sum = _mm512_set1_epi32(*job.columns.excess.add(first + n));
            for (at, weights) in weights.iter().enumerate() {
                sum = _mm512_dpbusd_epi32(sum, *weights, four(activations.add(4 * at)));
            }
            let scale = _mm512_set1_ps(*job.columns.scales.add(first + n));
            let factor = _mm512_mul_ps(factors, scale);
            *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), factor, *total);
        }
    }
}
