//! The pieces of the 8-bit encoder, one thread, at the sizes of all-MiniLM-L6-v2: `cargo bench --bench encoder`, or a part of it with
//! `-- products`. First it prints the most that this processor's instructions can do, and what share of it the products reach.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use chaski::engine::encoder::bench::{self, Piece};
use chaski::engine::onnx::bench::Splitter;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const WIDTH: usize = 384;
const INNER: usize = 1536;
const HEAD: usize = 32;
const TOKENS: [usize; 4] = [8, 32, 128, 256];

/// The tokenizer of a model that the repository ships.
const TOKENIZER: &[u8] = include_bytes!("../../models/tiny-embed/tokenizer.json");

const TEXT: &str = "How long would a refund take if the order was paid twice, and why does it not work when I open an account in the evening? ";

/// The least time of a run, in seconds.
fn least_time(piece: &mut Piece) -> f64 {
    let until = Instant::now() + Duration::from_millis(100);
    let mut least = f64::INFINITY;
    while Instant::now() < until {
        let started = Instant::now();
        piece.run();
        least = least.min(started.elapsed().as_secs_f64());
    }
    least
}

/// Prints the share of the processor's peak that products reach.
fn shares() {
    let peaks = bench::peaks();
    for (kernels, peak) in &peaks {
        println!("{kernels}: at most {:.0} GOP/s", peak / 1e9);
    }
    for tokens in TOKENS {
        for (name, inputs, outputs, gelu) in [
            ("expand", WIDTH, INNER, false),
            ("expand, GELU", WIDTH, INNER, true),
            ("reduce", INNER, WIDTH, false),
        ] {
            for mut piece in bench::products(tokens, inputs, outputs, gelu) {
                let rate = piece.operations / least_time(&mut piece);
                let peak = peaks.iter().find(|(kernels, _)| *kernels == piece.kernels);
                let share =
                    peak.map(|(_, peak)| format!(", {:.0} % of the most", 100.0 * rate / peak));
                println!(
                    "{name}, {tokens} tokens, {}: {:.0} GOP/s{}",
                    piece.kernels,
                    rate / 1e9,
                    share.unwrap_or_default()
                );
            }
        }
    }
}

fn time(criterion: &mut Criterion, group: &str, parameter: usize, pieces: Vec<Piece>) {
    let mut group = criterion.benchmark_group(group);
    for mut piece in pieces {
        if piece.operations > 0.0 {
            group.throughput(Throughput::Elements(piece.operations as u64));
        }
        group.bench_function(BenchmarkId::new(piece.kernels, parameter), |bencher| {
            bencher.iter(|| piece.run());
        });
    }
    group.finish();
}

fn kernels(criterion: &mut Criterion) {
    shares();
    for tokens in TOKENS {
        let expand = bench::products(tokens, WIDTH, INNER, true);
        time(criterion, "products: expand, GELU", tokens, expand);
        let reduce = bench::products(tokens, INNER, WIDTH, false);
        time(criterion, "products: reduce", tokens, reduce);
        time(
            criterion,
            "attention of a head",
            tokens,
            bench::attentions(tokens, HEAD),
        );
        time(
            criterion,
            "to bytes",
            tokens,
            bench::roundings(tokens, WIDTH),
        );
        time(
            criterion,
            "normalising",
            tokens,
            bench::normalizations(tokens, WIDTH),
        );
    }
}

fn tokenizer(criterion: &mut Criterion) {
    let splitter = Splitter::new(TOKENIZER).expect("the shipped model's tokenizer is whole");
    let mut group = criterion.benchmark_group("tokenizer");
    for repetitions in [1, 4, 16] {
        let text = TEXT.repeat(repetitions);
        let tokens = splitter.count(&text);
        group.throughput(Throughput::Elements(tokens as u64));
        group.bench_function(BenchmarkId::from_parameter(tokens), |bencher| {
            bencher.iter(|| splitter.count(black_box(&text)));
        });
    }
    group.finish();
}

fn packing(criterion: &mut Criterion) {
    for texts in [1, 50, 500] {
        let lengths: Vec<usize> = (0..texts).map(|n| 3 + n * 37 % 61).collect();
        time(criterion, "packing", texts, vec![bench::packing(&lengths)]);
    }
}

criterion_group! {
    name = encoder;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    targets = kernels, tokenizer, packing
}
criterion_main!(encoder);
