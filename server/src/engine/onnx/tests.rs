//! The engine on the models that the repository ships.

use std::path::{Path, PathBuf};

use super::*;
use crate::inference::encode::{Head, Tokenized};

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");

/// The folder of a shipped model, as the store hands it to a worker.
pub(super) fn spec(model: &str) -> Spec {
    spec_of(&Path::new(MODELS).join(model))
}

pub(super) fn spec_of(folder: &Path) -> Spec {
    let names = [
        "config.json",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "1_Pooling/config.json",
    ];
    let files = names
        .iter()
        .map(|&name| (name.to_owned(), folder.join(name)));
    Spec {
        graph: folder.join("model.onnx"),
        graph_name: "model.onnx".into(),
        files: files.filter(|(_, path)| path.is_file()).collect(),
        threads: 1,
        library: Some(library::find(None).unwrap()),
        stored: None,
        source: String::new(),
        computation: Computation::Auto,
    }
}

fn load(model: &str) -> Model {
    Model::load(&spec(model), 1).unwrap()
}

/// The model, computed by ONNX Runtime.
pub(super) fn load_graph(model: &str) -> Model {
    let spec = Spec {
        computation: Computation::Graph,
        ..spec(model)
    };
    Model::load(&spec, 1).unwrap()
}

pub(super) fn tokenize(model: &Model, texts: &[&str]) -> Vec<Tokenized> {
    texts
        .iter()
        .map(|text| framed(model, text, model.max_tokens()).unwrap())
        .collect()
}

fn framed(model: &Model, text: &str, max_tokens: u32) -> Result<Tokenized, Error> {
    model
        .frame()
        .single(&model.split(text).unwrap(), max_tokens)
}

/// Each text's result, computed alone.
pub(super) fn alone(model: &mut Model, texts: &[&str]) -> Vec<Vec<f32>> {
    let texts = tokenize(model, texts);
    texts
        .iter()
        .map(|text| model.encode(&[text]).unwrap().remove(0))
        .collect()
}

