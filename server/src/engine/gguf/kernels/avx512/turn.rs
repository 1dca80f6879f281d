//! Blocks of sixteen rows, turned so that each row has a lane.
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]

use std::arch::x86_64::*;

/// Sixteen bytes of each row: four vectors, each with the next four bytes of every row.
#[inline]
#[target_feature(enable = "avx512f")]
pub unsafe fn turn(from: *const u8, stride: usize) -> [__m512i; 4] {
    unsafe {
        // Rows n, n + 4, n + 8 and n + 12.
        let rows = |n: usize| {
            let row = |lane: usize| _mm_loadu_si128(from.add((4 * lane + n) * stride).cast());
            let vector = _mm512_castsi128_si512(row(0));
            let vector = _mm512_inserti32x4::<1>(vector, row(1));
            let vector = _mm512_inserti32x4::<2>(vector, row(2));
            _mm512_inserti32x4::<3>(vector, row(3))
        };
        let (a, b, c, d) = (rows(0), rows(1), rows(2), rows(3));
        let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (more_low, more_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(low, more_low),
            _mm512_unpackhi_epi64(low, more_low),
            _mm512_unpacklo_epi64(high, more_high),
            _mm512_unpackhi_epi64(high, more_high),
        ]
    }
}

/// Four bytes of each row.
#[inline]
#[target_feature(enable = "avx512f")]
pub unsafe fn fours(from: *const u8, stride: usize) -> __m512i {
    let rows = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    // A row has less than 2 MB, so sixteen of them have no more than a lane can count.
    let places = _mm512_mullo_epi32(rows, _mm512_set1_epi32(stride as i32));
    unsafe { _mm512_i32gather_epi32::<1>(places, from.cast()) }
}

/// The 16-bit floats in the lower halves.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn lower_floats(fours: __m512i) -> __m512 {
    _mm512_cvtph_ps(_mm512_cvtepi32_epi16(fours))
}

/// The 16-bit floats in the upper halves.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn upper_floats(fours: __m512i) -> __m512 {
    lower_floats(_mm512_srli_epi32::<16>(fours))
}
