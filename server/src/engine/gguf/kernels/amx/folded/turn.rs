//! The tiles' part of a turn: see [`super`].
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]

use std::arch::asm;

use super::super::super::formats::SUPER;
use super::super::super::plan::{GROUP, TILE};
use super::super::tiles::Shape;
use super::{INPUTS, PARTS, SetSums, Sets, VECTOR};

/// The tiles: two of sums, and in turn of each part activations and two of weights.
pub fn shapes(sets: Sets) -> [Shape; 8] {
    let sums = Shape {
        rows: sets.each,
        bytes: VECTOR,
    };
    let activations = Shape {
        rows: sets.each,
        bytes: INPUTS,
    };
    [
        sums,
        sums,
        activations,
        activations,
        Shape::FULL,
        Shape::FULL,
        Shape::FULL,
        Shape::FULL,
    ]
}

/// What the tiles do in a turn.
pub struct Turn {
    /// The first block is multiplied in turn 1, of `all`.
    pub turn: usize,
    pub all: usize,
    pub sets: Sets,
    /// Of the block that is multiplied, and of the next.
    pub weights: *const u8,
    pub next_weights: *const u8,
    pub activations: *const i8,
    pub next_activations: *const i8,
    /// Of every set, for even turns and for odd ones.
    pub sums: *mut [SetSums; 2],
}

impl Turn {
    /// Stores the sums of the set before if this is a set's first part, multiplies this part of it, and loads the next.
    #[inline(always)]
    pub unsafe fn step<const SETS: usize>(&self, set: usize, part: usize) {
        let is_multiplied = self.turn >= 1 && self.turn <= self.all;
        unsafe {
            if part == 0 && set > 0 && is_multiplied {
                store(self.sums.add(set - 1), self.turn + 1);
            }
            if part == 0 && set == 0 && self.turn > 1 {
                store(self.sums.add(SETS - 1), self.turn);
            }
            if is_multiplied {
                multiply(part);
            }
            let rows = self.sets.each * SUPER;
            if part + 1 < PARTS || set + 1 < SETS {
                let (set, part) = (set + (part + 1) / PARTS, (part + 1) % PARTS);
                if is_multiplied {
                    load(part, self.weights, self.activations.add(set * rows));
                }
            } else if self.turn < self.all {
                load(0, self.next_weights, self.next_activations);
            }
        }
    }
}

/// Stores the sums of a set of a block, which is added to the totals in this turn or one as odd.
#[inline(always)]
unsafe fn store(sums: *mut [SetSums; 2], turn: usize) {
    unsafe {
        let sums = sums.cast::<SetSums>().add(turn % 2);
        asm!(
            "tilestored [{to} + {stride}], tmm0",
            "tilestored [{to} + {stride} + {half}], tmm1",
            to = in(reg) sums,
            stride = in(reg) VECTOR,
            half = const TILE * VECTOR,
            options(nostack)
        );
    }
}

/// Adds a part's products to the sums of each half, which begin with the first.
#[inline(always)]
unsafe fn multiply(part: usize) {
    unsafe {
        if part == 0 {
            asm!("tilezero tmm0", "tilezero tmm1", options(nostack, nomem));
        }
        if part.is_multiple_of(2) {
            asm!(
                "tdpbsud tmm0, tmm2, tmm4",
                "tdpbsud tmm1, tmm2, tmm5",
                options(nostack, nomem)
            );
        } else {
            asm!(
                "tdpbsud tmm0, tmm3, tmm6",
                "tdpbsud tmm1, tmm3, tmm7",
                options(nostack, nomem)
            );
        }
    }
}

/// Loads a part of a block's weights and of a set's activations.
#[inline(always)]
unsafe fn load(part: usize, weights: *const u8, activations: *const i8) {
    macro_rules! load {
        ($left:literal, $upper:literal, $lower:literal) => {
            asm!(
                concat!("tileloadd ", $left, ", [{left} + {block}]"),
                concat!("tileloadd ", $upper, ", [{right} + {vector}]"),
                concat!("tileloadd ", $lower, ", [{right} + {vector} + {half}]"),
                left = in(reg) activations.add(part * INPUTS),
                block = in(reg) SUPER,
                right = in(reg) weights.add(part * INPUTS * GROUP),
                vector = in(reg) VECTOR,
                half = const SUPER * GROUP,
                options(nostack, readonly)
            )
        };
    }
    unsafe {
        if part.is_multiple_of(2) {
            load!("tmm2", "tmm4", "tmm5");
        } else {
            load!("tmm3", "tmm6", "tmm7");
        }
    }
}
