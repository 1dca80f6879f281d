//! Formats with blocks of 256, whose weights times their scales are cut in two.
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]

use std::arch::x86_64::*;

use super::super::Format;
use super::super::avx512::{self, Heads};
use super::super::formats::SUPER;
use super::super::plan::{GROUP, TILE};
use super::tiles::multiply_halves;
use super::{Job, Own, TILE_BYTES, Unpacked, unit};

impl Job<'_> {
    /// Formats with blocks of 256. What the tiles load and store is left alone for a while in between, so that nothing waits for it: a
    /// block is unpacked while the one before is multiplied, and sums are scaled while the next are computed.
    #[inline(always)]
    pub unsafe fn supers<F: Halves, const COUNT: usize>(&self, own: *mut u8) {
        unsafe {
            let memory = &mut *own.cast::<Own>();
            let blocks = self.plan.blocks();
            self.clear::<COUNT>(own);
            self.unpack_super::<F, COUNT>(0, &mut memory.unpacked[0]);
            for block in 0..blocks {
                let [even, odd] = &mut memory.unpacked;
                let (unpacked, next) = if block % 2 == 0 {
                    (even, odd)
                } else {
                    (odd, even)
                };
                let mut before = None;
                for tile in self.tiles.clone() {
                    let unit = unit(self.plan, tile, block);
                    let activations = self.columns.bytes.add(unit * TILE * SUPER);
                    let sums = &mut memory.sums[tile % 2];
                    multiply_halves::<COUNT>(
                        unpacked.weights.as_ptr(),
                        activations,
                        sums.as_mut_ptr(),
                    );
                    if tile + 1 == self.tiles.end && block + 1 < blocks {
                        self.unpack_super::<F, COUNT>(block + 1, next);
                    }
                    if let Some(before) = before.replace(tile) {
                        let sums = &memory.sums[before % 2];
                        self.scale_super::<F, COUNT>(own, before, block, unpacked, sums);
                    }
                }
                if let Some(tile) = before {
                    let sums = &memory.sums[tile % 2];
                    self.scale_super::<F, COUNT>(own, tile, block, unpacked, sums);
                }
            }
            self.store::<COUNT>(own);
        }
    }

    #[inline(always)]
    unsafe fn unpack_super<F: Halves, const COUNT: usize>(&self, block: usize, to: &mut Unpacked) {
        unsafe {
            let bytes = F::FORMAT.bytes();
            for group in 0..COUNT {
                let from = self.rows(group).add(block * bytes);
                let weights = to.weights.as_mut_ptr().add(group * 2 * GROUP * SUPER);
                let heads = F::unpack(self, from, weights);
                _mm512_storeu_ps(to.factors[0][group].as_mut_ptr(), heads.factors);
                if F::FORMAT.has_least() {
                    _mm512_storeu_ps(to.leasts[group].as_mut_ptr(), heads.leasts);
                    for (pairs, scales) in to.pairs[group].iter_mut().zip(heads.scales) {
                        let words = avx512::leasts_as_words(scales);
                        _mm512_storeu_si512(pairs.as_mut_ptr().cast(), words);
                    }
                }
            }
        }
    }

    /// Adds a block's sums to the totals of a tile of columns.
    #[inline(always)]
    unsafe fn scale_super<F: Halves, const COUNT: usize>(
        &self,
        own: *mut u8,
        tile: usize,
        block: usize,
        unpacked: &Unpacked,
        sums: &[u8; 4 * TILE_BYTES],
    ) {
        unsafe {
            let unit = unit(self.plan, tile, block);
            let scale = _mm512_loadu_ps(self.columns.scales.add(unit * TILE));
            let of_bytes = self.columns.sums.add(unit * TILE * self.plan.sums());
            let of_bytes = [0, 1, 2, 3].map(|pair| {
                if F::FORMAT.has_least() {
                    _mm512_loadu_si512(of_bytes.add(pair * 2 * TILE).cast())
                } else {
                    _mm512_setzero_si512()
                }
            });
            for group in 0..COUNT {
                let totals = self.totals(own, tile, group);
                let sums = sums.as_ptr().add(group * 2 * TILE_BYTES).cast::<i32>();
                for row in 0..GROUP {
                    let upper = _mm512_load_si512(sums.add(row * TILE).cast());
                    let lower = _mm512_load_si512(sums.add((GROUP + row) * TILE).cast());
                    let upper = _mm512_sll_epi32(upper, _mm_cvtsi32_si128(F::BITS));
                    let sum = _mm512_cvtepi32_ps(_mm512_add_epi32(upper, lower));
                    let factor = _mm512_set1_ps(unpacked.factors[0][group][row]);
                    let mut total = _mm512_load_ps(totals.add(row * TILE));
                    total = _mm512_fmadd_ps(sum, _mm512_mul_ps(factor, scale), total);
                    if F::FORMAT.has_least() {
                        let pairs = &unpacked.pairs[group][row % 4][row / 4];
                        let mut sum = _mm512_setzero_si512();
                        for (pair, of_bytes) in pairs.iter().zip(of_bytes) {
                            let pair = _mm512_set1_epi32(*pair);
                            sum = _mm512_dpwssd_epi32(sum, pair, of_bytes);
                        }
                        let sum = _mm512_cvtepi32_ps(sum);
                        let least = _mm512_set1_ps(unpacked.leasts[group][row]);
                        total = _mm512_fmadd_ps(sum, _mm512_mul_ps(least, scale), total);
                    }
                    _mm512_store_ps(totals.add(row * TILE), total);
                }
            }
        }
    }
}

