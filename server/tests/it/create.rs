//! Models made of other models and of files: quantised, merged, adapted. With real inference afterwards.

use std::path::Path;

use serde_json::{Value, json};

use crate::floats::Parts;
use crate::server::{Reply, Server};

const QUESTION: &str = "What is the capital of France?";

/// Uploads a file and returns its digest.
pub async fn upload(server: &Server, path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap();
    let digest = chaski::store::Digest::of(&bytes).to_string();
    let request = server
        .request(reqwest::Method::POST, &format!("/api/blobs/{digest}"))
        .body(bytes);
    assert!(Reply::of(request).await.status.is_success());
    digest
}

/// Makes `floats`: `tiny` in 16-bit floats.
pub async fn make_floats(server: &Server) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floats.gguf");
    Parts::of_tiny_in_floats().write(&path, |entries| entries.put("general.file_type", 1_u32));
    let digest = upload(server, &path).await;
    let body = json!({"model": "floats", "files": {"floats.gguf": digest}});
    let lines = server.post("/api/create", body).await.lines();
    assert_eq!(lines.last().unwrap()["status"], "success", "{lines:?}");
}

pub async fn answer(server: &Server, model: &str) -> String {
    let body = json!({
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": false,
        "options": {"temperature": 0, "num_predict": 24},
    });
    let reply = server.post("/api/chat", body).await.json();
    reply["message"]["content"].as_str().unwrap().to_owned()
}

pub async fn show(server: &Server, model: &str) -> Value {
    let body = json!({"model": model, "verbose": true});
    server.post("/api/show", body).await.json()
}

#[tokio::test]
async fn a_model_of_floats_is_quantised_to_every_level_and_answers() {
    let server = Server::start().await;
    make_floats(&server).await;
    let floats = show(&server, "floats").await;
    assert_eq!(floats["details"]["quantization_level"], "F16");
    assert!(answer(&server, "floats").await.contains("Paris"));
    for (field, level, expected, matrix) in [
        ("quantize", "q8_0", "Q8_0", "Q8_0"),
        ("quantize", "Q4_K_S", "Q4_K_S", "Q4_K"),
        ("quantize", "q4_K_M", "Q4_K_M", "Q4_K"),
        ("quantization", "Q4_K", "Q4_K_M", "Q4_K"),
        ("quantize", "q4_0", "Q4_0", "Q4_0"),
        ("quantize", "f32", "F32", "F32"),
        ("quantize", "BF16", "BF16", "BF16"),
    ] {
        let model = format!("floats:{level}");
        let body = json!({"model": model, "from": "floats", field: level});
        let lines = server.post("/api/create", body).await.lines();
        let status = format!("quantizing F16 model to {expected}");
        let quantizing: Vec<_> = lines
            .iter()
            .filter(|line| line["status"] == status)
            .collect();
        let last = quantizing.last().unwrap_or_else(|| panic!("{lines:?}"));
        assert_eq!(last["digest"], "0000000000000000000");
        assert_eq!(last["completed"], last["total"]);
        assert!(last["total"].as_u64().unwrap() > 1 << 20, "{last}");
        assert!(
            lines
                .iter()
                .any(|line| line["status"] == "verifying conversion")
        );
        assert_eq!(lines.last().unwrap(), &json!({"status": "success"}));

        let shown = show(&server, &model).await;
        assert_eq!(shown["details"]["quantization_level"], expected);
        let parameters = &shown["details"]["parameter_size"];
        assert_eq!(parameters, &floats["details"]["parameter_size"]);
        let tensors = shown["tensors"].as_array().unwrap();
        let query = tensors
            .iter()
            .find(|tensor| tensor["name"] == "blk.1.attn_q.weight")
            .unwrap();
        assert_eq!(query["type"], matrix, "{level}");
        let answer = answer(&server, &model).await;
        assert!(answer.contains("Paris"), "{level}: {answer}");
    }
}

