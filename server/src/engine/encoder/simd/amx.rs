//! AMX, whose registers are tiles of 16 rows of 64 bytes: Sapphire Rapids and later.
//!
//! Only products of bytes are computed with it; everything else is [`super::avx512`]'s. Rust's intrinsics for it are not stable yet, so
//! the instructions stand here as they are. They are described in Intel's Architectures Software Developer's Manual, volume 1,
//! chapter 18; a panel of [`Matrix`] is laid out as the manual wants its right-hand tiles.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use super::avx512::Avx512;
use super::generic::Outputs;
use super::{
    Activation, LINE_BYTES, Matrix, PANEL, Product, Range8, Rows, STEP_GROUPS, STEP_INPUTS, generic,
};

/// Rows of a tile.
const TILE_ROWS: usize = 16;

/// Bytes of a tile's row, which are inputs here.
pub(super) const TILE_INPUTS: usize = STEP_INPUTS;

/// Groups of four inputs in a tile.
const TILE_GROUPS: usize = STEP_GROUPS;

/// What `ldtilecfg` reads: palette 1, and for each of eight tiles its bytes in a row and its rows.
#[repr(C, align(64))]
struct Tiles {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Sums of two tiles of rows by two panels.
#[repr(C, align(64))]
struct Sums([[i32; 2 * PANEL]; 2 * TILE_ROWS]);

/// What is summed up at a time: one or two tiles of rows, by one or two panels.
#[derive(Clone, Copy)]
struct Block {
    /// The first rows of the tiles, and how many tiles there are; the second is the first again where there is one.
    tiles: [usize; 2],
    tile_count: usize,
    /// Likewise.
    panels: [usize; 2],
    panel_count: usize,
}

/// See [`super::Kernels::multiply`].
///
/// While the tiles' unit multiplies a block, the vectors' unit makes numbers of the sums of the block before: each takes about as
/// long.
///
/// # Safety
/// The processor has AMX and AVX-512, and the sizes agree.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
pub(super) unsafe fn multiply(rows: &Rows, weights: &Matrix, product: &mut Product<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match product.activation {
            Activation::None => pipeline(rows, weights, product, |x| x),
            Activation::Gelu => pipeline(rows, weights, product, |x| generic::gelu::<Avx512>(x)),
            Activation::Relu => pipeline(rows, weights, product, |x| {
                _mm512_max_ps(x, _mm512_setzero_ps())
            }),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
unsafe fn pipeline(
    rows: &Rows,
    weights: &Matrix,
    product: &mut Product<'_>,
    activate: impl Fn(__m512) -> __m512 + Copy,
) {
    let count = rows.count();
    if count == 0 {
        return;
    }
    // As few tiles as can be, of one height; where that does not come out even, the last one overlaps the one before.
    let tiles = count.div_ceil(TILE_ROWS);
    let height = count.div_ceil(tiles);
    let start = |tile: usize| (tile * height).min(count - height);
    let steps = weights.groups / TILE_GROUPS;
    let ranges = &rows.ranges[..count];
    configure(height);
    let mut sums = [const { Sums([[0; 2 * PANEL]; 2 * TILE_ROWS]) }; 2];
    let [mut now, mut before] = sums.each_mut();
    let mut pending: Option<Block> = None;
    let mut panel = product.panels.start;
    while panel < product.panels.end {
        let panels = [panel, (panel + 1).min(product.panels.end - 1)];
        for tile in (0..tiles).step_by(2) {
            let block = Block {
                tiles: [start(tile), start((tile + 1).min(tiles - 1))],
                tile_count: (tiles - tile).min(2),
                panels,
                panel_count: (product.panels.end - panel).min(2),
            };
            let due = pending.map_or(0, |block| block.tile_count * height);
            // SAFETY: the tiles lie within rows and panels, whose rows and inputs are filled up to whole tiles; the sums have room for
            // four tiles.
            unsafe {
                clear();
                for step in 0..steps {
                    fetch(weights, panel + 2, step, tile / 2, tiles.div_ceil(2));
                    add(rows, weights, &block, step);
                    if let Some(block) = &pending {
                        let part = due * step / steps..due * (step + 1) / steps;
                        finish(
                            ranges, weights, product, block, height, before, part, activate,
                        );
                    }
                }
                store(now);
            }
            pending = Some(block);
            std::mem::swap(&mut now, &mut before);
        }
        panel += 2;
    }
    // SAFETY: as above; the tiles are not needed any more.
    unsafe {
        asm!("tilerelease", options(nostack, nomem));
        if let Some(block) = &pending {
            let all = 0..block.tile_count * height;
            finish(
                ranges, weights, product, block, height, before, all, activate,
            );
        }
    }
}

/// Makes results of the sums of some of a block's rows.
#[expect(clippy::too_many_arguments, reason = "they are the loop's variables")]
#[inline(always)]
unsafe fn finish(
    ranges: &[Range8],
    weights: &Matrix,
    product: &mut Product<'_>,
    block: &Block,
    height: usize,
    sums: &Sums,
    part: Range<usize>,
    activate: impl Fn(__m512) -> __m512,
) {
    for (at, panel) in block.panels.iter().take(block.panel_count).enumerate() {
        // SAFETY: the panels are there with their scales, sums and biases.
        let outputs = unsafe { Outputs::<Avx512>::load(weights, panel * PANEL) };
        for index in part.clone() {
            let (tile, n) = if index < height {
                (0, index)
            } else {
                (1, index - height)
            };
            let row = block.tiles[tile] + n;
            // SAFETY: the row is there with its range and its place in the result.
            unsafe {
                let range = *ranges.get_unchecked(row);
                let out = product.out.as_mut_ptr().add(row * product.stride);
                let sum = sums.0[tile * TILE_ROWS + n].as_ptr().add(at * PANEL);
                let x = outputs.scale(_mm512_load_si512(sum.cast()), range);
                _mm512_storeu_ps(out.add((panel - product.panels.start) * PANEL), activate(x));
            }
        }
    }
}

/// Sets the tiles up: 0 to 3 for sums, 4 and 5 for activations, 6 and 7 for weights.
pub(super) fn configure(height: usize) {
    let height = height as u8;
    let whole = TILE_GROUPS as u8;
    let mut tiles = Tiles {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [0; 16],
        rows: [0; 16],
    };
    tiles.row_bytes[..8].fill(TILE_INPUTS as u16);
    tiles.rows[..8]
        .copy_from_slice(&[height, height, height, height, height, height, whole, whole]);
    // SAFETY: it reads the 64 bytes of a valid configuration.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const tiles, options(nostack, readonly)) };
}

/// Empties the sums.
unsafe fn clear() {
    // SAFETY: the tiles are set up, and the compiler uses none.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nostack, nomem)
        )
    };
}

/// Stores the sums of four tiles.
unsafe fn store(sums: &mut Sums) {
    // SAFETY: the sums have room for four tiles.
    unsafe {
        asm!(
            "tilestored [{upper} + {width}], tmm0",
            "tilestored [{upper} + {width} + {half}], tmm1",
            "tilestored [{lower} + {width}], tmm2",
            "tilestored [{lower} + {width} + {half}], tmm3",
            upper = in(reg) sums.0.as_mut_ptr(),
            lower = in(reg) sums.0.as_mut_ptr().add(TILE_ROWS),
            width = in(reg) 2 * PANEL * size_of::<i32>(),
            half = const PANEL * size_of::<i32>(),
            options(nostack),
        );
    }
}

/// Has a block's share of a step's weights of two panels brought nearer, if there are such panels: every weight is used once for some tokens, and comes from far.
#[inline(always)]
unsafe fn fetch(weights: &Matrix, panel: usize, step: usize, block: usize, blocks: usize) {
    const LINES: usize = TILE_GROUPS * PANEL * 4 / LINE_BYTES;
    let share = LINES * block / blocks..LINES * (block + 1) / blocks;
    for panel in [panel, panel + 1] {
        let at = panel * weights.groups * PANEL * 4 + step * TILE_GROUPS * PANEL * 4;
        for line in share.clone() {
            let line = weights.bytes.as_ptr().wrapping_add(at + line * LINE_BYTES);
            // SAFETY: fetching is allowed anywhere, and does nothing beyond the end.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line) };
        }
    }
}

/// Multiplies two tiles of rows with two panels, for one tile of inputs, and adds that up.
///
/// # Safety
/// The tiles are set up, and rows, panels and inputs are there.
#[inline(always)]
unsafe fn add(rows: &Rows, weights: &Matrix, block: &Block, step: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let [left, below] = block
            .tiles
            .map(|row| rows.bytes.as_ptr().add(rows.place(row, step)));
        let [right, beside] = block.panels.map(|panel| {
            let at = panel * weights.groups * PANEL * 4 + step * TILE_GROUPS * PANEL * 4;
            weights.bytes.as_ptr().add(at)
        });
        if block.tile_count == 1 {
            asm!(
                "tileloadd tmm4, [{left} + {stride}]",
                "tileloadd tmm6, [{right} + {group}]",
                "tileloadd tmm7, [{beside} + {group}]",
                "tdpbusd tmm0, tmm4, tmm6",
                "tdpbusd tmm1, tmm4, tmm7",
                left = in(reg) left,
                right = in(reg) right,
                beside = in(reg) beside,
                stride = in(reg) TILE_INPUTS,
                group = in(reg) PANEL * 4,
                options(nostack, readonly),
            );
            return;
        }
        asm!(
            "tileloadd tmm4, [{left} + {stride}]",
            "tileloadd tmm6, [{right} + {group}]",
            "tileloadd tmm5, [{below} + {stride}]",
            "tileloadd tmm7, [{beside} + {group}]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tdpbusd tmm1, tmm4, tmm7",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            left = in(reg) left,
            below = in(reg) below,
            right = in(reg) right,
            beside = in(reg) beside,
            stride = in(reg) TILE_INPUTS,
            group = in(reg) PANEL * 4,
            options(nostack, readonly),
        );
    }
}
