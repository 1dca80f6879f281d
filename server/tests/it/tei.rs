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
    check("/embed", json!({"inputs": 1}), 422, "invalid input type").await;
    let unknown = json!({"inputs": [1_000_000]});
    check("/embed", unknown, 422, "not in the vocabulary").await;
    let sideways = json!({"inputs": "a", "truncation_direction": "up"});
    check("/embed", sideways, 422, "left").await;
    check("/embed_sparse", json!({"inputs": "a"}), 422, "sparse").await;
    check("/decode", json!({"ids": ["a"]}), 422, "token ids").await;
    check("/tokenize", json!({}), 422, "cannot be empty").await;
    let alone = json!({"inputs": {"source_sentence": "a", "sentences": []}});
    check("/similarity", alone, 422, "cannot be empty").await;
    check(
        "/embed",
        json!({"inputs": "a", "prompt_name": "query"}),
        422,
        "has no prompt",
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

#[tokio::test]
async fn tokens_are_told_and_taken_in_the_place_of_texts() {
    let server = Server::start().await;
    let text = "How do I reset my password?";
    let post = async |path: &str, body: Value| server.post(path, body).await.json();
    let tokens = post("/tokenize", json!({"inputs": text})).await;
    let tokens = tokens[0].as_array().unwrap().clone();
    assert_eq!(tokens[0]["text"], "[CLS]");
    assert_eq!(tokens[0]["special"], true);
    assert_eq!(tokens[0]["start"], Value::Null);
    for token in &tokens[1..tokens.len() - 1] {
        let place = |field: &str| usize::try_from(token[field].as_u64().unwrap()).unwrap();
        let own = text[place("start")..place("stop")].to_lowercase();
        assert_eq!(
            token["text"].as_str().unwrap().trim_start_matches("##"),
            own
        );
    }
    let ids: Vec<u64> = tokens
        .iter()
        .map(|token| token["id"].as_u64().unwrap())
        .collect();
    let bare = post(
        "/tokenize",
        json!({"inputs": [text], "add_special_tokens": false}),
    )
    .await;
    assert_eq!(bare[0].as_array().unwrap().len(), ids.len() - 2);
    // With or without what the model puts around a text.
    let embedded = post("/embed", json!({"inputs": text})).await;
    for inputs in [json!(ids), json!([ids]), json!([ids[1..ids.len() - 1]])] {
        assert_eq!(post("/embed", json!({"inputs": inputs})).await, embedded);
    }
    assert_eq!(
        post("/decode", json!({"ids": ids})).await,
        json!(["how do i reset my password?"])
    );
    let whole = post(
        "/decode",
        json!({"ids": [ids], "skip_special_tokens": false}),
    )
    .await;
    assert_eq!(whole, json!(["[CLS] how do i reset my password? [SEP]"]));
}

#[tokio::test]
async fn sentences_are_compared_and_tokens_have_vectors() {
    let server = Server::start().await;
    let post = async |path: &str, body: Value| server.post(path, body).await.json();
    let sentences = [GOOD, BAD, GOOD];
    let inputs = json!({"source_sentence": GOOD, "sentences": sentences});
    let cosines = vector(&post("/similarity", json!({"inputs": inputs})).await);
    let vectors = post("/embed", json!({"inputs": sentences})).await;
    assert!((cosines[0] - 1.0).abs() < 1e-5, "{cosines:?}");
    assert!((cosines[1] - cosine(&vector(&vectors[0]), &vector(&vectors[1]))).abs() < 1e-5);
    // The mean of the tokens' vectors is the text's.
    let tokens = post("/embed_all", json!({"inputs": [BAD]})).await;
    let tokens: Vec<Vec<f64>> = tokens[0].as_array().unwrap().iter().map(vector).collect();
    let count = post("/tokenize", json!({"inputs": BAD})).await;
    assert_eq!(tokens.len(), count[0].as_array().unwrap().len());
    let mut sum = vec![0.0; tokens[0].len()];
    for token in &tokens {
        sum.iter_mut().zip(token).for_each(|(sum, x)| *sum += x);
    }
    assert!(cosine(&sum, &vector(&vectors[1])) > 0.999_99);
}

#[tokio::test]
async fn a_long_text_is_cut_at_either_end_or_computed_in_parts() {
    let server = Server::start().await;
    let long = format!(
        "{} {}",
        "a dog sleeps ".repeat(100),
        "the bank is closed ".repeat(200)
    );
    let embed = async |more: Value| {
        let mut body = json!({"inputs": long, "truncate": true});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        vector(&server.post("/embed", body).await.json()[0])
    };
    let right = embed(json!({})).await;
    let left = embed(json!({"truncation_direction": "left"})).await;
    let whole = embed(json!({"split": true, "truncate": false})).await;
    assert!(cosine(&left, &right) < 0.9);
    for end in [&left, &right] {
        assert!(cosine(&whole, end) > cosine(&left, &right) + 0.01);
    }
    let length: f64 = whole.iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-4, "{length}");
}
