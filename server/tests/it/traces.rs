//! Traces as a collector gets them, from the real program.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::process::Stdio;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::program::Program;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

type Batches = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

/// A collector that keeps what it gets.
async fn collector() -> (String, Batches) {
    async fn take(State(batches): State<Batches>, headers: HeaderMap, Json(batch): Json<Value>) {
        batches.lock().await.push((headers, batch));
    }
    let batches = Batches::default();
    let router = axum::Router::new()
        .route("/v1/traces", post(take))
        .with_state(Arc::clone(&batches));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, batches)
}

/// The attributes of something, by name.
fn attributes(of: &Value) -> HashMap<&str, &Value> {
    let pairs = of["attributes"].as_array().unwrap().iter();
    pairs
        .map(|pair| (pair["key"].as_str().unwrap(), &pair["value"]))
        .collect()
}

fn time(span: &Value, name: &str) -> u64 {
    span[name].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_collector_gets_each_request_with_its_phases_in_its_callers_trace() {
    let (url, batches) = collector().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20k"),
        ("OTEL_SERVICE_NAME", "chaski-of-a-test"),
    ]
    .map(|(name, value)| (name, OsStr::new(value)));
    let program = Program::start_with(Stdio::null(), &variables).await;
    let body = json!({
        "model": "tiny", "messages": [{"role": "user", "content": "Why is the sky blue?"}],
        "think": false, "stream": false, "options": {"temperature": 0},
    });
    let chat = program
        .post("/api/chat", &body)
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
    let answer: Value = chat.send().await.unwrap().json().await.unwrap();
    let embed = json!({"model": "tiny-embed", "input": ["one", "two"]});
    program
        .post("/api/embed", &embed)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let refused =
        json!({"model": "tiny-embed", "input": ["word ".repeat(5000)], "truncate": false});
    assert_eq!(
        program
            .post("/api/embed", &refused)
            .send()
            .await
            .unwrap()
            .status(),
        400
    );
    // What waits is sent before the process ends.
    assert!(program.stop().await.success());

    let batches = batches.lock().await;
    let mut spans = Vec::new();
    for (headers, batch) in batches.iter() {
        assert_eq!(headers["authorization"], "Bearer k");
        let resource = &batch["resourceSpans"][0];
        let of_resource = attributes(&resource["resource"]);
        assert_eq!(
            *of_resource["service.name"],
            json!({"stringValue": "chaski-of-a-test"})
        );
        let of_scope = &resource["scopeSpans"][0];
        spans.extend(of_scope["spans"].as_array().unwrap());
    }
    let text = format!("{spans:?}");
    assert!(
        !text.contains("sky") && !text.contains("word"),
        "no span holds a prompt"
    );

    let named = |name: &str| -> Vec<&Value> {
        spans
            .iter()
            .filter(|span| span["name"] == name)
            .copied()
            .collect()
    };
    let [chat] = named("chat tiny:latest")[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(
        (&chat["traceId"], &chat["parentSpanId"]),
        (&json!(TRACE), &json!(PARENT))
    );
    assert_eq!(chat["kind"], 2);
    let of_chat = attributes(chat);
    assert_eq!(
        *of_chat["gen_ai.operation.name"],
        json!({"stringValue": "chat"})
    );
    assert_eq!(
        *of_chat["gen_ai.request.model"],
        json!({"stringValue": "tiny:latest"})
    );
    let tokens = |name: &str| json!({"intValue": answer[name].to_string()});
    assert_eq!(
        *of_chat["gen_ai.usage.input_tokens"],
        tokens("prompt_eval_count")
    );
    assert_eq!(*of_chat["gen_ai.usage.output_tokens"], tokens("eval_count"));
    assert!(!of_chat.contains_key("error.type"));

    let below: Vec<_> = spans
        .iter()
        .filter(|span| span["parentSpanId"] == chat["spanId"])
        .collect();
    let names: Vec<_> = below
        .iter()
        .map(|span| span["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["load", "queue", "prefill", "decode"]);
    let mut last = time(chat, "startTimeUnixNano");
    for phase in below {
        assert_eq!(phase["traceId"], TRACE);
        let (start, end) = (
            time(phase, "startTimeUnixNano"),
            time(phase, "endTimeUnixNano"),
        );
        assert!(
            last <= start + 1_000 && start <= end,
            "phases follow one another: {phase}"
        );
        last = end;
    }
    assert!(last <= time(chat, "endTimeUnixNano"));

    let embeds = named("embeddings tiny-embed:latest");
    assert_eq!(embeds.len(), 2);
    assert!(embeds.iter().all(|span| span["parentSpanId"].is_null()));
    let errors: Vec<_> = embeds
        .iter()
        .filter_map(|span| attributes(span).get("error.type").copied())
        .collect();
    assert_eq!(errors, [&json!({"stringValue": "invalid"})]);
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_only_the_traces() {
    // Bound and closed again, so that nobody else listens there.
    let nowhere = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{nowhere}");
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", OsStr::new(&url))];
    let program = Program::start_with(Stdio::null(), &variables).await;
    let embed = json!({"model": "tiny-embed", "input": "x"});
    assert_eq!(
        program
            .post("/api/embed", &embed)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert!(program.stop().await.success());
}
