//! Every set of instructions that this processor has, against plain arithmetic.

use proptest::prelude::*;

use super::*;

/// Sizes around the edges of vectors, panels and blocks of rows.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..20, 30usize..36, 60usize..70, 100usize..140]
}

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed | 1;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

fn padded(mut row: Vec<f32>, filler: f32) -> Vec<f32> {
    row.resize(row.len().next_multiple_of(PANEL), filler);
    row
}

/// Rows of activations as bytes, and what they stand for: the rows, mixed.
fn quantized(kernels: Kernels, rows: &[Vec<f32>]) -> (Rows, Vec<Vec<f64>>) {
    let width = rows[0].len();
    let mut bytes = Rows::default();
    bytes.resize(rows.len(), width, false);
    for (index, row) in rows.iter().enumerate() {
        let stretch = vec![1.0; width.next_multiple_of(PANEL)];
        kernels.quantize(&padded(row.clone(), 0.0), &stretch, &mut bytes, index);
    }
    let values = (0..rows.len()).map(|index| {
        let Range8 { scale, zero } = bytes.ranges[index];
        let places = (0..width.next_multiple_of(PANEL))
            .map(|input| bytes.place(index, input / STEP_INPUTS) + input % STEP_INPUTS);
        places
            .map(|place| f64::from(i32::from(bytes.bytes[place]) - zero) * f64::from(scale))
            .collect()
    });
    let values = values.collect();
    (bytes, values)
}

fn near(a: f32, b: f64, tolerance: f64) -> bool {
    (f64::from(a) - b).abs() <= tolerance * b.abs().max(1.0)
}

/// A row mixed, by the definition: every number of the result is a sum of all that have the same place in their panels.
fn mixed(row: &[f32]) -> Vec<f64> {
    let panels = row.len() / PANEL;
    let run = 1 << panels.trailing_zeros();
    let runs = panels / run;
    let factor = |to: usize, from: usize| {
        let sign = if ((to % run) & (from % run)).count_ones().is_multiple_of(2) {
            1.0
        } else {
            -1.0
        };
        let same = if to / run == from / run { 1.0 } else { 0.0 };
        sign * if runs == 1 {
            same
        } else {
            same - 2.0 / runs as f64
        }
    };
    let number = |at: usize| {
        let from = (0..panels)
            .map(|from| factor(at / PANEL, from) * f64::from(row[from * PANEL + at % PANEL]));
        from.sum()
    };
    (0..row.len()).map(number).collect()
}

