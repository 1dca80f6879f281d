//! `/api/embed`, `/api/embeddings` and `/classify` with real inference.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::server::{Server, redacted};

/// A vector in a reply.
pub fn vector(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

/// The cosine of the angle between two vectors.
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[tokio::test]
async fn texts_become_vectors_in_their_order() {
    let server = Server::start().await;
    let embed = async |input: Value| {
        let body = json!({"model": "tiny-embed", "input": input, "options": {"tfs_z": null, "mirostat": null}});
        server.post("/api/embed", body).await.json()
    };
    let texts = [
        "How do I reset my password?",
        "What is the capital of France?",
        "",
    ];
    let reply = embed(json!(texts)).await;
    let vectors: Vec<Vec<f64>> = reply["embeddings"]
        .as_array()
        .unwrap()
        .iter()
        .map(vector)
        .collect();
    assert_eq!(vectors.len(), 3);
    for (text, expected) in texts.iter().zip(&vectors).take(2) {
        let alone = embed(json!(text)).await;
        assert!(
            cosine(&vector(&alone["embeddings"][0]), expected) > 0.9999,
            "{text}"
        );
    }
    let length: f64 = vectors[0].iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-4, "{length}");
    assert!(cosine(&vectors[0], &vectors[1]) < 0.9);
    for field in ["total_duration", "load_duration", "prompt_eval_count"] {
        assert!(reply[field].as_u64().unwrap() > 0, "{field}");
    }
    let fields = [
        "embeddings",
        "total_duration",
        "load_duration",
        "prompt_eval_count",
    ];
    assert_json_snapshot!("embed", redacted(&reply, &fields));
    for nothing in [Value::Null, json!(""), json!([])] {
        assert_eq!(
            embed(nothing).await,
            json!({"model": "tiny-embed", "embeddings": []})
        );
    }
}

#[tokio::test]
async fn vectors_can_be_shortened() {
    let server = Server::start().await;
    let embed = async |dimensions: Value| {
        let body = json!({"model": "tiny-embed", "input": "a word", "dimensions": dimensions});
        vector(&server.post("/api/embed", body).await.json()["embeddings"][0])
    };
    let (whole, short) = (embed(Value::Null).await, embed(json!(16)).await);
    assert_eq!(short.len(), 16);
    assert!(cosine(&short, &whole[..16]) > 0.9999);
    assert!((short.iter().map(|value| value * value).sum::<f64>() - 1.0).abs() < 1e-4);
    assert_eq!(embed(json!(100_000)).await.len(), whole.len());
}

#[tokio::test]
async fn long_texts_are_cut_or_refused() {
    let server = Server::start().await;
    let long = "word ".repeat(2_000);
    let embed = async |more: Value| {
        let mut body = json!({"model": "tiny-embed", "input": long});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        server.post("/api/embed", body).await
    };
    let cut = embed(json!({})).await.json();
    assert!(cut["prompt_eval_count"].as_u64().unwrap() <= 256);
    let limited = embed(json!({"options": {"num_ctx": 16}})).await.json();
    assert!(limited["prompt_eval_count"].as_u64().unwrap() <= 16);
    let too_long = "the input length exceeds the context length";
    assert_eq!(
        embed(json!({"truncate": false})).await.error(),
        (400, too_long.to_owned())
    );
    let body = json!({"model": "tiny-embed", "prompt": long});
    assert_eq!(
        server.post("/api/embeddings", body).await.error(),
        (500, too_long.to_owned())
    );
}

#[tokio::test]
async fn the_old_route_gives_one_vector() {
    let server = Server::start().await;
    let text = "How do I reset my password?";
    let old = server
        .post(
            "/api/embeddings",
            json!({"model": "tiny-embed", "prompt": text}),
        )
        .await
        .json();
    let new = server
        .post("/api/embed", json!({"model": "tiny-embed", "input": text}))
        .await
        .json();
    assert!(cosine(&vector(&old["embedding"]), &vector(&new["embeddings"][0])) > 0.9999);
    let empty = server
        .post(
            "/api/embeddings",
            json!({"model": "tiny-embed", "prompt": ""}),
        )
        .await
        .json();
    assert_eq!(empty, json!({"embedding": []}));
}

#[tokio::test]
async fn texts_are_classified() {
    let server = Server::start().await;
    let classify = async |body: Value| {
        let mut body = body;
        body["model"] = json!("tiny-classify");
        server.post("/classify", body).await.json()
    };
    let bad = "My friends all said the keyboard was unreliable, and they were right.";
    let good = "You should get this atmosphere, it is terrific.";
    let reply = classify(json!({"input": [bad, good]})).await;
    let results = reply["results"].as_array().unwrap().clone();
    assert_eq!(
        (&results[0][0]["label"], &results[1][0]["label"]),
        (&json!("negative"), &json!("positive"))
    );
    for result in &results {
        let scores: Vec<f64> = result
            .as_array()
            .unwrap()
            .iter()
            .map(|label| label["score"].as_f64().unwrap())
            .collect();
        assert_eq!(scores.len(), 3);
        assert!(
            (scores.iter().sum::<f64>() - 1.0).abs() < 1e-4,
            "{scores:?}"
        );
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    }
    let fields = [
        "results",
        "total_duration",
        "load_duration",
        "prompt_eval_count",
    ];
    assert_json_snapshot!("classify", redacted(&reply, &fields));
    for one in [
        json!({"text": bad, "top_k": 1}),
        json!({"texts": [bad], "top_k": 1}),
    ] {
        assert_eq!(
            classify(one).await["results"][0].as_array().unwrap().len(),
            1
        );
    }
    let raw = classify(json!({"input": bad, "raw_scores": true})).await;
    let sum: f64 = raw["results"][0]
        .as_array()
        .unwrap()
        .iter()
        .map(|label| label["score"].as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() > 1e-3, "logits, not probabilities: {raw}");
    assert_eq!(classify(json!({"input": []})).await["results"], json!([]));
}
