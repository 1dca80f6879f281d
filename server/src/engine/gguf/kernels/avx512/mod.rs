//! AVX-512 with VNNI: Ice Lake and later, Zen 4 and later.
//!
//! Sixteen rows go together, one in each lane: their blocks are [`turn`]ed, so that a vector has four weights of every row, and meets
//! the same four activations in all lanes. So a block is unpacked once for all columns, a column costs little more than its
//! multiplications, and nothing has to be added up across lanes. Weights of the next sixteen rows are asked for meanwhile: in a few
//! columns the time is that of memory.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "all are for one reason: the caller promises the instructions and the sizes that `Plan` states"
)]

mod bytes;
mod plains;
mod supers;
mod turn;
mod unpack;

use std::arch::x86_64::*;
use std::cell::Cell;

pub(super) use self::bytes::{prepare, quantize, sums_of_32};
use self::plains::{Q40, Q80, plains};
pub(super) use self::supers::head_with_leasts;
use self::supers::{Q4K, Q5K, Q6K, supers};
pub(super) use self::turn::turn;
pub(super) use self::unpack::{
    Heads, factors, fifths, heads_with_leasts, leasts_as_words, nibbles, scales_of_sixths, sixths,
};
use super::Format;
use super::plan::{Columns, Output, Plan, Share, Weights};

/// Columns that a block is unpacked for.
const COLUMNS: usize = 16;

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Asks for memory, which is to come as far as the second cache. Any processor with 64 bits can.
pub(super) fn ask_for(from: *const u8, bytes: usize) {
    for line in (0..bytes).step_by(LINE) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(line).cast()) };
    }
}

/// See [`Plan::multiply`].
///
/// # Safety
/// As there, and the processor has these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn multiply(
    plan: &Plan,
    weights: Weights,
    columns: Columns,
    output: Output,
    share: &Share,
) {
    let rows = |group| {
        let (first, _) = plan.group(group);
        unsafe { weights.bytes.add(first * weights.stride) }
    };
    for group in share.groups.clone() {
        for start in (0..plan.columns).step_by(COLUMNS) {
            let job = Job {
                plan,
                weights,
                columns,
                output,
                group,
                rows: rows(group),
                coming: Cell::new(rows(share.after(group, group + 1))),
                start,
                count: (plan.columns - start).min(COLUMNS),
            };
            unsafe {
                match plan.format {
                    Format::Q4_K => supers::<Q4K>(&job),
                    Format::Q5_K => supers::<Q5K>(&job),
                    Format::Q6_K => supers::<Q6K>(&job),
                    Format::Q4_0 => plains::<Q40>(&job),
                    Format::Q8_0 => plains::<Q80>(&job),
                }
            }
        }
    }
}

/// A group of outputs of some columns.
struct Job<'a> {
    plan: &'a Plan,
    weights: Weights,
    columns: Columns,
    output: Output,
    group: usize,
    /// The first of its rows.
    rows: *const u8,
    /// What to ask for next.
    coming: Cell<*const u8>,
    /// The first column.
    start: usize,
    count: usize,
}

impl Job<'_> {
    /// [`turn`]s sixteen bytes of each row, and asks for as many of the group that comes next: its rows lie one behind the other, and
    /// memory gives lines in a row fastest. A few at a time, since nothing else can be read while too many are on their way.
    #[inline(always)]
    unsafe fn turn(&self, from: *const u8) -> [__m512i; 4] {
        self.ask(4);
        unsafe { turn(from, self.weights.stride) }
    }

    /// The same with 32 bytes.
    #[inline(always)]
    unsafe fn turn_two(&self, from: *const u8) -> [__m512i; 8] {
        unsafe {
            let [a, b, c, d] = self.turn(from);
            let [e, f, g, h] = self.turn(from.add(16));
            [a, b, c, d, e, f, g, h]
        }
    }

    /// Asks for so many lines more.
    #[inline(always)]
    fn ask(&self, lines: usize) {
        let from = self.coming.get();
        ask_for(from, lines * LINE);
        self.coming.set(from.wrapping_add(lines * LINE));
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store(&self, totals: &[__m512]) {
        let (first, skip) = self.plan.group(self.group);
        let wanted = u16::MAX << skip;
        for (n, total) in totals.iter().enumerate() {
            unsafe {
                let to = (self.output.numbers).add((self.start + n) * self.output.stride + first);
                _mm512_mask_storeu_ps(to, wanted, *total);
            }
        }
    }
}

/// Four activations in every lane.
#[inline(always)]
pub(super) unsafe fn four(bytes: *const i8) -> __m512i {
    unsafe { _mm512_set1_epi32(bytes.cast::<i32>().read_unaligned()) }
}
