//! What blocks of 256 hold.
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]

use std::arch::x86_64::*;

/// What the rows of a group have before their weights.
pub struct Heads {
    /// Row `4 * lane + vector`.
    pub scales: [__m512i; 4],
    pub factors: __m512,
    pub leasts: __m512,
}

/// The eight least values of four rows as 16-bit numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub fn leasts_as_words(scales: __m512i) -> __m512i {
    let upper = _mm_set_epi8(-1, 15, -1, 14, -1, 13, -1, 12, -1, 11, -1, 10, -1, 9, -1, 8);
    _mm512_shuffle_epi8(scales, _mm512_broadcast_i32x4(upper))
}

/// What blocks of Q4_K and Q5_K begin with, for sixteen rows. A row's scales are eight bytes, and its least values the next eight.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
pub unsafe fn heads_with_leasts(blocks: *const u8, stride: usize) -> Heads {
    unsafe {
        let four = |n: usize| {
            let row = |lane: usize| _mm_loadu_si128(blocks.add((4 * lane + n) * stride).cast());
            let vector = _mm512_castsi128_si512(row(0));
            let vector = _mm512_inserti32x4::<1>(vector, row(1));
            let vector = _mm512_inserti32x4::<2>(vector, row(2));
            _mm512_inserti32x4::<3>(vector, row(3))
        };
        let packed = [four(0), four(1), four(2), four(3)];
        let factors = _mm512_unpacklo_epi64(
            _mm512_unpacklo_epi32(packed[0], packed[1]),
            _mm512_unpacklo_epi32(packed[2], packed[3]),
        );
        let scales = packed.map(|packed| {
            // Of the 12 bytes a, b, c: the lower six bits of a and of b, and 4 of c's with the upper two of a and of b.
            let lower = _mm512_shuffle_epi32::<0b11_10_11_01>(packed);
            let upper = _mm512_shuffle_epi32::<0b10_10_01_01>(packed);
            let shifts = _mm512_broadcast_i32x4(_mm_set_epi32(4, 0, 0, 0));
            let lower = _mm512_and_si512(
                _mm512_srlv_epi32(lower, shifts),
                _mm512_broadcast_i32x4(_mm_set_epi32(
                    0x0f0f_0f0f,
                    0x3f3f_3f3f,
                    0x0f0f_0f0f,
                    0x3f3f_3f3f,
                )),
            );
            let upper = _mm512_and_si512(
                _mm512_srli_epi32::<2>(upper),
                _mm512_broadcast_i32x4(_mm_set_epi32(0x3030_3030, 0, 0x3030_3030, 0)),
            );
            _mm512_or_si512(lower, upper)
        });
        let least = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(factors)));
        Heads {
            scales,
            factors: _mm512_cvtph_ps(_mm512_cvtepi32_epi16(factors)),
            leasts: _mm512_sub_ps(_mm512_set1_ps(-0.0), least),
        }
    }
}

/// 32 bytes of two nibbles each: the lower ones in the lower half, the upper in the upper.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn nibbles(from: *const u8) -> __m512i {
    let both = _mm512_broadcast_i64x4(unsafe { _mm256_loadu_si256(from.cast()) });
    let shifts = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), _mm256_set1_epi16(4));
    _mm512_and_si512(_mm512_srlv_epi16(both, shifts), _mm512_set1_epi8(15))
}

/// Which of 64 weights of Q5_K have the fifth bit, of the bits of all.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub fn fifths(bits: __m512i, part: usize) -> u64 {
    let wanted = _mm512_inserti64x4::<1>(
        _mm512_set1_epi8(1 << (2 * part)),
        _mm256_set1_epi8((2u8 << (2 * part)) as i8),
    );
    _mm512_test_epi8_mask(bits, wanted)
}

/// Sixteen rows' numbers of 16 bits, each as a float.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
pub unsafe fn factors(at: *const u8, stride: usize) -> __m512 {
    let half = |row: usize| unsafe { at.add(row * stride).cast::<i16>().read_unaligned() };
    let halves = _mm256_setr_epi16(
        half(0),
        half(1),
        half(2),
        half(3),
        half(4),
        half(5),
        half(6),
        half(7),
        half(8),
        half(9),
        half(10),
        half(11),
        half(12),
        half(13),
        half(14),
        half(15),
    );
    _mm512_cvtph_ps(halves)
}

/// The 256 weights of a block of Q6_K, from 0 to 63.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn sixths(block: *const u8) -> [__m512i; 4] {
    unsafe {
        let halves = |low: i16, high: i16| {
            _mm512_inserti64x4::<1>(_mm512_set1_epi16(low), _mm256_set1_epi16(high))
        };
        let side = |side: usize| {
            let low = _mm512_loadu_si512(block.add(64 * side).cast());
            let high = _mm256_loadu_si256(block.add(128 + 32 * side).cast());
            let high = _mm512_broadcast_i64x4(high);
            let join = |low: __m512i, high: __m512i| {
                let low = _mm512_and_si512(low, _mm512_set1_epi8(0x0f));
                // a | b & c
                _mm512_ternarylogic_epi32::<0xf8>(low, high, _mm512_set1_epi8(0x30))
            };
            [
                join(low, _mm512_sllv_epi16(high, halves(4, 2))),
                join(
                    _mm512_srli_epi16::<4>(low),
                    _mm512_srlv_epi16(high, halves(0, 2)),
                ),
            ]
        };
        let ([a, b], [c, d]) = (side(0), side(1));
        [a, b, c, d]
    }
}

/// The scales of a block of Q6_K, and the same for 64 weights each, one scale a lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn scales_of_sixths(block: *const u8) -> (__m256i, [__m512i; 4]) {
    let scales = unsafe { _mm_loadu_si128(block.add(192).cast()) };
    let words = _mm256_cvtepi8_epi16(scales);
    let all = _mm512_castsi256_si512(words);
    let parts = [0, 1, 2, 3].map(|part: i16| {
        let first = _mm512_set1_epi16(4 * part);
        let lanes = _mm512_set_epi64(
            0x0003_0003_0003_0003,
            0x0003_0003_0003_0003,
            0x0002_0002_0002_0002,
            0x0002_0002_0002_0002,
            0x0001_0001_0001_0001,
            0x0001_0001_0001_0001,
            0,
            0,
        );
        _mm512_permutexvar_epi16(_mm512_add_epi16(first, lanes), all)
    });
    (words, parts)
}
