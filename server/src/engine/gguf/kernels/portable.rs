//! Plain arithmetic, which the other kernels are tested against. Compilers turn it into whatever vectors there are.

use std::ops::Range;

use super::formats::{Block, PLAIN, SUPER};
use super::plan::{Columns, GROUP, Output, Plan, Weights};

/// Columns that one unpacked block of weights is used for before the next.
const COLUMNS: usize = 32;

/// Turns numbers into bytes, and returns what a byte of 1 stands for.
#[inline(always)]
pub(super) fn quantize(numbers: &[f32], bytes: &mut [i8]) -> f32 {
    let mut largest = 0.0f32;
    for number in numbers {
        let size = number.abs();
        largest = if size > largest { size } else { largest };
    }
    let factor = 127.0 / largest;
    // Nothing but zeros, or numbers that have no use.
    if !factor.is_normal() || !largest.is_normal() {
        bytes.fill(0);
        return 0.0;
    }
    for (byte, number) in bytes.iter_mut().zip(numbers) {
        *byte = (number * factor).round_ties_even() as i8;
    }
    largest / 127.0
}

/// See [`Plan::prepare`]; `units` are blocks of columns.
#[inline(always)]
pub(super) unsafe fn prepare(
    plan: &Plan,
    activations: *const f32,
    stride: usize,
    columns: Columns,
    units: Range<usize>,
) {
    let size = plan.format.weights();
    let sums = plan.sums();
    for unit in units {
        let (column, block) = plan.of_unit(unit);
        // SAFETY: the caller's promise; each block has its own bytes, scale and sums.
        let (numbers, bytes, scale, block_sums) = unsafe {
            (
                std::slice::from_raw_parts(activations.add(column * stride + block * size), size),
                std::slice::from_raw_parts_mut(columns.bytes.add(unit * size), size),
                &mut *columns.scales.add(unit),
                std::slice::from_raw_parts_mut(columns.sums.add(unit * sums), sums),
            )
        };
        *scale = quantize(numbers, bytes);
        if let Some(each) = size.checked_div(sums) {
            for (sum, bytes) in block_sums.iter_mut().zip(bytes.chunks_exact(each)) {
                *sum = bytes.iter().map(|&byte| i16::from(byte)).sum();
            }
        }
    }
}

/// See [`Plan::multiply`].
#[inline(always)]
pub(super) unsafe fn multiply(
    plan: &Plan,
    weights: Weights,
    columns: Columns,
    output: Output,
    groups: Range<usize>,
) {
    let (size, block_bytes, blocks) = (plan.format.weights(), plan.format.bytes(), plan.blocks());
    let sums = plan.sums();
    let mut unpacked = Block::EMPTY;
    for group in groups {
        let (first, skip) = plan.group(group);
        for row in first + skip..first + GROUP {
            for start in (0..plan.columns).step_by(COLUMNS) {
                let count = (plan.columns - start).min(COLUMNS);
                let mut totals = [0.0f32; COLUMNS];
                for block in 0..blocks {
                    // SAFETY: the row and the columns have that many blocks.
                    let bytes = unsafe {
                        let at = weights
                            .bytes
                            .add(row * weights.stride + block * block_bytes);
                        std::slice::from_raw_parts(at, block_bytes)
                    };
                    unpacked.read(plan.format, bytes);
                    for (n, total) in totals[..count].iter_mut().enumerate() {
                        let unit = plan.unit(start + n, block);
                        // SAFETY: as above.
                        let (bytes, scale, block_sums) = unsafe {
                            (
                                std::slice::from_raw_parts(columns.bytes.add(unit * size), size),
                                *columns.scales.add(unit),
                                std::slice::from_raw_parts(columns.sums.add(unit * sums), sums),
                            )
                        };
                        let sum = if size == SUPER {
                            dot::<SUPER>(&unpacked.weights, bytes)
                        } else {
                            dot::<PLAIN>(&unpacked.weights, bytes)
                        };
                        *total = (sum as f32).mul_add(unpacked.scale * scale, *total);
                        if plan.format.has_least() {
                            let pairs = unpacked.leasts.iter().zip(block_sums);
                            let sum: i32 = pairs.map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
                            *total = (sum as f32).mul_add(-unpacked.least * scale, *total);
                        }
                    }
                }
                for (n, total) in totals[..count].iter().enumerate() {
                    // SAFETY: the output has room for every column.
                    unsafe { *output.numbers.add((start + n) * output.stride + row) = *total };
                }
            }
        }
    }
}

#[inline(always)]
fn dot<const SIZE: usize>(weights: &[i16; SUPER], bytes: &[i8]) -> i32 {
    let mut sum = 0;
    for n in 0..SIZE {
        sum += i32::from(weights[n]) * i32::from(bytes[n]);
    }
    sum
}

/// [`prepare`] compiled for AVX2.
///
/// # Safety
/// As there, and the processor has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn prepare_avx2(
    plan: &Plan,
    activations: *const f32,
    stride: usize,
    columns: Columns,
    units: Range<usize>,
) {
    // SAFETY: passed on.
    unsafe { prepare(plan, activations, stride, columns, units) }
}

/// [`multiply`] compiled for AVX2.
///
/// # Safety
/// As there, and the processor has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn multiply_avx2(
    plan: &Plan,
    weights: Weights,
    columns: Columns,
    output: Output,
    groups: Range<usize>,
) {
    // SAFETY: passed on.
    unsafe { multiply(plan, weights, columns, output, groups) }
}