#[tokio::test]
async fn what_cannot_be_quantised_is_refused_in_ollamas_words() {
    let server = Server::start().await;
    let check = async |body: Value, status: u16, text: &str| {
        for stream in [true, false] {
            let mut body = body.clone();
            body["stream"] = stream.into();
            let reply = server.post("/api/create", body.clone()).await;
            assert_eq!(reply.error(), (status, text.to_owned()), "{body}");
        }
    };
    let kinds =
        "unsupported quantization type Q9 - supported types are F32, F16, Q4_K_S, Q4_K_M, Q8_0";
    check(
        json!({"model": "x", "from": "tiny", "quantize": "q9"}),
        400,
        kinds,
    )
    .await;
    let floats_only = "quantization is only supported for F16, BF16 and F32 models";
    check(
        json!({"model": "x", "from": "tiny", "quantize": "Q8_0"}),
        500,
        floats_only,
    )
    .await;
    let onnx = "'tiny-embed:latest' has no GGUF model to work on";
    check(
        json!({"model": "x", "from": "tiny-embed", "quantize": "Q8_0"}),
        400,
        onnx,
    )
    .await;
}

#[tokio::test]
async fn nothing_is_left_of_what_was_made_on_the_way() {
    let server = Server::start().await;
    make_floats(&server).await;
    let blobs = || {
        let folder = server.app.store.root().join("blobs");
        std::fs::read_dir(folder).unwrap().count()
    };
    let before = blobs();
    let body = json!({"model": "small", "from": "floats", "quantize": "Q4_0", "stream": false});
    let reply = server.post("/api/create", body).await.json();
    assert_eq!(reply, json!({"status": "success"}));
    // The quantised weights and a new configuration.
    assert_eq!(blobs(), before + 2);
    let deleted = server
        .request(reqwest::Method::DELETE, "/api/delete")
        .body(json!({"model": "small"}).to_string());
    assert!(Reply::of(deleted).await.status.is_success());
    assert_eq!(blobs(), before);
}