pub(super) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The lines of a model's held-out texts.
fn held_out(model: &str) -> Vec<serde_json::Value> {
    let path = Path::new(MODELS).join(model).join("heldout.jsonl");
    let lines = std::fs::read_to_string(path).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_paraphrase_is_nearer_than_another_sentence() {
    let mut model = load("tiny-embed");
    assert_eq!(model.head(), &Head::Embedding { dimensions: 128 });
    let triples = held_out("tiny-embed");
    let mut right = 0;
    for triple in &triples {
        let text = |key: &str| triple[key].as_str().unwrap();
        let vectors = alone(
            &mut model,
            &[text("anchor"), text("paraphrase"), text("other")],
        );
        if cosine(&vectors[0], &vectors[1]) > cosine(&vectors[0], &vectors[2]) {
            right += 1;
        }
    }
    assert!(
        right * 100 >= triples.len() * 95,
        "{right} of {}",
        triples.len()
    );
}

#[test]
fn held_out_texts_get_their_labels() {
    let mut model = load("tiny-classify");
    let Head::Labels { names, activation } = model.head().clone() else {
        panic!("no labels");
    };
    assert_eq!(names, ["negative", "neutral", "positive"]);
    assert_eq!(activation, encode::Activation::Softmax);
    let examples = held_out("tiny-classify");
    let mut right = 0;
    for example in &examples {
        let logits = alone(&mut model, &[example["text"].as_str().unwrap()]).remove(0);
        let best = (0..names.len())
            .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
            .unwrap();
        if names[best] == example["label"].as_str().unwrap() {
            right += 1;
        }
    }
    assert!(
        right * 100 >= examples.len() * 90,
        "{right} of {}",
        examples.len()
    );
}

pub(super) const TEXTS: [&str; 4] = [
    "Hello, how are you?",
    "The capital of France is Paris, and it has been for a very long time, or so they say in the city.",
    "x",
    "Name the capital of China.",
];

#[test]
fn in_company_the_graph_gives_nearly_the_same() {
    for name in ["tiny-embed", "tiny-classify"] {
        let mut model = load_graph(name);
        assert_eq!(model.company(), Company::SameWidth);
        let expected = alone(&mut model, &TEXTS);
        let tokenized = tokenize(&model, &TEXTS);
        let together = model.encode(&tokenized.iter().collect::<Vec<_>>()).unwrap();
        for (alone, together) in expected.iter().flatten().zip(together.iter().flatten()) {
            assert!(
                (alone - together).abs() < 1e-5,
                "{name}: {alone} alone, {together} together"
            );
        }
    }
}

#[test]
fn in_any_company_and_with_any_threads_our_encoder_gives_the_same_bits() {
    let long =
        "They walked along the river until the lights of the town were far behind them. ".repeat(6);
    let texts: Vec<&str> = TEXTS
        .into_iter()
        .cycle()
        .take(30)
        .chain([long.as_str()])
        .collect();
    for name in ["tiny-embed", "tiny-classify"] {
        let mut model = load(name);
        assert_eq!(model.company(), Company::Any, "{}", model.choice());
        let expected = alone(&mut model, &texts);
        for threads in 1..=3 {
            let mut model = Model::load(&spec(name), threads).unwrap();
            let tokenized = tokenize(&model, &texts);
            assert_eq!(
                alone(&mut model, &texts),
                expected,
                "{name}, {threads} threads"
            );
            let together = model.encode(&tokenized.iter().collect::<Vec<_>>()).unwrap();
            assert_eq!(together, expected, "{name}, {threads} threads");
        }
    }
}

#[test]
fn our_encoder_gives_what_the_graph_gives() {
    let texts = held_out("tiny-embed");
    let texts: Vec<&str> = texts
        .iter()
        .map(|triple| triple["anchor"].as_str().unwrap())
        .collect();
    let own = alone(&mut load("tiny-embed"), &texts);
    let graph = alone(&mut load_graph("tiny-embed"), &texts);
    let cosines: Vec<f32> = own
        .iter()
        .zip(&graph)
        .map(|(own, graph)| cosine(own, graph))
        .collect();
    let least = cosines.iter().copied().fold(1.0, f32::min);
    let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
    assert!(mean > 0.9995 && least > 0.998, "mean {mean}, least {least}");
}

#[test]
fn what_is_not_of_the_family_is_left_to_the_graph() {
    let folder = tempfile::tempdir().unwrap();
    for (config, reason) in [
        (
            r#"{"model_type": "mpnet", "num_attention_heads": 4}"#,
            "its type 'mpnet' is not one of the BERT family",
        ),
        (r#"{"model_type": "bert"}"#, "its sizes are not understood"),
        (
            r#"{"model_type": "bert", "num_attention_heads": 4, "hidden_act": "gelu_new"}"#,
            "its activation 'gelu_new' is not supported",
        ),
        // A graph that computes something else than its description says shows in its results.
        (
            r#"{"model_type": "bert", "num_attention_heads": 2}"#,
            "its results differ",
        ),
        (
            r#"{"model_type": "bert", "num_attention_heads": 4, "hidden_act": "relu"}"#,
            "its results differ",
        ),
    ] {
        let path = folder.path().join("config.json");
        std::fs::write(&path, config).unwrap();
        let mut spec = spec("tiny-embed");
        for (name, file) in &mut spec.files {
            if name == "config.json" {
                file.clone_from(&path);
            }
        }
        let mut model = Model::load(&spec, 1).unwrap();
        assert!(model.choice().contains(reason), "{}", model.choice());
        assert_eq!(
            alone(&mut model, &TEXTS),
            alone(&mut load_graph("tiny-embed"), &TEXTS)
        );
    }
}

#[test]
fn cutting_keeps_the_special_tokens() {
    let model = load("tiny-embed");
    let text = "the capital of france ".repeat(100);
    let whole = framed(&model, &text, u32::MAX).unwrap();
    let cut = framed(&model, &text, 10).unwrap();
    assert_eq!(cut.full_length as usize, whole.ids.len());
    assert_eq!(cut.ids.len(), 10);
    assert_eq!(cut.type_ids.len(), 10);
    assert_eq!(cut.ids[..9], whole.ids[..9]);
    assert_eq!(cut.ids.last(), whole.ids.last());
    assert_eq!(framed(&model, &text, 2), Err(Error::NothingLeft));
    assert_eq!(framed(&model, &text, 0), Err(Error::NothingLeft));
    assert_eq!(framed(&model, "", 2).unwrap().ids.len(), 2);
}

#[test]
fn tokens_turn_back_into_the_text() {
    let mut model = load("tiny-embed");
    let tokens = model.tokens("what is the price", false, true).unwrap();
    assert_eq!(model.detokenize(&tokens).unwrap(), "what is the price");
    let special = model.tokens("what is the price", true, true).unwrap();
    assert_eq!(special.len(), tokens.len() + 2);
    assert!(matches!(model.detokenize(&[-1]), Err(Error::InvalidJob(_))));
    assert!(matches!(
        model.detokenize(&[1_000_000]),
        Err(Error::InvalidJob(_))
    ));
}

#[test]
fn names_of_special_tokens_are_tokens_only_where_asked() {
    let mut model = load("tiny-embed");
    let as_token = model.tokens("[SEP]", false, true).unwrap();
    let as_text = model.tokens("[SEP]", false, false).unwrap();
    assert_eq!(as_token.len(), 1);
    assert!(as_text.len() > 1);
}

#[test]
fn the_limit_is_the_models() {
    assert_eq!(load("tiny-embed").max_tokens(), 256);
}

/// Loading fails with these words in the error.
fn check_refused(spec: &Spec, words: &str) {
    match Model::load(spec, 1) {
        Err(Error::LoadFailed(text)) => assert!(text.contains(words), "{text}"),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("loaded"),
    }
}

#[test]
fn damaged_and_missing_files_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let good = spec("tiny-embed");
    let graph = std::fs::read(&good.graph).unwrap();

    let cut = file("cut.onnx", &graph[..graph.len() / 2]);
    check_refused(
        &Spec {
            graph: cut,
            ..good.clone()
        },
        "the ONNX graph ends in the middle",
    );
    let garbage = file("garbage.onnx", b"\x08\x01 this is no model");
    check_refused(
        &Spec {
            graph: garbage,
            ..good.clone()
        },
        "ONNX",
    );
    let empty = file("empty.onnx", b"");
    check_refused(
        &Spec {
            graph: empty,
            ..good.clone()
        },
        "cannot load the graph",
    );
    let missing = folder.path().join("missing.onnx");
    check_refused(
        &Spec {
            graph: missing,
            ..good.clone()
        },
        "cannot be read",
    );

    let mut without = good.clone();
    without.files.retain(|(name, _)| name != "tokenizer.json");
    check_refused(&without, "no tokenizer.json");
    without
        .files
        .push(("tokenizer.json".into(), file("tokenizer.json", b"{}")));
    check_refused(&without, "tokenizer.json is not understood");

    let tokenizer = good.files.iter().find(|(name, _)| name == "tokenizer.json");
    let text = std::fs::read(&tokenizer.unwrap().1).unwrap();
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let special = &mut tokenizer["post_processor"]["special_tokens"];
    assert!(special.as_object_mut().unwrap().remove("[SEP]").is_some());
    let text = serde_json::to_vec(&tokenizer).unwrap();
    without.files.pop();
    without
        .files
        .push(("tokenizer.json".into(), file("without.json", &text)));
    check_refused(&without, "no special token");
}

#[test]
fn weights_in_another_file_are_found_under_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let good = spec("tiny-embed");
    let inside = std::fs::read(&good.graph).unwrap();
    let (graph, weights) = graph::tests::externalize(&inside, "model.onnx_data");
    assert!(graph.len() < inside.len() / 10 && weights.len() > inside.len() / 2);

    let mut outside = good.clone();
    outside.graph = folder.path().join("sha256-0123");
    outside.graph_name = "onnx/model.onnx".into();
    std::fs::write(&outside.graph, graph).unwrap();
    check_refused(&outside, "'model.onnx_data', which is missing");

    let blob = folder.path().join("sha256-4567");
    std::fs::write(&blob, weights).unwrap();
    outside.files.push(("onnx/model.onnx_data".into(), blob));
    let texts = ["Hello, how are you?", "Name the capital of China."];
    assert_eq!(
        alone(&mut Model::load(&outside, 1).unwrap(), &texts),
        alone(&mut load("tiny-embed"), &texts)
    );
}

