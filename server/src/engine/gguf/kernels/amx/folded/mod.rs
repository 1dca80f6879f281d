//! Some columns of formats with small scales, which are folded into the weights.
//!
//! Sixteen rows of weights are turned as [`avx512`] does it, so that a vector has four weights of every row: such vectors are the
//! rows of right-hand tiles, and columns of activations those of the left-hand ones, just as they lie. So a tile of sums has a column a row
//! and an output a lane, and vectors have no more to do than there are columns.
//!
//! A scale of six bits is cut in two of three, and a weight times each of them still is a byte. So the tiles add up two sums for a whole block
//! of 256, and all that is left for vectors to do is one of them times eight.
//!
//! The tiles compute beside the vectors, and nothing waits for what was begun just now: while a block is multiplied, the next one is
//! unpacked, and the sums of the one before are added to the totals. That goes on from one group of outputs to the next without a break.
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]

mod turn;
mod unpack;

use std::arch::x86_64::*;

use self::turn::{Turn, shapes};
use self::unpack::{Head, Unpacking, bytes};
use super::super::ahead::Ahead;
use super::super::avx512;
use super::super::formats::SUPER;
use super::super::plan::{Columns, GROUP, Output, Plan, Share, TILE, Weights};
use super::Format;
use super::tiles::Tiles;

/// Bytes of a vector.
const VECTOR: usize = 64;

/// Inputs of a tile.
const INPUTS: usize = 64;

/// Tiles of a block: parts that it is unpacked and multiplied in.
const PARTS: usize = SUPER / INPUTS;

/// Most sets of columns.
const SETS: usize = 2;

/// How columns are put together: in `count` sets, each a tile of `each` columns, but the last may have fewer.
#[derive(Clone, Copy)]
pub struct Sets {
    count: usize,
    each: usize,
}

impl Sets {
    fn new(columns: usize) -> Self {
        let count = columns.div_ceil(TILE);
        Self {
            count,
            each: columns.div_ceil(count),
        }
    }
}

/// Columns with those that fill the last set.
pub fn filled_columns(columns: usize) -> usize {
    let sets = Sets::new(columns);
    sets.count * sets.each
}

/// Sums of a set's columns for each half, an output a lane.
type SetSums = [[[i32; GROUP]; TILE]; 2];

/// Weights of a block, times the upper and the lower halves of their scales.
#[repr(C, align(64))]
struct Block {
    halves: [[u8; SUPER * GROUP]; 2],
}

/// What a thread has for itself.
#[repr(C, align(64))]
pub struct Own {
    /// In turn: one is multiplied, while the next is unpacked.
    blocks: [Block; 2],
    /// Of the block that is unpacked.
    unpacking: Unpacking,
    /// In turn: those of one block are computed, while those of the one before are added to the totals. Both lie within 4096 bytes: what
    /// is loaded from one does not look like what is stored to the other.
    sums: [[SetSums; 2]; SETS],
    /// In turn, for the three blocks that are in work.
    heads: [Head; 4],
    /// For each set's columns, an output a lane.
    totals: [[[f32; GROUP]; TILE]; SETS],
}

/// See [`Plan::multiply`]; `own` is this thread's own memory.
///
/// # Safety
/// As there, and the processor has AMX and AVX-512 VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub unsafe fn multiply(
    plan: &Plan,
    weights: Weights,
    columns: Columns,
    output: Output,
    share: &Share,
    own: *mut u8,
) {
    let job = Job {
        plan,
        weights,
        columns,
        output,
        share,
        sets: Sets::new(plan.columns),
        ahead: Ahead::new(weights.bytes, GROUP * weights.stride),
    };
    unsafe {
        let own = own.cast::<Own>();
        match (plan.format, job.sets.count) {
            (Format::Q4_K, 1) => job.blocks::<false, 1>(own),
            (Format::Q4_K, SETS) => job.blocks::<false, SETS>(own),
            (Format::Q5_K, 1) => job.blocks::<true, 1>(own),
            (Format::Q5_K, SETS) => job.blocks::<true, SETS>(own),
            _ => unreachable!("the plan has no such arrangement for others"),
        }
    }
}

/// Some groups of outputs.
struct Job<'a> {
    plan: &'a Plan,
    weights: Weights,
    columns: Columns,
    output: Output,
    share: &'a Share,
    sets: Sets,
    /// The group that comes next.
    ahead: Ahead,
}

/// Which block.
#[derive(Clone, Copy)]
struct Place {
    group: usize,
    block: usize,
}

impl Place {
    #[inline(always)]
    fn advance(&mut self, blocks: usize) {
        self.block += 1;
        if self.block == blocks {
            self.block = 0;
            self.group += 1;
        }
    }
}

