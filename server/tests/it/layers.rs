//! What stands beside a graph in a model's folder: prompts, dense layers, and several heads on one trunk.

use safetensors::Dtype;
use serde_json::{Value, json};

use crate::folder::{safetensors, scattered};
use crate::server::Server;
use crate::vectors::{cosine, vector};
use crate::weights;

const TEXT: &str = "How do I reset my password?";
const WIDTH: usize = 128;

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A layer's file and its matrix, row by row.
fn layer(name: &str, seed: u32, outputs: usize) -> (Vec<u8>, Vec<f32>) {
    let matrix = scattered(seed, outputs * WIDTH);
    let shape = vec![outputs, WIDTH];
    let tensor = (format!("{name}.weight"), shape, Dtype::F32, bytes(&matrix));
    (safetensors(&[tensor]), matrix)
}

/// The files of the shipped encoder, and more.
fn files(more: Vec<(&'static str, Vec<u8>)>) -> Vec<(&'static str, Vec<u8>)> {
    let read = |name: &'static str| {
        let path = weights::folder("tiny-embed").join(name);
        (name, std::fs::read(path).unwrap())
    };
    let mut files = vec![
        read("model.onnx"),
        read("config.json"),
        read("tokenizer.json"),
        read("tokenizer_config.json"),
    ];
    files.extend(more);
    files
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

async fn raw(server: &Server, model: &str, inputs: Value) -> Vec<f64> {
    let body = json!({"model": model, "inputs": inputs, "normalize": false});
    vector(&server.post("/embed", body).await.json()[0])
}

fn product(matrix: &[f32], input: &[f64]) -> Vec<f64> {
    let rows = matrix.chunks_exact(input.len());
    rows.map(|row| row.iter().zip(input).map(|(a, b)| f64::from(*a) * b).sum())
        .collect()
}

fn is_near(found: &[f64], expected: &[f64]) -> bool {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-3 * (1.0 + b.abs());
    found.len() == expected.len() && found.iter().zip(expected).all(near)
}

#[tokio::test]
async fn sentence_transformers_modules_and_prompts_are_followed() {
    let server = Server::start().await;
    let (weights, matrix) = layer("linear", 1, 48);
    let module = |index: usize, path: &str, kind: &str| {
        let kind = format!("sentence_transformers.models.{kind}");
        json!({"idx": index, "name": index.to_string(), "path": path, "type": kind})
    };
    let modules = json!([
        module(0, "", "Transformer"),
        module(1, "1_Pooling", "Pooling"),
        module(2, "2_Dense", "Dense")
    ]);
    let dense = json!({
        "in_features": WIDTH, "out_features": 48, "bias": false, "activation_function": "torch.nn.modules.linear.Identity"
    });
    let prompts =
        json!({"prompts": {"query": "search for: ", "document": ""}, "default_prompt_name": null});
    let more = vec![
        ("modules.json", text(&modules)),
        (
            "1_Pooling/config.json",
            text(&json!({"pooling_mode_max_tokens": true})),
        ),
        ("2_Dense/config.json", text(&dense)),
        ("2_Dense/model.safetensors", weights),
        ("config_sentence_transformers.json", text(&prompts)),
    ];
    server.create("dense", &files(more)).await;
    let body = json!({"model": "tiny-embed", "inputs": TEXT});
    let tokens = server.post("/embed_all", body).await.json();
    let tokens: Vec<Vec<f64>> = tokens[0].as_array().unwrap().iter().map(vector).collect();
    let largest = |at: usize| {
        tokens
            .iter()
            .map(|token| token[at])
            .fold(f64::MIN, f64::max)
    };
    let pooled: Vec<f64> = (0..WIDTH).map(largest).collect();
    let found = raw(&server, "dense", json!(TEXT)).await;
    let expected = product(&matrix, &pooled);
    // Both may be computed with 8 bits, one of them found fit for its own vectors alone.
    assert!(
        cosine(&found, &expected) > 0.995,
        "{}",
        cosine(&found, &expected)
    );

    let embed = async |more: Value| {
        let mut body = json!({"model": "dense", "input": TEXT});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        server.post("/api/embed", body).await
    };
    let vector_of = async |more: Value| vector(&embed(more).await.json()["embeddings"][0]);
    let plain = vector_of(json!({})).await;
    let by_name = vector_of(json!({"prompt_name": "query"})).await;
    assert!(cosine(&plain, &by_name) < 0.999);
    assert_eq!(vector_of(json!({"prompt": "search for: "})).await, by_name);
    assert_eq!(vector_of(json!({"prompt_name": "document"})).await, plain);
    let written = json!({"input": format!("search for: {TEXT}")});
    assert_eq!(vector_of(written).await, by_name);
    let unknown = embed(json!({"prompt_name": "passage"})).await.error();
    let words = "this model has no prompt \"passage\"; its prompts are: document, query";
    assert_eq!(unknown, (400, words.to_owned()));
    let openai = json!({"model": "dense", "input": TEXT, "prompt_name": "query"});
    let openai = server.post("/v1/embeddings", openai).await.plain_json();
    assert_eq!(vector(&openai["data"][0]["embedding"]), by_name);
}

#[tokio::test]
async fn several_heads_stand_on_one_trunk() {
    let server = Server::start().await;
    let (mood, mood_matrix) = layer("classifier", 2, 2);
    let (topic, _) = layer("score", 3, 3);
    let (name, _) = layer("classifier", 4, 2);
    let mood_config = json!({
        "architectures": ["BertForSequenceClassification"], "id2label": {"0": "calm", "1": "angry"},
        "problem_type": "multi_label_classification"
    });
    let topic_config = json!({"id2label": {"0": "money", "1": "sport", "2": "travel"}, "classifier_pooling": "cls"});
    let name_config = json!({"architectures": ["BertForTokenClassification"], "id2label": {"0": "O", "1": "B-NAME"}});
    let more = vec![
        ("heads/mood/config.json", text(&mood_config)),
        ("heads/mood/model.safetensors", mood),
        ("heads/topic/config.json", text(&topic_config)),
        ("heads/topic/model.safetensors", topic),
        ("heads/name/config.json", text(&name_config)),
        ("heads/name/model.safetensors", name),
    ];
    server.create("trunk", &files(more)).await;
    let shown = server
        .post("/api/show", json!({"model": "trunk"}))
        .await
        .json();
    assert_eq!(
        shown["capabilities"],
        json!(["embedding", "classify", "token_classify"])
    );

    let pooled = raw(&server, "trunk", json!(TEXT)).await;
    let classify = async |head: Value| {
        let body = json!({"model": "trunk", "input": TEXT, "head": head, "raw_scores": true});
        server.post("/classify", body).await
    };
    let mood = classify(json!("mood")).await.json()["results"][0].clone();
    let score = |label: &str| {
        let labels = mood.as_array().unwrap().iter();
        let mut found = labels.filter(|found| found["label"] == label);
        found.next().unwrap()["score"].as_f64().unwrap()
    };
    let expected = product(&mood_matrix, &pooled);
    assert!(
        is_near(&[score("calm"), score("angry")], &expected),
        "{mood} {expected:?}"
    );
    let topic = classify(json!("topic")).await.json();
    assert_eq!(topic["results"][0].as_array().unwrap().len(), 3);
    assert_eq!(
        classify(Value::Null).await.error(),
        (
            400,
            "head is required: this model has several: mood, name, topic".to_owned()
        )
    );
    let (status, words) = classify(json!("weather")).await.error();
    assert_eq!(status, 400);
    assert!(words.contains("no head \"weather\""), "{words}");
    // The only head for tokens needs no name.
    let tags = json!({"model": "trunk", "input": TEXT, "aggregation_strategy": "none", "ignore_labels": []});
    let tags = server.post("/token_classify", tags).await.json();
    assert_eq!(tags["results"][0].as_array().unwrap().len(), 7);
    let loaded = server.get("/api/ps").await.json();
    assert_eq!(loaded["models"].as_array().unwrap().len(), 1, "{loaded}");
}

#[tokio::test]
async fn layers_that_do_not_fit_are_named_as_the_model_is_loaded() {
    let server = Server::start().await;
    let matrix = bytes(&scattered(5, 2 * 64));
    let narrow = safetensors(&[("classifier.weight".into(), vec![2, 64], Dtype::F32, matrix)]);
    let more = vec![
        ("heads/mood/config.json", text(&json!({}))),
        ("heads/mood/model.safetensors", narrow),
    ];
    server.create("narrow", &files(more)).await;
    let body = json!({"model": "narrow", "input": TEXT});
    let (status, words) = server.post("/api/embed", body).await.error();
    assert_eq!(status, 500);
    assert!(
        words.contains("the head 'mood' takes 64 numbers"),
        "{words}"
    );
}
