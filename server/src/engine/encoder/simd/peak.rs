//! The most that the processor's own instructions for products of bytes do, with nothing to load or store: what kernels are measured by.

use std::arch::asm;

use super::amx;
use crate::engine::tiles;

/// Products of a vector instruction: 64 multiplications and as many additions.
const OPERATIONS_512: f64 = 128.0;
const OPERATIONS_256: f64 = 64.0;

/// Of a tile instruction: 16 rows by 16 columns by 64 inputs.
const OPERATIONS_TILE: f64 = 2.0 * 16.0 * 16.0 * 64.0;

/// How many of them a turn of the loops below has.
const IN_A_TURN: f64 = 12.0;

/// A twelve-fold repetition of an instruction whose first operand has the numbers 0 to 11, so that none waits for the one before.
macro_rules! twelve {
    ($instruction:literal, $register:literal, $others:literal) => {
        twelve!(@ $instruction, $register, $others, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    (@ $instruction:literal, $register:literal, $others:literal, $($number:literal)*) => {
        concat!($($instruction, " ", $register, $number, $others, "\n",)*)
    };
}

/// Runs `turns` turns of AVX-512 VNNI, and tells how many operations these were. `None` where there is none.
pub(super) fn avx512_vnni(turns: u64) -> Option<f64> {
    if !(is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")) {
        return None;
    }
    // SAFETY: the instructions are there, and they change only registers that are declared.
    unsafe {
        asm!(
            "2:",
            twelve!("vpdpbusd", "zmm", ", zmm30, zmm31"),
            "dec {turns}",
            "jnz 2b",
            turns = inout(reg) turns.max(1) => _,
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
            out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
            out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
            options(nostack, nomem),
        );
    }
    Some(turns.max(1) as f64 * IN_A_TURN * OPERATIONS_512)
}

/// As [`avx512_vnni`], with AVX-VNNI.
pub(super) fn avx_vnni(turns: u64) -> Option<f64> {
    if !is_x86_feature_detected!("avxvnni") {
        return None;
    }
    // SAFETY: the instructions are there, and they change only registers that are declared.
    unsafe {
        asm!(
            "2:",
            twelve!("{{vex}} vpdpbusd", "ymm", ", ymm14, ymm15"),
            "dec {turns}",
            "jnz 2b",
            turns = inout(reg) turns.max(1) => _,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
            out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            options(nostack, nomem),
        );
    }
    Some(turns.max(1) as f64 * IN_A_TURN * OPERATIONS_256)
}

/// As [`avx512_vnni`], with AMX.
pub(super) fn amx(turns: u64) -> Option<f64> {
    if !tiles::are_available() {
        return None;
    }
    amx::configure(16);
    // SAFETY: the tiles are set up just before, and released after.
    unsafe {
        asm!(
            "2:",
            "tdpbusd tmm0, tmm4, tmm6",
            "tdpbusd tmm1, tmm4, tmm7",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            "dec {turns}",
            "jnz 2b",
            "tilerelease",
            turns = inout(reg) turns.max(1) => _,
            options(nostack, nomem),
        );
    }
    Some(turns.max(1) as f64 * 4.0 * OPERATIONS_TILE)
}
