//! `/token_classify` on the shipped tagger, beside what Hugging Face's pipeline said of the same texts
//! (`models/tiny-tag/golden.py`).

use serde_json::{Value, json};

use crate::server::Server;
use crate::weights;

async fn with_tagger() -> Server {
    let server = Server::start().await;
    let names = [
        "model.onnx",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    let read = |name| {
        (
            name,
            std::fs::read(weights::folder("tiny-tag").join(name)).unwrap(),
        )
    };
    server.create("tagger", &names.map(read)).await;
    server
}

/// The answers of Hugging Face's pipeline.
fn golden() -> Vec<Value> {
    let text = std::fs::read(weights::folder("tiny-tag").join("golden.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[tokio::test]
async fn parts_are_those_of_hugging_faces_pipeline() {
    let server = with_tagger().await;
    let golden = golden();
    for strategy in ["none", "simple", "first", "average", "max"] {
        let of_strategy = |answer: &&Value| answer["aggregation_strategy"] == strategy;
        let answers: Vec<&Value> = golden.iter().filter(of_strategy).collect();
        let texts: Vec<&str> = answers
            .iter()
            .map(|it| it["text"].as_str().unwrap())
            .collect();
        let body = json!({"model": "tagger", "input": texts, "aggregation_strategy": strategy});
        let reply = server.post("/token_classify", body).await.json();
        let results = reply["results"].as_array().unwrap();
        assert_eq!(results.len(), answers.len());
        for (found, expected) in results.iter().zip(answers) {
            compare(found, expected);
        }
    }
}

/// Compares the spans of one text, but for digits of scores that depend on the order of sums.
fn compare(found: &Value, answer: &Value) {
    let text = answer["text"].as_str().unwrap();
    let (found, expected) = (
        found.as_array().unwrap(),
        answer["spans"].as_array().unwrap(),
    );
    assert_eq!(found.len(), expected.len(), "{answer}\n{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        for (field, expected) in expected.as_object().unwrap() {
            let found = &found[field];
            let is_same = match field.as_str() {
                "score" => (found.as_f64().unwrap() - expected.as_f64().unwrap()).abs() < 1e-3,
                _ => found == expected,
            };
            assert!(
                is_same,
                "{field} of {text:?}: {found} in place of {expected}"
            );
        }
        let place = |field: &str| usize::try_from(found[field].as_u64().unwrap()).unwrap();
        let by_characters: String = text
            .chars()
            .skip(place("start"))
            .take(place("end") - place("start"))
            .collect();
        assert_eq!(text[place("start_byte")..place("end_byte")], by_characters);
    }
}

#[tokio::test]
async fn labels_and_scores_may_be_left_out() {
    let server = with_tagger().await;
    let text = "José Müller works for Häagen & Sons Bank in Zürich.";
    let tag = async |more: Value| {
        let mut body = json!({"input": text});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        server.post("/token_classify", body).await
    };
    let labels = async |more: Value| -> Vec<String> {
        let reply = tag(more).await.json();
        let spans = reply["results"][0].as_array().unwrap().iter();
        spans
            .map(|span| span["entity_group"].as_str().unwrap().to_owned())
            .collect()
    };
    // The only model that tags need not be named.
    assert_eq!(labels(json!({})).await, ["PER", "ORG", "LOC"]);
    assert_eq!(
        labels(json!({"ignore_labels": ["PER", "O"]})).await,
        ["ORG", "LOC"]
    );
    assert_eq!(labels(json!({"threshold": 1.0})).await, [""; 0]);
    assert!(
        labels(json!({"ignore_labels": []}))
            .await
            .contains(&"O".to_owned())
    );
    let (status, words) = tag(json!({"aggregation_strategy": "median"})).await.error();
    assert_eq!(status, 400);
    assert!(
        words.contains("none, simple, first, average or max"),
        "{words}"
    );
    let wrong = tag(json!({"model": "tiny-embed"})).await.error();
    assert_eq!(
        wrong,
        (
            400,
            "\"tiny-embed\" does not support classify tokens".to_owned()
        )
    );
}

#[tokio::test]
async fn long_texts_are_tagged_in_parts() {
    let server = with_tagger().await;
    let sentence = "José Müller lives in Zürich. ";
    let body = json!({"input": sentence.repeat(40), "split": true});
    let reply = server.post("/token_classify", body).await.json();
    let spans = reply["results"][0].as_array().unwrap();
    let last = spans.last().unwrap();
    assert!(last["start"].as_u64().unwrap() > 1_000, "{last}");
    assert!(spans.len() >= 70, "{}", spans.len());
    assert_eq!(reply.get("truncated_inputs"), None);
    let cut = server
        .post("/token_classify", json!({"input": sentence.repeat(40)}))
        .await
        .json();
    assert_eq!(cut["truncated_inputs"], 1);
}