impl Job<'_> {
    #[inline(always)]
    unsafe fn blocks<const FIFTH: bool, const SETS: usize>(&self, own: *mut Own) {
        let blocks = self.plan.blocks();
        let all = self.share.groups.len() * blocks;
        let _tiles = Tiles::new(shapes(self.sets));
        let first = Place {
            group: self.share.groups.start,
            block: 0,
        };
        let [mut unpacking, mut multiplying, mut adding] = [first; 3];
        let stride = self.weights.stride;
        for turn in 0..all + 2 {
            unsafe {
                let own = &mut *own;
                let from = if turn < all {
                    self.next_block::<FIFTH>(unpacking)
                } else {
                    std::ptr::null()
                };
                let activations = |place: Place| {
                    let unit = self.plan.unit(0, place.block);
                    self.columns.bytes.wrapping_add(unit * SUPER)
                };
                let tiles = Turn {
                    turn,
                    all,
                    sets: self.sets,
                    weights: own.blocks[(turn + 1) % 2].halves.as_ptr().cast(),
                    next_weights: own.blocks[turn % 2].halves.as_ptr().cast(),
                    activations: activations(multiplying),
                    next_activations: activations(unpacking),
                    sums: own.sums.as_mut_ptr(),
                };
                if turn < all {
                    let head = &mut own.heads[turn % 4];
                    own.unpacking.begin::<FIFTH>(from, stride, head);
                }
                // Written out, so that each has its number.
                macro_rules! part {
                    ($part:literal) => {
                        // The parts of a set in a row: as many as there are sets.
                        for step in $part * SETS..($part + 1) * SETS {
                            tiles.step::<SETS>(step / PARTS, step % PARTS);
                        }
                        if turn < all {
                            self.ahead.ask(GROUP * bytes(FIFTH) / PARTS);
                            let to = own.blocks[turn % 2].halves.as_mut_ptr().cast::<u8>();
                            own.unpacking.part::<FIFTH>($part, from, stride, to);
                        }
                        // The last of these sums were stored in the first step.
                        if turn > 1 && $part % 2 == 1 {
                            for set in 0..SETS {
                                let before = &own.sums[set][turn % 2];
                                let head = &own.heads[(turn + 2) % 4];
                                let totals = &mut own.totals[set];
                                self.add(set, $part / 2, adding, before, head, totals);
                            }
                        }
                    };
                }
                part!(0);
                part!(1);
                part!(2);
                part!(3);
            }
            adding = multiplying;
            multiplying = unpacking;
            unpacking.advance(blocks);
        }
    }

    /// The block of the first of a group's rows. Where a group begins, the next is what will be asked for.
    #[inline(always)]
    unsafe fn next_block<const FIFTH: bool>(&self, place: Place) -> *const u8 {
        let rows = |group| {
            let (first, _) = self.plan.group(group);
            unsafe { self.weights.bytes.add(first * self.weights.stride) }
        };
        if place.block == 0 {
            let next = self.share.after(place.group, place.group + 1);
            self.ahead.turn_to(rows(next));
        }
        unsafe { rows(place.group).add(place.block * bytes(FIFTH)) }
    }

    /// Adds a block's sums to the totals of one half of a set's columns.
    #[inline(always)]
    unsafe fn add(
        &self,
        set: usize,
        half: usize,
        place: Place,
        sums: &SetSums,
        head: &Head,
        totals: &mut [[f32; GROUP]; TILE],
    ) {
        let is_last = place.block + 1 == self.plan.blocks();
        let (first, skip) = self.plan.group(place.group);
        // Nothing that is stored here changes these.
        let (pairs, factors, leasts) = (head.pairs, head.factors, head.leasts);
        let count = (self.plan.columns - set * self.sets.each).min(self.sets.each);
        let rows = count * half / 2..count * (half + 1) / 2;
        let column = set * self.sets.each + rows.start;
        let mut unit = self.plan.unit(column, place.block);
        let mut to = (self.output.numbers).wrapping_add(column * self.output.stride + first);
        let [upper, lower] = sums;
        unsafe {
            for ((upper, lower), kept) in upper[rows.clone()]
                .iter()
                .zip(&lower[rows.clone()])
                .zip(&mut totals[rows])
            {
                let upper = _mm512_load_si512(upper.as_ptr().cast());
                let lower = _mm512_load_si512(lower.as_ptr().cast());
                let sum = _mm512_add_epi32(_mm512_slli_epi32::<3>(upper), lower);
                let mut total = _mm512_setzero_ps();
                if place.block > 0 {
                    total = _mm512_load_ps(kept.as_ptr());
                }
                let scale = _mm512_set1_ps(*self.columns.scales.add(unit));
                let factor = _mm512_mul_ps(factors, scale);
                total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), factor, total);
                let bytes = self.columns.sums.add(unit * (SUPER / 32)).cast::<i8>();
                let mut sum = _mm512_setzero_si512();
                for (at, pair) in pairs.iter().enumerate() {
                    sum = _mm512_dpwssd_epi32(sum, *pair, avx512::four(bytes.add(4 * at)));
                }
                let least = _mm512_mul_ps(leasts, scale);
                total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), least, total);
                if is_last {
                    _mm512_mask_storeu_ps(to, u16::MAX << skip, total);
                } else {
                    _mm512_store_ps(kept.as_mut_ptr(), total);
                }
                unit += 1;
                to = to.wrapping_add(self.output.stride);
            }
        }
    }
}
