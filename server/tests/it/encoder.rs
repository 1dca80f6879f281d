//! GGUF models that encode, driven through the port of encoding and over HTTP: the weights of the shipped ONNX models, so
//! that ONNX Runtime is the judge.

use std::path::PathBuf;

use chaski::engine::gguf::{self, EncoderSpec};
use chaski::engine::{Ability, Facts};
use chaski::inference::encode::{Company, Encoder, Tokenized};
use serde_json::{Value, json};

use crate::bert_gguf::{Pooling, build, build_raw};
use crate::server::Server;
use crate::vectors::{cosine, vector};
use crate::weights;

const TEXTS: [&str; 5] = [
    "How do I reset my password?",
    "What is the capital of France?",
    "x",
    "The price of the red one is higher than that of the blue one, as far as I can tell from the list.",
    "Name the capital of China.",
];

fn spec(model: PathBuf) -> EncoderSpec {
    EncoderSpec {
        model,
        threads: 1,
        use_mmap: None,
        kernels: gguf::Preference::default(),
        flash_attention: None,
        gpu_layers: None,
    }
}

fn with_encoder<T>(
    model: &str,
    pooling: Pooling,
    body: impl FnOnce(&mut dyn Encoder, Facts) -> T,
) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, build(model, pooling)).unwrap();
    gguf::with_encoder(&spec(path), body).unwrap()
}

fn framed(encoder: &dyn Encoder, text: &str) -> Tokenized {
    let tokens = encoder.split(text).unwrap();
    encoder
        .frame()
        .single(&tokens, encoder.max_tokens())
        .unwrap()
}

#[test]
fn company_leaves_a_vector_as_it_is() {
    with_encoder("tiny-embed", Pooling::Mean, |encoder, facts| {
        assert_eq!(facts.ability, Ability::Embed { dimensions: 128 });
        assert_eq!((facts.context, facts.slots), (256, 64));
        assert_eq!(encoder.company(), Company::Any);
        let texts = TEXTS.map(|text| framed(encoder, text));
        let alone: Vec<Vec<f32>> = texts
            .iter()
            .map(|text| encoder.encode(&[text]).unwrap().remove(0))
            .collect();
        let together = encoder.encode(&texts.iter().collect::<Vec<_>>()).unwrap();
        let reversed = encoder
            .encode(&texts.iter().rev().collect::<Vec<_>>())
            .unwrap();
        let mut largest = 0.0f32;
        for batch in [&together, &reversed.into_iter().rev().collect()] {
            for (alone, together) in alone.iter().flatten().zip(batch.iter().flatten()) {
                largest = largest.max((alone - together).abs());
            }
        }
        println!("largest difference that company makes: {largest:e}");
        assert!(largest < 1e-5, "{largest}");
    });
}

#[test]
fn the_same_batch_gives_the_same_vectors() {
    with_encoder("tiny-embed", Pooling::First, |encoder, _| {
        let texts = TEXTS.map(|text| framed(encoder, text));
        let texts: Vec<&Tokenized> = texts.iter().collect();
        let first = encoder.encode(&texts).unwrap();
        // A long text makes the engine set aside more; what comes after it is as before.
        let long = framed(encoder, &"word ".repeat(400));
        assert_eq!(long.ids.len(), 256);
        assert!(long.full_length > 256);
        encoder.encode(&[&long]).unwrap();
        assert_eq!(encoder.encode(&texts).unwrap(), first);
    });
}

#[test]
fn tokens_are_those_of_the_onnx_model_and_turn_back_into_text() {
    with_encoder("tiny-embed", Pooling::Mean, |encoder, _| {
        let text = "What is the price of [MASK]?";
        let bare = encoder.tokens(text, false, true).unwrap();
        let whole = encoder.tokens(text, true, true).unwrap();
        assert_eq!(whole[1..whole.len() - 1], bare);
        assert_eq!((whole[0], whole[whole.len() - 1]), (2, 3));
        let pieces = encoder.pieces(&whole).unwrap();
        assert_eq!(pieces[0], b"[CLS]");
        let plain = encoder.tokens("what is the price", false, true).unwrap();
        assert_eq!(encoder.detokenize(&plain).unwrap(), "what is the price");
        for wrong in [-1, 1_000_000] {
            assert!(encoder.detokenize(&[wrong]).is_err());
            assert!(encoder.pieces(&[wrong]).is_err());
        }
    });
}