#[tokio::test]
async fn the_parts_of_a_split_model_become_one() {
    let server = Server::start().await;
    make_floats(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let mut whole = Parts::of_tiny_in_floats();
    let all = whole.tensors.len();
    let mut files = serde_json::Map::new();
    // As gguf-split does it: the metadata in the first part, and a few tensors in each.
    let counts = [1, 20, all - 21];
    for (index, count) in counts.into_iter().enumerate() {
        let name = format!("tiny-{:05}-of-{:05}.gguf", index + 1, counts.len());
        let rest = whole.tensors.split_off(count);
        let path = folder.path().join(&name);
        let is_first = index == 0;
        whole.write(&path, |entries| {
            if is_first {
                entries.put("general.file_type", 1_u32);
            }
            entries.put("split.no", u32::try_from(index).unwrap());
            entries.put("split.count", u32::try_from(counts.len()).unwrap());
            entries.put("split.tensors.count", i32::try_from(all).unwrap());
        });
        files.insert(name, upload(&server, &path).await.into());
        whole = Parts {
            entries: Vec::new(),
            tensors: rest,
        };
    }
    let body = json!({"model": "whole", "files": files});
    let lines = server.post("/api/create", body).await.lines();
    assert!(
        lines
            .iter()
            .any(|line| line["status"] == "validating GGUF model")
    );
    assert_eq!(lines.last().unwrap()["status"], "success");

    let (merged, floats) = (show(&server, "whole").await, show(&server, "floats").await);
    assert_eq!(merged["tensors"], floats["tensors"]);
    assert_eq!(merged["model_info"], floats["model_info"]);
    assert_eq!(
        answer(&server, "whole").await,
        answer(&server, "floats").await
    );

    let first = files.keys().next().unwrap().clone();
    let body = json!({"model": "half", "files": {&first: files[&first]}});
    let (status, text) = server.post("/api/create", body).await.error();
    assert_eq!(status, 400);
    assert_eq!(text, "split GGUF \"tiny.gguf\" has 1 shards, expected 3");
}

#[tokio::test]
async fn every_field_is_read_or_refused_in_ollamas_words() {
    let server = Server::start().await;
    let check = async |body: Value, status: u16, text: &str| {
        let reply = server.post("/api/create", body.clone()).await;
        assert_eq!(reply.error(), (status, text.to_owned()), "{body}");
    };
    let neither = "neither 'from' or 'files' was specified";
    check(json!({"model": "x"}), 400, neither).await;
    check(
        json!({"model": "a b", "from": "tiny"}),
        400,
        "invalid model name",
    )
    .await;
    check(json!({"model": "x", "files": {}}), 400, "unknown type").await;
    check(
        json!({"model": "x", "from": "tiny", "adapters": {}}),
        400,
        "unknown type",
    )
    .await;
    let digest = chaski::store::Digest::of(b"").to_string();
    let climbing = "file path must be relative";
    check(
        json!({"model": "x", "files": {"../x": digest}}),
        400,
        climbing,
    )
    .await;
    check(
        json!({"model": "x", "files": {"/x": digest}}),
        400,
        climbing,
    )
    .await;
    check(
        json!({"model": "x", "files": {"x.gguf": ""}}),
        400,
        "invalid digest format",
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "not a model").unwrap();
    let notes = upload(&server, &path).await;
    check(
        json!({"model": "x", "files": {"x.txt": notes}}),
        400,
        "unknown type",
    )
    .await;
    let not_gguf = "supplied file was not in GGUF format";
    check(
        json!({"model": "x", "files": {"x.gguf": notes}}),
        400,
        not_gguf,
    )
    .await;
    let draft = "--draft-quantize requires a DRAFT model";
    check(
        json!({"model": "x", "from": "tiny", "draft_quantize": "Q8_0"}),
        400,
        draft,
    )
    .await;
    let info = "info field \"model_family\" must be a string";
    check(
        json!({"model": "x", "from": "tiny", "info": {"model_family": 1}}),
        400,
        info,
    )
    .await;
    check(
        json!({"model": "x", "from": "y", "remote_host": "a b"}),
        400,
        "bad remote",
    )
    .await;
    let remote =
        json!({"model": "x", "from": "y", "remote_host": "h", "draft_files": {"d.gguf": notes}});
    check(remote, 400, "DRAFT cannot be used with remote models").await;

    let body =
        json!({"model": "far", "from": "big:70b", "remote_host": "elsewhere", "stream": false});
    server.post("/api/create", body).await.json();
    // A server of local models knows where it runs and tells no more of it.
    let tags = server.get("/api/tags").await.json();
    let models = tags["models"].as_array().unwrap();
    let far = models.iter().find(|model| model["name"] == "far:latest");
    let far = far.unwrap();
    assert_eq!(far["remote_host"], "http://elsewhere:11434");
    assert_eq!(far["remote_model"], "big:70b");
    let refused = server.post("/api/show", json!({"model": "far"})).await;
    let details = "ollama cloud is disabled: remote model details are unavailable";
    assert_eq!(refused.error(), (403, details.to_owned()));
    let body = json!({
        "model": "told", "from": "tiny", "stream": false, "license": ["MIT", "Apache"], "requires": "0.9.0",
        "messages": [{"role": "USER", "content": "Hi"}], "info": {"parameter_size": "3M"}, "renderer": "qwen3",
        "parser": "qwen3",
    });
    server.post("/api/create", body).await.json();
    let shown = show(&server, "told").await;
    let licenses = shown["license"].as_str().unwrap();
    let of_the_base = show(&server, "tiny").await["license"].clone();
    let added = licenses.strip_prefix(of_the_base.as_str().unwrap());
    assert_eq!(added, Some("\nMIT\nApache"));
    assert_eq!(shown["requires"], "0.9.0");
    assert_eq!(
        shown["messages"],
        json!([{"role": "user", "content": "Hi"}])
    );
    assert_eq!(shown["details"]["parameter_size"], "3M");
    let modelfile = shown["modelfile"].as_str().unwrap();
    for line in [
        "MESSAGE user Hi",
        "RENDERER qwen3",
        "PARSER qwen3",
        "REQUIRES 0.9.0",
    ] {
        assert!(
            modelfile.lines().any(|found| found == line),
            "{line}: {modelfile}"
        );
    }
}

#[tokio::test]
async fn two_files_are_a_model_and_its_projector() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mmproj.gguf");
    let mut entries = chaski::convert::gguf::Entries::default();
    entries.put("general.architecture", "clip");
    entries.put("general.type", "mmproj");
    entries.put("clip.has_vision_encoder", true);
    let mut told = |_| {};
    let writer = chaski::convert::gguf::Writer::begin(&path, &entries, &[], &mut told);
    writer.unwrap().finish().unwrap();
    let files = json!({
        "tiny.gguf": upload(&server, &crate::floats::tiny()).await,
        "mmproj.gguf": upload(&server, &path).await,
    });
    let body = json!({"model": "seeing", "files": files, "stream": false});
    server.post("/api/create", body).await.json();
    let shown = show(&server, "seeing").await;
    assert_eq!(shown["details"]["families"], json!(["llama", "clip"]));
    assert_eq!(shown["projector_info"]["clip.has_vision_encoder"], true);
    let modelfile = shown["modelfile"].as_str().unwrap();
    assert_eq!(modelfile.matches("\nFROM ").count(), 2, "{modelfile}");
}
