//! Formats with blocks of 32.
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]

use std::arch::x86_64::*;

use super::super::Format;
use super::super::avx512;
use super::super::formats::PLAIN;
use super::super::plan::{GROUP, TILE};
use super::tiles::{Left, PAIR, Shape, multiply_loaded};
use super::{Job, Own, RUN, TILE_BYTES, Unpacked, unit};

/// The tiles of [`multiply_loaded`]: sums, then activations, then weights.
pub const SHAPES: [Shape; 8] = {
    let activations = Shape {
        rows: PLAIN / 4,
        bytes: 64,
    };
    let weights = Shape {
        rows: GROUP,
        bytes: PLAIN,
    };
    [
        Shape::FULL,
        Shape::FULL,
        activations,
        activations,
        weights,
        weights,
        weights,
        weights,
    ]
};

impl Job<'_> {
    /// Formats with blocks of 32, in the order that [`Self::supers`] has for its reasons.
    #[inline(always)]
    pub unsafe fn plains<F: Plain, const COUNT: usize>(&self, own: *mut u8) {
        unsafe {
            let memory = &mut *own.cast::<Own>();
            let blocks = self.plan.blocks();
            self.clear::<COUNT>(own);
            let mut left = self.unpack_plain::<F, COUNT>(0, &mut memory.unpacked[0]);
            // Both lie within 4096 bytes: what is loaded from one does not look like what is stored to the other.
            let all_sums = memory.sums.as_mut_ptr().cast::<u8>();
            let mut turn = 0;
            for first in (0..blocks).step_by(RUN) {
                let end = (first + RUN).min(blocks);
                let [even, odd] = &mut memory.unpacked;
                let (unpacked, next) = if (first / RUN).is_multiple_of(2) {
                    (even, odd)
                } else {
                    (odd, even)
                };
                let mut coming = left;
                let steps = self.tiles.len() * (end - first).div_ceil(PAIR);
                let asked = ((end - first) * GROUP * F::FORMAT.bytes()).div_ceil(steps);
                let mut before: Option<Step> = None;
                let mut kept = [_mm512_setzero_ps(); GROUP];
                for (group, left) in left.iter().enumerate() {
                    left.load(end - first);
                    for tile in self.tiles.clone() {
                        for block in (first..end).step_by(PAIR) {
                            let step = Step {
                                tile,
                                group,
                                block,
                                place: block - first,
                                count: (end - block).min(PAIR),
                                is_last: block + PAIR >= end,
                            };
                            let right = unit(self.plan, tile, block) * TILE * PLAIN;
                            let right = self.columns.bytes.add(right);
                            let sums = all_sums.add(turn % 2 * PAIR * TILE_BYTES);
                            self.ahead.ask(asked);
                            multiply_loaded(step.place, step.count, right, sums);
                            let last = tile + 1 == self.tiles.end && group + 1 == COUNT;
                            if last && step.is_last && end < blocks {
                                coming = self.unpack_plain::<F, COUNT>(end, next);
                            }
                            if let Some(before) = before.replace(step) {
                                let sums = all_sums.add((turn + 1) % 2 * PAIR * TILE_BYTES);
                                self.scale_plain(own, before, unpacked, sums, &mut kept);
                            }
                            turn += 1;
                        }
                    }
                }
                if let Some(step) = before {
                    let sums = all_sums.add((turn + 1) % 2 * PAIR * TILE_BYTES);
                    self.scale_plain(own, step, unpacked, sums, &mut kept);
                }
                left = coming;
            }
            self.store::<COUNT>(own);
        }
    }

    /// A run of blocks of the groups.
    #[inline(always)]
    unsafe fn unpack_plain<F: Plain, const COUNT: usize>(
        &self,
        first: usize,
        to: &mut Unpacked,
    ) -> [Left; COUNT] {
        let bytes = F::FORMAT.bytes();
        let run = (self.plan.blocks() - first).min(RUN);
        let mut left = [Left::NONE; COUNT];
        for (group, left) in left.iter_mut().enumerate() {
            unsafe {
                let from = self.rows(group).add(first * bytes);
                let weights = to.weights.as_mut_ptr().add(group * RUN * GROUP * PLAIN);
                *left = F::unpack(from, self.weights.stride, run, weights);
                for block in 0..run {
                    let factors = avx512::factors(from.add(block * bytes), self.weights.stride);
                    _mm512_storeu_ps(to.factors[block][group].as_mut_ptr(), factors);
                }
            }
        }
        left
    }

    /// Adds some blocks' sums to the totals of a tile of columns, which are kept in registers for the blocks of a run.
    #[inline(always)]
    unsafe fn scale_plain(
        &self,
        own: *mut u8,
        step: Step,
        unpacked: &Unpacked,
        sums: *const u8,
        kept: &mut [__m512; GROUP],
    ) {
        unsafe {
            let totals = self.totals(own, step.tile, step.group);
            if step.place == 0 {
                for (row, sum) in kept.iter_mut().enumerate() {
                    *sum = _mm512_load_ps(totals.add(row * TILE));
                }
            }
            let unit = unit(self.plan, step.tile, step.block);
            for n in 0..step.count {
                let scale = _mm512_loadu_ps(self.columns.scales.add((unit + n) * TILE));
                let products = sums.add(n * TILE_BYTES).cast::<i32>();
                let factors = &unpacked.factors[step.place + n][step.group];
                for (row, (sum, factor)) in kept.iter_mut().zip(factors).enumerate() {
                    let product = _mm512_load_si512(products.add(row * TILE).cast());
                    let factor = _mm512_mul_ps(_mm512_set1_ps(*factor), scale);
                    *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(product), factor, *sum);
                }
            }
            if step.is_last {
                for (row, sum) in kept.iter().enumerate() {
                    _mm512_store_ps(totals.add(row * TILE), *sum);
                }
            }
        }
    }
}

