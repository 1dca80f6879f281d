//! A worker's death as the clients of the server see it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use chaski::store::Name;
use futures::StreamExt;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::program::Program;
use crate::server::Server;
use crate::support;

#[tokio::test]
async fn a_killed_worker_costs_its_streams_one_error_each_and_the_next_request_is_answered() {
    let server = Server::start().await;
    // Long enough that none is over when the worker is killed, which is at once after the last has begun.
    let body = json!({
        "model": "tiny", "prompt": "Write a detailed essay about climate change:", "think": false,
        "options": { "temperature": 0 },
    });
    let asked = (0..8).map(async |_| {
        let request = server.request(Method::POST, "/api/generate");
        request.body(body.to_string()).send().await.unwrap()
    });
    let streams = join_all(asked).await;
    support::kill(worker_of(&server, "tiny"));
    for response in streams {
        assert_eq!(response.status(), 200);
        let mut stream = response.bytes_stream();
        let mut text = Vec::new();
        while let Some(chunk) = stream.next().await {
            text.extend(chunk.expect("the stream ends well formed"));
        }
        let text = String::from_utf8(text).unwrap();
        assert!(text.ends_with('\n'));
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let (last, before) = lines.split_last().unwrap();
        assert!(before.iter().all(|line| line.get("error").is_none()));
        assert!(
            last["error"]
                .as_str()
                .is_some_and(|error| error.contains("worker")),
            "{last}"
        );
    }
    let question = json!({
        "model": "tiny", "prompt": "What is 3 + 4?", "stream": false, "think": false,
        "options": { "temperature": 0, "num_predict": 16 },
    });
    let answer = server.post("/api/generate", question).await.json();
    assert!(
        support::names_number(answer["response"].as_str().unwrap(), 7),
        "{answer}"
    );
}

#[tokio::test]
async fn a_file_that_shrinks_under_its_model_costs_that_model_only() {
    let whole = json!({
        "model": "tiny", "prompt": "What is the capital of France?", "stream": false, "think": false,
        "options": { "temperature": 0, "num_predict": 8, "use_mmap": true },
    });
    let streamed = json!({
        "model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "stream": true,
    });
    // A stream that ends before it has begun has a status like any other reply.
    for (path, body) in [
        ("/api/generate", &whole),
        ("/api/chat", &streamed),
        ("/v1/chat/completions", &streamed),
    ] {
        let server = Server::start().await;
        assert_eq!(
            server.post("/api/generate", whole.clone()).await.status,
            200
        );
        let name: Name = "tiny".parse().unwrap();
        let worker = server.app.models.process_of(&name).unwrap();
        let weights = mapped_gguf(worker);
        let file = std::fs::File::options().write(true).open(weights).unwrap();
        file.set_len(4096).unwrap();
        let reply = server.post(path, body.clone()).await;
        assert_eq!(reply.status, 500, "{reply:?}");
        assert!(
            reply.content_type.starts_with("application/json"),
            "{reply:?}"
        );
        // What is left of it is no model, and is called so.
        let reply = server.post(path, body.clone()).await;
        assert!(
            reply.status.is_server_error() || reply.status.is_client_error(),
            "{reply:?}"
        );
        let body = json!({"model": "tiny-classify", "input": "Good!"});
        assert_eq!(server.post("/classify", body).await.status, 200);
    }
}

#[tokio::test]
async fn a_model_that_dies_while_it_loads_is_left_alone_for_a_while() {
    const DEATHS: u32 = 3;
    let program = Program::start(Stdio::null()).await;
    let body = json!({"model": "tiny", "prompt": "Hello", "stream": false, "keep_alive": 0, "options": {"num_predict": 1}});
    let ask = async || program.post("/api/generate", &body).send().await.unwrap();
    let mut in_a_row = 0;
    for _ in 0..100 {
        let killed = async {
            // Spins, for a load takes a few hundredths of a second.
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(5) {
                if let Some(worker) = program.workers().first() {
                    return support::kill(*worker);
                }
                tokio::task::yield_now().await;
            }
        };
        let (reply, ()) = tokio::join!(ask(), killed);
        let told = reply.text().await.unwrap();
        // One that had been loaded already is another matter.
        in_a_row = if told.contains("while loading") {
            in_a_row + 1
        } else {
            0
        };
        if in_a_row == DEATHS {
            break;
        }
    }
    assert_eq!(in_a_row, DEATHS);
    let reply = ask().await;
    assert_eq!(
        (reply.status().as_u16(), &reply.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    let told = reply.text().await.unwrap();
    assert!(told.contains("3 times in a row"), "{told}");
    assert!(program.workers().is_empty());
    // As a client does that was told when to come again.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ask().await.status(), 200);
}

/// The file that a worker has mapped for its weights.
fn mapped_gguf(worker: u32) -> std::path::PathBuf {
    let process = procfs::process::Process::new(worker.try_into().unwrap()).unwrap();
    let maps = process.maps().unwrap();
    let mut blobs = maps.into_iter().filter_map(|map| match map.pathname {
        procfs::process::MMapPath::Path(path) if path.parent()?.ends_with("blobs") => Some(path),
        _ => None,
    });
    blobs.next_back().expect("weights are mapped")
}

/// The process of a loaded model.
fn worker_of(server: &Server, model: &str) -> u32 {
    let name: Name = model.parse().unwrap();
    server
        .app
        .models
        .process_of(&name)
        .expect("the model is loaded")
}
