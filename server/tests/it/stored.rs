//! Encoders that are made when a model is created, and loaded in the place of its graph.

use serde_json::{Value, json};

use crate::server::Server;
use crate::vectors::{cosine, vector};

const TEXTS: [&str; 3] = [
    "How do I reset my password?",
    "x",
    "The price of the red one is higher than that of the blue one, as far as I can tell from the list.",
];

async fn embed(server: &Server, model: &str) -> Vec<Vec<f64>> {
    let body = json!({"model": model, "input": TEXTS});
    let reply = server.post("/api/embed", body).await.json();
    let vectors = reply["embeddings"].as_array().unwrap().iter();
    vectors.map(vector).collect()
}

async fn statuses(server: &Server, body: Value) -> Vec<String> {
    let lines = server.post("/api/create", body).await.lines();
    let status = |line: &Value| line["status"].as_str().unwrap().to_owned();
    lines.iter().map(status).collect()
}

#[tokio::test]
async fn a_model_is_rounded_once_and_served_without_onnx_runtime() {
    let server = Server::start().await;
    let expected = embed(&server, "tiny-embed").await;
    let lines = statuses(&server, json!({"model": "rounded", "from": "tiny-embed"})).await;
    assert!(
        lines
            .iter()
            .any(|line| line == "rounding weights to 8 bits"),
        "{lines:?}"
    );
    let agreement = "8-bit weights agree with the graph: cosine 0.99";
    assert!(
        lines.iter().any(|line| line.starts_with(agreement)),
        "{lines:?}"
    );
    assert_eq!(lines.last().unwrap(), "success");
    // Once made, it is inherited.
    let again = statuses(&server, json!({"model": "again", "from": "rounded"})).await;
    assert!(
        !again.iter().any(|line| line.contains("8 bits")),
        "{again:?}"
    );

    let server = server
        .restart_with([("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")])
        .await;
    let refused = server
        .post("/api/embed", json!({"model": "tiny-embed", "input": "x"}))
        .await;
    let (status, text) = refused.error();
    assert!(
        status >= 500 && text.contains("/nowhere/libonnxruntime.so"),
        "{status} {text}"
    );
    for name in ["rounded", "again"] {
        let vectors = embed(&server, name).await;
        for (vector, expected) in vectors.iter().zip(&expected) {
            assert!(cosine(vector, expected) > 0.999_999, "{name}");
        }
    }
}

#[tokio::test]
async fn a_graph_that_is_not_understood_is_used_as_it_is() {
    let server = Server::start().await;
    let folder = crate::weights::folder("tiny-embed");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let config = String::from_utf8(read("config.json")).unwrap();
    let files = [
        ("model.onnx", read("model.onnx")),
        ("tokenizer.json", read("tokenizer.json")),
        (
            "config.json",
            config.replace("\"bert\"", "\"mpnet\"").into_bytes(),
        ),
    ];
    server.create("other", &files).await;
    let lines = statuses(&server, json!({"model": "copy", "from": "other"})).await;
    let reason = "the graph is used as it is: its type 'mpnet' is not one of the BERT family";
    assert!(lines.iter().any(|line| line == reason), "{lines:?}");
    assert_eq!(embed(&server, "copy").await.len(), TEXTS.len());
    // Nor is one made where graphs are to be used.
    let plain = Server::start_with([("CHASKI_ENCODER", "onnxruntime")]).await;
    let lines = statuses(&plain, json!({"model": "plain", "from": "tiny-embed"})).await;
    assert!(
        !lines.iter().any(|line| line.contains("8 bits")),
        "{lines:?}"
    );
}