#[test]
fn a_chat_model_encodes_by_its_last_token() {
    let tiny = weights::folder("tiny").join("tiny.gguf");
    gguf::with_encoder(&spec(tiny), |encoder, facts| {
        assert!(matches!(facts.ability, Ability::Embed { dimensions } if dimensions > 0));
        let texts = TEXTS.map(|text| framed(encoder, text));
        let alone: Vec<Vec<f32>> = texts
            .iter()
            .map(|text| encoder.encode(&[text]).unwrap().remove(0))
            .collect();
        let together = encoder.encode(&texts.iter().collect::<Vec<_>>()).unwrap();
        for (alone, together) in alone.iter().zip(&together) {
            let wide = |vector: &[f32]| -> Vec<f64> { vector.iter().map(|&x| x.into()).collect() };
            assert!(cosine(&wide(alone), &wide(together)) > 0.999_99);
        }
        // A text so long that it is computed in parts.
        let long = framed(encoder, &"What is the capital of France? ".repeat(400));
        let wide = |vector: &[f32]| -> Vec<f64> { vector.iter().map(|&x| x.into()).collect() };
        let first = encoder.encode(&[&long]).unwrap().remove(0);
        let again = encoder.encode(&[&long]).unwrap().remove(0);
        assert!(long.ids.len() > 2048);
        let likeness = cosine(&wide(&first), &wide(&again));
        assert!(likeness > 0.999_99, "{likeness}");
        // What comes after the last token is not there yet: only the same texts have the same vector.
        assert_ne!(alone[0], alone[1]);
    })
    .unwrap();
}

#[test]
fn a_damaged_file_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let whole = build("tiny-embed", Pooling::Mean);
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = gguf::with_encoder(&spec(path), |_, _| ()).unwrap_err();
    assert!(
        error.to_string().starts_with("failed to load model"),
        "{error}"
    );
}

/// Makes a model of a GGUF file under a name.
async fn create(server: &Server, name: &str, file: &[u8]) {
    server.create(name, &[("model.gguf", file.to_vec())]).await;
}

