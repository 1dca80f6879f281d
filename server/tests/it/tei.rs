//! The routes of text-embeddings-inference, whose requests name no model.

use serde_json::{Value, json};

use crate::server::{Reply, Server};
use crate::vectors::{cosine, vector};
use crate::weights;

const GOOD: &str = "You should get this atmosphere, it is terrific.";
const BAD: &str = "My friends all said the keyboard was unreliable, and they were right.";

/// Status, kind and text of a failure.
fn failure(reply: &Reply) -> (u16, String, String) {
    let body: Value = serde_json::from_str(&reply.text).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 2, "{reply:?}");
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    (reply.status.as_u16(), text("error_type"), text("error"))
}

#[tokio::test]
async fn texts_become_bare_vectors() {
    let server = Server::start().await;
    let body = json!({"inputs": [GOOD, BAD]});
    let vectors = server.post("/embed", body).await.json();
    let ours = json!({"model": "tiny-embed", "input": [GOOD, BAD]});
    let ours = server.post("/api/embed", ours).await.json();
    assert_eq!(vectors, ours["embeddings"]);
    let one = server.post("/embed", json!({"inputs": GOOD})).await.json();
    assert!(cosine(&vector(&one[0]), &vector(&vectors[0])) > 0.999_999);
    let raw = json!({"inputs": GOOD, "normalize": false, "dimensions": 16});
    let raw = vector(&server.post("/embed", raw).await.json()[0]);
    assert_eq!(raw.len(), 16);
    assert!(cosine(&raw, &vector(&vectors[0])[..16]) > 0.999_9);
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_list_of_two_texts_is_a_pair_to_predict() {
    let server = Server::start().await;
    let predict = async |inputs: Value| {
        let body = json!({"inputs": inputs, "raw_scores": true});
        server.post("/predict", body).await.json()
    };
    let classify = async |input: Value| {
        let body = json!({"model": "tiny-classify", "input": input, "raw_scores": true});
        server.post("/classify", body).await.json()["results"].clone()
    };
    assert_eq!(predict(json!(BAD)).await, classify(json!(BAD)).await[0]);
    let pair = classify(json!([[BAD, GOOD]])).await;
    assert_eq!(predict(json!([BAD, GOOD])).await, pair[0]);
    assert_eq!(predict(json!([[BAD, GOOD]])).await, pair);
    let several = predict(json!([[BAD], [GOOD]])).await;
    assert_eq!(several.as_array().unwrap().len(), 2);
    assert_eq!(several[0][0]["label"], "negative");
    assert_eq!(several[1][0]["label"], "positive");
}

#[tokio::test]
async fn failures_have_their_kind() {
    let server = Server::start().await;
    let check = async |path: &str, body: Value, status: u16, words: &str| {
        let (found, kind, text) = failure(&server.post(path, body.clone()).await);
        assert_eq!((found, kind.as_str()), (status, "Validation"), "{text}");
        assert!(text.contains(words), "{text} for {body}");
    };
    check("/embed", json!({"inputs": []}), 422, "cannot be empty").await;
    check("/embed", json!({}), 422, "cannot be empty").await;
    check("/embed", json!({"inputs": 1}), 422, "cannot unmarshal").await;
    check(
        "/embed",
        json!({"inputs": "a", "prompt_name": "query"}),
        422,
        "not supported",
    )
    .await;
    check(
        "/embed",
        json!({"inputs": "a", "dimensions": 0}),
        422,
        "at least 1",
    )
    .await;
    check(
        "/predict",
        json!({"inputs": [["a", "b", "c"]]}),
        422,
        "input must be",
    )
    .await;
    check(
        "/predict",
        json!({"inputs": "a", "model": "tiny-embed"}),
        422,
        "does not support",
    )
    .await;
    check(
        "/embed",
        json!({"inputs": "a", "model": "none"}),
        404,
        "not found",
    )
    .await;
    let long = json!({"inputs": "word ".repeat(2_000)});
    check("/embed", long.clone(), 413, "exceeds the context length").await;
    let mut cut = long;
    cut["truncate"] = json!(true);
    assert_eq!(server.post("/embed", cut).await.status, 200);
    let rerank = json!({"query": "a", "texts": ["b"]});
    check(
        "/rerank",
        rerank,
        422,
        "there is no model here that can rerank",
    )
    .await;
}

#[tokio::test]
async fn a_model_need_not_be_named_where_there_is_no_choice() {
    let server = Server::start().await;
    let info = async || server.get("/info").await;
    let built_in = info().await.json();
    assert_eq!(built_in["model_id"], "tiny-embed:latest");
    assert_eq!(built_in["max_input_length"], 256);
    assert!(built_in["model_type"]["embedding"].is_object());
    let classifier = server.get("/info?model=tiny-classify").await.json();
    assert!(classifier["model_type"]["classifier"].is_object());

    // A model of the user's own is meant rather than a built-in one; two of them are a choice.
    let names = ["model.onnx", "tokenizer.json", "config.json"];
    let files = |name| {
        let bytes = std::fs::read(weights::folder("tiny-embed").join(name)).unwrap();
        (name, bytes)
    };
    let files = names.map(files);
    server.create("mine", &files).await;
    assert_eq!(info().await.json()["model_id"], "mine:latest");
    server.create("other", &files).await;
    let (status, kind, text) = failure(&info().await);
    assert_eq!((status, kind.as_str()), (422, "Validation"));
    assert!(
        text.contains("mine:latest") && text.contains("other:latest"),
        "{text}"
    );
}
