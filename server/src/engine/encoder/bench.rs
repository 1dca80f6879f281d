//! What `benches/` times: the encoder's pieces, on numbers that mean nothing.

use std::hint::black_box;

use super::crew;
use super::simd::{Activation, Head, Kernels, Matrix, PANEL, Product, Rows, Scratch};
use crate::inference::encode::Tokenized;

/// Something to be timed.
pub struct Piece {
    /// The instructions that it is computed with.
    pub kernels: &'static str,
    /// Multiplications and additions of a run; 0 where they are not counted.
    pub operations: f64,
    run: Box<dyn FnMut()>,
}

impl Piece {
    /// Runs it once.
    pub fn run(&mut self) {
        (self.run)();
    }
}

/// Numbers between -1 and 1.
fn numbers(count: usize) -> Vec<f32> {
    (0..count)
        .map(|n| (n * 7919 % 2003) as f32 / 1001.5 - 1.0)
        .collect()
}

/// The most that a second's products of bytes can come to, by the instructions: the best of some short runs.
#[must_use]
pub fn peaks() -> Vec<(&'static str, f64)> {
    const TURNS: u64 = 20_000;
    let peak = |kernels: Kernels| {
        let run = || {
            let started = std::time::Instant::now();
            let operations = kernels.exhaust(TURNS)?;
            Some(operations / started.elapsed().as_secs_f64())
        };
        let best = (0..50).filter_map(|_| run()).fold(0.0, f64::max);
        (best > 0.0).then_some((kernels.name(), best))
    };
    Kernels::all().filter_map(peak).collect()
}

/// A linear layer for so many tokens, by all kernels.
#[must_use]
pub fn products(tokens: usize, inputs: usize, outputs: usize, gelu: bool) -> Vec<Piece> {
    let piece = |kernels: Kernels| {
        let mut weights = Matrix::zero(inputs, outputs);
        for output in 0..outputs {
            let row = numbers(inputs + output);
            weights.set(output, &row[output..], 0.5);
        }
        let rows = rows(kernels, tokens, inputs);
        let stride = weights.panels() * PANEL;
        let mut out = vec![0.0; tokens * stride];
        let run = move || {
            kernels.multiply(
                &rows,
                &weights,
                &mut Product {
                    panels: 0..weights.panels(),
                    activation: if gelu {
                        Activation::Gelu
                    } else {
                        Activation::None
                    },
                    out: &mut out,
                    stride,
                },
            );
            black_box(&out);
        };
        Piece {
            kernels: kernels.name(),
            operations: 2.0 * (tokens * inputs * outputs) as f64,
            run: Box::new(run),
        }
    };
    Kernels::all().map(piece).collect()
}

fn rows(kernels: Kernels, tokens: usize, width: usize) -> Rows {
    let padded = width.next_multiple_of(PANEL);
    let mut rows = Rows::default();
    rows.resize(tokens, padded, false);
    for token in 0..tokens {
        kernels.quantize(&numbers(padded), &vec![1.0; padded], &mut rows, token);
    }
    rows
}

/// Turning tokens into bytes, by all kernels.
#[must_use]
pub fn roundings(tokens: usize, width: usize) -> Vec<Piece> {
    let padded = width.next_multiple_of(PANEL);
    let piece = |kernels: Kernels| {
        let (row, stretch) = (numbers(padded), vec![1.0; padded]);
        let mut rows = rows(kernels, tokens, padded);
        let run = move || {
            for token in 0..tokens {
                kernels.quantize(black_box(&row), &stretch, &mut rows, token);
            }
        };
        Piece {
            kernels: kernels.name(),
            operations: 0.0,
            run: Box::new(run),
        }
    };
    Kernels::all().map(piece).collect()
}

/// Normalising tokens, by all kernels.
#[must_use]
pub fn normalizations(tokens: usize, width: usize) -> Vec<Piece> {
    let padded = width.next_multiple_of(PANEL);
    let piece = |kernels: Kernels| {
        let (gain, shift) = (vec![1.0; padded], vec![0.0; padded]);
        let mut row = numbers(padded);
        let run = move || {
            for _ in 0..tokens {
                kernels.normalize(black_box(&mut row), width, &gain, &shift, 1e-12);
            }
        };
        Piece {
            kernels: kernels.name(),
            operations: 0.0,
            run: Box::new(run),
        }
    };
    Kernels::all().map(piece).collect()
}

/// One head's attention in a text, by all kernels.
#[must_use]
pub fn attentions(tokens: usize, size: usize) -> Vec<Piece> {
    let piece = |kernels: Kernels| {
        let stride = (3 * size).next_multiple_of(PANEL);
        let head = numbers(tokens * stride);
        let mut out = vec![0.0; tokens * size];
        let mut scratch = Scratch::default();
        let run = move || {
            let head = Head {
                queries: &head,
                keys: &head[size..],
                values: &head[2 * size..],
                stride,
                tokens,
                size,
            };
            kernels.attend(&head, &mut scratch, &mut out, size);
            black_box(&out);
        };
        Piece {
            kernels: kernels.name(),
            operations: 4.0 * (tokens * tokens * size) as f64,
            run: Box::new(run),
        }
    };
    Kernels::all().map(piece).collect()
}

/// Cutting texts of these lengths into packs for two threads.
#[must_use]
pub fn packing(lengths: &[usize]) -> Piece {
    let text = |&length: &usize| Tokenized {
        ids: vec![0; length],
        type_ids: vec![0; length],
        ..Tokenized::default()
    };
    let texts: Vec<Tokenized> = lengths.iter().map(text).collect();
    let run = move || {
        let texts: Vec<&Tokenized> = texts.iter().collect();
        black_box(crew::cut(&texts, 2));
    };
    Piece {
        kernels: "any",
        operations: 0.0,
        run: Box::new(run),
    }
}
