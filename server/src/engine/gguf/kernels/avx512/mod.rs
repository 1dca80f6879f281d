//! AVX-512 with VNNI: Ice Lake and later, Zen 4 and later.
//!
//! Sixteen rows go together, one in each lane: their blocks are [`turn`]ed, so that a vector has four weights of every row, and meets
//! the same four activations in all lanes. So a block is unpacked once for all columns, a column costs little more than its
//! multiplications, and nothing has to be added up across lanes. Weights of the next sixteen rows are asked for meanwhile: in a few
//! columns the time is that of memory. Only one column of Q8_0 is not worth turning for.
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

pub(super) use self::bytes::{prepare, quantize, sums_of_32};
use self::plains::{Q40, Q80, one_of_q80, plains};
pub(super) use self::supers::head_with_leasts;
use self::supers::{Q4K, Q5K, Q6K, supers};
pub(super) use self::turn::turn;
pub(super) use self::unpack::{
    Heads, factors, fifths, heads_with_leasts, leasts_as_words, nibbles, scales_of_sixths, sixths,
};
use super::Format;
use super::ahead::Ahead;
use super::plan::{Columns, GROUP, Output, Plan, Share, Weights};

/// Columns that a block is unpacked for.
const COLUMNS: usize = 16;

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
    let bytes = GROUP * weights.stride;
    let together = Ahead::groups(bytes);
    let mut ahead = Ahead::new(weights.bytes, bytes);
    for group in share.groups.clone() {
        if (group - share.groups.start).is_multiple_of(together) {
            let end = (group + together).min(share.groups.end);
            ahead = Ahead::new(rows(share.after(group, end)), (end - group) * bytes);
        }
        for start in (0..plan.columns).step_by(COLUMNS) {
            let job = Job {
                plan,
                weights,
                columns,
                output,
                group,
                rows: rows(group),
                ahead: &ahead,
                start,
                count: (plan.columns - start).min(COLUMNS),
            };
            unsafe {
                match plan.format {
                    Format::Q4_K => supers::<Q4K>(&job),
                    Format::Q5_K => supers::<Q5K>(&job),
                    Format::Q6_K => supers::<Q6K>(&job),
                    Format::Q4_0 => plains::<Q40>(&job),
                    Format::Q8_0 if plan.columns == 1 => one_of_q80(&job),
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
    /// The group that comes next.
    ahead: &'a Ahead,
    /// The first column.
    start: usize,
    count: usize,
}

impl Job<'_> {
    /// [`turn`]s sixteen bytes of each row, and asks for as many of the group that comes next.
    #[inline(always)]
    unsafe fn turn(&self, from: *const u8) -> [__m512i; 4] {
        self.ahead.ask(16 * GROUP);
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
