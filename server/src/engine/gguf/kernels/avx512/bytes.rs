//! Activations as bytes.
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::Format;
use super::super::formats::SUPER;
use super::super::plan::{Columns, Plan};

/// See [`Plan::prepare`]; `units` are blocks of columns.
///
/// # Safety
/// As there, and the processor has these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
pub unsafe fn prepare(
    plan: &Plan,
    activations: *const f32,
    stride: usize,
    columns: Columns,
    units: Range<usize>,
) {
    let size = plan.format.weights();
    let sums = plan.sums();
    for unit in units {
        let (column, block) = plan.of_unit(unit);
        unsafe {
            let numbers = activations.add(column * stride + block * size);
            let bytes = columns.bytes.add(unit * size);
            *columns.scales.add(unit) = quantize(numbers, bytes, size);
            if sums > 0 {
                sums_of_32(bytes, columns.sums.add(unit * sums));
            }
            let excess = columns.excess.add(unit * plan.excesses());
            match plan.format {
                Format::Q4_0 => excess_of_32(bytes, 8, excess),
                Format::Q8_0 => excess_of_32(bytes, 128, excess),
                Format::Q6_K => excess_of_16(bytes, 32, excess),
                Format::Q4_K | Format::Q5_K => {}
            }
        }
    }
}

/// See [`super::super::portable::quantize`], whose results these are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
pub unsafe fn quantize(numbers: *const f32, bytes: *mut i8, size: usize) -> f32 {
    unsafe {
        let mut largest = _mm512_setzero_ps();
        for at in (0..size).step_by(16) {
            // The second operand is what comes of a comparison with something that is not a number.
            largest = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(numbers.add(at))), largest);
        }
        let largest = _mm512_reduce_max_ps(largest);
        let factor = 127.0 / largest;
        if !factor.is_normal() || !largest.is_normal() {
            bytes.write_bytes(0, size);
            return 0.0;
        }
        let factor = _mm512_set1_ps(factor);
        for at in (0..size).step_by(16) {
            let steps = _mm512_mul_ps(_mm512_loadu_ps(numbers.add(at)), factor);
            let steps = _mm512_cvtps_epi32(steps);
            _mm_storeu_si128(bytes.add(at).cast(), _mm512_cvtsepi32_epi8(steps));
        }
        largest / 127.0
    }
}

/// Sums of every 32 of 256 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
pub unsafe fn sums_of_32(bytes: *const i8, sums: *mut i16) {
    for n in 0..SUPER / 32 {
        unsafe { *sums.add(n) = sum_of_32(bytes.add(32 * n)) as i16 };
    }
}

/// What `zero` more in each of 32 weights adds to their products, less than nothing.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
unsafe fn excess_of_32(bytes: *const i8, zero: i32, excess: *mut i32) {
    unsafe { *excess = -zero * sum_of_32(bytes) };
}

/// The same for every 16 of 256.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
unsafe fn excess_of_16(bytes: *const i8, zero: i32, excess: *mut i32) {
    for n in 0..SUPER / 16 {
        unsafe {
            let fours = _mm_dpbusd_epi32(
                _mm_setzero_si128(),
                _mm_set1_epi8(1),
                _mm_loadu_si128(bytes.add(16 * n).cast()),
            );
            *excess.add(n) = -zero * across(fours);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
unsafe fn sum_of_32(bytes: *const i8) -> i32 {
    let fours = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), unsafe {
        _mm256_loadu_si256(bytes.cast())
    });
    across(_mm_add_epi32(
        _mm256_castsi256_si128(fours),
        _mm256_extracti128_si256::<1>(fours),
    ))
}

#[inline]
#[target_feature(enable = "avx2")]
fn across(four: __m128i) -> i32 {
    let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
}
