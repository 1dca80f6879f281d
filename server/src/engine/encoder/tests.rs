//! The shipped model by every set of instructions that this processor has.

use std::path::Path;

use super::network::SHORT_TOKENS;
use super::*;

fn text(length: usize, seed: u32) -> Tokenized {
    let id = |n: u32| 5 + (n * 37 + seed * 101) % 900;
    Tokenized {
        ids: (0..length as u32).map(id).collect(),
        type_ids: vec![0; length],
        ..Tokenized::default()
    }
}

/// Short texts, which are computed more precisely than others, long ones, and some at the edge between them.
#[test]
fn a_text_has_the_same_vectors_alone_and_in_any_company() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny-embed");
    let config = std::fs::read(folder.join("config.json")).unwrap();
    let config: Config = serde_json::from_slice(&config).unwrap();
    let graph = Graph::open(&folder.join("model.onnx"), &|_| None).unwrap();
    let calibration = [text(20, 1), text(3, 2)];
    let lengths = [SHORT_TOKENS, 40, 2, SHORT_TOKENS + 1, 1, 90, 3, 17, 60];
    let texts: Vec<Tokenized> = (0..18)
        .map(|n| text(lengths[n % lengths.len()], n as u32))
        .collect();
    let all: Vec<&Tokenized> = texts.iter().collect();
    let mut first: Option<Vec<Vec<f32>>> = None;
    for kernels in Kernels::all() {
        let network = build::network(&graph, &config, 0, &calibration, kernels).unwrap();
        let mut encoder = Encoder::of(network, kernels, 2);
        let alone: Vec<Vec<f32>> = all
            .iter()
            .map(|text| encoder.encode(&[text]).unwrap().remove(0))
            .collect();
        for company in [2, 5, 18] {
            for (texts, expected) in all.chunks(company).zip(alone.chunks(company)) {
                assert!(
                    encoder.encode(texts).unwrap() == expected,
                    "{}",
                    kernels.name()
                );
            }
        }
        // Sums of floats in another order move a number across the edge of a step here and there.
        for (vectors, best) in alone.iter().zip(first.get_or_insert_with(|| alone.clone())) {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let cosine = dot(vectors, best) / (dot(vectors, vectors) * dot(best, best)).sqrt();
            assert!(cosine > 0.999, "{}: {cosine}", kernels.name());
        }
    }
}
