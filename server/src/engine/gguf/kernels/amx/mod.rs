//! AMX, whose registers are tiles of 16 rows of 64 bytes: Sapphire Rapids and later.
//!
//! A tile knows one scale for all of its inputs.
//!
//! For many columns, weights are the left-hand tiles, as their rows lie, and activations the right-hand ones, so a tile of sums has an
//! output a row and a column of activations a lane:
//!
//! - Blocks of 32 fill half a row, and their sums are scaled one by one. Weights of Q8_0 need no unpacking at all.
//! - A weight of the K formats, times its own integer scale, has up to 13 bits. It is cut in two, and the sums of both halves are
//!   exact over the whole block of 256: [`halves`].
//!
//! For some columns, it is the other way round where scales are small enough: [`folded`].
//!
//! Rust's intrinsics for tiles are not stable yet, so the instructions stand here as they are. They are described in Intel's
//! Architectures Software Developer's Manual, volume 1, chapter 18.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "all are for one reason: the caller promises the instructions and the sizes that `Plan` states"
)]

mod folded;
mod halves;
mod plains;
mod tiles;

use std::arch::x86_64::*;
use std::ops::Range;

use self::halves::{Q4K, Q5K, Q6K};
use self::plains::{Q40, Q80};
use self::tiles::{Shape, Tiles};
use super::Format;
use super::ahead::Ahead;
use super::avx512;
use super::formats::SUPER;
use super::plan::{Columns, GROUP, Output, Plan, Share, TILE, Weights};

/// Bytes of a tile.
const TILE_BYTES: usize = 1024;

/// Tiles of columns that unpacked weights are used for before the next: their totals stay in the cache.
const TILES: usize = 32;

/// The same for blocks of 32, of whose activations a run stays in the cache too.
const PLAIN_TILES: usize = 16;

/// Tiles of sums that are computed together.
const SUMS: usize = 4;

/// Groups of outputs that share a tile of activations.
const GROUPS: usize = 2;

/// Blocks of 32 whose tiles of weights are loaded together.
const RUN: usize = 4;

/// Where a block of a tile of columns lies: as [`Job::supers`] and [`Job::plains`] go through them, blocks by runs, so that the next
/// is on its way to the cache.
fn unit(plan: &Plan, tile: usize, block: usize) -> usize {
    let run = if plan.format.weights() == SUPER {
        1
    } else {
        RUN
    };
    let first = block / run * run;
    let length = (plan.blocks() - first).min(run);
    first * plan.columns.div_ceil(TILE) + tile * length + (block - first)
}

/// See [`Plan::prepare`]; `units` are blocks of tiles of columns.
///
/// # Safety
/// As there, and the processor has AVX-512 VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
pub(super) unsafe fn prepare(
    plan: &Plan,
    activations: *const f32,
    stride: usize,
    columns: Columns,
    units: Range<usize>,
) {
    let size = plan.format.weights();
    let mut bytes = [0i8; SUPER];
    let mut block_sums = [0i16; SUPER / 32];
    for number in units {
        let (tile, block) = (number / plan.blocks(), number % plan.blocks());
        let unit = unit(plan, tile, block);
        unsafe {
            let to = columns.bytes.add(unit * TILE * size).cast::<u32>();
            let sums = columns.sums.add(unit * TILE * plan.sums());
            for n in 0..TILE {
                let column = tile * TILE + n;
                let scale = if column < plan.columns {
                    let numbers = activations.add(column * stride + block * size);
                    avx512::quantize(numbers, bytes.as_mut_ptr(), size)
                } else {
                    bytes.fill(0);
                    0.0
                };
                *columns.scales.add(unit * TILE + n) = scale;
                for four in 0..size / 4 {
                    let group = bytes.as_ptr().cast::<u32>().add(four).read_unaligned();
                    *to.add(four * TILE + n) = group;
                }
                if plan.sums() > 0 {
                    avx512::sums_of_32(bytes.as_ptr(), block_sums.as_mut_ptr());
                    for (at, sum) in block_sums.iter().enumerate() {
                        *sums.add(at / 2 * 2 * TILE + 2 * n + at % 2) = *sum;
                    }
                }
            }
        }
    }
}

/// What a thread has for itself; totals follow, a tile of floats for each tile of columns and group.
#[repr(C, align(64))]
struct Own {
    /// In turn: while one is used, the next is unpacked.
    unpacked: [Unpacked; 2],
    /// Tiles of sums, in turn: while one set is computed, the other is scaled.
    sums: [[u8; SUMS * TILE_BYTES]; 2],
}

/// Weights of one or two groups, ready for the tiles.
#[repr(C, align(64))]
struct Unpacked {
    /// Groups, halves, tiles of 64 inputs; or groups, blocks of 32.
    weights: [u8; GROUPS * 2 * GROUP * SUPER],
    /// Of each block in a run.
    factors: [[[f32; GROUP]; GROUPS]; RUN],
    leasts: [[f32; GROUP]; GROUPS],
    /// Least values of rows 0, 4, 8, 12, then 1, 5 and so on: pairs of 16-bit numbers.
    pairs: [[[[i32; 4]; 4]; 4]; GROUPS],
}

