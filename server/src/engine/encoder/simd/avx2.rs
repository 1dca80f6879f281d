//! AVX2 with FMA: Haswell and later, Zen; with AVX-VNNI where there is that. Without, there is no exact product of bytes.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "every function is one instruction or two, under the conditions that `isa` states"
)]

use std::arch::x86_64::*;

use super::isa::Isa;

/// With `VNNI`, the processor has AVX-VNNI as well: Alder Lake and later, Zen 5.
#[derive(Clone, Copy)]
pub(super) struct Avx2<const VNNI: bool>;

/// Sums of eight columns: in the first vector each column's, or, without a product of four bytes, the first four columns' in the first
/// vector and the others' in the second, two to a column.
#[derive(Clone, Copy)]
pub(super) struct Sums([__m256i; 2]);

impl<const VNNI: bool> Isa for Avx2<VNNI> {
    const LANES: usize = 8;
    type F = __m256;
    type I = Sums;
    type N = __m256i;
    /// Four bytes in every lane, or 16-bit numbers, four in every 64 bits.
    type A = __m256i;

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
            let halves = _mm_packs_epi32(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(halves, halves));
        }
    }

    #[inline(always)]
    unsafe fn zero() -> Sums {
        unsafe { Sums([_mm256_setzero_si256(); 2]) }
    }
    #[inline(always)]
    unsafe fn spread(bytes: *const u8) -> __m256i {
        unsafe {
            let group = bytes.cast::<i32>().read_unaligned();
            if VNNI {
                _mm256_set1_epi32(group)
            } else {
                _mm256_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(group)))
            }
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: Sums, a: __m256i, weights: *const i8) -> Sums {
        unsafe {
            let Sums([first, second]) = sum;
            if VNNI {
                let weights = _mm256_loadu_si256(weights.cast());
                return Sums([_mm256_dpbusd_avx_epi32(first, a, weights), second]);
            }
            // Products of two bytes fit 16 bits and a sum of two of them does not, which is what `vpmaddubsw` would make. Numbers
            // of 16 bits are multiplied and added in pairs to 32 bits; turning the weights into such is shared by the rows.
            let part = |at: usize| _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.add(at).cast()));
            Sums([
                _mm256_add_epi32(first, _mm256_madd_epi16(part(0), a)),
                _mm256_add_epi32(second, _mm256_madd_epi16(part(16), a)),
            ])
        }
    }
    #[inline(always)]
    unsafe fn load_integers(from: *const i32) -> __m256i {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn settle(sum: Sums, zero: i32, weights: __m256i) -> __m256 {
        unsafe {
            let Sums([first, second]) = sum;
            let sum = if VNNI {
                first
            } else {
                // Adds neighbours within halves: columns 0 1 4 5 2 3 6 7.
                let pairs = _mm256_hadd_epi32(first, second);
                _mm256_permute4x64_epi64::<0b11_01_10_00>(pairs)
            };
            let shift = _mm256_mullo_epi32(_mm256_set1_epi32(zero), weights);
            _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, shift))
        }
    }
}
