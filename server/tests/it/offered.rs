//! Tools that are offered and not demanded: whatever the model calls by itself, it calls by its name and with arguments
//! that the tool accepts. The model that the repository ships has learnt other names than these.

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::server::Server;

const QUESTION: &str = "What is the weather like in London?";
const NAME: &str = "weather-get_weather";

fn weather() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": false})
}

fn time() -> Value {
    json!({"type": "object", "properties": {"zone": {"enum": ["utc", "local"]}}, "required": ["zone"], "additionalProperties": false})
}

/// As OpenAI and Ollama are given them.
fn tools() -> Value {
    let tool = |name: &str, description: &str, parameters: Value| json!({"type": "function", "function": {"name": name, "description": description, "parameters": parameters}});
    json!([
        tool(NAME, "Get the current weather in a city", weather()),
        tool("clock-what_time-is.it", "Get the time", time()),
    ])
}

fn native(question: &str, think: bool, stream: bool) -> Value {
    json!({
        "model": "tiny", "think": think, "stream": stream, "tools": tools(),
        "messages": [{"role": "user", "content": question}],
        "options": {"temperature": 0, "num_predict": 300},
    })
}

#[tokio::test]
async fn a_tool_is_called_by_its_own_name_natively() {
    let server = Server::start().await;
    for think in [false, true] {
        let whole = server
            .post("/api/chat", native(QUESTION, think, false))
            .await
            .json();
        let call = &whole["message"]["tool_calls"][0]["function"];
        assert_eq!(call["name"], NAME, "{whole}");
        assert!(call["arguments"]["city"].is_string(), "{whole}");
        assert_eq!(!whole["message"]["thinking"].is_null(), think, "{whole}");

        let lines = server
            .post("/api/chat", native(QUESTION, think, true))
            .await
            .lines();
        let calls = lines
            .iter()
            .filter_map(|line| line["message"]["tool_calls"].as_array());
        let calls: Vec<&Value> = calls.flatten().collect();
        assert_eq!(calls.len(), 1, "{lines:?}");
        assert_eq!(&calls[0]["function"], call);
    }
}

#[tokio::test]
async fn a_tool_is_called_by_its_own_name_on_openai_s_routes() {
    let server = Server::start().await;
    let body = |stream: bool| {
        json!({
            "model": "tiny", "stream": stream, "tools": tools(), "reasoning_effort": "none", "temperature": 0, "max_tokens": 300,
            "messages": [{"role": "user", "content": QUESTION}], "tool_choice": "auto",
        })
    };
    let whole = server
        .post("/v1/chat/completions", body(false))
        .await
        .plain_json();
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{whole}");
    let call = &choice["message"]["tool_calls"][0]["function"];
    assert_eq!(call["name"], NAME, "{whole}");

    let events = server
        .post("/v1/chat/completions", body(true))
        .await
        .events();
    let deltas = events
        .iter()
        .map(|(_, chunk)| &chunk["choices"][0]["delta"]["tool_calls"][0]);
    let called: Vec<&Value> = deltas.filter(|call| !call.is_null()).collect();
    assert_eq!(called[0]["function"]["name"], NAME, "{events:?}");
}

#[tokio::test]
async fn a_tool_is_used_by_its_own_name_on_anthropic_s_route() {
    let server = Server::start().await;
    let reply = server
        .post(
            "/v1/messages",
            json!({
                "model": "tiny", "max_tokens": 300, "temperature": 0, "messages": [{"role": "user", "content": QUESTION}],
                "tools": [{"name": NAME, "description": "Get the current weather in a city", "input_schema": weather()}],
            }),
        )
        .await
        .plain_json();
    let used = reply["content"]
        .as_array()
        .unwrap()
        .iter()
        .find(|block| block["type"] == "tool_use");
    assert_eq!(used.unwrap()["name"], NAME, "{reply}");
}

#[tokio::test]
async fn whatever_chance_writes_its_calls_are_of_the_tools() {
    let server = Server::start().await;
    let asked = (0..60).map(|seed| {
        let server = &server;
        async move {
            let mut body = native(["What time is it?", QUESTION, "Say something."][seed % 3], seed % 2 == 0, false);
            body["options"] = json!({"temperature": 1.3, "top_k": 0, "top_p": 1, "seed": seed, "num_predict": 300});
            let reply = server.post("/api/chat", body).await.json();
            let calls = reply["message"]["tool_calls"].as_array().cloned().unwrap_or_default();
            for call in &calls {
                let arguments = call["function"]["arguments"].as_object().unwrap();
                let (key, values) = match call["function"]["name"].as_str().unwrap() {
                    NAME => ("city", None),
                    "clock-what_time-is.it" => ("zone", Some(["utc", "local"])),
                    other => panic!("{other} was called: {reply}"),
                };
                assert_eq!(arguments.keys().collect::<Vec<_>>(), [key], "{reply}");
                let value = arguments[key].as_str().unwrap();
                assert!(values.is_none_or(|values| values.contains(&value)), "{reply}");
            }
            calls.len()
        }
    });
    let calls: Vec<usize> = stream::iter(asked).buffer_unordered(4).collect().await;
    // Both answers with calls and answers without any were judged.
    assert!(calls.iter().sum::<usize>() > 10, "{calls:?}");
    assert!(calls.contains(&0), "{calls:?}");
}

#[tokio::test]
async fn a_schema_that_cannot_be_kept_costs_no_answer() {
    let server = Server::start().await;
    let mut body = native(QUESTION, false, false);
    body["tools"][1]["function"]["parameters"] =
        json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}});
    body["tools"].as_array_mut().unwrap().reverse();
    let reply = server.post("/api/chat", body.clone()).await.json();
    assert_eq!(
        reply["message"]["tool_calls"][0]["function"]["name"], NAME,
        "{reply}"
    );
    // Demanded, it is a mistake of the caller's.
    body["tool_choice"] = json!("required");
    assert_eq!(server.post("/api/chat", body).await.status, 400);
}

#[tokio::test]
async fn stop_strings_hold_where_tools_are_offered() {
    let server = Server::start().await;
    let mut body = native("What is the capital of France?", false, false);
    body["options"]["stop"] = json!(["Par"]);
    let reply = server.post("/api/chat", body).await.json();
    let content = reply["message"]["content"].as_str().unwrap();
    assert!(!content.is_empty() && !content.contains("Par"), "{reply}");
}
