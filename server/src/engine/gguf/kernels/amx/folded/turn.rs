//! The tiles' part of a turn: see [`super`].
#![expect(clippy::undocumented_unsafe_blocks, reason = "as in the folder's head")]

use std::arch::asm;

use super::super::super::formats::SUPER;
use super::super::super::plan::{GROUP, TILE};
use super::super::tiles::Shape;
use super::{INPUTS, STEPS, VECTOR};

/// The tiles: two of sums, and in turn of each step activations and two of weights.
pub fn shapes(columns: usize) -> [Shape; 8] {
    let sums = Shape {
        rows: columns,
        bytes: VECTOR,
    };
    let activations = Shape {
        rows: columns,
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
    /// Of the block that is multiplied, and of the next.
    pub weights: *const u8,
    pub next_weights: *const u8,
    pub activations: *const i8,
    pub next_activations: *const i8,
    pub sums: *mut u8,
}

impl Turn {
    /// Stores the sums of the block before if this is the first step, multiplies a part of this one, and loads the next.
    #[inline(always)]
    pub unsafe fn step<const STEP: usize>(&self) {
        let Self { turn, all, .. } = *self;
        unsafe {
            if STEP == 0 && turn > 1 {
                asm!(
                    "tilestored [{to} + {stride}], tmm0",
                    "tilestored [{to} + {stride} + {half}], tmm1",
                    to = in(reg) self.sums,
                    stride = in(reg) VECTOR,
                    half = const TILE * VECTOR,
                    options(nostack)
                );
            }
            if turn >= 1 && turn <= all {
                if STEP == 0 {
                    asm!("tilezero tmm0", "tilezero tmm1", options(nostack, nomem));
                }
                if STEP.is_multiple_of(2) {
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
            let next = (STEP + 1) % STEPS;
            let (weights, activations, any) = if next == 0 {
                (self.next_weights, self.next_activations, turn < all)
            } else {
                let any = turn >= 1 && turn <= all;
                (self.weights, self.activations, any)
            };
            if any {
                macro_rules! load {
                    ($left:literal, $upper:literal, $lower:literal) => {
                        asm!(
                            concat!("tileloadd ", $left, ", [{left} + {block}]"),
                            concat!("tileloadd ", $upper, ", [{right} + {vector}]"),
                            concat!("tileloadd ", $lower, ", [{right} + {vector} + {half}]"),
                            left = in(reg) activations.add(next * INPUTS),
                            block = in(reg) SUPER,
                            right = in(reg) weights.add(next * INPUTS * GROUP),
                            vector = in(reg) VECTOR,
                            half = const SUPER * GROUP,
                            options(nostack, readonly)
                        )
                    };
                }
                if next.is_multiple_of(2) {
                    load!("tmm2", "tmm4", "tmm5");
                } else {
                    load!("tmm3", "tmm6", "tmm7");
                }
            }
        }
    }
}
