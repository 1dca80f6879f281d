//! ONNX models of RoBERTa's, XLM-R's, DistilBERT's, ModernBERT's and Nomic's classes in the layouts of their exporters, against what PyTorch computes with the same
//! weights: `encoders/make.py` made both. They differ in what their graphs ask for, where positions begin, how they tokenise, pool, and what they want before texts.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::server::Server;
use crate::vectors::{cosine, vector};

fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/encoders")
        .join(family)
}

/// The files that a model of the hub has.
fn files(family: &str) -> Vec<(&'static str, Vec<u8>)> {
    let names = [
        "model.onnx",
        "tokenizer.json",
        "tokenizer_config.json",
        "config.json",
        "modules.json",
        "1_Pooling/config.json",
        "config_sentence_transformers.json",
    ];
    let read = |name| Some((name, std::fs::read(folder(family).join(name)).ok()?));
    names.into_iter().filter_map(read).collect()
}

/// Serves a family's model and compares every text's tokens and vector, all in one request and each in its own. Tells the lowest cosine.
async fn check(family: &str, encoder: &str, prompts: usize) -> f64 {
    let server = Server::start_with([("CHASKI_ENCODER", encoder)]).await;
    server.create(family, &files(family)).await;
    let golden = std::fs::read(folder(family).join("golden.json")).unwrap();
    let golden: Vec<Value> = serde_json::from_slice(&golden).unwrap();
    let (prompted, plain): (Vec<&Value>, Vec<&Value>) = golden
        .iter()
        .partition(|text| !text["prompt_name"].is_null());
    assert_eq!((plain.len(), prompted.len()), (7, prompts));

    let texts: Vec<&Value> = plain.iter().map(|text| &text["text"]).collect();
    let body = json!({"model": family, "inputs": texts, "truncate": true});
    let together = server.post("/embed", body).await.json();
    let mut lowest = 1.0f64;
    for (text, in_company) in plain.iter().zip(together.as_array().unwrap()) {
        let body = json!({"model": family, "input": [text["text"]]});
        let alone = server.post("/api/embed", body).await.json();
        let expected = vector(&text["vector"]);
        for found in [vector(in_company), vector(&alone["embeddings"][0])] {
            lowest = lowest.min(cosine(&found, &expected));
        }
        let ids = text["ids"].as_array().unwrap();
        assert_eq!(alone["prompt_eval_count"], ids.len(), "{family}: {text}");
    }
    for text in prompted {
        let body = json!({
            "model": family, "inputs": text["text"], "prompt_name": text["prompt_name"], "truncate": true
        });
        let found = server.post("/embed", body).await.json();
        lowest = lowest.min(cosine(&vector(&found[0]), &vector(&text["vector"])));
    }
    // Where a token has no vector of the model's own, it is not there: nothing reads beyond a table.
    let body = json!({"model": family, "inputs": [1_000_000]});
    assert!(server.post("/embed", body).await.status.is_client_error());
    println!("{family}: {lowest}");
    lowest
}

/// By ONNX Runtime, in floats; and by whichever engine is found fit, which is ours for some.
async fn check_both(family: &str, prompts: usize) {
    let exact = check(family, "onnxruntime", prompts).await;
    assert!(exact > 0.999_999, "{family}: {exact}");
    let judged = check(family, "auto", prompts).await;
    assert!(judged > 0.999, "{family}: {judged}");
}

#[tokio::test]
async fn roberta_counts_positions_from_behind_its_filler() {
    check_both("roberta", 0).await;
}

#[tokio::test]
async fn xlm_roberta_tokenises_by_the_likeliest_pieces_and_has_prompts() {
    check_both("xlm-roberta", 2).await;
}

#[tokio::test]
async fn distilbert_has_no_types_of_tokens() {
    check_both("distilbert", 0).await;
}

#[tokio::test]
async fn modernbert_turns_its_positions_and_sees_near_tokens() {
    check_both("modernbert", 0).await;
}

#[tokio::test]
async fn nomic_has_prompts_for_searches() {
    check_both("nomic-bert", 2).await;
}