/// Prints the latency of single texts and the memory of the process for the model in the folder `ONNX_MODEL`:
/// `ONNX_MODEL=... cargo test --release -p chaski --lib onnx::tests::measure -- --ignored --nocapture`
#[test]
#[ignore = "a measurement of a model that the repository does not ship"]
fn measure() {
    let folder = std::env::var("ONNX_MODEL").unwrap();
    let memory = |field: &str| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .unwrap()
            .to_owned();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<f64>()
            .unwrap()
            / 1024.0
    };
    for threads in [1, 2] {
        let started = std::time::Instant::now();
        let mut model = Model::load(&spec_of(Path::new(&folder)), threads).unwrap();
        println!(
            "{threads} threads: loaded in {:.0} ms; {}",
            started.elapsed().as_secs_f64() * 1e3,
            model.choice()
        );
        for tokens in [8, 32, 128] {
            let text = framed(&model, &"one word after another ".repeat(64), tokens).unwrap();
            let mut times: Vec<f64> = (0..200)
                .map(|_| {
                    let started = std::time::Instant::now();
                    model.encode(&[&text]).unwrap();
                    started.elapsed().as_secs_f64() * 1e3
                })
                .collect();
            times.sort_by(f64::total_cmp);
            let batch = vec![&text; (256 / tokens) as usize];
            let started = std::time::Instant::now();
            for _ in 0..10 {
                model.encode(&batch).unwrap();
            }
            let per_second = (10 * batch.len()) as f64 / started.elapsed().as_secs_f64();
            println!(
                "  {tokens} tokens: p50 {:.2} ms, p95 {:.2} ms; {per_second:.0} texts/s in batches of {}",
                times[100],
                times[190],
                batch.len()
            );
        }
        println!(
            "  resident {:.0} MiB, peak {:.0} MiB",
            memory("VmRSS"),
            memory("VmHWM")
        );
    }
}
