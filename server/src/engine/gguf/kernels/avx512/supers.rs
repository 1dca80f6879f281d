//! Formats with blocks of 256.
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]

use std::arch::x86_64::*;

use super::super::Format;
use super::super::formats::SUPER;
use super::super::plan::GROUP;
use super::turn::{fours, lower_floats, upper_floats};
use super::{COLUMNS, Job, four};

/// 32 weights of each row, four in a lane, as unsigned bytes.
type Part = [__m512i; 8];

/// What a row has once for a block.
pub struct Head {
    pub factors: __m512,
    /// Less than nothing, as they are to be added.
    pub leasts: __m512,
    /// Least values of two parts in a lane, as 16-bit numbers.
    pub pairs: [__m512i; 4],
    /// Integer scales as bytes, four in a lane.
    pub scales: [__m512i; 4],
}

/// A block of a group, which meets the same block of some columns.
pub struct Meeting<'a> {
    job: &'a Job<'a>,
    /// The block of the first column: see [`super::super::plan::Plan::unit`].
    unit: usize,
    /// A row a lane, for each column.
    sums: [__m512i; COLUMNS],
}

/// A format with blocks of 256.
pub trait Super {
    const FORMAT: Format;
    unsafe fn head(job: &Job, blocks: *const u8) -> Head;
    /// Adds all products to the sums.
    unsafe fn meet(head: &Head, blocks: *const u8, meeting: &mut Meeting);
}

pub struct Q4K;
pub struct Q5K;
pub struct Q6K;

#[inline(always)]
pub unsafe fn supers<F: Super>(job: &Job) {
    unsafe {
        let bytes = F::FORMAT.bytes();
        let mut totals = [_mm512_setzero_ps(); COLUMNS];
        for block in 0..job.plan.blocks() {
            let from = job.rows.add(block * bytes);
            let head = F::head(job, from);
            let mut meeting = Meeting {
                job,
                unit: job.plan.unit(job.start, block),
                sums: [_mm512_setzero_si512(); COLUMNS],
            };
            F::meet(&head, from, &mut meeting);
            for (n, total) in totals[..job.count].iter_mut().enumerate() {
                let unit = meeting.unit + n;
                let scale = _mm512_set1_ps(*job.columns.scales.add(unit));
                let sum = _mm512_cvtepi32_ps(meeting.sums[n]);
                *total = _mm512_fmadd_ps(sum, _mm512_mul_ps(head.factors, scale), *total);
                if F::FORMAT.has_least() {
                    let sums = job.columns.sums.add(unit * job.plan.sums()).cast::<i8>();
                    let mut sum = _mm512_setzero_si512();
                    for (at, pair) in head.pairs.iter().enumerate() {
                        sum = _mm512_dpwssd_epi32(sum, *pair, four(sums.add(4 * at)));
                    }
                    let sum = _mm512_cvtepi32_ps(sum);
                    *total = _mm512_fmadd_ps(sum, _mm512_mul_ps(head.leasts, scale), *total);
                }
            }
        }
        job.store(&totals[..job.count]);
    }
}

