//! The HTTP edge: who is let in, what is no request, and how the server stops.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HOST, HeaderMap, ORIGIN};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Reply, Server};

#[tokio::test]
async fn clients_that_knock_are_answered() {
    let server = Server::start().await;
    let root = server.get("/").await;
    assert_eq!(
        (root.status.as_u16(), root.text.as_str()),
        (200, "Ollama is running")
    );
    assert_eq!(root.content_type, "text/plain; charset=utf-8");
    for path in ["/", "/api/tags", "/api/version"] {
        let head = Reply::of(server.request(Method::HEAD, path)).await;
        assert_eq!(
            (head.status.as_u16(), head.text.as_str()),
            (200, ""),
            "{path}"
        );
    }
    assert_eq!(
        server.get("/api/version").await.json(),
        json!({
            "version": "0.33.0",
            "sandbox": {"mode": "best-effort", "files": false, "system_calls": false}
        })
    );
    let status = json!({"cloud": {"disabled": true, "source": "config"}});
    assert_eq!(server.get("/api/status").await.json(), status);
    assert_eq!(server.get("/healthz").await.status, 200);
    assert_eq!(server.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn strange_paths_and_methods_get_plain_text() {
    let server = Server::start().await;
    let check = async |method: Method, path: &str, status: u16, text: &str| {
        let reply = Reply::of(server.request(method.clone(), path)).await;
        let got = (reply.status.as_u16(), reply.text.as_str());
        assert_eq!(got, (status, text), "{method} {path}");
        assert_eq!(reply.content_type, "text/plain", "{method} {path}");
    };
    check(Method::GET, "/nothing", 404, "404 page not found").await;
    check(Method::POST, "/api/nothing", 404, "404 page not found").await;
    check(Method::GET, "/api/chat", 405, "405 method not allowed").await;
    check(Method::POST, "/api/tags", 405, "405 method not allowed").await;
    check(Method::DELETE, "/api/show", 405, "405 method not allowed").await;
}

#[tokio::test]
async fn bad_input_gets_ollama_s_status_and_text() {
    let server = Server::start().await;
    let check = async |path: &str, body: &str, status: u16, text: &str| {
        let reply = server.post_text(path, body).await;
        assert_eq!(reply.error(), (status, text.to_owned()), "{path} {body}");
    };
    for path in [
        "generate",
        "chat",
        "embed",
        "embeddings",
        "show",
        "create",
        "copy",
        "pull",
        "push",
    ] {
        check(&format!("/api/{path}"), "", 400, "missing request body").await;
    }
    check("/classify", "", 400, "missing request body").await;
    check("/api/chat", "{", 400, "unexpected EOF").await;
    let key = "invalid character 'x' looking for beginning of object key string";
    check("/api/chat", "{x", 400, key).await;
    let number =
        "json: cannot unmarshal number into Go struct field ChatRequest.model of type string";
    check("/api/chat", r#"{"model":1}"#, 400, number).await;
    let array = "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string";
    check(
        "/api/chat",
        r#"{"messages":[{"role":"user","content":[]}]}"#,
        400,
        array,
    )
    .await;

    check("/api/generate", "{}", 404, "model '' not found").await;
    check(
        "/api/generate",
        r#"{"model":"a b"}"#,
        400,
        "invalid model name",
    )
    .await;
    check(
        "/api/generate",
        r#"{"model":"none"}"#,
        404,
        "model 'none' not found",
    )
    .await;
    check("/api/chat", "{}", 400, "model is required").await;
    check("/api/chat", r#"{"model":"a b"}"#, 400, "invalid model name").await;
    check(
        "/api/chat",
        r#"{"model":"none"}"#,
        404,
        "model 'none' not found",
    )
    .await;
    check("/api/embed", "{}", 404, "model '' not found").await;
    let pull = "model \"none\" not found, try pulling it first";
    check("/api/embed", r#"{"model":"none"}"#, 404, pull).await;
    check("/api/embeddings", "{}", 400, "model is required").await;
    check("/api/embeddings", r#"{"model":"none"}"#, 404, pull).await;
    check("/classify", r#"{"model":"none","input":"x"}"#, 404, pull).await;
    check(
        "/classify",
        r#"{"model":"tiny-classify"}"#,
        400,
        "input is required",
    )
    .await;
    let kind = "input must be a text, a pair of texts, or a list of texts or pairs";
    check(
        "/classify",
        r#"{"model":"tiny-classify","input":[1]}"#,
        400,
        kind,
    )
    .await;
    let top_k = "top_k must be at least 1";
    check(
        "/classify",
        r#"{"model":"tiny-classify","input":"x","top_k":0}"#,
        400,
        top_k,
    )
    .await;
    let no_labels = "\"tiny\" does not support classify";
    check(
        "/classify",
        r#"{"model":"tiny","input":"x"}"#,
        400,
        no_labels,
    )
    .await;
    check("/api/show", "{}", 400, "model is required").await;
    check("/api/show", r#"{"model":"a b"}"#, 400, "invalid model name").await;
    check(
        "/api/show",
        r#"{"name":"none"}"#,
        404,
        "model 'none:latest' not found",
    )
    .await;
    let cloud = "ollama cloud is disabled: remote model is unavailable";
    check("/api/chat", r#"{"model":"gpt-oss:120b-cloud"}"#, 403, cloud).await;
    check("/api/generate", r#"{"model":"x:cloud"}"#, 403, cloud).await;

    let range = "top_logprobs must be between 0 and 20";
    check(
        "/api/chat",
        r#"{"model":"tiny","top_logprobs":21}"#,
        400,
        range,
    )
    .await;
    check(
        "/api/generate",
        r#"{"model":"tiny","top_logprobs":-1}"#,
        400,
        range,
    )
    .await;
    let unit = "time: missing unit in duration \"300\"";
    check(
        "/api/chat",
        r#"{"model":"tiny","keep_alive":"300"}"#,
        400,
        unit,
    )
    .await;
    check(
        "/api/chat",
        r#"{"model":"tiny","keep_alive":true}"#,
        400,
        "Unsupported type: 'bool'",
    )
    .await;
    let think = "invalid think value: \"hard\" (must be \"high\", \"medium\", \"low\", \"max\", true, or false)";
    check(
        "/api/chat",
        r#"{"model":"tiny","think":"hard"}"#,
        400,
        think,
    )
    .await;
    let raw = "raw mode does not support template, system, or context";
    check(
        "/api/generate",
        r#"{"model":"tiny","raw":true,"system":"x"}"#,
        400,
        raw,
    )
    .await;
    let insert = "registry.ollama.ai/library/tiny:latest does not support insert";
    check(
        "/api/generate",
        r#"{"model":"tiny","prompt":"a","suffix":"b"}"#,
        400,
        insert,
    )
    .await;
    let vision = "registry.ollama.ai/library/tiny:latest does not support vision";
    check(
        "/api/generate",
        r#"{"model":"tiny","prompt":"a","images":["aaaa"]}"#,
        400,
        vision,
    )
    .await;
    let embedder = "\"tiny-embed\" does not support generate";
    check(
        "/api/generate",
        r#"{"model":"tiny-embed","prompt":"a"}"#,
        400,
        embedder,
    )
    .await;
    let embedder = "\"tiny-embed\" does not support chat";
    check(
        "/api/chat",
        r#"{"model":"tiny-embed","messages":[{"role":"user"}]}"#,
        400,
        embedder,
    )
    .await;
    let thinking = "\"tiny-embed\" does not support thinking";
    check(
        "/api/chat",
        r#"{"model":"tiny-embed","think":true,"messages":[{"role":"user"}]}"#,
        400,
        thinking,
    )
    .await;
    let option = "option \"num_ctx\" must be of type integer";
    check(
        "/api/chat",
        r#"{"model":"tiny","options":{"num_ctx":"x"}}"#,
        500,
        option,
    )
    .await;
    check(
        "/api/embed",
        r#"{"model":"tiny-embed","options":{"num_ctx":"x"}}"#,
        500,
        option,
    )
    .await;
    let format = "invalid format: 5; expected \"json\" or a valid JSON Schema object";
    check(
        "/api/generate",
        r#"{"model":"tiny","format":5}"#,
        400,
        format,
    )
    .await;
    check(
        "/api/embed",
        r#"{"model":"tiny-embed","input":5}"#,
        400,
        "invalid input type",
    )
    .await;
    check(
        "/api/embed",
        r#"{"model":"tiny-embed","input":["a",5]}"#,
        400,
        "invalid input type",
    )
    .await;

    check(
        "/api/copy",
        r#"{"source":"a b","destination":"c"}"#,
        400,
        "source \"a b\" is invalid",
    )
    .await;
    check(
        "/api/copy",
        r#"{"source":"a","destination":""}"#,
        400,
        "destination \"\" is invalid",
    )
    .await;
    check(
        "/api/copy",
        r#"{"source":"a","destination":"b"}"#,
        404,
        "model \"a\" not found",
    )
    .await;
    check(
        "/api/create",
        r#"{"model":"a b"}"#,
        400,
        "invalid model name",
    )
    .await;
    check(
        "/api/create",
        r#"{"model":"a"}"#,
        400,
        "neither 'from' or 'files' was specified",
    )
    .await;
    let relative = "file path must be relative";
    check(
        "/api/create",
        r#"{"model":"a","files":{"/a":"sha256:0"}}"#,
        400,
        relative,
    )
    .await;
    let digest = "invalid digest format";
    check(
        "/api/create",
        r#"{"model":"a","files":{"a":"sha256:0"}}"#,
        400,
        digest,
    )
    .await;
    check("/api/push", "{}", 400, "model is required").await;
    check("/api/pull", "{}", 400, "invalid model name").await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let server = Server::start().await;
    let reply = server
        .post_text("/api/show", &" ".repeat((1 << 20) + 1))
        .await;
    assert_eq!(
        reply.error(),
        (413, "http: request body too large".to_owned())
    );
}

#[tokio::test]
async fn pages_are_let_in_by_their_origin() {
    let server = Server::start_with([(
        "OLLAMA_ORIGINS",
        "https://good.example,chrome-extension://*",
    )])
    .await;
    let ask = async |method: Method, origin: &str| {
        let request = server
            .request(method, "/api/version")
            .header(ORIGIN, origin);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.headers().clone())
    };
    let header = |headers: &HeaderMap, name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    for origin in [
        "http://localhost:3000",
        "app://obsidian.md",
        "https://good.example",
        "chrome-extension://abc",
    ] {
        let (status, headers) = ask(Method::GET, origin).await;
        assert_eq!(status, 200, "{origin}");
        assert_eq!(
            header(&headers, "access-control-allow-origin").as_deref(),
            Some(origin)
        );
        assert_eq!(header(&headers, "vary").as_deref(), Some("Origin"));
        let (status, headers) = ask(Method::OPTIONS, origin).await;
        assert_eq!(status, 204, "{origin}");
        assert_eq!(
            header(&headers, "access-control-allow-origin").as_deref(),
            Some(origin)
        );
        assert_eq!(
            header(&headers, "access-control-max-age").as_deref(),
            Some("43200")
        );
        assert!(
            header(&headers, "access-control-allow-methods")
                .unwrap()
                .contains("DELETE")
        );
        assert!(
            header(&headers, "access-control-allow-headers")
                .unwrap()
                .contains("x-stainless-lang")
        );
    }
    for origin in ["http://evil.example", "https://good.example:1", "null"] {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            let (status, headers) = ask(method, origin).await;
            assert_eq!(status, 403, "{origin}");
            assert_eq!(header(&headers, "access-control-allow-origin"), None);
        }
    }
    let own = format!("http://{}", server.address());
    assert_eq!(ask(Method::GET, &own).await.0, 200);

    let open = Server::start_with([("OLLAMA_ORIGINS", "*")]).await;
    let request = open
        .request(Method::GET, "/api/version")
        .header(ORIGIN, "http://any.example");
    let response = request.send().await.unwrap();
    assert_eq!(
        header(response.headers(), "access-control-allow-origin").as_deref(),
        Some("*")
    );
}

#[tokio::test]
async fn strange_hosts_are_turned_away() {
    let server = Server::start().await;
    let ask = async |method: Method, host: &str| {
        let request = server.request(method, "/api/version").header(HOST, host);
        request.send().await.unwrap().status().as_u16()
    };
    for host in [
        "localhost",
        "127.0.0.1:1",
        "[::1]",
        "10.0.0.1",
        "a.local",
        "x.internal:80",
    ] {
        assert_eq!(ask(Method::GET, host).await, 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example:11434", "192.0.2.7"] {
        assert_eq!(ask(Method::GET, host).await, 403, "{host}");
    }
    assert_eq!(ask(Method::OPTIONS, "localhost").await, 204);
    assert_eq!(ask(Method::OPTIONS, "evil.example").await, 403);
}

#[tokio::test]
async fn every_reply_has_an_id_and_keeps_the_client_s() {
    let server = Server::start().await;
    let id = async |sent: Option<&str>| {
        let mut request = server.request(Method::GET, "/nothing");
        if let Some(sent) = sent {
            request = request.header("x-request-id", sent);
        }
        let response = request.send().await.unwrap();
        response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(id(Some("mine-1")).await, "mine-1");
    let (first, second) = (id(None).await, id(None).await);
    assert_eq!(first.len(), 16);
    assert_ne!(first, second);
    assert_eq!(id(Some(&"x".repeat(200))).await.len(), 16);
}

#[tokio::test]
async fn a_reply_says_what_its_encoder_took() {
    let server = Server::start().await;
    let timing = async |path: &str, body: Value| {
        let request = server.request(Method::POST, path).json(&body);
        let response = request.send().await.unwrap();
        let timing = response.headers().get("server-timing")?;
        let entries = timing.to_str().unwrap().split(", ");
        let milliseconds = |entry: &str| {
            let (name, duration) = entry.split_once(";dur=").unwrap();
            (name.to_owned(), duration.parse::<f64>().unwrap())
        };
        Some(entries.map(milliseconds).collect::<Vec<_>>())
    };
    let text = "How do I reset my password?";
    for (path, body) in [
        ("/api/embed", json!({"model": "tiny-embed", "input": text})),
        (
            "/v1/embeddings",
            json!({"model": "tiny-embed", "input": text}),
        ),
        ("/embed", json!({"inputs": text})),
        ("/classify", json!({"input": text})),
        ("/predict", json!({"inputs": text})),
    ] {
        let timing = timing(path, body).await.unwrap();
        let names: Vec<&str> = timing.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["tokenize", "queue", "compute", "total"], "{path}");
        let [tokenize, queue, compute, total] = [0, 1, 2, 3].map(|stage| timing[stage].1);
        assert!(tokenize > 0.0 && compute > 0.0, "{path} {timing:?}");
        assert!(
            tokenize <= queue && queue + compute < total,
            "{path} {timing:?}"
        );
    }
    // What has taken no encoder says nothing.
    assert_eq!(
        timing("/api/embed", json!({"model": "tiny-embed"})).await,
        None
    );
    assert_eq!(timing("/api/embed", json!({"model": "none"})).await, None);
}

#[tokio::test]
async fn a_broken_head_is_refused_and_closed() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");

    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    // The server closes before it has taken everything, so either end may see the connection reset.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    assert!(
        reply.is_empty() || reply.starts_with(b"HTTP/1.1 431"),
        "{}",
        String::from_utf8_lossy(&reply)
    );
    assert_eq!(server.get("/").await.status, 200);
}

#[tokio::test]
async fn a_stopping_server_refuses_new_work_and_waits_for_old() {
    let mut server = Server::start_with([("CHASKI_DRAIN_TIMEOUT", "20")]).await;
    // A request under way: its body is not complete.
    let mut slow = TcpStream::connect(server.address()).await.unwrap();
    let body = br#"{"model":"none"}"#;
    let head = format!(
        "POST /api/show HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&body[..4]).await.unwrap();
    // Answered on a later connection, so the slow one has been accepted by now.
    assert_eq!(server.get("/readyz").await.status, 200);

    server.stop();
    let app = server.app.clone();
    crate::support::eventually("draining", || app.is_draining()).await;
    let fresh = || reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", server.address());
    assert_eq!(
        fresh().get(url("/readyz")).send().await.unwrap().status(),
        503
    );
    assert_eq!(
        fresh().get(url("/healthz")).send().await.unwrap().status(),
        200
    );
    let refused = fresh().get(url("/api/tags")).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");

    slow.write_all(&body[4..]).await.unwrap();
    let mut reply = String::new();
    slow.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 404"), "{reply}");
    assert!(reply.contains("model 'none:latest' not found"), "{reply}");
    tokio::time::timeout(Duration::from_secs(10), server.stopped())
        .await
        .unwrap();
}

#[tokio::test]
async fn streams_that_outlast_the_drain_end_with_an_error() {
    let bodies = [
        ("/api/generate", json!({"prompt": "Hello", "raw": true})),
        (
            "/api/chat",
            json!({"messages": [{"role": "user", "content": "Hello"}]}),
        ),
    ];
    for (path, mut body) in bodies {
        let mut server = Server::start_with([("CHASKI_DRAIN_TIMEOUT", "0")]).await;
        body["model"] = "tiny".into();
        // Far more than is written before it is stopped.
        body["grammar"] = json!({"regex": "([a-z]{50} ){400,}"});
        let request = server.request(Method::POST, path).body(body.to_string());
        let mut response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.chunk().await.unwrap().is_some());
        server.stop();
        let mut rest = Vec::new();
        while let Some(chunk) = response.chunk().await.expect("it ends well formed") {
            rest.extend(chunk);
        }
        let rest = String::from_utf8(rest).unwrap();
        let told = rest.lines().rfind(|line| line.contains("error"));
        assert!(
            told.is_some_and(|line| line.contains("the server is shutting down")),
            "{path}: {rest}"
        );
        tokio::time::timeout(Duration::from_secs(10), server.stopped())
            .await
            .unwrap();
    }
}
