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
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(x))) }
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
    unsafe fn settle(sum: __m512i, zero: i32, weights: *const i32) -> __m512 {
        unsafe {
            let shift =
                _mm512_mullo_epi32(_mm512_set1_epi32(zero), _mm512_loadu_si512(weights.cast()));
            _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, shift))
        }
    }
}