impl Meeting<'_> {
    /// Adds the products of a part, whose weights have one scale.
    #[inline(always)]
    unsafe fn add(&mut self, part: usize, weights: Part, scale: __m512i) {
        unsafe {
            let first = self.job.columns.bytes.add(self.unit * SUPER + 32 * part);
            for (n, sum) in self.sums[..self.job.count].iter_mut().enumerate() {
                let activations = first.add(n * SUPER);
                let mut products = _mm512_setzero_si512();
                for (at, weights) in weights.iter().enumerate() {
                    let activations = four(activations.add(4 * at));
                    products = _mm512_dpbusd_epi32(products, *weights, activations);
                }
                *sum = _mm512_add_epi32(*sum, _mm512_mullo_epi32(products, scale));
            }
        }
    }

    /// Adds the products of a part, of which each half has a scale, and an excess.
    #[inline(always)]
    unsafe fn add_halves(&mut self, part: usize, weights: Part, scales: [__m512i; 2]) {
        unsafe {
            let Job { plan, columns, .. } = self.job;
            let first = columns.bytes.add(self.unit * SUPER + 32 * part);
            let excess = columns.excess.add(self.unit * plan.excesses() + 2 * part);
            for (n, sum) in self.sums[..self.job.count].iter_mut().enumerate() {
                let activations = first.add(n * SUPER);
                for (half, scale) in scales.iter().enumerate() {
                    let excess = *excess.add(n * plan.excesses() + half);
                    let mut products = _mm512_set1_epi32(excess);
                    for (at, weights) in weights[4 * half..][..4].iter().enumerate() {
                        let activations = four(activations.add(16 * half + 4 * at));
                        products = _mm512_dpbusd_epi32(products, *weights, activations);
                    }
                    *sum = _mm512_add_epi32(*sum, _mm512_mullo_epi32(products, *scale));
                }
            }
        }
    }
}

/// The head of Q4_K and Q5_K, whose first sixteen bytes these are, turned: two factors, and twelve bytes with scales and least values.
#[inline(always)]
pub unsafe fn head_with_leasts([factors, a, b, c]: [__m512i; 4]) -> Head {
    unsafe {
        let six = _mm512_set1_epi8(0x3f);
        let four = _mm512_set1_epi8(0x0f);
        // The lower four of six bits, and the upper two of other bytes, which lie as the upper two there.
        let join = |lower: __m512i, upper: __m512i| {
            let upper = _mm512_and_si512(_mm512_srli_epi16::<2>(upper), _mm512_set1_epi8(0x30));
            _mm512_or_si512(_mm512_and_si512(lower, four), upper)
        };
        let leasts = [_mm512_and_si512(b, six), join(_mm512_srli_epi16::<4>(c), b)];
        // Bytes 0 and 1, or 2 and 3, as 16-bit numbers.
        let words = |bytes: __m512i, order: i64| {
            let lane = _mm_set_epi64x(order + 0x0808_0808_0808_0808_i64, order);
            let lane = _mm_or_si128(lane, _mm_set1_epi16(i16::MIN));
            _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(lane))
        };
        let (low, high) = (0x0005_0004_0001_0000, 0x0007_0006_0003_0002);
        Head {
            factors: lower_floats(factors),
            leasts: _mm512_sub_ps(_mm512_set1_ps(-0.0), upper_floats(factors)),
            pairs: [
                words(leasts[0], low),
                words(leasts[0], high),
                words(leasts[1], low),
                words(leasts[1], high),
            ],
            scales: [
                _mm512_and_si512(a, six),
                join(c, a),
                _mm512_setzero_si512(),
                _mm512_setzero_si512(),
            ],
        }
    }
}

/// The scale of a part of Q4_K or Q5_K.
#[inline(always)]
unsafe fn scale_of(head: &Head, part: usize) -> __m512i {
    unsafe {
        let shift = _mm512_set1_epi32(8 * (part % 4) as i32);
        let byte = _mm512_srlv_epi32(head.scales[part / 4], shift);
        _mm512_and_si512(byte, _mm512_set1_epi32(0xff))
    }
}

/// The two scales of a part of Q6_K.
#[inline(always)]
unsafe fn scales_of(head: &Head, part: usize) -> [__m512i; 2] {
    [2 * part, 2 * part + 1].map(|at| unsafe {
        let shift = _mm512_set1_epi32(24 - 8 * (at % 4) as i32);
        let byte = _mm512_sllv_epi32(head.scales[at / 4], shift);
        _mm512_srai_epi32::<24>(byte)
    })
}

/// The lower four bits of every byte, and the upper.
#[inline(always)]
unsafe fn nibbles(bytes: Part) -> [Part; 2] {
    unsafe {
        let mask = _mm512_set1_epi8(0x0f);
        [
            bytes.map(|bytes| _mm512_and_si512(bytes, mask)),
            bytes.map(|bytes| _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask)),
        ]
    }
}

