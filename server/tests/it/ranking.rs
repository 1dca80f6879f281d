//! `/rerank` and the forms of `/classify` that need a pair or several labels, with real inference: on the shipped classifier
//! and on the same with a head of one number.

use serde_json::{Value, json};

use crate::server::Server;
use crate::weights;

const GOOD: &str = "You should get this atmosphere, it is terrific.";
const BAD: &str = "My friends all said the keyboard was unreliable, and they were right.";

/// Index of the label `positive` of the shipped classifier.
const POSITIVE: usize = 2;

/// The files of the shipped classifier, with another graph and another configuration.
fn files(graph: Vec<u8>, config: &Value) -> Vec<(&'static str, Vec<u8>)> {
    let read = |name: &str| std::fs::read(weights::folder("tiny-classify").join(name)).unwrap();
    vec![
        ("model.onnx", graph),
        ("config.json", config.to_string().into_bytes()),
        ("tokenizer.json", read("tokenizer.json")),
        ("tokenizer_config.json", read("tokenizer_config.json")),
    ]
}

fn config() -> Value {
    let path = weights::folder("tiny-classify").join("config.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A cross-encoder that likes documents which are positive.
async fn with_reranker() -> Server {
    let server = Server::start().await;
    let mut config = config();
    config["id2label"] = json!({"0": "relevance"});
    config["problem_type"] = Value::Null;
    let graph = weights::with_one_label("tiny-classify", POSITIVE);
    server.create("ranker", &files(graph, &config)).await;
    server
}

fn indices(results: &Value) -> Vec<u64> {
    let results = results.as_array().unwrap().iter();
    results
        .map(|result| result["index"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn documents_are_ranked_in_the_shape_of_cohere_and_jina() {
    let server = with_reranker().await;
    let query = "How is it?";
    let body = json!({
        "model": "ranker", "query": query, "documents": [BAD, {"text": GOOD}, BAD], "return_documents": true, "rank_fields": ["text"]
    });
    let reply = server.post("/v1/rerank", body.clone()).await.json();
    assert_eq!(
        (&reply["model"], &reply["object"]),
        (&json!("ranker"), &json!("list"))
    );
    assert_eq!(indices(&reply["results"]), [1, 0, 2]);
    assert_eq!(reply["results"][0]["document"]["text"], GOOD);
    assert!(
        reply["usage"]["total_tokens"].as_u64().unwrap() > 20,
        "{reply}"
    );
    let scores: Vec<f64> = (0..3)
        .map(|rank| reply["results"][rank]["relevance_score"].as_f64().unwrap())
        .collect();
    assert!(scores[0] > 0.5 && scores[1] < 0.5, "{scores:?}");
    assert!(
        scores.iter().all(|score| (0.0..=1.0).contains(score)),
        "{scores:?}"
    );
    for path in ["/rerank", "/v2/rerank", "/api/rerank"] {
        assert_eq!(
            server.post(path, body.clone()).await.json(),
            reply,
            "{path}"
        );
    }
    let top = json!({"model": "ranker", "query": query, "documents": [BAD, GOOD], "top_n": 1});
    let top = server.post("/rerank", top).await.json();
    assert_eq!(indices(&top["results"]), [1]);
    assert!(top["results"][0].get("document").is_none());
    // The query has a part in it.
    let other = json!({"model": "ranker", "query": format!("{GOOD} {GOOD}"), "documents": [BAD]});
    let other = server.post("/rerank", other).await.json();
    let score = other["results"][0]["relevance_score"].as_f64().unwrap();
    assert!(score > scores[1] + 1e-3, "{score} and {scores:?}");
}

#[tokio::test]
async fn a_pair_is_scored_alike_on_both_routes() {
    let server = with_reranker().await;
    let rerank = json!({"model": "ranker", "query": BAD, "documents": [GOOD], "raw_scores": true});
    let classify = json!({"model": "ranker", "input": [[BAD, GOOD]], "raw_scores": true});
    let reply = server.post("/rerank", rerank).await.json();
    let score = reply["results"][0]["relevance_score"].as_f64().unwrap();
    let reply = server.post("/classify", classify).await.json();
    let label = &reply["results"][0][0];
    assert_eq!(label["label"], "relevance");
    assert!(
        (label["score"].as_f64().unwrap() - score).abs() < 1e-5,
        "{label} {score}"
    );
}

#[tokio::test]
async fn documents_are_ranked_in_the_shape_of_text_embeddings_inference() {
    let server = with_reranker().await;
    let body = json!({"query": "How is it?", "texts": [BAD, GOOD], "return_text": true});
    let reply = server.post("/rerank", body).await.json();
    assert_eq!(indices(&reply), [1, 0]);
    assert_eq!(reply[0]["text"], GOOD);
    assert!(reply[0]["score"].as_f64().unwrap() > reply[1]["score"].as_f64().unwrap());
    let long = json!({"query": "How is it?", "texts": ["word ".repeat(2_000)]});
    assert_eq!(server.post("/rerank", long.clone()).await.status, 413);
    let mut cut = long;
    cut["truncate"] = json!(true);
    assert_eq!(indices(&server.post("/rerank", cut).await.json()), [0]);
}

#[tokio::test]
async fn what_cannot_be_ranked_is_refused_in_words() {
    let server = with_reranker().await;
    let check = async |body: Value, status: u16, words: &str| {
        let (found, text) = server.post("/rerank", body.clone()).await.error();
        assert_eq!(
            (found, text.contains(words)),
            (status, true),
            "{text} for {body}"
        );
    };
    let documents = json!(["a"]);
    check(
        json!({"model": "ranker", "documents": documents}),
        400,
        "query is required",
    )
    .await;
    check(
        json!({"model": "ranker", "query": "a"}),
        400,
        "documents is required",
    )
    .await;
    check(
        json!({"model": "ranker", "query": "a", "documents": []}),
        400,
        "must not be empty",
    )
    .await;
    let top = json!({"model": "ranker", "query": "a", "documents": documents, "top_n": 0});
    check(top, 400, "top_n must be at least 1").await;
    let wrong = json!({"model": "ranker", "query": "a", "documents": [1]});
    check(wrong, 400, "cannot unmarshal number").await;
    let model = json!({"model": "tiny-embed", "query": "a", "documents": documents});
    check(model, 400, "\"tiny-embed\" does not support rerank").await;
    let model = json!({"model": "none", "query": "a", "documents": documents});
    check(model, 404, "model \"none\" not found, try pulling it first").await;
}

#[tokio::test]
async fn a_long_list_is_ranked_and_cut_where_it_must_be() {
    let server = with_reranker().await;
    let documents: Vec<String> = (1..=400)
        .map(|count| format!("{GOOD} ").repeat(count % 40 + 1))
        .collect();
    let body = json!({"model": "ranker", "query": BAD, "documents": documents});
    let reply = server.post("/rerank", body).await.json();
    let mut found = indices(&reply["results"]);
    found.sort_unstable();
    assert_eq!(found, (0..400).collect::<Vec<u64>>());
    assert!(reply["truncated_inputs"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn labels_that_exclude_nothing_have_scores_of_their_own() {
    let server = Server::start().await;
    let graph = std::fs::read(weights::folder("tiny-classify").join("model.onnx")).unwrap();
    let mut config = config();
    config["problem_type"] = json!("multi_label_classification");
    server.create("several", &files(graph, &config)).await;
    let classify = async |model: &str, more: Value| {
        let mut body = json!({"model": model, "input": BAD});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        server.post("/classify", body).await.json()["results"][0]
            .as_array()
            .unwrap()
            .clone()
    };
    let scores = |labels: &[Value]| -> Vec<f64> {
        labels
            .iter()
            .map(|label| label["score"].as_f64().unwrap())
            .collect()
    };
    let several = classify("several", json!({})).await;
    let raw = classify("several", json!({"raw_scores": true})).await;
    for (score, raw) in scores(&several).iter().zip(scores(&raw)) {
        assert!(
            (score - 1.0 / (1.0 + (-raw).exp())).abs() < 1e-5,
            "{score} of {raw}"
        );
    }
    let single = classify("tiny-classify", json!({})).await;
    assert!((scores(&single).iter().sum::<f64>() - 1.0).abs() < 1e-4);
    let likely = classify("several", json!({"threshold": 0.5})).await;
    assert!(!likely.is_empty() && likely.len() < 3, "{likely:?}");
    assert!(scores(&likely).iter().all(|score| *score >= 0.5));
    assert_eq!(
        classify("several", json!({"threshold": 1.1})).await.len(),
        0
    );
}

#[tokio::test]
async fn pairs_are_classified_in_every_form() {
    let server = Server::start().await;
    let classify = async |body: Value| {
        let mut body = body;
        body["model"] = json!("tiny-classify");
        server.post("/classify", body).await
    };
    let pair = classify(json!({"input": [[BAD, GOOD]]})).await.json()["results"].clone();
    assert_eq!(pair.as_array().unwrap().len(), 1);
    for form in [
        json!({"input": {"text": BAD, "text_pair": GOOD}}),
        json!({"inputs": [{"text": BAD, "text_pair": GOOD}]}),
        json!({"text": BAD, "text_pair": GOOD}),
    ] {
        assert_eq!(
            classify(form.clone()).await.json()["results"],
            pair,
            "{form}"
        );
    }
    let first = classify(json!({"input": [[BAD]]})).await.json()["results"].clone();
    assert_ne!(first, pair);
    assert_eq!(
        classify(json!({"input": BAD})).await.json()["results"],
        first
    );
    let both = classify(json!({"input": [BAD, GOOD], "text_pair": GOOD})).await;
    assert_eq!(
        both.error(),
        (400, "text_pair goes with a single text".to_owned())
    );
    let three = classify(json!({"input": [["a", "b", "c"]]})).await.error();
    assert!(
        three.1.starts_with("input must be a text, a pair"),
        "{three:?}"
    );
}
