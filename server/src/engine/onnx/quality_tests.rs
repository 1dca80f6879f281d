//! How near our own encoder comes to the graph that it stands for, on 500 assorted texts: two dozen languages, code, numbers, emoji and other
//! oddities, paragraphs, nothing at all, and as much as the model takes. None of them are texts that it is made or judged with.

use std::path::Path;

use super::tests::{alone, cosine, spec, spec_of, tokenize};
use super::*;

const ASSORTED: &str = include_str!("assorted.txt");

/// Texts whose similarities to each other are put in order: all pairs of them.
const ORDERED: usize = 120;

struct Quality {
    mean: f32,
    least: f32,
    least_text: String,
    /// Spearman's rank correlation between the similarities that the two give to pairs.
    order: f64,
}

/// Compares the two on every text.
fn quality(spec: &Spec) -> Quality {
    let mut own = Model::load(spec, 2).unwrap();
    assert!(own.choice().contains("own 8-bit"), "{}", own.choice());
    let mut graph = Model::load_graph(spec, 2).unwrap();
    let longest =
        "The night train arrived an hour before dawn, and nobody was there to meet it. ".repeat(64);
    let texts: Vec<&str> = ASSORTED.lines().chain(["", &longest]).collect();
    assert_eq!(texts.len(), 500);
    let tokenized = tokenize(&own, &texts);
    assert_eq!(tokenized[499].ids.len(), own.max_tokens() as usize);

    let expected = alone(&mut graph, &texts);
    let vectors = alone(&mut own, &texts);
    // In any company every text has the very same vector.
    for batch in [7, 64, 500] {
        for (vectors, texts) in vectors.chunks(batch).zip(tokenized.chunks(batch)) {
            assert_eq!(
                own.encode(&texts.iter().collect::<Vec<_>>()).unwrap(),
                vectors
            );
        }
    }
    let cosines: Vec<f32> = vectors
        .iter()
        .zip(&expected)
        .map(|(a, b)| cosine(a, b))
        .collect();
    let (worst, least) = cosines
        .iter()
        .enumerate()
        .min_by(|a, b| a.1.total_cmp(b.1))
        .unwrap();
    let order = spearman(
        &similarities(&vectors[..ORDERED]),
        &similarities(&expected[..ORDERED]),
    );
    Quality {
        mean: cosines.iter().sum::<f32>() / cosines.len() as f32,
        least: *least,
        least_text: texts[worst].chars().take(60).collect(),
        order,
    }
}

/// The cosines of all pairs.
fn similarities(vectors: &[Vec<f32>]) -> Vec<f32> {
    let pairs = vectors.iter().enumerate();
    pairs
        .flat_map(|(n, a)| vectors[..n].iter().map(move |b| cosine(a, b)))
        .collect()
}

fn spearman(a: &[f32], b: &[f32]) -> f64 {
    let ranks = |numbers: &[f32]| {
        let mut order: Vec<usize> = (0..numbers.len()).collect();
        order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
        let mut ranks = vec![0.0; numbers.len()];
        for (rank, index) in order.into_iter().enumerate() {
            ranks[index] = rank as f64;
        }
        ranks
    };
    let count = a.len() as f64;
    let squares = ranks(a)
        .into_iter()
        .zip(ranks(b))
        .map(|(a, b)| (a - b).powi(2));
    1.0 - 6.0 * squares.sum::<f64>() / (count * (count * count - 1.0))
}

fn check(spec: &Spec) {
    let Quality {
        mean,
        least,
        least_text,
        order,
    } = quality(spec);
    println!(
        "500 texts: cosine {mean:.5} on average, {least:.5} at least ('{least_text}'); order of pairs {order:.5}"
    );
    assert!(mean >= 0.9995, "cosine {mean} on average");
    assert!(least >= 0.999, "cosine {least} for '{least_text}'");
    assert!(order >= 0.995, "rank correlation {order}");
}

#[test]
fn the_shipped_model_keeps_its_vectors_and_their_order() {
    check(&spec("tiny-embed"));
}

/// The same for the model in the folder `ONNX_MODEL`:
/// `ONNX_MODEL=... cargo test --release --workspace --lib onnx::quality -- --ignored --nocapture`
#[test]
#[ignore = "takes a model that the repository does not ship"]
fn another_model_keeps_its_vectors_and_their_order() {
    check(&spec_of(Path::new(&std::env::var("ONNX_MODEL").unwrap())));
}

#[test]
fn a_rank_correlation_is_of_ranks() {
    assert_eq!(spearman(&[1.0, 2.0, 9.0], &[0.1, 0.2, 0.3]), 1.0);
    assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
}
