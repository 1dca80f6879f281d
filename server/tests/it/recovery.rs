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

#[tokio::test]
async fn a_request_that_two_workers_died_under_is_refused_for_a_while_and_others_are_not() {
    let server = Server::start().await;
    let ask = |prompt: &str, stream: bool| {
        let body = json!({
            "model": "tiny", "prompt": prompt, "think": false, "stream": stream, "options": { "temperature": 0 },
        });
        server
            .request(Method::POST, "/api/generate")
            .body(body.to_string())
            .send()
    };
    const DEADLY: &str = "Write a detailed essay about climate change:";
    for _ in 0..2 {
        let stream = ask(DEADLY, true).await.unwrap();
        assert_eq!(stream.status(), 200);
        support::kill(worker_of(&server, "tiny"));
        let told = stream.text().await.unwrap();
        assert!(told.contains("stopped unexpectedly"), "{told}");
        // Whoever was not there when it happened is answered.
        assert_eq!(ask("Hello", false).await.unwrap().status(), 200);
    }
    let began = Instant::now();
    let refused = ask(DEADLY, true).await.unwrap();
    assert_eq!(refused.status(), 422);
    let told = refused.text().await.unwrap();
    assert!(
        told.contains("2 times in a row") && told.contains("60 s"),
        "{told}"
    );
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(ask("Hello", false).await.unwrap().status(), 200);
}

#[tokio::test]
async fn while_no_process_can_be_started_that_is_said_and_then_it_works() {
    let program = Program::start(Stdio::null()).await;
    let body =
        json!({"model": "tiny", "prompt": "Hello", "stream": false, "options": {"num_predict": 1}});
    let ask = async || program.post("/api/generate", &body).send().await.unwrap();
    let limits = limit_descriptors(&program, |open| {
        // Room for a connection or a file of the store, and not for a socket pair and a pipe.
        let free_below = |limit: u64| limit - open.iter().filter(|fd| **fd < limit).count() as u64;
        (0..).find(|limit| free_below(*limit) == 2).unwrap()
    });
    let reply = ask().await;
    assert_eq!(reply.status(), 503);
    assert!(reply.headers().contains_key("retry-after"));
    let told = reply.text().await.unwrap();
    assert!(
        told.contains("cannot be started") && told.contains("open files"),
        "{told}"
    );
    limit_descriptors(&program, |_| limits);
    assert_eq!(ask().await.status(), 200);
}

/// Sets how many descriptors a program may have, by those that it has, and gives the limit that it had.
fn limit_descriptors(program: &Program, choose: impl FnOnce(&[u64]) -> u64) -> u64 {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let id = i32::try_from(program.id()).unwrap();
    let process = procfs::process::Process::new(id).unwrap();
    let open = process.fd().unwrap().map(|fd| fd.unwrap().fd as u64);
    let open: Vec<u64> = open.collect();
    let limit = Rlimit {
        current: Some(choose(&open)),
        maximum: None,
    };
    let before = prlimit(Pid::from_raw(id), Resource::Nofile, limit);
    // Who may not raise the upper limit keeps it.
    let before = before.unwrap_or_else(|_| {
        let maximum = process.limits().unwrap().max_open_files.hard_limit;
        let maximum = match maximum {
            procfs::process::LimitValue::Value(value) => Some(value),
            procfs::process::LimitValue::Unlimited => None,
        };
        prlimit(
            Pid::from_raw(id),
            Resource::Nofile,
            Rlimit { maximum, ..limit },
        )
        .unwrap()
    });
    before.current.expect("descriptors are limited")
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