/// A format with blocks of 256 whose weights, times their scales, are `upper << BITS | lower`.
pub trait Halves {
    const FORMAT: Format;
    const BITS: i32;
    /// Unpacks a group's block, and asks for as much of the next: four tiles of upper halves, then four of lower.
    unsafe fn unpack(job: &Job, block: *const u8, to: *mut u8) -> Heads;
}

/// Weights of four bits, times every scale: the upper bits and the lower five, twice each.
#[repr(C, align(64))]
struct Products {
    upper: [[u8; 32]; 64],
    lower: [[u8; 32]; 64],
}

/// Bits of a lower half of Q4_K and Q5_K.
const FIVE: usize = 5;

static PRODUCTS: Products = {
    let mut products = Products {
        upper: [[0; 32]; 64],
        lower: [[0; 32]; 64],
    };
    let mut scale = 0;
    while scale < 64 {
        let mut n = 0;
        while n < 32 {
            let product = scale * (n % 16);
            products.upper[scale][n] = (product >> FIVE) as u8;
            products.lower[scale][n] = (product & 31) as u8;
            n += 1;
        }
        scale += 1;
    }
    products
};

/// 32 bytes of one scale's products, and 32 of another's.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn table(products: &[[u8; 32]; 64], low: u8, high: u8) -> __m512i {
    unsafe {
        let products = products.as_ptr();
        let low = _mm256_load_si256(products.add(low as usize).cast());
        let high = _mm256_load_si256(products.add(high as usize).cast());
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
    }
}

/// Where the 64 weights of a row of the tile `part` go.
#[inline(always)]
unsafe fn place(to: *mut u8, part: usize, row: usize) -> *mut __m512i {
    unsafe { to.add(part * TILE_BYTES + row * 64).cast() }
}

