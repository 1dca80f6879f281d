//! Every set of instructions that this processor has, against plain arithmetic and against llama.cpp's own.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::path::Path;

use half::f16;
use llama_cpp_sys_2 as sys;
use proptest::prelude::*;

use super::choice::choose;
use super::formats::{Block, SUPER};
use super::trial::{self, Verdict};
use super::{Format, Kernels, Plan, Preference};

/// Numbers without a pattern.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = (self.0)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// From -1 to 1.
    fn float(&mut self) -> f32 {
        (self.next() >> 8) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// Blocks whose every bit is by chance, but their factors are numbers of a usual size.
    fn blocks(&mut self, format: Format, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count * format.bytes())
            .map(|_| self.next() as u8)
            .collect();
        for block in bytes.chunks_exact_mut(format.bytes()) {
            let places: &[usize] = match format {
                Format::Q4_0 | Format::Q8_0 => &[0],
                Format::Q4_K | Format::Q5_K => &[0, 2],
                Format::Q6_K => &[208],
            };
            for &place in places {
                let factor = f16::from_f32(self.float() / 50.0);
                block[place..place + 2].copy_from_slice(&factor.to_le_bytes());
            }
        }
        bytes
    }
}

/// Memory as llama.cpp gives it.
struct Work(*mut u8, Layout);

impl Work {
    fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes.max(64), 64).unwrap();
        // SAFETY: the size is not zero.
        Self(unsafe { alloc_zeroed(layout) }, layout)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.0, self.1) };
    }
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    inputs: usize,
    outputs: usize,
    columns: usize,
}

/// A product as `threads` threads would compute it; every number that is not an output stays as it was.
fn product(
    kernels: Kernels,
    format: Format,
    shape: Shape,
    weights: &[u8],
    activations: &[f32],
    threads: usize,
) -> Vec<f32> {
    let Shape {
        inputs,
        outputs,
        columns,
    } = shape;
    let plan = Plan::new(kernels, format, inputs, outputs, columns).unwrap();
    let work = Work::new(plan.work_bytes(threads));
    let stride = outputs + 3;
    let mut out = vec![f32::NAN; columns * stride];
    assert_eq!(weights.len(), outputs * plan.row_bytes());
    assert_eq!(activations.len(), columns * inputs);
    for thread in 0..threads {
        // SAFETY: all operands have the sizes of the plan.
        unsafe { plan.prepare(activations.as_ptr(), inputs, work.0, thread, threads) };
    }
    let groups = plan.groups();
    for thread in 0..threads {
        let part = groups * thread / threads..groups * (thread + 1) / threads;
        let weights = (weights.as_ptr(), plan.row_bytes());
        // SAFETY: as above; the parts are different groups.
        unsafe {
            plan.multiply(
                weights,
                work.0,
                (out.as_mut_ptr(), stride),
                part,
                None,
                thread,
            )
        };
    }
    for (n, row) in out.chunks_exact(stride).enumerate() {
        assert!(
            row[outputs..].iter().all(|x| x.is_nan()),
            "beyond column {n}"
        );
    }
    let rows = out.chunks_exact(stride);
    rows.flat_map(|row| row[..outputs].to_vec()).collect()
}

fn format() -> impl Strategy<Value = Format> {
    prop::sample::select(&Format::ALL[..])
}

