//! Anthropic's routes with real inference: the shapes of replies, that they say what was asked, and that refusals have
//! Anthropic's shape.

use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Reply, Server, redacted};
use crate::support;

const PATH: &str = "/v1/messages";
const QUESTION: &str = "What is the capital of France?";

/// What differs from run to run or from model to model.
const FIELDS: &[&str] = &["id", "input_tokens", "output_tokens", "thinking", "text"];

fn weather_tool() -> Value {
    json!({
        "name": "get_weather", "description": "Get the current weather for a city",
        "input_schema": {
            "type": "object", "properties": {"city": {"type": "string", "description": "The city"}},
            "required": ["city"],
        },
    })
}

/// A question without thinking and without chance.
fn ask(content: impl Into<Value>) -> Value {
    json!({
        "model": "tiny", "max_tokens": 200, "temperature": 0, "thinking": {"type": "disabled"},
        "messages": [{"role": "user", "content": content.into()}],
    })
}

fn with(mut body: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

/// The events of a stream, whose names must be those in their data.
fn events(reply: &Reply) -> Vec<Value> {
    let events = reply.events().into_iter();
    events
        .map(|(name, data)| {
            assert_eq!(data["type"].as_str(), name.as_deref());
            data
        })
        .collect()
}

/// A field of all deltas, put together.
fn joined(events: &[Value], field: &str) -> String {
    let deltas = events.iter().map(|event| &event["delta"][field]);
    deltas.filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn messages_are_answered_whole_and_event_by_event() {
    let server = Server::start().await;
    let body = with(
        ask(QUESTION),
        json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
    );
    let whole = server.post(PATH, body.clone()).await.plain_json();
    let content = whole["content"].as_array().unwrap();
    assert!(
        content[1]["text"].as_str().unwrap().contains("Paris"),
        "{whole}"
    );
    assert_json_snapshot!("anthropic_message", redacted(&whole, FIELDS));

    let events = events(&server.post(PATH, with(body, json!({"stream": true}))).await);
    assert_eq!(
        joined(&events, "thinking"),
        content[0]["thinking"].as_str().unwrap()
    );
    assert_eq!(
        joined(&events, "text"),
        content[1]["text"].as_str().unwrap()
    );
    let first = &events[0]["message"];
    assert_eq!(
        first["usage"]["input_tokens"],
        whole["usage"]["input_tokens"]
    );
    let mut shapes: Vec<Value> = events.iter().map(|event| redacted(event, FIELDS)).collect();
    shapes.dedup();
    assert_json_snapshot!("anthropic_events", shapes);
}

#[tokio::test]
async fn tools_are_used_and_their_results_are_read() {
    let server = Server::start().await;
    let body = with(
        ask("What is the weather in Paris?"),
        json!({"tools": [weather_tool()]}),
    );
    let whole = server.post(PATH, body.clone()).await.plain_json();
    assert_eq!(whole["stop_reason"], "tool_use", "{whole}");
    let call = &whole["content"][0];
    assert_json_snapshot!("anthropic_tool_use", redacted(call, &["id"]));

    let events = events(
        &server
            .post(PATH, with(body.clone(), json!({"stream": true})))
            .await,
    );
    assert_eq!(joined(&events, "partial_json"), call["input"].to_string());

    let none = with(body.clone(), json!({"tool_choice": {"type": "none"}}));
    let none = server.post(PATH, none).await.plain_json();
    assert_eq!(none["stop_reason"], "end_turn", "{none}");

    let mut answered = body;
    let messages = answered["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": whole["content"]}));
    let result =
        json!([{"type": "text", "text": "{\"temperature\": 21, \"condition\": \"sunny\"}"}]);
    messages.push(json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": result}]}));
    let reply = server.post(PATH, answered).await.plain_json();
    let text = reply["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("21") || text.contains("sunny"), "{reply}");
}

#[tokio::test]
async fn a_demanded_call_is_made_and_a_shape_is_kept() {
    let server = Server::start().await;
    let body = with(
        ask("Hello!"),
        json!({"tools": [weather_tool()], "tool_choice": {"type": "tool", "name": "get_weather"}}),
    );
    let reply = server.post(PATH, body).await.plain_json();
    assert_eq!(reply["content"][0]["name"], "get_weather", "{reply}");
    assert_eq!(reply["stop_reason"], "tool_use");

    let schema = json!({
        "type": "object", "properties": {"capital": {"type": "string", "maxLength": 20}}, "required": ["capital"],
        "additionalProperties": false,
    });
    let format = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    let reply = server
        .post(PATH, with(ask(QUESTION), format))
        .await
        .plain_json();
    let text = reply["content"][0]["text"].as_str().unwrap();
    let answer: Value = serde_json::from_str(text).unwrap();
    assert!(answer["capital"].is_string(), "{answer}");
}

#[tokio::test]
async fn the_reason_of_an_end_is_told() {
    let server = Server::start().await;
    let ended = async |more: Value| {
        let reply = server
            .post(PATH, with(ask("Count from 1 to 5:"), more))
            .await;
        let reply = reply.plain_json();
        (reply["stop_reason"].clone(), reply["stop_sequence"].clone())
    };
    assert_eq!(ended(json!({})).await, (json!("end_turn"), Value::Null));
    assert_eq!(
        ended(json!({"max_tokens": 2})).await,
        (json!("max_tokens"), Value::Null)
    );
    let stopped = ended(json!({"stop_sequences": ["zebra", "3"]})).await;
    assert_eq!(stopped, (json!("stop_sequence"), json!("3")));
}

#[tokio::test]
async fn tokens_are_counted_as_they_are_used() {
    let server = Server::start().await;
    let bodies = [
        ask(QUESTION),
        with(
            ask("What is the weather in Paris?"),
            json!({
                "tools": [weather_tool()], "system": [{"type": "text", "text": "Be brief."}],
            }),
        ),
    ];
    for body in bodies {
        let used = server.post(PATH, body.clone()).await.plain_json();
        let counted = server.post("/v1/messages/count_tokens", body).await;
        assert_eq!(
            counted.plain_json(),
            json!({"input_tokens": used["usage"]["input_tokens"]})
        );
    }
}

#[tokio::test]
async fn refusals_have_anthropic_s_shape() {
    let server = Server::start().await;
    let check = async |body: Value, status: u16, kind: &str, message: &str| {
        let (found, error) = server.post(PATH, body.clone()).await.plain_error();
        assert_eq!(
            (found, &error["type"]),
            (status, &json!("error")),
            "{error}"
        );
        assert_eq!(error["error"]["type"], kind, "{error}");
        assert!(error["request_id"].as_str().unwrap().starts_with("req_"));
        let text = error["error"]["message"].as_str().unwrap();
        assert!(text.contains(message), "{body}: {text}");
    };
    let invalid = "invalid_request_error";
    check(json!({}), 400, invalid, "model is required").await;
    check(
        json!({"model": "tiny"}),
        400,
        invalid,
        "max_tokens is required and must be positive",
    )
    .await;
    check(
        json!({"model": "tiny", "max_tokens": 1}),
        400,
        invalid,
        "messages is required",
    )
    .await;
    check(
        with(ask("a"), json!({"model": "nobody"})),
        404,
        "not_found_error",
        "model 'nobody' not found",
    )
    .await;
    let image = json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}]);
    check(ask(image), 400, invalid, "does not support vision").await;
    let (status, error) = server.get(PATH).await.plain_error();
    assert_eq!((status, &error["type"]), (405, &json!("error")));
    let (status, error) = server.post_text(PATH, "").await.plain_error();
    assert_eq!((status, &error["error"]["message"]), (400, &json!("EOF")));
}

#[tokio::test]
async fn a_stream_whose_worker_dies_says_so() {
    let server = Server::start().await;
    let endless =
        json!({"stream": true, "max_tokens": 40_000, "temperature": 1.5, "options": {"seed": 1}});
    let body = with(ask("Tell me a story."), endless);
    let request = server.request(Method::POST, PATH).body(body.to_string());
    let mut response = request.send().await.unwrap();
    let mut text = response.chunk().await.unwrap().unwrap().to_vec();
    let name = "tiny".parse().unwrap();
    support::kill(server.app.models.process_of(&name).unwrap());
    while let Some(chunk) = response.chunk().await.unwrap() {
        text.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(text).unwrap();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.starts_with("event: error\n"), "{last}");
    assert!(
        last.contains("\"type\":\"api_error\"") && last.contains("worker process"),
        "{last}"
    );
}
