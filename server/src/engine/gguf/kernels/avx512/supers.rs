//! Formats with blocks of 256.
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]
#![expect(
    clippy::needless_range_loop,
    reason = "a row's number is that of a vector and of a place in memory"
)]

use std::arch::x86_64::*;

use super::super::Format;
use super::super::formats::SUPER;
use super::super::plan::GROUP;
use super::unpack::{
    Heads, factors, fifths, heads_with_leasts, leasts_as_words, nibbles, pair_of_scales, scales_of,
    scales_of_sixths, sixths,
};
use super::{COLUMNS, Job, add_up};

/// A block's weights in a row, as unsigned bytes with a 16-bit scale for every pair.
pub struct Row {
    weights: [__m512i; 4],
    scales: [__m512i; 4],
    /// What [`Super::adjust`] wants.
    extra: __m256i,
}

/// A format with blocks of 256.
pub trait Super {
    const FORMAT: Format;
    unsafe fn heads(blocks: *const u8, stride: usize) -> Heads;
    /// Row `row` of the group, whose block begins at `block`.
    unsafe fn row(heads: &Heads, row: usize, block: *const u8) -> Row;
    /// The sums, less what unsigned weights have too much.
    unsafe fn adjust(sums: __m512i, row: &Row, bytes: *const i16) -> __m512i;
}

pub struct Q4K;
pub struct Q5K;
pub struct Q6K;

#[inline(always)]
pub unsafe fn supers<F: Super, const COUNT: usize>(job: &Job) {
    unsafe {
        let Job { plan, columns, .. } = job;
        let blocks = plan.blocks();
        let count = if COUNT == 0 { job.count } else { COUNT };
        let stride = job.weights.stride;
        let bytes = F::FORMAT.bytes();
        let sums_count = plan.sums();
        let rows = job.rows();
        let mut totals = [_mm512_setzero_ps(); COLUMNS];
        let mut sums = [[_mm512_setzero_si512(); GROUP]; COLUMNS];
        for block in 0..blocks {
            let from = rows.add(block * bytes);
            let unit = |n: usize| (job.start + n) * blocks + block;
            let heads = F::heads(from, stride);
            for row in 0..GROUP {
                let at = from.add(row * stride);
                job.prefetch(block * GROUP + row, bytes);
                let unpacked = F::row(&heads, row, at);
                for n in 0..count {
                    let activations = columns.bytes.add(unit(n) * SUPER);
                    let mut sum = _mm512_setzero_si512();
                    for part in 0..4 {
                        let activations = _mm512_loadu_si512(activations.add(64 * part).cast());
                        let pairs = _mm512_maddubs_epi16(unpacked.weights[part], activations);
                        sum = _mm512_dpwssd_epi32(sum, pairs, unpacked.scales[part]);
                    }
                    let of_bytes = columns.sums.add(unit(n) * sums_count);
                    sums[n][row] = F::adjust(sum, &unpacked, of_bytes);
                }
            }
            for n in 0..count {
                let scale = _mm512_set1_ps(*columns.scales.add(unit(n)));
                let sum = _mm512_cvtepi32_ps(add_up(&sums[n]));
                totals[n] = _mm512_fmadd_ps(sum, _mm512_mul_ps(heads.factors, scale), totals[n]);
                if F::FORMAT.has_least() {
                    let of_bytes = _mm512_broadcast_i32x4(_mm_loadu_si128(
                        columns.sums.add(unit(n) * sums_count).cast(),
                    ));
                    let sum = _mm512_cvtepi32_ps(sum_of_leasts(&heads, of_bytes));
                    totals[n] = _mm512_fmadd_ps(sum, _mm512_mul_ps(heads.leasts, scale), totals[n]);
                }
            }
        }
        job.store(&totals[..count]);
    }
}

/// For each row, its least values times the sums of a column's bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sum_of_leasts(heads: &Heads, of_bytes: __m512i) -> __m512i {
    let products = |n: usize| _mm512_madd_epi16(leasts_as_words(heads.scales[n]), of_bytes);
    let pair = |n: usize| {
        let (a, b) = (products(n), products(n + 1));
        _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b))
    };
    let (a, b) = (pair(0), pair(2));
    _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b))
}

impl Super for Q4K {
    const FORMAT: Format = Format::Q4_K;
    #[inline(always)]
    unsafe fn heads(blocks: *const u8, stride: usize) -> Heads {
        unsafe { heads_with_leasts(blocks, stride) }
    }
    #[inline(always)]
    unsafe fn row(heads: &Heads, row: usize, block: *const u8) -> Row {
        unsafe {
            let scales = scales_of(heads, row);
            Row {
                weights: [0, 1, 2, 3].map(|part| nibbles(block.add(16 + 32 * part))),
                scales: [0, 1, 2, 3].map(|part| pair_of_scales(scales, part)),
                extra: _mm256_setzero_si256(),
            }
        }
    }
    #[inline(always)]
    unsafe fn adjust(sums: __m512i, _: &Row, _: *const i16) -> __m512i {
        sums
    }
}

impl Super for Q5K {
    const FORMAT: Format = Format::Q5_K;
    #[inline(always)]
    unsafe fn heads(blocks: *const u8, stride: usize) -> Heads {
        unsafe { heads_with_leasts(blocks, stride) }
    }
    #[inline(always)]
    unsafe fn row(heads: &Heads, row: usize, block: *const u8) -> Row {
        unsafe {
            let scales = scales_of(heads, row);
            let bits = _mm512_broadcast_i64x4(_mm256_loadu_si256(block.add(16).cast()));
            let weights = [0, 1, 2, 3].map(|part| {
                let low = nibbles(block.add(48 + 32 * part));
                _mm512_mask_add_epi8(low, fifths(bits, part), low, _mm512_set1_epi8(16))
            });
            Row {
                weights,
                scales: [0, 1, 2, 3].map(|part| pair_of_scales(scales, part)),
                extra: _mm256_setzero_si256(),
            }
        }
    }
    #[inline(always)]
    unsafe fn adjust(sums: __m512i, _: &Row, _: *const i16) -> __m512i {
        sums
    }
}

impl Super for Q6K {
    const FORMAT: Format = Format::Q6_K;
    #[inline(always)]
    unsafe fn heads(blocks: *const u8, stride: usize) -> Heads {
        unsafe {
            Heads {
                scales: [_mm512_setzero_si512(); 4],
                factors: factors(blocks.add(208), stride),
                leasts: _mm512_setzero_ps(),
            }
        }
    }
    #[inline(always)]
    unsafe fn row(_: &Heads, _: usize, block: *const u8) -> Row {
        unsafe {
            let (extra, scales) = scales_of_sixths(block);
            Row {
                weights: sixths(block),
                scales,
                extra,
            }
        }
    }
    #[inline(always)]
    unsafe fn adjust(sums: __m512i, row: &Row, of_bytes: *const i16) -> __m512i {
        unsafe {
            let of_bytes = _mm256_loadu_si256(of_bytes.cast());
            let excess = _mm256_slli_epi32::<5>(_mm256_madd_epi16(row.extra, of_bytes));
            _mm512_sub_epi32(sums, _mm512_zextsi256_si512(excess))
        }
    }
}
