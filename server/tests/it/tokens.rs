//! `/api/tokenize` and `/api/detokenize` on every kind of model that the repository ships.

use serde_json::{Value, json};

use crate::server::Server;

#[tokio::test]
async fn texts_become_tokens_and_texts_again() {
    let server = Server::start().await;
    for model in ["tiny", "tiny-embed", "tiny-classify"] {
        let text = "what is the price";
        let body = json!({"model": model, "content": text});
        let reply = server.post("/api/tokenize", body).await.json();
        assert_eq!(reply["model"], model);
        let tokens = &reply["tokens"];
        assert!(!tokens.as_array().unwrap().is_empty());
        for field in ["total_duration", "load_duration"] {
            assert!(reply[field].as_u64().unwrap() > 0, "{field}");
        }
        let body = json!({"model": model, "tokens": tokens});
        let reply = server.post("/api/detokenize", body).await.json();
        assert_eq!(reply["content"].as_str().unwrap().trim(), text, "{model}");
    }
}

#[tokio::test]
async fn special_tokens_come_where_asked_and_pieces_show_them() {
    let server = Server::start().await;
    let tokenize = async |more: Value| {
        let mut body = json!({"model": "tiny-embed", "text": "the price"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        server.post("/api/tokenize", body).await.json()["tokens"].clone()
    };
    let bare = tokenize(json!({})).await;
    let whole = tokenize(json!({"add_special": true, "with_pieces": true})).await;
    let whole = whole.as_array().unwrap();
    assert_eq!(whole.len(), bare.as_array().unwrap().len() + 2);
    assert_eq!(whole[0]["piece"], "[CLS]");
    assert_eq!(whole[1]["id"], bare[0]);
    assert_eq!(whole[1]["piece"], "the");

    let chat = async |more: Value| {
        let mut body = json!({"model": "tiny", "content": "<|im_start|>é", "with_pieces": true});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        server.post("/api/tokenize", body).await.json()["tokens"]
            .as_array()
            .unwrap()
            .clone()
    };
    let special = chat(json!({})).await;
    assert_eq!(special[0]["piece"], "<|im_start|>");
    assert!(chat(json!({"parse_special": false})).await.len() > special.len());
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_words() {
    let server = Server::start().await;
    let check = async |path: &str, body: Value, status: u16, words: &str| {
        let (found, text) = server.post(path, body.clone()).await.error();
        assert_eq!(
            (found, text.contains(words)),
            (status, true),
            "{text} for {body}"
        );
    };
    let model = json!({"model": "tiny"});
    check("/api/tokenize", model.clone(), 400, "content is required").await;
    check("/api/detokenize", model, 400, "tokens is required").await;
    check(
        "/api/tokenize",
        json!({"content": "a"}),
        400,
        "model is required",
    )
    .await;
    for model in ["tiny", "tiny-embed"] {
        let body = json!({"model": model, "tokens": [1_000_000]});
        check("/api/detokenize", body, 400, "token").await;
    }
    let absent = json!({"model": "none", "content": "a"});
    check(
        "/api/tokenize",
        absent,
        404,
        "not found, try pulling it first",
    )
    .await;
}
