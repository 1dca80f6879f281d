//! One model in three forms: the graph by ONNX Runtime, the same by our own encoder, and its weights as GGUF by llama.cpp. Their
//! vectors agree, whatever the route that they are asked for on.

use serde_json::{Value, json};

use crate::bert_gguf::{Pooling, build};
use crate::server::Server;
use crate::vectors::{cosine, vector};

/// Texts of words that the model knows and of words that it does not, short, long, and of other scripts.
const TEXTS: [&str; 8] = [
    "How do I reset my password?",
    "Name the capital of China.",
    "x",
    "The price of the red one is higher than that of the blue one, as far as I can tell from the list.",
    "naïve café, déjà vu; Zürich",
    "日本の首都は東京です 🙂",
    "def add(a, b): return a + b",
    "one two three four five six seven eight nine ten one two three four five six seven eight nine ten",
];

async fn by_route(server: &Server, model: &str, path: &str) -> Vec<Vec<f64>> {
    let body = json!({"model": model, "input": TEXTS, "inputs": TEXTS});
    let reply = server.post(path, body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let reply: Value = serde_json::from_str(&reply.text).unwrap();
    let vectors = match path {
        "/api/embed" => reply["embeddings"].clone(),
        "/v1/embeddings" => {
            let data = reply["data"].as_array().unwrap().iter();
            data.map(|item| item["embedding"].clone()).collect()
        }
        _ => reply,
    };
    vectors.as_array().unwrap().iter().map(vector).collect()
}

#[tokio::test]
async fn every_engine_and_every_route_give_the_same_vectors() {
    let native = Server::start().await;
    let graph = Server::start_with([("CHASKI_ENCODER", "onnxruntime")]).await;
    let gguf = vec![("model.gguf", build("tiny-embed", Pooling::Mean))];
    native.create("weights", &gguf).await;
    let reference = by_route(&graph, "tiny-embed", "/api/embed").await;
    let mut least = 1.0f64;
    for (server, model) in [
        (&native, "tiny-embed"),
        (&graph, "tiny-embed"),
        (&native, "weights"),
    ] {
        for path in ["/api/embed", "/v1/embeddings", "/embed"] {
            let vectors = by_route(server, model, path).await;
            assert_eq!(vectors.len(), TEXTS.len());
            for ((vector, expected), text) in vectors.iter().zip(&reference).zip(TEXTS) {
                let cosine = cosine(vector, expected);
                assert!(cosine >= 0.999, "{model} at {path}: {cosine} for {text:?}");
                least = least.min(cosine);
            }
        }
    }
    println!("least cosine: {least}");
}