fn gelu(x: f64) -> f64 {
    // Abramowitz and Stegun 7.1.26, error 1.5e-7.
    let erf = |x: f64| {
        let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
        let sum = ((((1.061_405_429 * t - 1.453_152_027) * t + 1.421_413_741) * t - 0.284_496_736)
            * t
            + 0.254_829_592)
            * t;
        (1.0 - sum * (-x * x).exp()).copysign(x)
    };
    0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

proptest! {
    #[test]
    fn bytes_are_within_half_a_step(width in size(), seed: u64, magnitude in -20i32..20) {
        let row: Vec<f32> = numbers(width, seed).iter().map(|x| x * 2f32.powi(magnitude)).collect();
        for kernels in Kernels::all() {
            let (bytes, values) = quantized(kernels, std::slice::from_ref(&row));
            let step = f64::from(bytes.ranges[0].scale);
            for (x, value) in mixed(&padded(row.clone(), 0.0)).iter().zip(&values[0]) {
                // The ends of the range may be half a step off, because zero has to be a step.
                prop_assert!((x - value).abs() <= step * 1.01, "{}: {x} {value}", kernels.name());
            }
        }
    }

    #[test]
    fn mixed_rows_are_those_of_the_definition_and_keep_products(panels in 1usize..50, seed: u64) {
        let rows = [seed, seed ^ 1].map(|seed| numbers(panels * PANEL, seed));
        let expected = rows.each_ref().map(|row| mixed(row));
        let product: f64 = rows[0].iter().zip(&rows[1]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        let of_mixed: f64 = expected[0].iter().zip(&expected[1]).map(|(a, b)| a * b).sum();
        let gain = f64::from(mixing_gain(panels * PANEL));
        prop_assert!((of_mixed - gain * product).abs() <= 1e-9 * gain * rows[0].len() as f64, "{of_mixed} {product}");
        for kernels in Kernels::all() {
            let mut row = rows[0].clone();
            kernels.mix(&mut row);
            for (got, expected) in row.iter().zip(&expected[0]) {
                prop_assert!((f64::from(*got) - expected).abs() <= 1e-4, "{}: {got} {expected}", kernels.name());
            }
        }
    }

    #[test]
    fn products_are_those_of_the_bytes(rows in 1usize..14, inputs in size(), outputs in size(), seed: u64) {
        let left: Vec<Vec<f32>> = (0..rows).map(|row| numbers(inputs, seed ^ row as u64)).collect();
        let mut weights = Matrix::zero(inputs, outputs);
        let right: Vec<Vec<f32>> = (0..outputs).map(|output| numbers(inputs, seed.rotate_left(7) ^ output as u64)).collect();
        for (output, row) in right.iter().enumerate() {
            weights.set(output, row, output as f32 / 10.0);
        }
        for kernels in Kernels::all() {
            let (bytes, values) = quantized(kernels, &left);
            let stride = weights.panels() * PANEL + 3;
            let mut out = vec![f32::NAN; rows * stride];
            for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
                kernels.multiply(&bytes, &weights, &mut Product { panels: 0..weights.panels(), activation, out: &mut out, stride });
                for (row, values) in values.iter().enumerate() {
                    for (output, weights) in right.iter().enumerate() {
                        let largest = weights.iter().fold(0.0f32, |a, b| a.max(b.abs()));
                        let scale = if largest == 0.0 { 1.0 } else { largest / 127.0 };
                        let rounded = weights.iter().map(|weight| f64::from((weight / scale).round_ties_even() * scale));
                        let sum: f64 = rounded.zip(values).map(|(weight, x)| weight * x).sum();
                        let sum = sum + f64::from(output as f32 / 10.0);
                        let expected = match activation {
                            Activation::None => sum,
                            Activation::Relu => sum.max(0.0),
                            Activation::Gelu => gelu(sum),
                        };
                        let got = out[row * stride + output];
                        prop_assert!(near(got, expected, 2e-4), "{} {activation:?}: {got} {expected}", kernels.name());
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_is_the_same_in_any_company(rows in 2usize..14, inputs in size(), outputs in size(), seed: u64) {
        let left: Vec<Vec<f32>> = (0..rows).map(|row| numbers(inputs, seed ^ row as u64)).collect();
        let mut weights = Matrix::zero(inputs, outputs);
        for output in 0..outputs {
            weights.set(output, &numbers(inputs, seed ^ 99 ^ output as u64), 0.5);
        }
        let stride = weights.panels() * PANEL;
        for kernels in Kernels::all() {
            let product = |rows: &[Vec<f32>]| {
                let (bytes, _) = quantized(kernels, rows);
                let mut out = vec![0.0; rows.len() * stride];
                // In two parts, as two threads would.
                let middle = weights.panels() / 2;
                for panels in [0..middle, middle..weights.panels()] {
                    let first = panels.start * PANEL;
                    kernels.multiply(&bytes, &weights, &mut Product { panels, activation: Activation::Gelu, out: &mut out[first..], stride });
                }
                out
            };
            let together = product(&left);
            for (row, numbers) in left.iter().enumerate() {
                prop_assert_eq!(&together[row * stride..(row + 1) * stride], &product(std::slice::from_ref(numbers))[..]);
            }
        }
    }

    #[test]
    fn second_bytes_give_what_the_first_leave(rows in 1usize..20, inputs in size(), outputs in size(), seed: u64) {
        let left: Vec<Vec<f32>> = (0..rows).map(|row| numbers(inputs, seed ^ row as u64)).collect();
        let right: Vec<Vec<f32>> = (0..outputs).map(|output| numbers(inputs, seed ^ 99 ^ output as u64)).collect();
        let mut weights = Matrix::zero(inputs, outputs);
        for (output, row) in right.iter().enumerate() {
            weights.set(output, row, 0.5);
        }
        let width = weights.panels() * PANEL;
        for kernels in Kernels::all() {
            let product = |rows: &[Vec<f32>]| {
                let mut bytes = Rows::default();
                bytes.resize(rows.len(), inputs, true);
                for (index, row) in rows.iter().enumerate() {
                    let row = padded(row.clone(), 0.0);
                    kernels.quantize(&row, &vec![1.0; row.len()], &mut bytes, index);
                }
                let panels = 0..weights.panels();
                let mut out = vec![f32::NAN; bytes.count() * width];
                let activation = Activation::None;
                kernels.multiply(&bytes, &weights, &mut Product { panels: panels.clone(), activation, out: &mut out, stride: width });
                kernels.join(&weights, panels, Activation::Relu, &mut out);
                out.truncate(rows.len() * width);
                out
            };
            let together = product(&left);
            for (row, numbers) in left.iter().enumerate() {
                prop_assert_eq!(&together[row * width..(row + 1) * width], &product(std::slice::from_ref(numbers))[..]);
                let numbers = mixed(&padded(numbers.clone(), 0.0));
                let largest = numbers.iter().fold(0.0f64, |a, b| a.max(b.abs()));
                for (output, weights) in right.iter().enumerate() {
                    let largest_weight = weights.iter().fold(0.0f32, |a, b| a.max(b.abs()));
                    let scale = if largest_weight == 0.0 { 1.0 } else { largest_weight / 127.0 };
                    let rounded = weights.iter().map(|weight| f64::from((weight / scale).round_ties_even() * scale));
                    let sum: f64 = rounded.zip(&numbers).map(|(weight, x)| weight * x).sum();
                    let expected = (sum + 0.5).max(0.0);
                    let got = f64::from(together[row * width + output]);
                    // Half a step of the second byte for every input, if none cancelled out; one byte alone would be 250 times as far off.
                    let bound = inputs as f64 * f64::from(largest_weight) * largest * 2.0 / 255.0 / 254.0 + 1e-5 * (1.0 + sum.abs());
                    prop_assert!((got - expected).abs() <= bound, "{}: {got} {expected}", kernels.name());
                }
            }
        }
    }

    #[test]
    fn normalised_rows_are_those_of_the_formula(width in size(), seed: u64) {
        let row = numbers(width, seed);
        let (gain, shift) = (padded(numbers(width, seed ^ 1), 0.0), padded(numbers(width, seed ^ 2), 0.0));
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
        let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
        for kernels in Kernels::all() {
            let mut got = padded(row.clone(), 0.0);
            kernels.normalize(&mut got, width, &gain, &shift, 1e-5);
            for (n, x) in row.iter().enumerate() {
                let expected = (f64::from(*x) - mean) / (variance + 1e-5).sqrt() * f64::from(gain[n]) + f64::from(shift[n]);
                prop_assert!(near(got[n], expected, 1e-4), "{}: {} {expected}", kernels.name(), got[n]);
            }
            prop_assert!(got[width..].iter().all(|x| *x == 0.0));
        }
    }

    #[test]
    fn attention_is_that_of_the_formula(tokens in size(), size in 1usize..70, seed: u64) {
        let stride = 3 * size + 5;
        let input: Vec<f32> = numbers(tokens * stride, seed).iter().map(|x| x * 3.0).collect();
        let number = |token: usize, part: usize, n: usize| f64::from(input[token * stride + part * size + n]);
        for kernels in Kernels::all() {
            let out_stride = size + 2;
            let mut out = vec![f32::NAN; tokens * out_stride];
            // Memory that was used before, for something larger.
            let mut scratch = Scratch::default();
            for vector in [&mut scratch.keys, &mut scratch.values, &mut scratch.scores, &mut scratch.out] {
                vector.fit(100_000);
                vector.fill(f32::NAN);
            }
            let head = Head { queries: &input, keys: &input[size..], values: &input[2 * size..], stride, tokens, size };
            kernels.attend(&head, &mut scratch, &mut out, out_stride);
            for query in (0..tokens).step_by(7) {
                let scores: Vec<f64> = (0..tokens).map(|key| (0..size).map(|n| number(query, 0, n) * number(key, 1, n)).sum()).collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let shares: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
                let sum: f64 = shares.iter().sum();
                for n in 0..size {
                    let expected = (0..tokens).map(|key| shares[key] / sum * number(key, 2, n)).sum();
                    let got = out[query * out_stride + n];
                    prop_assert!(near(got, expected, 1e-3), "{}: {got} {expected}", kernels.name());
                }
            }
        }
    }
}

#[test]
fn the_best_comes_first_and_the_portable_last() {
    let names: Vec<&str> = Kernels::all().map(Kernels::name).collect();
    assert_eq!(names.first(), Some(&Kernels::best().name()));
    assert_eq!(names.last(), Some(&"portable"));
}
