//! AVX-512 with VNNI: Ice Lake and later, Zen 4 and later.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "every function is one instruction or two, under the conditions that `isa` states"
)]

use std::arch::x86_64::*;

use super::isa::Isa;

#[derive(Clone, Copy)]
pub(super) struct Avx512;

impl Isa for Avx512 {
    const LANES: usize = 16;
    type F = __m512;
    type I = __m512i;
    type N = __m512i;
    type A = __m512i;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: __m512) {
        unsafe { _mm512_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn round(x: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x) }
    }
    #[inline(always)]
    unsafe fn exp2(x: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), x) }
    }
    #[inline(always)]
    unsafe fn keep(x: __m512, count: usize) -> __m512 {
        unsafe { _mm512_maskz_mov_ps(((1u32 << count) - 1) as u16, x) }
    }
    #[inline(always)]
    unsafe fn sum(x: __m512) -> f32 {
        unsafe { _mm512_reduce_add_ps(x) }
    }
    #[inline(always)]
    unsafe fn largest(x: __m512) -> f32 {
        unsafe { _mm512_reduce_max_ps(x) }
    }
    #[inline(always)]
    unsafe fn smallest(x: __m512) -> f32 {
        unsafe { _mm512_reduce_min_ps(x) }
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, x: __m512) {
        unsafe {
            let whole = _mm512_max_epi32(_mm512_cvtps_epi32(x), _mm512_setzero_si512());
            _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(whole));
        }
    }
    #[inline(always)]
    unsafe fn store_step(to: *mut u8, x: impl Fn(usize) -> __m512) {
        unsafe {
            let two = |at: usize| {
                _mm512_packs_epi32(_mm512_cvtps_epi32(x(at)), _mm512_cvtps_epi32(x(at + 16)))
            };
            // Packing goes by quarters of vectors: four bytes of the first vector, of the second, ... and again.
            let bytes = _mm512_packus_epi16(two(0), two(32));
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_storeu_si512(to.cast(), _mm512_permutexvar_epi32(order, bytes));
        }
    }

    #[inline(always)]
    unsafe fn transpose(row: impl Fn(usize) -> *const f32, to: *mut f32, stride: usize) {
        unsafe {
            let rows: [__m512; 16] = std::array::from_fn(|n| _mm512_loadu_ps(row(n)));
            // In each quarter of a vector, two rows' numbers beside each other, then four rows': quarters of columns.
            let mut pairs = rows;
            for n in (0..16).step_by(2) {
                pairs[n] = _mm512_unpacklo_ps(rows[n], rows[n + 1]);
                pairs[n + 1] = _mm512_unpackhi_ps(rows[n], rows[n + 1]);
            }
            let two = |low: bool, a: __m512, b: __m512| {
                let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
                _mm512_castpd_ps(if low {
                    _mm512_unpacklo_pd(a, b)
                } else {
                    _mm512_unpackhi_pd(a, b)
                })
            };
            // `fours[4 * g + c]` has in quarter `q` column `4 * q + c` of the rows from `4 * g` on.
            let fours: [__m512; 16] = std::array::from_fn(|n| {
                let (group, column) = (n / 4 * 4, n % 4);
                let (first, second) = (pairs[group + column / 2], pairs[group + 2 + column / 2]);
                two(column % 2 == 0, first, second)
            });
            for column in 0..4 {
                let [a, b, c, d] = std::array::from_fn(|group| fours[4 * group + column]);
                // Even and odd quarters of two groups, and then of four.
                let low = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                let high = _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d);
                let low_odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
                let high_odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d);
                let put = |quarter: usize, x: __m512| {
                    _mm512_storeu_ps(to.add((4 * quarter + column) * stride), x);
                };
                put(0, _mm512_shuffle_f32x4::<0b10_00_10_00>(low, high));
                put(2, _mm512_shuffle_f32x4::<0b11_01_11_01>(low, high));
                put(1, _mm512_shuffle_f32x4::<0b10_00_10_00>(low_odd, high_odd));
                put(3, _mm512_shuffle_f32x4::<0b11_01_11_01>(low_odd, high_odd));
            }
        }
    }

    #[inline(always)]
    unsafe fn zero() -> __m512i {
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn spread(bytes: *const u8) -> __m512i {
        unsafe { _mm512_set1_epi32(bytes.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, a: __m512i, weights: *const i8) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, a, _mm512_loadu_si512(weights.cast())) }
    }
    #[inline(always)]
    unsafe fn load_integers(from: *const i32) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn settle(sum: __m512i, zero: i32, weights: __m512i) -> __m512 {
        unsafe {
            let shift = _mm512_mullo_epi32(_mm512_set1_epi32(zero), weights);
            _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, shift))
        }
    }
}