/// Sizes around the edges of groups, tiles and blocks.
fn shape() -> impl Strategy<Value = (usize, usize, usize)> {
    let columns = prop_oneof![1usize..20, 30usize..35];
    (1usize..11, 16usize..70, columns)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn all_kernels_agree_to_the_bit(format in format(), (blocks, outputs, columns) in shape(), threads in 1usize..4, seed: u64) {
        let mut numbers = Numbers(seed);
        let shape = Shape { inputs: blocks.min(2560 / format.weights()) * format.weights(), outputs, columns };
        let weights = numbers.blocks(format, outputs * shape.inputs / format.weights());
        let activations: Vec<f32> = (0..shape.inputs * columns).map(|_| numbers.float()).collect();
        let expected = product(Kernels::Portable, format, shape, &weights, &activations, 1);
        for kernels in Kernels::all() {
            let got = product(kernels, format, shape, &weights, &activations, threads);
            for (n, (got, expected)) in got.iter().zip(&expected).enumerate() {
                prop_assert_eq!(got.to_bits(), expected.to_bits(), "{}: {} of {:?}: {} {}", kernels.name(), n, shape, got, expected);
            }
        }
    }

    #[test]
    fn a_column_is_the_same_in_any_company(format in format(), (blocks, outputs, columns) in shape(), seed: u64) {
        let mut numbers = Numbers(seed);
        let shape = Shape { inputs: blocks.min(3) * format.weights(), outputs, columns };
        let weights = numbers.blocks(format, outputs * shape.inputs / format.weights());
        let activations: Vec<f32> = (0..shape.inputs * columns).map(|_| numbers.float()).collect();
        for kernels in Kernels::all() {
            let together = product(kernels, format, shape, &weights, &activations, 2);
            for (column, activations) in activations.chunks_exact(shape.inputs).enumerate() {
                let alone = product(kernels, format, Shape { columns: 1, ..shape }, &weights, activations, 1);
                prop_assert_eq!(&together[column * outputs..][..outputs], &alone[..]);
            }
        }
    }

    #[test]
    fn products_are_those_of_the_weights(format in format(), outputs in 16usize..40, seed: u64) {
        let mut numbers = Numbers(seed);
        let shape = Shape { inputs: 768, outputs, columns: 2 };
        let weights = numbers.blocks(format, outputs * shape.inputs / format.weights());
        let activations: Vec<f32> = (0..shape.inputs * shape.columns).map(|_| numbers.float()).collect();
        let values = values(format, &weights);
        let got = product(Kernels::Portable, format, shape, &weights, &activations, 1);
        for (column, activations) in activations.chunks_exact(shape.inputs).enumerate() {
            for (output, weights) in values.chunks_exact(shape.inputs).enumerate() {
                let pairs = weights.iter().zip(activations);
                let expected: f64 = pairs.clone().map(|(w, x)| f64::from(w * x)).sum();
                // Each activation may be half a step of its byte off; errors of many add up like steps of a random walk.
                let step = 0.5 / 127.0;
                let square: f64 = weights.iter().map(|w| f64::from(*w).powi(2)).sum();
                let got = f64::from(got[column * outputs + output]);
                prop_assert!((got - expected).abs() <= 5.0 * step * square.sqrt() + 1e-3, "{format:?}: {got} {expected}");
            }
        }
    }

    #[test]
    fn blocks_hold_what_llama_cpp_reads_in_them(format in format(), seed: u64) {
        let bytes = Numbers(seed).blocks(format, 3);
        let expected = values(format, &bytes);
        let mut block = Block::EMPTY;
        for (bytes, expected) in bytes.chunks_exact(format.bytes()).zip(expected.chunks_exact(format.weights())) {
            block.read(format, bytes);
            for (n, expected) in expected.iter().enumerate() {
                let least = if format.has_least() { block.least * f32::from(block.leasts[n / 32]) } else { 0.0 };
                let got = block.scale * f32::from(block.weights[n]) - least;
                prop_assert!((got - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{format:?} {n}: {got} {expected}");
            }
        }
    }
}

fn kind(format: Format) -> sys::ggml_type {
    match format {
        Format::Q4_0 => sys::GGML_TYPE_Q4_0,
        Format::Q8_0 => sys::GGML_TYPE_Q8_0,
        Format::Q4_K => sys::GGML_TYPE_Q4_K,
        Format::Q5_K => sys::GGML_TYPE_Q5_K,
        Format::Q6_K => sys::GGML_TYPE_Q6_K,
    }
}

/// The weights that llama.cpp reads in blocks.
fn values(format: Format, bytes: &[u8]) -> Vec<f32> {
    // llama.cpp makes its tables of 16-bit floats when it starts.
    let _ = crate::engine::gguf::load::backend();
    let mut values = vec![0.0f32; bytes.len() / format.bytes() * format.weights()];
    // SAFETY: there are traits for every type, and the numbers have room for all weights.
    unsafe {
        let traits = &*sys::ggml_get_type_traits(kind(format));
        let read = traits.to_float.expect("llama.cpp reads these forms");
        let count = i64::try_from(values.len()).unwrap();
        read(bytes.as_ptr().cast(), values.as_mut_ptr(), count);
    }
    values
}

#[test]
fn every_number_of_columns_agrees_to_the_bit() {
    let mut numbers = Numbers(11);
    for format in Format::ALL {
        for (inputs, outputs, threads) in [(SUPER, 16, 1), (3 * SUPER, 37, 2)] {
            let weights = numbers.blocks(format, outputs * inputs / format.weights());
            for columns in (1..=17).chain([31, 32, 33]) {
                let shape = Shape {
                    inputs,
                    outputs,
                    columns,
                };
                let activations: Vec<f32> =
                    (0..inputs * columns).map(|_| numbers.float()).collect();
                let product = |kernels, threads| {
                    product(kernels, format, shape, &weights, &activations, threads)
                };
                let expected = product(Kernels::Portable, 1);
                for kernels in Kernels::all() {
                    let got = product(kernels, threads);
                    let same = got
                        .iter()
                        .zip(&expected)
                        .all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(
                        same,
                        "{}: {format:?}, {inputs} inputs, {columns} columns",
                        kernels.name()
                    );
                }
            }
        }
    }
}

/// The largest sums that there can be: nothing is rounded or cut off before all of a block is added up.
#[test]
fn the_largest_weights_and_activations_agree_to_the_bit() {
    let shape = Shape {
        inputs: 2 * SUPER,
        outputs: 16,
        columns: 8,
    };
    for format in Format::ALL {
        let mut weights = vec![0xff; 16 * shape.inputs / format.weights() * format.bytes()];
        for (n, block) in weights.chunks_exact_mut(format.bytes()).enumerate() {
            let factor = f16::from_f32(0.01).to_le_bytes();
            let places: &[usize] = match format {
                Format::Q4_0 | Format::Q8_0 => &[0],
                Format::Q4_K | Format::Q5_K => &[0, 2],
                Format::Q6_K => &[208],
            };
            // Half of them with the least that their bits can say, where there are signs.
            if n % 2 == 0 && format == Format::Q6_K {
                block.fill(0);
                block[192..208].fill(0x80);
            }
            for &place in places {
                block[place..place + 2].copy_from_slice(&factor);
            }
        }
        for sign in [1.0, -1.0] {
            // Not quite the same, as what is lost of an even number need not show.
            let activations: Vec<f32> = (0..shape.inputs * shape.columns)
                .map(|n| sign * if n % 7 == 0 { 0.993 } else { 1.0 })
                .collect();
            let expected = product(Kernels::Portable, format, shape, &weights, &activations, 1);
            for kernels in Kernels::all() {
                let got = product(kernels, format, shape, &weights, &activations, 1);
                assert_eq!(got, expected, "{} {format:?}", kernels.name());
            }
        }
    }
}

#[test]
fn zeros_and_what_is_not_a_number_do_no_harm() {
    let mut numbers = Numbers(5);
    let shape = Shape {
        inputs: SUPER,
        outputs: 16,
        columns: 3,
    };
    for format in Format::ALL {
        let weights = numbers.blocks(format, 16 * SUPER / format.weights());
        for activations in [
            vec![0.0; 3 * SUPER],
            vec![f32::INFINITY; 3 * SUPER],
            vec![1e-42; 3 * SUPER],
        ] {
            for kernels in Kernels::all() {
                let got = product(kernels, format, shape, &weights, &activations, 1);
                assert!(
                    got.iter().all(|x| *x == 0.0),
                    "{} {format:?}",
                    kernels.name()
                );
            }
        }
    }
}

#[test]
fn the_best_comes_first_and_the_portable_last() {
    let all: Vec<Kernels> = Kernels::all().collect();
    assert!(all.is_sorted_by(|a, b| a > b));
    assert_eq!(all.last(), Some(&Kernels::Portable));
}

#[test]
fn sizes_without_a_kernel_are_left_alone() {
    let plan = |inputs, outputs, columns| {
        Plan::new(Kernels::Portable, Format::Q4_K, inputs, outputs, columns).is_some()
    };
    assert!(plan(256, 16, 1));
    assert!(!plan(0, 16, 1) && !plan(128, 16, 1) && !plan(1 << 21, 16, 1));
    assert!(!plan(256, 15, 1) && !plan(256, 16, 0));
}

/// The chat model that the repository ships, and its name as llama.cpp wants it.
fn tiny() -> (std::path::PathBuf, std::ffi::CString) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny/tiny.gguf");
    let name = std::ffi::CString::new(file.to_str().unwrap()).unwrap();
    (file, name)
}

#[test]
fn llama_cpp_computes_with_them() {
    let _ = crate::engine::gguf::load::backend();
    let (file, name) = tiny();
    let choice = choose(Preference::Own, &file, &name);
    assert_eq!(
        choice.used.products,
        Kernels::all().next(),
        "{}",
        choice.reason()
    );
    let mut numbers = Numbers(3);
    for format in Format::ALL {
        let (inputs, outputs) = (768, 48);
        let bytes = numbers.blocks(format, inputs * outputs / format.weights());
        let sample = trial::Sample {
            kind: kind(format),
            inputs,
            outputs,
            bytes,
            share: 1.0,
        };
        for columns in [1, 2, 16, 17, 40] {
            let outcome = trial::compare(&sample, columns, 1).unwrap();
            assert!(
                outcome.difference <= 1e-6,
                "{format:?} {columns}: {}",
                outcome.difference
            );
        }
    }
}

#[test]
fn a_file_that_cannot_be_tried_is_left_to_llama_cpp() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    std::fs::write(&file, b"GGUF, or so it says").unwrap();
    let name = std::ffi::CString::new(file.to_str().unwrap()).unwrap();
    assert_eq!(
        trial::judge(&file, &name),
        Verdict::Leave("its weights cannot be tried".into())
    );
}
