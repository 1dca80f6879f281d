//! ONNX models of the Hugging Face hub, from a hub of our own.

use std::path::Path;

use axum::response::IntoResponse;
use chaski::registry::catalogue::Recommended;
use chaski::store::Digest;
use serde_json::{Value, json};

use super::Puller;
use super::scripted::{Asked, Scripted, redirect, status};
use crate::server::Server;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The files of an ONNX model that this repository ships, and one that is none of the model's.
fn files() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny-embed");
    let names = [
        ("model.onnx", "onnx/model.onnx"),
        ("tokenizer.json", "tokenizer.json"),
        ("tokenizer_config.json", "tokenizer_config.json"),
        ("config.json", "config.json"),
        ("modules.json", "modules.json"),
        ("sentence_bert_config.json", "sentence_bert_config.json"),
        ("1_Pooling/config.json", "1_Pooling/config.json"),
        ("README.md", "README.md"),
    ];
    let read =
        |(file, name): (&str, &str)| (name.to_owned(), std::fs::read(folder.join(file)).unwrap());
    names.into_iter().map(read).collect()
}

/// A hub with the repository `someone/Embed.v1`, whose graph is in LFS. `change` may falsify what it tells.
async fn hub(change: impl FnOnce(&mut Value)) -> Scripted {
    let hub = Scripted::start().await;
    let files = files();
    let siblings: Vec<Value> = files
        .iter()
        .map(|(name, bytes)| {
            let mut sibling = json!({"rfilename": name, "size": bytes.len(), "blobId": "x"});
            if name.ends_with(".onnx") {
                let digest = hub.add_blob(bytes.clone());
                sibling["lfs"] =
                    json!({"sha256": digest.hex(), "size": bytes.len(), "pointerSize": 132});
            }
            sibling
        })
        .collect();
    let mut listing = json!({"id": "someone/Embed.v1", "sha": COMMIT, "siblings": siblings});
    change(&mut listing);
    let own = hub.clone();
    hub.rule(move |asked| {
        if asked.is_manifest() {
            return Some(
                (
                    axum::http::StatusCode::BAD_REQUEST,
                    "Repository is not GGUF",
                )
                    .into_response(),
            );
        }
        if asked.target == "/api/models/someone/Embed.v1/revision/main?blobs=true" {
            return Some(axum::Json(listing.clone()).into_response());
        }
        let file = asked
            .path()
            .strip_prefix(&format!("/someone/Embed.v1/resolve/{COMMIT}/"))?;
        let (_, bytes) = files.iter().find(|(name, _)| name == file)?;
        // As the hub has it: what is in LFS is somewhere else.
        Some(match file.ends_with(".onnx") {
            true => redirect(&own.url(&format!("/v2/a/b/blobs/{}", Digest::of(bytes)))),
            false => bytes.clone().into_response(),
        })
    });
    hub
}

fn puller(hub: &Scripted) -> Puller {
    let url = hub.url("");
    Puller::with(|options| options.hub = url)
}

#[tokio::test]
async fn a_repository_becomes_the_model_that_its_folder_would() {
    let hub = hub(|_| {}).await;
    let puller = puller(&hub);
    let lines = puller.pull("hf.co/someone/Embed.v1").await.unwrap();
    assert_eq!(lines[0], "pulling manifest");
    assert!(lines.contains(&"validating ONNX model".to_owned()));
    assert_eq!(lines.last().unwrap(), "success");
    puller.check_whole();
    let entry = &puller.store.list().unwrap()[0];
    assert_eq!(entry.name.full(), "hf.co/someone/Embed.v1:latest");
    let names: Vec<_> = entry
        .manifest
        .layers
        .iter()
        .filter_map(|layer| layer.name.as_ref())
        .collect();
    assert_eq!(names.len(), 7, "all but the README: {names:?}");
    assert_eq!(hub.count(|asked| asked.target.ends_with("README.md")), 0);
}

#[tokio::test]
async fn the_model_can_be_used() {
    let hub = hub(|_| {}).await;
    let server = Server::start_with([("HF_ENDPOINT", &hub.url(""))]).await;
    let model = "huggingface.co/someone/Embed.v1";
    let pulled = server
        .post("/api/pull", json!({"model": model, "stream": false}))
        .await;
    assert_eq!(pulled.text, "{\"status\":\"success\"}");
    let embedded = |model| server.post("/api/embed", json!({"model": model, "input": "a text"}));
    let (ours, shipped) = (
        embedded(model).await.json(),
        embedded("tiny-embed").await.json(),
    );
    assert_eq!(ours["embeddings"], shipped["embeddings"]);
}

#[tokio::test]
async fn a_model_can_be_made_of_one_that_is_there() {
    let hub = hub(|_| {}).await;
    let server = Server::start_with([("HF_ENDPOINT", &hub.url(""))]).await;
    let request = json!({"model": "mine", "from": "hf.co/someone/Embed.v1", "license": "MIT"});
    let lines = server.post("/api/create", request).await.lines();
    assert_eq!(lines[0]["status"], "pulling manifest");
    assert!(
        lines
            .iter()
            .any(|line| line["total"].as_u64() > Some(2_000_000))
    );
    let ends = lines
        .iter()
        .filter(|line| line["status"] == "success")
        .count();
    assert!(
        ends == 1 && lines.last().unwrap()["status"] == "success",
        "{lines:?}"
    );
    let embedded = |model| server.post("/api/embed", json!({"model": model, "input": "a text"}));
    let (ours, shipped) = (
        embedded("mine").await.json(),
        embedded("tiny-embed").await.json(),
    );
    assert_eq!(ours["embeddings"], shipped["embeddings"]);
}

