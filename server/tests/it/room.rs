//! Who gets in when there is not room for all, and what a caller can see of the line.

use std::pin::pin;
use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::server::Server;

/// Longer than any test takes.
fn endless() -> Value {
    json!({
        "model": "tiny", "prompt": "Write a detailed essay about climate change:", "think": false,
        "options": { "temperature": 0, "num_predict": -1, "stop": [] },
    })
}

/// Begins an answer, which goes on until the response is dropped.
async fn begin(server: &Server, body: Value) -> reqwest::Response {
    let request = server.request(Method::POST, "/api/generate");
    let response = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

/// Asks `/api/ps` until it shows what is expected.
async fn eventually_shows(server: &Server, what: &str, shows: impl Fn(&Value) -> bool) {
    for _ in 0..1000 {
        let ps = server.get("/api/ps").await.json();
        if shows(&ps) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("/api/ps never showed {what}");
}

#[tokio::test]
async fn a_model_that_memory_has_no_room_for_is_refused_with_both_figures() {
    let server = Server::start_with([("CHASKI_MEMORY_LIMIT", "10MiB")]).await;
    let reply = server.post("/api/generate", endless()).await;
    let (status, error) = reply.error();
    assert_eq!(status, 500);
    assert!(
        error.starts_with("model requires more system memory (")
            && error.ends_with(") than is available (10.0 MiB)"),
        "{error}"
    );
    let version = server.get("/api/version").await;
    assert_eq!(version.status, 200);
}

#[tokio::test]
async fn a_request_for_another_model_waits_until_there_is_room_and_is_seen_waiting() {
    let server = Server::start_with([("OLLAMA_MAX_LOADED_MODELS", "1")]).await;
    let answer = begin(&server, endless()).await;
    let embed = server.post(
        "/api/embed",
        json!({ "model": "tiny-embed", "input": "a text" }),
    );
    let (reply, ()) = tokio::join!(embed, async {
        eventually_shows(&server, "one in line", |ps| ps["waiting"] == 1).await;
        drop(answer);
    });
    assert_eq!(reply.status, 200, "{}", reply.text);
    eventually_shows(&server, "the other model alone", |ps| {
        ps["waiting"] == 0
            && ps["models"].as_array().unwrap().len() == 1
            && ps["models"][0]["name"] == "tiny-embed:latest"
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_over_keeps_no_model_for_whoever_does_not_read_it() {
    let server = Server::start_with([("OLLAMA_MAX_LOADED_MODELS", "1")]).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut unread = socket.connect(server.address()).await.unwrap();
    // Half a megabyte, of which the sockets take less than half.
    let mut body = endless();
    body["grammar"] = json!({ "regex": "[a-z ]{2000,}" });
    body["options"]["num_predict"] = json!(250);
    body["logprobs"] = json!(true);
    body["top_logprobs"] = json!(20);
    let body = body.to_string();
    let head = format!(
        "POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    unread.write_all((head + &body).as_bytes()).await.unwrap();
    eventually_shows(&server, "a job", |ps| ps["models"][0]["running"] == 1).await;

    let embed = server.post(
        "/api/embed",
        json!({ "model": "tiny-embed", "input": "a text" }),
    );
    let reply = timeout(Duration::from_secs(30), embed).await;
    assert_eq!(reply.expect("there is room before long").status, 200);
    // All of it is still to be had.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n0\r\n\r\n") {
        assert_ne!(unread.read_buf(&mut answer).await.unwrap(), 0);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.len() > 300_000, "{} bytes", answer.len());
    assert!(answer.contains(r#""done":true"#));
}

/// Keeps one model busy without a pause, one request beginning before the last has ended, while another model is wanted.
/// Tells whether a request for the busy one had to wait in line too, as at most `rounds` of them came.
async fn gives_way(patience: &str, rounds: usize) -> bool {
    let variables = [
        ("OLLAMA_MAX_LOADED_MODELS", "1"),
        ("CHASKI_PATIENCE", patience),
    ];
    let server = &Server::start_with(variables).await;
    let mut under_way = begin(server, endless()).await;
    let body = json!({ "model": "tiny-embed", "input": "a text" });
    let mut wanted = pin!(server.post("/api/embed", body));
    for _ in 0..rounds {
        let mut next = pin!(begin(server, endless()));
        under_way = loop {
            tokio::select! {
                response = &mut next => break response,
                _ = &mut wanted => panic!("it was not busy"),
                ps = server.get("/api/ps") => if ps.json()["waiting"] == 2 {
                    drop(under_way);
                    let (reply, next) = tokio::join!(wanted, next);
                    assert_eq!((reply.status.as_u16(), next.status().as_u16()), (200, 200));
                    return true;
                },
            }
        };
    }
    drop(under_way);
    assert_eq!(wanted.await.status, 200);
    false
}

#[tokio::test]
async fn a_model_that_is_never_idle_gives_way_to_one_that_has_waited_long_enough() {
    assert!(gives_way("1ms", 1_000).await);
    assert!(!gives_way("1h", 20).await);
}

#[tokio::test]
async fn the_line_of_a_loaded_model_is_shown() {
    let server = Server::start_with([("OLLAMA_NUM_PARALLEL", "1")]).await;
    {
        let all_begun = join_all((0..3).map(|_| begin(&server, endless())));
        let shown = eventually_shows(&server, "one running and two in line", |ps| {
            let model = &ps["models"][0];
            model["slots"] == 1 && model["running"] == 1 && model["queued"] == 2
        });
        tokio::select! {
            _ = all_begun => panic!("one slot serves three answers without an end"),
            () = shown => {}
        }
    }
    eventually_shows(&server, "nobody", |ps| {
        ps["models"][0]["running"] == 0 && ps["models"][0]["queued"] == 0
    })
    .await;
}
