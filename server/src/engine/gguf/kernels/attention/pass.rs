//! A task: two passes over the cells that its tokens see, block by block.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "all are for one reason: the caller promises the instructions, and memory as the operation's sizes say"
)]

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::Wide;
use super::mask::look;
use super::{Attention, CELLS, Cells, Form, LANES, Lanes, Plain, Task};

/// Bytes of a line of the cache.
const LINE: usize = 64;

impl Cells {
    /// Makes floats of a head's numbers in the marked cells of a block.
    #[inline(always)]
    pub(super) unsafe fn widen<L: Lanes>(
        &self,
        [stream, head, block]: [usize; 3],
        marked: u64,
        size: usize,
        to: *mut f32,
    ) {
        let [cell, of_head, of_stream] = self.strides;
        let start = head * of_head + stream * of_stream + block * CELLS * cell;
        let mut marked = marked;
        while marked != 0 {
            let n = marked.trailing_zeros() as usize;
            marked &= marked - 1;
            let from = self.bytes.wrapping_add(start + n * cell);
            let to = unsafe { to.add(n * size) };
            match self.form {
                Form::Halves => unsafe {
                    for at in (0..size).step_by(LANES) {
                        L::load_halves(from.cast::<u16>().add(at)).store(to.add(at));
                    }
                },
                Form::Other(floats) => unsafe { floats(from.cast(), to, size as i64) },
            }
        }
    }
}

/// Asks for a line of memory, which is to come as far as the second cache.
#[inline(always)]
fn ask_for(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it is a hint, whatever lies there.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// A task at work.
pub struct Work<'a> {
    pub(super) attention: &'a Attention,
    pub(super) task: &'a Task,
    /// Which cells tokens see.
    pub(super) words: *const u64,
    /// A block of keys or values.
    pub(super) block: *mut f32,
    /// `[row][cell]`, and how many cells a row has.
    pub(super) scores: *mut f32,
    /// `[row][number]`: weighted values, then sixteen times the sum of the weights.
    pub(super) sums: *mut f32,
    /// `[row][16]`: the greatest scores.
    pub(super) greatest: *mut f32,
}

/// Rows that are computed together, and the cells of a block that one of them sees.
pub struct Pack {
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) cells: [u8; CELLS],
    pub(super) count: usize,
}

impl Pack {
    #[inline(always)]
    pub(super) fn cells(&self) -> &[u8] {
        &self.cells[..self.count]
    }
}

/// Computes a task; `own` is the thread's working memory.
#[inline(always)]
pub unsafe fn compute<L: Lanes>(
    attention: &Attention,
    task: &Task,
    words: *const u64,
    own: *mut f32,
) {
    let sizes = &attention.sizes;
    let rows = task.rows();
    unsafe {
        let scores = own.add(CELLS * sizes.key.max(sizes.value));
        let sums = scores.add(rows * CELLS * sizes.blocks());
        let work = Work {
            attention,
            task,
            words: words.add((task.stream * sizes.tokens + task.tokens.start) * sizes.blocks()),
            block: own,
            scores,
            sums,
            greatest: sums.add(rows * (sizes.value + LANES)),
        };
        work.scores::<L>();
        work.values::<L>();
        work.finish::<L>();
    }
}

impl Work<'_> {
    /// The cells of a block that a row sees.
    #[inline(always)]
    pub(super) unsafe fn seen(&self, row: usize, block: usize) -> u64 {
        let token = row % self.task.rows_of_each() / self.task.heads.len();
        unsafe {
            *self
                .words
                .add(token * self.attention.sizes.blocks() + block)
        }
    }

    /// The cells of a block that any row sees.
    #[inline(always)]
    pub(super) unsafe fn seen_by_any(&self, block: usize) -> u64 {
        let mut seen = 0;
        for token in 0..self.task.tokens.len() {
            seen |= unsafe {
                *self
                    .words
                    .add(token * self.attention.sizes.blocks() + block)
            };
        }
        seen
    }

    /// The next block from this one on that any row sees a cell of.
    #[inline(always)]
    pub(super) unsafe fn next(&self, from: usize) -> Option<usize> {
        let mut block = from;
        while block < self.attention.sizes.blocks() {
            if unsafe { self.seen_by_any(block) } != 0 {
                return Some(block);
            }
            block += 1;
        }
        None
    }

    /// Asks for a part of a block that is due after this one, one part for every head of the task: cells one after the other, as they lie
    /// in memory, which gives lines in a row fastest. Meanwhile another block's heads are computed.
    #[inline(always)]
    pub(super) unsafe fn ask(&self, cells: &Cells, size: usize, block: usize, part: usize) {
        let Form::Halves = cells.form else { return };
        let (task, [cell, head, stream]) = (self.task, cells.strides);
        let each = CELLS.div_ceil(task.shared.len());
        let part = (part * each).min(CELLS)..((part + 1) * each).min(CELLS);
        let seen = unsafe { self.seen_by_any(block) };
        let start = task.shared.start * head + task.stream * stream + block * CELLS * cell;
        for n in part {
            if seen >> n & 1 == 1 {
                let from = cells.bytes.wrapping_add(start + n * cell);
                for line in (0..(task.shared.len() - 1) * head + 2 * size).step_by(LINE) {
                    ask_for(from.wrapping_add(line));
                }
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn scores_of(&self, row: usize, block: usize) -> *mut f32 {
        unsafe { (self.scores).add((row * self.attention.sizes.blocks() + block) * CELLS) }
    }

    #[inline(always)]
    pub(super) unsafe fn sums_of(&self, row: usize) -> *mut f32 {
        unsafe { self.sums.add(row * (self.attention.sizes.value + LANES)) }
    }

    /// The next rows of a block from `row` on that are computed together, as they see much the same: four, two or one of them.
    #[inline(always)]
    pub(super) unsafe fn pack(&self, row: usize, rows: usize, block: usize) -> Pack {
        let mut count = match rows - row {
            4.. => 4,
            2.. => 2,
            _ => 1,
        };
        let seen = loop {
            let (mut alone, mut together) = (0, 0);
            for row in row..row + count {
                let seen = unsafe { self.seen(row, block) };
                alone += seen.count_ones();
                together |= seen;
            }
            // What is computed for rows that do not see a cell is lost, and what is computed alone takes longer.
            if count == 1 || together.count_ones() * count as u32 <= 2 * alone {
                break together;
            }
            count /= 2;
        };
        let mut pack = Pack {
            first: row,
            rows: count,
            cells: [0; CELLS],
            count: 0,
        };
        let mut left = seen;
        while left != 0 {
            pack.cells[pack.count] = left.trailing_zeros() as u8;
            pack.count += 1;
            left &= left - 1;
        }
        pack
    }
}

/// [`look`] by AVX-512.
///
/// # Safety
/// As there, and the processor has these instructions.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub unsafe fn look_avx512(attention: &Attention, words: Range<usize>, to: *mut u64) {
    unsafe { look::<Wide>(attention, words, to) }
}

/// [`compute`] by AVX-512.
///
/// # Safety
/// As there, and the processor has these instructions.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub unsafe fn compute_avx512(attention: &Attention, task: &Task, words: *const u64, own: *mut f32) {
    unsafe { compute::<Wide>(attention, task, words, own) }
}

/// [`compute`] compiled for AVX2.
///
/// # Safety
/// As there, and the processor has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub unsafe fn compute_avx2(attention: &Attention, task: &Task, words: *const u64, own: *mut f32) {
    unsafe { compute::<Plain>(attention, task, words, own) }
}