#[tokio::test]
async fn files_that_are_not_what_the_hub_tells_make_no_model() {
    let other_digest = hub(|listing| {
        for sibling in listing["siblings"].as_array_mut().unwrap() {
            if sibling.get("lfs").is_some() {
                sibling["lfs"]["sha256"] = json!(Digest::of(b"other").hex());
            }
        }
    });
    let error = puller(&other_digest.await)
        .pull("hf.co/someone/Embed.v1")
        .await
        .unwrap_err();
    assert!(error.starts_with("digest mismatch"), "{error}");

    let other_length = hub(|listing| listing["siblings"][1]["size"] = json!(10));
    let error = puller(&other_length.await)
        .pull("hf.co/someone/Embed.v1")
        .await
        .unwrap_err();
    assert_eq!(error, "the registry's reply is longer than 10 bytes");

    let climbing = hub(|listing| listing["sha"] = json!("../../secrets"));
    let error = puller(&climbing.await)
        .pull("hf.co/someone/Embed.v1")
        .await
        .unwrap_err();
    assert_eq!(error, "pull model manifest: 400: Repository is not GGUF");
}

#[tokio::test]
async fn a_repository_without_a_model_is_refused_in_the_registrys_words() {
    let hub = hub(|listing| {
        listing["siblings"]
            .as_array_mut()
            .unwrap()
            .retain(|sibling| sibling.get("lfs").is_none());
    });
    let puller = puller(&hub.await);
    let error = puller.pull("hf.co/someone/Embed.v1").await.unwrap_err();
    assert_eq!(error, "pull model manifest: 400: Repository is not GGUF");
    let error = puller.pull("hf.co/someone/else").await.unwrap_err();
    assert_eq!(error, "pull model manifest: 400: Repository is not GGUF");
    assert!(puller.store.list().unwrap().is_empty());
}

#[tokio::test]
async fn the_hubs_token_stays_with_the_hub() {
    let (hub, storage) = (hub(|_| {}).await, Scripted::start().await);
    for (name, bytes) in files() {
        if name.ends_with(".onnx") {
            storage.add_blob(bytes);
        }
    }
    let place = storage.clone();
    hub.rule(move |asked| asked.is_blob().then(|| redirect(&place.url(asked.path()))));
    let url = hub.url("");
    let puller = Puller::with(|options| {
        options.hub = url;
        options.hub_token = Some("hf_secret".into());
    });
    puller.pull("hf.co/someone/Embed.v1").await.unwrap();
    let shown = |asked: &Asked| {
        asked
            .headers
            .get("authorization")
            .is_some_and(|value| value == "Bearer hf_secret")
    };
    assert!(hub.asked().iter().all(shown) && !storage.asked().is_empty());
    assert!(
        storage
            .asked()
            .iter()
            .all(|asked| asked.headers.get("authorization").is_none())
    );

    // Another registry is no hub.
    let other = Scripted::start().await;
    other.rule(|_| Some(status(404)));
    assert!(puller.pull(&other.name("a/b")).await.is_err());
    assert!(
        other
            .asked()
            .iter()
            .all(|asked| asked.headers.get("authorization").is_none())
    );
}

/// A catalogue with that repository under a name of ours, whose weights must have this digest.
fn catalogue(digest: Digest) -> &'static [Recommended] {
    let model = Recommended::new("embed", "hf.co/someone/Embed.v1", digest);
    Box::leak(Box::new([model]))
}

#[tokio::test]
async fn a_model_of_the_catalogue_has_its_name_and_the_weights_that_were_chosen() {
    let hub = hub(|_| {}).await;
    let (_, graph) = &files()[0];
    let url = hub.url("");
    let puller = Puller::with(|options| {
        options.hub = url;
        options.catalogue = catalogue(Digest::of(graph));
    });
    let lines = puller.pull("chaski/embed").await.unwrap();
    assert_eq!(lines.last().unwrap(), "success");
    puller.check_whole();
    let entry = &puller.store.list().unwrap()[0];
    assert_eq!(entry.name.to_string(), "chaski/embed:latest");
    // No registry is asked for what only looks like one of them.
    let asked = hub.asked().len();
    let error = puller.pull("chaski/embde").await.unwrap_err();
    assert!(
        error.contains("chaski/embde:latest is not in the catalogue; there are chaski/embed"),
        "{error}"
    );
    assert_eq!(hub.asked().len(), asked);
}

#[tokio::test]
async fn a_repository_that_has_changed_since_is_refused_before_anything_is_fetched() {
    let hub = hub(|_| {}).await;
    let url = hub.url("");
    let puller = Puller::with(|options| {
        options.hub = url;
        options.catalogue = catalogue(Digest::of(b"what was chosen"));
    });
    let error = puller.pull("chaski/embed").await.unwrap_err();
    assert!(
        error.contains("chaski pull hf.co/someone/Embed.v1"),
        "{error}"
    );
    assert!(puller.store.list().unwrap().is_empty());
    assert_eq!(hub.count(|asked| asked.target.contains("/resolve/")), 0);
}
