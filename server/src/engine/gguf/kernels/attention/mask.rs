//! Which cells tokens see, and what is added to their scores.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "all are for one reason: the caller promises the instructions, and memory as the operation's sizes say"
)]

use std::ops::Range;

use super::{Attention, CELLS, LANES, Lanes};

/// Minus infinity as a 16-bit float.
pub const UNSEEN: u16 = 0xfc00;

/// Says which cells tokens see: one word for each `[stream][token][block]` of `words`.
#[inline(always)]
pub unsafe fn look<L: Lanes>(attention: &Attention, words: Range<usize>, to: *mut u64) {
    let sizes = &attention.sizes;
    for word in words {
        let (row, block) = (word / sizes.blocks(), word % sizes.blocks());
        let (stream, token) = (row / sizes.tokens, row % sizes.tokens);
        let first = block * CELLS;
        let count = (sizes.cells - first).min(CELLS);
        let all = u64::MAX >> (CELLS - count);
        let seen = match attention.mask_row(stream, token) {
            None => all,
            Some(mask) => (0..count).step_by(LANES).fold(0, |seen, at| {
                let sixteen = unsafe { sixteen(mask, first + at, sizes.cells) };
                let bits = match &sixteen {
                    Ok(there) => unsafe { L::seen(*there) },
                    Err(copy) => unsafe { L::seen(copy.as_ptr()) },
                };
                seen | u64::from(bits) << at
            }),
        };
        unsafe { *to.add(word) = seen & all };
    }
}

/// Where sixteen numbers of a mask lie from `first` on, or a copy of those that there are.
#[inline(always)]
pub unsafe fn sixteen(
    mask: *const u16,
    first: usize,
    all: usize,
) -> Result<*const u16, [u16; LANES]> {
    if first + LANES <= all {
        return Ok(unsafe { mask.add(first) });
    }
    let mut copy = [UNSEEN; LANES];
    for (n, number) in copy.iter_mut().enumerate().take(all - first) {
        *number = unsafe { *mask.add(first + n) };
    }
    Err(copy)
}

impl Attention {
    #[inline(always)]
    pub(super) fn mask_row(&self, stream: usize, token: usize) -> Option<*const u16> {
        self.mask.map(|mask| {
            let at = token * mask.strides[0] + stream * mask.strides[1];
            mask.bytes.wrapping_add(at).cast()
        })
    }

    /// What the mask's numbers are multiplied by, for a head.
    #[inline(always)]
    pub(super) fn slope(&self, head: usize) -> f32 {
        if self.most_bias <= 0.0 {
            return 1.0;
        }
        let heads = 1usize << self.sizes.heads.ilog2();
        let power = |bias: f32, times: usize| (-bias / heads as f32).exp2().powi(times as i32);
        if head < heads {
            power(self.most_bias, head + 1)
        } else {
            power(self.most_bias / 2.0, 2 * (head - heads) + 1)
        }
    }
}
