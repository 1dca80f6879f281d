//! AVX2 with FMA: Haswell and later, Zen. There is no exact product of bytes here, so activations are halved first.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "every function is one instruction or two, under the conditions that `isa` states"
)]

use std::arch::x86_64::*;

use super::isa::Isa;

#[derive(Clone, Copy)]
pub(super) struct Avx2;

/// Four bytes in every lane: their upper seven bits, and the lowest one. A product of seven bits and eight, added in
/// pairs, fits the 16 bits that `vpmaddubsw` has for it; one of eight bits and eight does not.
#[derive(Clone, Copy)]
pub(super) struct Halves {
    upper: __m256i,
    lowest: __m256i,
}

impl Isa for Avx2 {
    const LANES: usize = 8;
    type F = __m256;
    type I = __m256i;
    type A = Halves;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: __m256) {
        unsafe { _mm256_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn round(x: __m256) -> __m256 {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x) }
    }
    #[inline(always)]
    unsafe fn exp2(x: __m256) -> __m256 {
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(x), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        }
    }
    #[inline(always)]
    unsafe fn keep(x: __m256, count: usize) -> __m256 {
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes);
            _mm256_and_ps(x, _mm256_castsi256_ps(mask))
        }
    }
    #[inline(always)]
    unsafe fn sum(x: __m256) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    unsafe fn largest(x: __m256) -> f32 {
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    unsafe fn smallest(x: __m256) -> f32 {
        unsafe {
            let four = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_min_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, x: __m256) {
        unsafe {
            let words = _mm256_cvtps_epi32(x);
            let halves = _mm_packus_epi32(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(halves, halves));
        }
    }

    #[inline(always)]
    unsafe fn zero() -> __m256i {
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn spread(bytes: *const u8) -> Halves {
        unsafe {
            let group = bytes.cast::<u32>().read_unaligned();
            let upper = (group >> 1) & 0x7f7f_7f7f;
            let lowest = group & 0x0101_0101;
            Halves {
                upper: _mm256_set1_epi32(upper as i32),
                lowest: _mm256_set1_epi32(lowest as i32),
            }
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m256i, a: Halves, weights: *const i8) -> __m256i {
        unsafe {
            let weights = _mm256_loadu_si256(weights.cast());
            let upper =
                _mm256_madd_epi16(_mm256_maddubs_epi16(a.upper, weights), _mm256_set1_epi16(2));
            let lowest = _mm256_madd_epi16(
                _mm256_maddubs_epi16(a.lowest, weights),
                _mm256_set1_epi16(1),
            );
            _mm256_add_epi32(sum, _mm256_add_epi32(upper, lowest))
        }
    }
    #[inline(always)]
    unsafe fn settle(sum: __m256i, zero: i32, weights: *const i32) -> __m256 {
        unsafe {
            let shift =
                _mm256_mullo_epi32(_mm256_set1_epi32(zero), _mm256_loadu_si256(weights.cast()));
            _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, shift))
        }
    }
}