/// See [`Halves::unpack`], for Q4_K, and for Q5_K with `FIFTH`.
#[inline(always)]
unsafe fn unpack_with_table<const FIFTH: bool>(job: &Job, block: *const u8, to: *mut u8) -> Heads {
    #[repr(align(64))]
    struct Scales([[[u8; 16]; 4]; 4]);
    let stride = job.weights.stride;
    let bytes = if FIFTH { Format::Q5_K } else { Format::Q4_K }.bytes();
    unsafe {
        let heads = avx512::heads_with_leasts(block, stride);
        let mut scales = Scales([[[0; 16]; 4]; 4]);
        for (to, scales) in scales.0.iter_mut().zip(heads.scales) {
            _mm512_storeu_si512(to.as_mut_ptr().cast(), scales);
        }
        let lower_half = to.add(GROUP * SUPER);
        for row in 0..GROUP {
            job.ahead.ask(bytes);
            let block = block.add(row * stride);
            let scales = &scales.0[row % 4][row / 4];
            let quarters = block.add(if FIFTH { 48 } else { 16 });
            for part in 0..4 {
                let (low, high) = (scales[2 * part], scales[2 * part + 1]);
                let weights = avx512::nibbles(quarters.add(32 * part));
                let mut upper = _mm512_shuffle_epi8(table(&PRODUCTS.upper, low, high), weights);
                let mut lower = _mm512_shuffle_epi8(table(&PRODUCTS.lower, low, high), weights);
                if FIFTH {
                    // 16 times the scale: an upper half of scale / 2, and a lower one of 16 if the scale is odd.
                    let bits = _mm512_broadcast_i64x4(_mm256_loadu_si256(block.add(16).cast()));
                    let wanted = avx512::fifths(bits, part);
                    let both = |low: u8, high: u8| {
                        _mm512_inserti64x4::<1>(
                            _mm512_set1_epi8(low as i8),
                            _mm256_set1_epi8(high as i8),
                        )
                    };
                    upper = _mm512_mask_add_epi8(upper, wanted, upper, both(low >> 1, high >> 1));
                    let odd = both((low & 1) << 4, (high & 1) << 4);
                    lower = _mm512_mask_add_epi8(lower, wanted, lower, odd);
                }
                _mm512_store_si512(place(to, part, row), upper);
                _mm512_store_si512(place(lower_half, part, row), lower);
            }
        }
        heads
    }
}

pub struct Q4K;
pub struct Q5K;
pub struct Q6K;

impl Halves for Q4K {
    const FORMAT: Format = Format::Q4_K;
    const BITS: i32 = FIVE as i32;
    #[inline(always)]
    unsafe fn unpack(job: &Job, block: *const u8, to: *mut u8) -> Heads {
        unsafe { unpack_with_table::<false>(job, block, to) }
    }
}

impl Halves for Q5K {
    const FORMAT: Format = Format::Q5_K;
    const BITS: i32 = FIVE as i32;
    #[inline(always)]
    unsafe fn unpack(job: &Job, block: *const u8, to: *mut u8) -> Heads {
        unsafe { unpack_with_table::<true>(job, block, to) }
    }
}

impl Halves for Q6K {
    const FORMAT: Format = Format::Q6_K;
    const BITS: i32 = 7;
    #[inline(always)]
    unsafe fn unpack(job: &Job, block: *const u8, to: *mut u8) -> Heads {
        let stride = job.weights.stride;
        unsafe {
            let lower_half = to.add(GROUP * SUPER);
            for row in 0..GROUP {
                job.ahead.ask(Self::FORMAT.bytes());
                let block = block.add(row * stride);
                let weights = avx512::sixths(block);
                let (_, scales) = avx512::scales_of_sixths(block);
                for part in 0..4 {
                    let weights = _mm512_sub_epi8(weights[part], _mm512_set1_epi8(32));
                    let even = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(weights));
                    let odd = _mm512_srai_epi16::<8>(weights);
                    let even = _mm512_mullo_epi16(even, scales[part]);
                    let odd = _mm512_mullo_epi16(odd, scales[part]);
                    let low = _mm512_set1_epi16(0x00ff);
                    // mask ? a : b
                    let join = |even, odd| _mm512_ternarylogic_epi32::<0xca>(low, even, odd);
                    let upper = join(_mm512_srai_epi16::<7>(even), _mm512_slli_epi16::<1>(odd));
                    let lower = join(even, _mm512_slli_epi16::<8>(odd));
                    let lower = _mm512_and_si512(lower, _mm512_set1_epi8(127));
                    _mm512_store_si512(place(to, part, row), upper);
                    _mm512_store_si512(place(lower_half, part, row), lower);
                }
            }
            Heads {
                scales: [_mm512_setzero_si512(); 4],
                factors: avx512::factors(block.add(208), stride),
                leasts: _mm512_setzero_ps(),
            }
        }
    }
}
