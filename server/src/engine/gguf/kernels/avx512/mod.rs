//! AVX-512 with VNNI: Ice Lake and later, Zen 4 and later.
//!
//! Sixteen rows go together. Each contributes a vector of partial sums per block and column, and the sixteen vectors are added up
//! crosswise into one with a sum per row. Weights of the next sixteen rows are asked for meanwhile: in one column the time is that of memory.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "all are for one reason: the caller promises the instructions and the sizes that `Plan` states"
)]

mod bytes;
mod plains;
mod supers;
mod unpack;

use std::arch::x86_64::*;
use std::ops::Range;

pub(super) use self::bytes::{prepare, quantize, sums_of_32};
use self::plains::{Q40, Q80, plains};
use self::supers::{Q4K, Q5K, Q6K, supers};
pub(super) use self::unpack::{
    Heads, factors, fifths, heads_with_leasts, leasts_as_words, nibbles, scales_of_sixths, sixths,
};
use super::Format;
use super::plan::{Columns, GROUP, Output, Plan, Weights};

/// Columns that weights in registers are used for.
const COLUMNS: usize = 16;

/// See [`Plan::multiply`].
///
/// # Safety
/// As there, and the processor has these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn multiply(
    plan: &Plan,
    weights: Weights,
    columns: Columns,
    output: Output,
    groups: Range<usize>,
) {
    for group in groups {
        for start in (0..plan.columns).step_by(COLUMNS) {
            let count = (plan.columns - start).min(COLUMNS);
            let job = Job {
                plan,
                weights,
                columns,
                output,
                group,
                start,
                count,
            };
            unsafe {
                match (plan.format, count) {
                    (Format::Q4_K, 1) => supers::<Q4K, 1>(&job),
                    (Format::Q4_K, 2) => supers::<Q4K, 2>(&job),
                    (Format::Q4_K, _) => supers::<Q4K, 0>(&job),
                    (Format::Q5_K, 1) => supers::<Q5K, 1>(&job),
                    (Format::Q5_K, 2) => supers::<Q5K, 2>(&job),
                    (Format::Q5_K, _) => supers::<Q5K, 0>(&job),
                    (Format::Q6_K, 1) => supers::<Q6K, 1>(&job),
                    (Format::Q6_K, 2) => supers::<Q6K, 2>(&job),
                    (Format::Q6_K, _) => supers::<Q6K, 0>(&job),
                    (Format::Q4_0, 1) => plains::<Q40, 1>(&job),
                    (Format::Q4_0, 2) => plains::<Q40, 2>(&job),
                    (Format::Q4_0, 3) => plains::<Q40, 3>(&job),
                    (Format::Q4_0, 4) => plains::<Q40, 4>(&job),
                    (Format::Q4_0, _) => plains::<Q40, 0>(&job),
                    (Format::Q8_0, 1) => plains::<Q80, 1>(&job),
                    (Format::Q8_0, 2) => plains::<Q80, 2>(&job),
                    (Format::Q8_0, 3) => plains::<Q80, 3>(&job),
                    (Format::Q8_0, 4) => plains::<Q80, 4>(&job),
                    (Format::Q8_0, _) => plains::<Q80, 0>(&job),
                }
            }
        }
    }
}

/// A group of outputs of some columns.
struct Job<'a> {
    plan: &'a Plan,
    weights: Weights,
    columns: Columns,
    output: Output,
    group: usize,
    /// The first column.
    start: usize,
    count: usize,
}

impl Job<'_> {
    /// The first of the group's rows.
    unsafe fn rows(&self) -> *const u8 {
        let (first, _) = self.plan.group(self.group);
        unsafe { self.weights.bytes.add(first * self.weights.stride) }
    }

    /// Asks for part `number` of the group after this one, which lies right behind it: one part after the other, as memory gives
    /// lines in a row fastest.
    #[inline(always)]
    unsafe fn prefetch(&self, number: usize, bytes: usize) {
        unsafe {
            let next = self.rows().wrapping_add(GROUP * self.weights.stride);
            let part = next.wrapping_add(number * bytes).cast::<i8>();
            for line in (0..bytes).step_by(64) {
                _mm_prefetch::<_MM_HINT_T1>(part.wrapping_add(line));
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store(&self, totals: &[__m512]) {
        let (first, skip) = self.plan.group(self.group);
        let wanted = u16::MAX << skip;
        for (n, total) in totals.iter().enumerate() {
            unsafe {
                let to = (self.output.numbers).add((self.start + n) * self.output.stride + first);
                _mm512_mask_storeu_ps(to, wanted, *total);
            }
        }
    }
}

/// Adds up each of sixteen vectors: lane `n` is the sum of vector `n`.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_up(vectors: &[__m512i; GROUP]) -> __m512i {
    let [a, b] = add_up_lanes(vectors);
    _mm512_add_epi32(
        _mm512_shuffle_i32x4::<0x88>(a, b),
        _mm512_shuffle_i32x4::<0xdd>(a, b),
    )
}

/// Adds up each half of sixteen vectors: sums of the lower halves, and of the upper.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_up_halves(vectors: &[__m512i; GROUP]) -> [__m512i; 2] {
    let [a, b] = add_up_lanes(vectors);
    [
        _mm512_shuffle_i32x4::<0x88>(a, b),
        _mm512_shuffle_i32x4::<0xdd>(a, b),
    ]
}

/// Two vectors of four lanes, with the sums of four halves in each: lower and upper of vectors 0 to 3, and so on.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_up_lanes(vectors: &[__m512i; GROUP]) -> [__m512i; 2] {
    let four = |n: usize| {
        let pair = |n: usize| {
            _mm512_add_epi32(
                _mm512_unpacklo_epi32(vectors[n], vectors[n + 1]),
                _mm512_unpackhi_epi32(vectors[n], vectors[n + 1]),
            )
        };
        let (a, b) = (pair(4 * n), pair(4 * n + 2));
        _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b))
    };
    let eight = |n: usize| {
        let (a, b) = (four(2 * n), four(2 * n + 1));
        _mm512_add_epi32(
            _mm512_shuffle_i32x4::<0x88>(a, b),
            _mm512_shuffle_i32x4::<0xdd>(a, b),
        )
    };
    [eight(0), eight(1)]
}