/// Blocks that are multiplied at a time: of a tile of columns and a group.
#[derive(Clone, Copy)]
struct Step {
    tile: usize,
    group: usize,
    block: usize,
    /// In its run.
    place: usize,
    count: usize,
    /// Of its run.
    is_last: bool,
}

/// A format with blocks of 32.
pub trait Plain {
    const FORMAT: Format;
    /// A group's weights of some blocks, as signed bytes; where `to` has room for them.
    unsafe fn unpack(blocks: *const u8, stride: usize, count: usize, to: *mut u8) -> Left;
}

pub struct Q40;
pub struct Q80;

impl Plain for Q80 {
    const FORMAT: Format = Format::Q8_0;
    #[inline(always)]
    unsafe fn unpack(blocks: *const u8, stride: usize, _: usize, _: *mut u8) -> Left {
        unsafe {
            Left {
                bytes: blocks.add(2),
                stride,
                step: Format::Q8_0.bytes(),
            }
        }
    }
}

impl Plain for Q40 {
    const FORMAT: Format = Format::Q4_0;
    #[inline(always)]
    unsafe fn unpack(blocks: *const u8, stride: usize, count: usize, to: *mut u8) -> Left {
        unsafe {
            let shifts = _mm256_inserti128_si256::<1>(_mm256_setzero_si256(), _mm_set1_epi16(4));
            for block in 0..count {
                for row in 0..GROUP {
                    let from = blocks.add(row * stride + block * Format::Q4_0.bytes() + 2);
                    let both = _mm256_broadcastsi128_si256(_mm_loadu_si128(from.cast()));
                    let four = _mm256_srlv_epi16(both, shifts);
                    let four = _mm256_and_si256(four, _mm256_set1_epi8(15));
                    let signed = _mm256_sub_epi8(four, _mm256_set1_epi8(8));
                    _mm256_storeu_si256(to.add((block * GROUP + row) * PLAIN).cast(), signed);
                }
            }
            Left {
                bytes: to,
                stride: PLAIN,
                step: GROUP * PLAIN,
            }
        }
    }
}