/// The bits from `from` on of every byte beside the four of another, where `MASK` has them.
#[inline(always)]
unsafe fn join<const MASK: i8>(four: Part, more: Part, from: usize) -> Part {
    // They begin with the fifth.
    let (up, down) = (4_usize.saturating_sub(from), from.saturating_sub(4));
    unsafe {
        let mut both = four;
        for (both, more) in both.iter_mut().zip(more) {
            let more = _mm512_sllv_epi16(more, _mm512_set1_epi16(up as i16));
            let more = _mm512_srlv_epi16(more, _mm512_set1_epi16(down as i16));
            // a | b & c
            *both = _mm512_ternarylogic_epi32::<0xf8>(*both, more, _mm512_set1_epi8(MASK));
        }
        both
    }
}

impl Super for Q4K {
    const FORMAT: Format = Format::Q4_K;
    #[inline(always)]
    unsafe fn head(job: &Job, blocks: *const u8) -> Head {
        unsafe { head_with_leasts(job.turn(blocks)) }
    }
    #[inline(always)]
    unsafe fn meet(head: &Head, blocks: *const u8, meeting: &mut Meeting) {
        unsafe {
            for two in 0..4 {
                let bytes = meeting.job.turn_two(blocks.add(16 + 32 * two));
                let [low, high] = nibbles(bytes);
                meeting.add(2 * two, low, scale_of(head, 2 * two));
                meeting.add(2 * two + 1, high, scale_of(head, 2 * two + 1));
            }
        }
    }
}

impl Super for Q5K {
    const FORMAT: Format = Format::Q5_K;
    #[inline(always)]
    unsafe fn head(job: &Job, blocks: *const u8) -> Head {
        unsafe { head_with_leasts(job.turn(blocks)) }
    }
    #[inline(always)]
    unsafe fn meet(head: &Head, blocks: *const u8, meeting: &mut Meeting) {
        unsafe {
            let job = meeting.job;
            let fifths = job.turn_two(blocks.add(16));
            for two in 0..4 {
                let [low, high] = nibbles(job.turn_two(blocks.add(48 + 32 * two)));
                let low = join::<0x10>(low, fifths, 2 * two);
                meeting.add(2 * two, low, scale_of(head, 2 * two));
                let high = join::<0x10>(high, fifths, 2 * two + 1);
                meeting.add(2 * two + 1, high, scale_of(head, 2 * two + 1));
            }
        }
    }
}

impl Super for Q6K {
    const FORMAT: Format = Format::Q6_K;
    #[inline(always)]
    unsafe fn head(job: &Job, blocks: *const u8) -> Head {
        unsafe {
            job.ahead.ask(2 * GROUP);
            Head {
                // Four bytes that end with the factor, as the block does; nothing else has asked for them.
                factors: upper_floats(fours(blocks.add(206), job.weights.stride)),
                leasts: _mm512_setzero_ps(),
                pairs: [_mm512_setzero_si512(); 4],
                scales: job.turn(blocks.add(192)),
            }
        }
    }
    #[inline(always)]
    unsafe fn meet(head: &Head, blocks: *const u8, meeting: &mut Meeting) {
        unsafe {
            let job = meeting.job;
            for side in 0..2 {
                let upper = job.turn_two(blocks.add(128 + 32 * side));
                for quarter in 0..2 {
                    let bytes = job.turn_two(blocks.add(64 * side + 32 * quarter));
                    let [low, high] = nibbles(bytes);
                    let part = 4 * side + quarter;
                    let weights = join::<0x30>(low, upper, 2 * quarter);
                    meeting.add_halves(part, weights, scales_of(head, part));
                    let weights = join::<0x30>(high, upper, 2 * quarter + 4);
                    meeting.add_halves(part + 2, weights, scales_of(head, part + 2));
                }
            }
        }
    }
}