#[tokio::test]
async fn a_gguf_model_embeds_as_the_onnx_model_with_its_weights() {
    // In full precision, so that a difference is one of meaning.
    let server = Server::start_with([("CHASKI_ENCODER", "onnxruntime")]).await;
    create(&server, "bert", &build("tiny-embed", Pooling::Mean)).await;
    let embed = async |model: &str, input: Value| {
        let reply = server
            .post("/api/embed", json!({"model": model, "input": input}))
            .await
            .json();
        let vectors = reply["embeddings"].as_array().unwrap().iter();
        let vectors: Vec<Vec<f64>> = vectors.map(vector).collect();
        (vectors, reply["prompt_eval_count"].as_u64().unwrap())
    };
    let (gguf, gguf_tokens) = embed("bert", json!(TEXTS)).await;
    let (onnx, onnx_tokens) = embed("tiny-embed", json!(TEXTS)).await;
    assert_eq!(gguf_tokens, onnx_tokens);
    for ((gguf, onnx), text) in gguf.iter().zip(&onnx).zip(TEXTS) {
        let similarity = cosine(gguf, onnx);
        assert!(similarity > 0.999_9, "{similarity} {text}");
        let (alone, _) = embed("bert", json!(text)).await;
        assert!(cosine(&alone[0], gguf) > 0.999_999, "{text}");
    }
    let show = server
        .post("/api/show", json!({"model": "bert"}))
        .await
        .json();
    assert_eq!(show["capabilities"], json!(["embedding"]));
    let ps = server.get("/api/ps").await.json();
    assert!(
        ps["models"]
            .as_array()
            .unwrap()
            .iter()
            .any(|model| model["name"] == "bert:latest"),
        "{ps}"
    );
    let chat = json!({"model": "bert", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(
        server.post("/api/chat", chat).await.error(),
        (400, "\"bert\" does not support chat".to_owned())
    );
}

#[tokio::test]
async fn texts_for_a_gguf_model_are_cut_or_refused_as_ollama_does() {
    // In full precision, so that a difference is one of meaning.
    let server = Server::start_with([("CHASKI_ENCODER", "onnxruntime")]).await;
    create(&server, "bert", &build("tiny-embed", Pooling::Mean)).await;
    let embed = async |input: Value, more: Value| {
        let mut body = json!({"model": "bert", "input": input});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        server.post("/api/embed", body).await
    };
    let text = "what is the price";
    let tokens = embed(json!(text), json!({})).await.json()["prompt_eval_count"].clone();
    let word = embed(json!("what"), json!({})).await.json();
    // As small a context as this is not one that a model is loaded with: it counts for the text.
    let cut = embed(json!(text), json!({"options": {"num_ctx": 3}}))
        .await
        .json();
    assert_eq!(cut["prompt_eval_count"], 3);
    assert_eq!(cut["truncated_inputs"], 1);
    assert_eq!(cut["embeddings"], word["embeddings"]);
    assert!(tokens.as_u64().unwrap() > 3);
    let refused = embed(
        json!(text),
        json!({"options": {"num_ctx": 3}, "truncate": false}),
    )
    .await;
    let too_long = "the input length exceeds the context length".to_owned();
    assert_eq!(refused.error(), (400, too_long.clone()));
    for num_ctx in [1, 0] {
        let nothing = embed(json!(text), json!({"options": {"num_ctx": num_ctx}})).await;
        let text = "input after truncation exceeds maximum context length".to_owned();
        assert_eq!(nothing.error(), (400, text));
    }
    let long = "word ".repeat(2_000);
    let whole = embed(json!([long, "short", ""]), json!({})).await.json();
    assert_eq!(whole["embeddings"].as_array().unwrap().len(), 3);
    let old = json!({"model": "bert", "prompt": long});
    assert_eq!(
        server.post("/api/embeddings", old).await.error(),
        (500, too_long)
    );
}

#[tokio::test]
async fn the_old_route_leaves_vectors_as_they_are_where_ollama_did() {
    let server = Server::start().await;
    create(&server, "bert", &build("tiny-embed", Pooling::Mean)).await;
    let length = async |model: &str| {
        let body = json!({"model": model, "prompt": "How do I reset my password?"});
        let reply = server.post("/api/embeddings", body).await.json();
        vector(&reply["embedding"])
            .iter()
            .map(|x| x * x)
            .sum::<f64>()
            .sqrt()
    };
    assert!((length("bert").await - 1.0).abs() < 1e-4);
    create(&server, "raw", &build_raw("tiny-embed", Pooling::Mean)).await;
    let raw = length("raw").await;
    assert!((raw - 1.0).abs() > 1e-2, "{raw}");
}

#[tokio::test]
async fn a_chat_model_gives_vectors_when_asked() {
    let server = Server::start().await;
    let body = json!({"model": "tiny", "input": ["What is the capital of France?", "Hello"]});
    let reply = server.post("/api/embed", body.clone()).await.json();
    let vectors: Vec<Vec<f64>> = reply["embeddings"]
        .as_array()
        .unwrap()
        .iter()
        .map(vector)
        .collect();
    assert_eq!(vectors.len(), 2);
    let length: f64 = vectors[0].iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-4, "{length}");
    // It still talks: for vectors it was loaded a second time, and both go when it is unloaded.
    let chat =
        json!({"model": "tiny", "prompt": "Hello", "stream": false, "options": {"num_predict": 4}});
    server.post("/api/generate", chat).await.json();
    let loaded = || server.app.models.loaded().len();
    assert_eq!(loaded(), 2);
    let unload = json!({"model": "tiny", "keep_alive": 0});
    server.post("/api/generate", unload).await.json();
    assert_eq!(loaded(), 0);
}

#[tokio::test]
async fn a_gguf_classifier_gives_labels_and_a_gguf_reranker_scores() {
    let server = Server::start().await;
    let labels: &[&str] = &["negative", "neutral", "positive"];
    create(
        &server,
        "labels",
        &build("tiny-classify", Pooling::Rank(labels)),
    )
    .await;
    create(
        &server,
        "rank",
        &build("tiny-classify", Pooling::Rank(&["relevance"])),
    )
    .await;
    let reply = server
        .post(
            "/classify",
            json!({"model": "labels", "input": ["good", "bad"]}),
        )
        .await
        .json();
    for result in reply["results"].as_array().unwrap() {
        let scores = result.as_array().unwrap().iter();
        let sum: f64 = scores.map(|label| label["score"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-4, "{reply}");
    }
    let documents = ["good", "bad", "no idea"];
    let rerank = async |documents: &[&str], raw: bool| {
        let body =
            json!({"model": "rank", "query": "is it?", "documents": documents, "raw_scores": raw});
        server.post("/rerank", body).await.json()["results"]
            .as_array()
            .unwrap()
            .clone()
    };
    let ranked = rerank(&documents, false).await;
    let raw = rerank(&documents, true).await;
    for (result, raw) in ranked.iter().zip(&raw) {
        assert_eq!(result["index"], raw["index"]);
        let (score, raw) = (
            result["relevance_score"].as_f64().unwrap(),
            raw["relevance_score"].as_f64().unwrap(),
        );
        assert!(
            (score - 1.0 / (1.0 + (-raw).exp())).abs() < 1e-5,
            "{score} of {raw}"
        );
        // A document's score does not depend on those beside it.
        let index = usize::try_from(result["index"].as_u64().unwrap()).unwrap();
        let alone = rerank(&documents[index..=index], false).await;
        let alone = alone[0]["relevance_score"].as_f64().unwrap();
        assert!((alone - score).abs() < 1e-5, "{alone} and {score}");
    }
}
