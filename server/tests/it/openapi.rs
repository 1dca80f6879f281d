//! The document at `/openapi.json` and the server say the same.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Reply, Server};

async fn document(server: &Server) -> Value {
    server.get("/openapi.json").await.json()
}

/// Calls `visit` with every reference in a part of the document.
fn references(part: &Value, visit: &mut impl FnMut(&str)) {
    match part {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(reference) if name == "$ref" => visit(reference),
                    field => references(field, visit),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, visit)),
        _ => {}
    }
}

#[tokio::test]
async fn every_route_of_the_document_exists() {
    let server = Server::start().await;
    let document = document(&server).await;
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 15, "{}", paths.len());
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path
                .replace("{digest}", "sha256:1")
                .replace("{name}", "none")
                .replace("{key}", "none");
            let reply = Reply::of(server.request(method.clone(), &path)).await;
            let unknown = ["404 page not found", "405 method not allowed"];
            assert!(!unknown.contains(&reply.text.as_str()), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let server = Server::start().await;
    let document = document(&server).await;
    let mut count = 0;
    references(&document, &mut |reference| {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
        count += 1;
    });
    assert!(count > 20, "{count}");
}

#[tokio::test]
async fn bodies_are_described_by_the_fields_that_are_read() {
    let server = Server::start().await;
    let document = document(&server).await;
    let body = |path: &str| {
        let content = &document["paths"][path]["post"]["requestBody"]["content"];
        content["application/json"]["schema"]["properties"].clone()
    };
    let generate = body("/api/generate");
    assert_eq!(generate["prompt"]["type"], "string");
    assert_eq!(generate["raw"]["type"], "boolean");
    assert_eq!(generate["context"]["items"]["type"], "integer");
    assert_eq!(generate["think"]["anyOf"][0]["type"], "boolean");
    let chat = body("/api/chat");
    assert_eq!(
        chat["messages"]["items"]["properties"]["role"]["type"],
        "string"
    );
    assert_eq!(chat["options"]["type"], "object");
}

/// Holds what a route says to `body`, whole and as events, to what the document says of it.
async fn check_replies(server: &Server, path: &str, mut body: Value) {
    const DOCUMENT: &str = "http://chaski.example/openapi.json";
    let mut compiler = boon::Compiler::new();
    compiler
        .add_resource(DOCUMENT, document(server).await)
        .unwrap();
    let mut schemas = boon::Schemas::new();
    let mut schema_of = |kind: &str| {
        let (path, kind) = (path.replace('/', "~1"), kind.replace('/', "~1"));
        let place = format!("paths/{path}/post/responses/200/content/{kind}/schema");
        let schema = compiler.compile(&format!("{DOCUMENT}#/{place}"), &mut schemas);
        schema.unwrap_or_else(|error| panic!("{place}: {error:#}"))
    };
    let (whole, event) = (
        schema_of("application/json"),
        schema_of("text/event-stream"),
    );
    let check = |value: &Value, schema| {
        let held = schemas.validate(value, schema);
        held.unwrap_or_else(|error| panic!("{path}: {error:#}\n{value:#}"));
    };
    // A schema that anything satisfies would prove nothing.
    assert!(schemas.validate(&json!({}), whole).is_err());
    assert!(schemas.validate(&json!({}), event).is_err());
    check(&server.post(path, body.clone()).await.plain_json(), whole);
    body["stream"] = true.into();
    let events = server.post(path, body).await.events();
    let events = events.iter().filter(|(_, data)| *data != "[DONE]");
    let count = events.inspect(|(_, data)| check(data, event)).count();
    assert!(count > 2, "{path}: {count}");
}

#[tokio::test]
async fn replies_and_events_are_as_described() {
    let server = &Server::start().await;
    let question = json!([{"role": "user", "content": "What is the weather in Paris?"}]);
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let function = json!({"name": "get_weather", "parameters": parameters});
    let bodies = [
        (
            "/v1/chat/completions",
            json!({"messages": question, "logprobs": true, "top_logprobs": 2, "stream_options": {"include_usage": true}}),
        ),
        (
            "/v1/chat/completions",
            json!({"messages": question, "tools": [{"type": "function", "function": function}]}),
        ),
        (
            "/v1/completions",
            json!({"prompt": "What is the capital of France?", "logprobs": 2}),
        ),
        (
            "/v1/messages",
            json!({"messages": question, "max_tokens": 40}),
        ),
        (
            "/v1/messages",
            json!({"messages": question, "max_tokens": 40, "thinking": {"type": "enabled", "budget_tokens": 20},
            "tools": [{"name": "get_weather", "input_schema": parameters}], "tool_choice": {"type": "any"}}),
        ),
        (
            "/v1/responses",
            json!({"input": question, "include": ["message.output_text.logprobs"], "top_logprobs": 1}),
        ),
        (
            "/v1/responses",
            json!({"input": question, "reasoning": {"effort": "low"}, "tool_choice": "required",
            "tools": [{"type": "function", "name": "get_weather", "parameters": parameters}]}),
        ),
    ];
    for (path, mut body) in bodies {
        body["model"] = "tiny".into();
        body["temperature"] = 0.into();
        check_replies(server, path, body).await;
    }
}

#[tokio::test]
async fn replies_without_figures_are_as_described() {
    let server = Server::start().await;
    let document = document(&server).await;
    // An optional field may be absent, and what may be absent is not promised to be null either.
    let content = &document["paths"]["/api/chat"]["post"]["responses"]["200"]["content"];
    let chat = &content["application/json"]["schema"];
    let taken_over = &chat["allOf"][0]["anyOf"];
    assert_eq!(
        taken_over[1],
        Value::Object(serde_json::Map::new()),
        "{chat}"
    );
    assert!(!document.to_string().contains("oneOf"));
}