pub(super) use self::folded::{filled_columns, multiply as multiply_folded};

/// Bytes of a thread's own memory for [`multiply_folded`].
pub(super) const FOLDED_BYTES: usize = size_of::<folded::Own>();

/// Bytes of a thread's own memory for [`multiply`].
pub(super) fn own_bytes(plan: &Plan) -> usize {
    size_of::<Own>() + plan.columns.div_ceil(TILE).min(TILES) * GROUPS * TILE_BYTES
}

/// See [`Plan::multiply`]; `own` is this thread's own memory.
///
/// # Safety
/// As there, and the processor has AMX and AVX-512 VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn multiply(
    plan: &Plan,
    weights: Weights,
    columns: Columns,
    output: Output,
    share: &Share,
    own: *mut u8,
) {
    let groups = &share.groups;
    let is_super = plan.format.weights() == SUPER;
    let _tiles = if is_super {
        Tiles::new([Shape::FULL; 8])
    } else {
        Tiles::new(plains::SHAPES)
    };
    let most = if is_super { TILES } else { PLAIN_TILES };
    let rows = |group| {
        let (first, _) = plan.group(group);
        unsafe { weights.bytes.add(first * weights.stride) }
    };
    let mut group = groups.start;
    while group < groups.end {
        let count = (groups.end - group).min(GROUPS);
        let all = plan.columns.div_ceil(TILE);
        for start in (0..all).step_by(most) {
            let job = Job {
                plan,
                weights,
                columns,
                output,
                group,
                ahead: Ahead::new(
                    rows(share.after(group, group + count)),
                    count * GROUP * weights.stride,
                ),
                tiles: start..(start + most).min(all),
            };
            unsafe {
                match (plan.format, count) {
                    (Format::Q4_K, 2) => job.supers::<Q4K, 2>(own),
                    (Format::Q4_K, _) => job.supers::<Q4K, 1>(own),
                    (Format::Q5_K, 2) => job.supers::<Q5K, 2>(own),
                    (Format::Q5_K, _) => job.supers::<Q5K, 1>(own),
                    (Format::Q6_K, 2) => job.supers::<Q6K, 2>(own),
                    (Format::Q6_K, _) => job.supers::<Q6K, 1>(own),
                    (Format::Q4_0, 2) => job.plains::<Q40, 2>(own),
                    (Format::Q4_0, _) => job.plains::<Q40, 1>(own),
                    (Format::Q8_0, 2) => job.plains::<Q80, 2>(own),
                    (Format::Q8_0, _) => job.plains::<Q80, 1>(own),
                }
            }
        }
        group += count;
    }
}

/// One or two groups of outputs, of some tiles of columns.
struct Job<'a> {
    plan: &'a Plan,
    weights: Weights,
    columns: Columns,
    output: Output,
    group: usize,
    /// The groups that come next.
    ahead: Ahead,
    tiles: Range<usize>,
}

impl Job<'_> {
    /// The first of a group's rows.
    unsafe fn rows(&self, group: usize) -> *const u8 {
        let (first, _) = self.plan.group(self.group + group);
        unsafe { self.weights.bytes.add(first * self.weights.stride) }
    }

    /// The totals of a group for a tile of columns, behind a thread's own memory.
    unsafe fn totals(&self, own: *mut u8, tile: usize, group: usize) -> *mut f32 {
        let at = (tile - self.tiles.start) * GROUPS + group;
        unsafe { own.add(size_of::<Own>() + at * TILE_BYTES).cast() }
    }

    #[inline(always)]
    unsafe fn clear<const COUNT: usize>(&self, own: *mut u8) {
        unsafe {
            for tile in self.tiles.clone() {
                for group in 0..COUNT {
                    self.totals(own, tile, group).write_bytes(0, GROUP * TILE);
                }
            }
        }
    }

    /// Writes the totals to the output, whose columns they lie across.
    #[inline(always)]
    unsafe fn store<const COUNT: usize>(&self, own: *mut u8) {
        unsafe {
            for tile in self.tiles.clone() {
                for group in 0..COUNT {
                    let (first, skip) = self.plan.group(self.group + group);
                    let wanted = u16::MAX << skip;
                    let turned = tiles::transpose(self.totals(own, tile, group));
                    let columns = (self.plan.columns - tile * TILE).min(TILE);
                    for (n, column) in turned[..columns].iter().enumerate() {
                        let at = (tile * TILE + n) * self.output.stride + first;
                        _mm512_mask_storeu_ps(self.output.numbers.add(at), wanted, *column);
                    }
                }
            }
        }
    }
}
