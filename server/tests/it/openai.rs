//! OpenAI's routes with real inference: the shapes of replies, that they say what was asked, and that refusals have
//! OpenAI's shape.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Reply, Server, redacted};

const QUESTION: &str = "What is the capital of France?";

/// What differs from run to run or from model to model.
const FIELDS: &[&str] = &[
    "id",
    "created",
    "created_at",
    "completed_at",
    "item_id",
    "call_id",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "input_tokens",
    "output_tokens",
    "reasoning_tokens",
];

fn weather_tool() -> Value {
    json!({"type": "function", "function": {
        "name": "get_weather", "description": "Get the current weather for a city",
        "parameters": {
            "type": "object", "properties": {"city": {"type": "string", "description": "The city"}},
            "required": ["city"],
        },
    }})
}

/// A chat without thinking and without chance.
fn chat(content: &str) -> Value {
    json!({
        "model": "tiny", "messages": [{"role": "user", "content": content}], "reasoning_effort": "none",
        "temperature": 0, "max_tokens": 200,
    })
}

/// The same body with more fields.
fn with(mut body: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

/// The chunks of a stream, which must end with `[DONE]` and must not say so before.
fn chunks(reply: &Reply) -> Vec<Value> {
    let mut data: Vec<Value> = reply.events().into_iter().map(|(_, data)| data).collect();
    assert_eq!(data.pop().unwrap(), "[DONE]");
    assert!(data.iter().all(Value::is_object), "{data:?}");
    data
}

/// A field of the deltas of one choice, put together.
fn joined(chunks: &[Value], choice: usize, field: &str) -> String {
    chunks
        .iter()
        .flat_map(|chunk| chunk["choices"].as_array().unwrap())
        .filter(|it| it["index"] == choice)
        .filter_map(|it| it["delta"][field].as_str())
        .collect()
}

#[tokio::test]
async fn chats_are_answered_whole_and_in_chunks() {
    let server = Server::start().await;
    let path = "/v1/chat/completions";
    let whole = server.post(path, chat(QUESTION)).await.plain_json();
    let content = whole["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(content.contains("Paris"), "{whole}");
    assert_json_snapshot!("openai_chat", redacted(&whole, FIELDS));

    let streamed = with(
        chat(QUESTION),
        json!({"stream": true, "stream_options": {"include_usage": true}}),
    );
    let chunks = chunks(&server.post(path, streamed).await);
    assert_eq!(joined(&chunks, 0, "content"), content);
    let usage = &chunks.last().unwrap()["usage"];
    for field in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert_eq!(usage[field], whole["usage"][field], "{field}");
    }
    let cached = &usage["prompt_tokens_details"]["cached_tokens"];
    assert!(
        cached.as_u64().unwrap() > 0,
        "the same prompt again: {usage}"
    );
    assert_json_snapshot!("openai_chat_first_chunk", redacted(&chunks[0], FIELDS));
    let end = json!(chunks[chunks.len() - 2..]);
    assert_json_snapshot!("openai_chat_end", redacted(&end, FIELDS));
}

#[tokio::test]
async fn thoughts_are_told_apart() {
    let server = Server::start().await;
    let path = "/v1/chat/completions";
    let body = with(chat(QUESTION), json!({"reasoning_effort": "high"}));
    let whole = server.post(path, body.clone()).await.plain_json();
    let message = &whole["choices"][0]["message"];
    assert!(
        !message["reasoning"].as_str().unwrap().is_empty(),
        "{whole}"
    );
    let streamed = with(body, json!({"stream": true}));
    let chunks = chunks(&server.post(path, streamed).await);
    for field in ["reasoning", "content"] {
        assert_eq!(joined(&chunks, 0, field), message[field].as_str().unwrap());
    }
    assert_eq!(joined(&chunks, 0, "role"), "assistant");
}

#[tokio::test]
async fn several_answers_share_a_reply() {
    let server = Server::start().await;
    let body = json!({
        "model": "tiny", "messages": [{"role": "user", "content": "Tell me a story."}], "reasoning_effort": "none",
        "temperature": 1.2, "seed": 7, "max_completion_tokens": 12, "n": 3,
    });
    let path = "/v1/chat/completions";
    let whole = server.post(path, body.clone()).await.plain_json();
    let contents: Vec<&str> = whole["choices"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(index, choice)| {
            assert_eq!(choice["index"], index);
            assert_eq!(choice["finish_reason"], "length");
            choice["message"]["content"].as_str().unwrap()
        })
        .collect();
    assert_eq!(contents.len(), 3);
    assert!(
        contents[0] != contents[1] && contents[1] != contents[2],
        "{contents:?}"
    );
    assert_eq!(whole["usage"]["completion_tokens"], 36);

    let chunks = chunks(&server.post(path, with(body, json!({"stream": true}))).await);
    for (choice, content) in contents.iter().enumerate() {
        assert_eq!(&joined(&chunks, choice, "content"), content);
    }
}

#[tokio::test]
async fn tools_are_called_with_texts_and_their_results_are_read() {
    let server = Server::start().await;
    let path = "/v1/chat/completions";
    let body = with(
        chat("What is the weather in Paris?"),
        json!({"tools": [weather_tool()]}),
    );
    let whole = server.post(path, body.clone()).await.plain_json();
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let call = &choice["message"]["tool_calls"][0];
    assert_json_snapshot!("openai_tool_call", redacted(call, &["id"]));

    let chunks = chunks(
        &server
            .post(path, with(body.clone(), json!({"stream": true})))
            .await,
    );
    let streamed: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array())
        .flatten()
        .collect();
    assert_eq!(streamed.len(), 1);
    assert_eq!(streamed[0]["function"], call["function"]);

    let none = with(body.clone(), json!({"tool_choice": "none"}));
    let none = server.post(path, none).await.plain_json();
    assert_eq!(none["choices"][0]["finish_reason"], "stop", "{none}");

    let mut answered = body;
    let messages = answered["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]}));
    let result =
        json!([{"type": "text", "text": "{\"temperature\": 21, \"condition\": \"sunny\"}"}]);
    messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": result}));
    let reply = server.post(path, answered).await.plain_json();
    let content = reply["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(
        content.contains("21") || content.contains("sunny"),
        "{reply}"
    );
}

#[tokio::test]
async fn an_answer_keeps_the_shape_that_was_asked_for() {
    let server = Server::start().await;
    let schema = json!({
        "type": "object", "properties": {"capital": {"type": "string", "maxLength": 20}, "sure": {"type": "boolean"}},
        "required": ["capital", "sure"], "additionalProperties": false,
    });
    let check = |text: &Value| {
        let answer: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        assert!(
            answer["capital"].is_string() && answer["sure"].is_boolean(),
            "{answer}"
        );
    };
    let format = json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": true}});
    let body = with(chat(QUESTION), json!({"response_format": format}));
    let reply = server.post("/v1/chat/completions", body).await.plain_json();
    check(&reply["choices"][0]["message"]["content"]);

    let format = json!({"format": {"type": "json_schema", "name": "answer", "schema": schema}});
    let body = json!({
        "model": "tiny", "input": QUESTION, "text": format, "temperature": 0, "max_output_tokens": 200,
        "reasoning": {"effort": "none"},
    });
    let reply = server.post("/v1/responses", body).await.plain_json();
    check(&reply["output"][0]["content"][0]["text"]);

    let body = with(chat(QUESTION), json!({"response_format": {"type": "yaml"}}));
    let (status, error) = server
        .post("/v1/chat/completions", body)
        .await
        .plain_error();
    let text = error["error"]["message"].as_str().unwrap();
    assert!(
        status == 400 && text.starts_with("invalid response_format type"),
        "{text}"
    );
}

#[tokio::test]
async fn a_demanded_call_is_made_and_a_biased_token_is_not() {
    let server = Server::start().await;
    let path = "/v1/chat/completions";
    let body = with(
        chat("Hello!"),
        json!({"tools": [weather_tool()], "tool_choice": "required", "parallel_tool_calls": false}),
    );
    let reply = server.post(path, body).await.plain_json();
    let calls = reply["choices"][0]["message"]["tool_calls"]
        .as_array()
        .unwrap();
    assert_eq!(calls.len(), 1, "{reply}");
    assert_eq!(calls[0]["function"]["name"], "get_weather");

    let first = async |bias: Value| {
        let more = json!({"logit_bias": bias, "max_tokens": 1});
        let reply = server
            .post(path, with(chat(QUESTION), more))
            .await
            .plain_json();
        reply["choices"][0]["message"]["content"].clone()
    };
    let unbiased = first(json!({})).await;
    // Everything is forbidden that the model would begin with.
    let all: serde_json::Map<String, Value> = (0..1000)
        .map(|token| (token.to_string(), json!(-100)))
        .collect();
    assert_ne!(first(Value::Object(all)).await, unbiased);
}

#[tokio::test]
async fn the_prompt_is_made_of_all_that_was_said() {
    let server = Server::start().await;
    let body = json!({
        "model": "tiny", "reasoning_effort": "none", "_debug_render_only": true, "tools": [],
        "messages": [
            {"role": "system", "content": "One."}, {"role": "developer", "content": "Two."},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ],
    });
    let reply = server.post("/v1/chat/completions", body).await.plain_json();
    let expected = "<|im_start|>system\nOne.\n\nTwo.<|im_end|>\n<|im_start|>user\na\n\nb<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
    assert_eq!(reply["_debug_info"]["rendered_template"], expected);
}

#[tokio::test]
async fn log_probabilities_are_told_token_by_token() {
    let server = Server::start().await;
    let more = json!({"logprobs": true, "top_logprobs": 2, "max_tokens": 4});
    let body = with(chat(QUESTION), more);
    let whole = server.post("/v1/chat/completions", body.clone()).await;
    let whole = whole.plain_json();
    let tokens = whole["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(tokens.len(), 4);
    for token in &tokens {
        assert_eq!(token["top_logprobs"].as_array().unwrap().len(), 2);
        assert_eq!(token["top_logprobs"][0]["token"], token["token"]);
        assert!(token["logprob"].as_f64().unwrap() <= 0.0 && token["bytes"].is_array());
    }
    let streamed = with(body, json!({"stream": true}));
    let chunks = chunks(&server.post("/v1/chat/completions", streamed).await);
    let told: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array())
        .flatten()
        .collect();
    assert_eq!(told, tokens.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn prompts_are_completed_one_or_many_texts_or_tokens() {
    let server = Server::start().await;
    let path = "/v1/completions";
    let body = json!({
        "model": "tiny", "prompt": QUESTION, "reasoning_effort": "none", "temperature": 0, "max_tokens": 200,
    });
    let whole = server.post(path, body.clone()).await.plain_json();
    let text = whole["choices"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("Paris"), "{whole}");
    assert_json_snapshot!("openai_completion", redacted(&whole, FIELDS));

    let many = json!({"prompt": ["What is 2 + 2? Answer briefly:", QUESTION], "echo": true});
    let many = server
        .post(path, with(body.clone(), many))
        .await
        .plain_json();
    let choices = many["choices"].as_array().unwrap();
    assert_eq!(choices[1]["text"], format!("{QUESTION}{text}"));
    assert!(choices[0]["text"].as_str().unwrap().contains('4'), "{many}");

    let streamed = with(
        body.clone(),
        json!({"stream": true, "echo": true, "stream_options": {"include_usage": true}}),
    );
    let chunks = chunks(&server.post(path, streamed).await);
    let told: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(told, format!("{QUESTION}{text}"));
    assert_eq!(chunks.last().unwrap()["choices"], json!([]));
    assert!(chunks.last().unwrap()["usage"]["total_tokens"].as_u64() > Some(0));

    // The tokens of a raw prompt: what is echoed is their text.
    let raw = "Once upon a time";
    let reply = server
        .post("/api/generate", json!({"model": "tiny", "prompt": raw, "raw": true, "stream": false, "options": {"num_predict": 0}}))
        .await
        .json();
    assert!(reply.get("context").is_none(), "{reply}");
    let asked = with(
        body.clone(),
        json!({"prompt": raw, "raw": true, "max_tokens": 6}),
    );
    let by_text = server.post(path, asked).await.plain_json();
    let tokens: Vec<i64> = (100..104).collect();
    let asked = json!({"prompt": [tokens, tokens], "max_tokens": 3, "echo": true});
    let by_tokens = server.post(path, with(body, asked)).await.plain_json();
    assert_eq!(by_text["choices"][0]["finish_reason"], "length");
    assert_eq!(
        by_tokens["choices"][0]["text"],
        by_tokens["choices"][1]["text"]
    );
    assert_eq!(by_tokens["usage"]["prompt_tokens"], 2 * tokens.len());
}

#[tokio::test]
async fn completions_tell_log_probabilities_in_lists() {
    let server = Server::start().await;
    let body = json!({
        "model": "tiny", "prompt": QUESTION, "reasoning_effort": "none", "temperature": 0, "max_tokens": 3,
        "logprobs": 2,
    });
    let whole = server.post("/v1/completions", body).await.plain_json();
    let logprobs = &whole["choices"][0]["logprobs"];
    let tokens = logprobs["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 3, "{whole}");
    let mut offset = 0;
    for (index, token) in tokens.iter().enumerate() {
        assert_eq!(logprobs["text_offset"][index], offset);
        offset += token.as_str().unwrap().chars().count();
        let top = logprobs["top_logprobs"][index].as_object().unwrap();
        assert_eq!(top.len(), 2);
        assert_eq!(
            top[token.as_str().unwrap()],
            logprobs["token_logprobs"][index]
        );
    }
}

#[tokio::test]
async fn vectors_are_numbers_or_base64() {
    let server = Server::start().await;
    let embed = async |more: Value| {
        let body = with(json!({"model": "tiny-embed"}), more);
        server.post("/v1/embeddings", body).await.plain_json()
    };
    let texts = json!(["How do I reset my password?", ""]);
    let floats = embed(json!({"input": texts})).await;
    assert_json_snapshot!(
        "openai_embeddings",
        redacted(&floats, &["embedding", "prompt_tokens", "total_tokens"])
    );
    let packed = embed(json!({"input": texts, "encoding_format": "base64", "user": "me"})).await;
    for (float, packed) in [0, 1].map(|index| (&floats["data"][index], &packed["data"][index])) {
        let bytes = STANDARD
            .decode(packed["embedding"].as_str().unwrap())
            .unwrap();
        let numbers: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
            .collect();
        let expected: Vec<f32> = serde_json::from_value(float["embedding"].clone()).unwrap();
        assert_eq!(numbers.len(), expected.len());
        let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert!(numbers.iter().zip(&expected).all(close));
    }
    let short = embed(json!({"input": "a", "dimensions": 16})).await;
    assert_eq!(short["data"][0]["embedding"].as_array().unwrap().len(), 16);
    let tokens = embed(json!({"input": [[101, 102], [103]]})).await;
    assert_eq!(tokens["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn models_are_listed_and_found_by_name() {
    let server = Server::start().await;
    let list = server.get("/v1/models").await.plain_json();
    let ids: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"tiny:latest"), "{ids:?}");
    let model = server.get("/v1/models/tiny").await.plain_json();
    assert_json_snapshot!("openai_model", redacted(&model, &["created"]));

    let copy = json!({"source": "tiny", "destination": "somebody/tiny:1"});
    assert_eq!(server.post("/api/copy", copy).await.status, 200);
    for name in ["somebody/tiny:1", "somebody%2Ftiny%3A1"] {
        let model = server.get(&format!("/v1/models/{name}")).await.plain_json();
        assert_eq!(model["id"], "somebody/tiny:1");
        assert_eq!(model["owned_by"], "somebody");
    }
    let (status, error) = server.get("/v1/models/nobody").await.plain_error();
    assert_eq!(
        (status, &error["error"]["type"]),
        (404, &json!("not_found_error"))
    );
}

/// The events of a response, whose numbers must count up and whose names must be those in their data.
fn response_events(reply: &Reply) -> Vec<Value> {
    let events = reply.events().into_iter().enumerate();
    events
        .map(|(number, (name, data))| {
            assert_eq!(data["sequence_number"], number);
            assert_eq!(data["type"].as_str(), name.as_deref());
            data
        })
        .collect()
}

#[tokio::test]
async fn responses_are_given_whole_and_event_by_event() {
    let server = Server::start().await;
    let body = json!({
        "model": "tiny", "input": QUESTION, "instructions": "Be brief.", "temperature": 0, "max_output_tokens": 300,
        "reasoning": {"effort": "high"}, "metadata": {"purpose": "test"},
    });
    let whole = server
        .post("/v1/responses", body.clone())
        .await
        .plain_json();
    let output = whole["output"].as_array().unwrap();
    let kinds: Vec<&str> = output
        .iter()
        .map(|item| item["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["reasoning", "message"]);
    let fields = [FIELDS, &["text", "encrypted_content"]].concat();
    assert_json_snapshot!("openai_response", redacted(&whole, &fields));

    let streamed = with(body, json!({"stream": true}));
    let events = response_events(&server.post("/v1/responses", streamed).await);
    let mut kinds: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    kinds.dedup();
    assert_json_snapshot!("openai_response_events", kinds);
    let text = |events: &[Value], kind: &str| -> String {
        let events = events.iter().filter(|event| event["type"] == kind);
        events.filter_map(|event| event["delta"].as_str()).collect()
    };
    assert_eq!(
        text(&events, "response.output_text.delta"),
        output[1]["content"][0]["text"].as_str().unwrap()
    );
    let last = &events.last().unwrap()["response"];
    assert_eq!(redacted(last, FIELDS), redacted(&whole, FIELDS));
}

#[tokio::test]
async fn responses_call_functions_and_read_what_they_return() {
    let server = Server::start().await;
    let mut tool = weather_tool()["function"].clone();
    tool["type"] = json!("function");
    let body = json!({
        "model": "tiny", "temperature": 0, "max_output_tokens": 200, "reasoning": {"effort": "none"}, "tools": [tool],
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "What is the weather in Paris?"}]}],
    });
    let events = response_events(
        &server
            .post("/v1/responses", with(body.clone(), json!({"stream": true})))
            .await,
    );
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_json_snapshot!("openai_response_call_events", kinds);
    let output = events.last().unwrap()["response"]["output"].clone();
    assert_eq!(output[0]["name"], "get_weather");
    assert_eq!(output[0]["arguments"], "{\"city\":\"Paris\"}");

    let mut answered = body;
    let input = answered["input"].as_array_mut().unwrap();
    input.extend(output.as_array().unwrap().clone());
    input.push(json!({"type": "function_call_output", "call_id": output[0]["call_id"], "output": "{\"temperature\": 21, \"condition\": \"sunny\"}"}));
    let reply = server.post("/v1/responses", answered).await.plain_json();
    let text = reply["output"][0]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("21") || text.contains("sunny"), "{reply}");
}

#[tokio::test]
async fn what_was_not_read_of_a_prompt_is_told() {
    let server = Server::start().await;
    let read = async |questions: usize| {
        let messages = vec![json!({"role": "user", "content": QUESTION}); questions];
        let small = json!({"options": {"num_ctx": 128}, "max_tokens": 4, "messages": messages});
        let reply = server
            .post("/v1/chat/completions", with(chat(""), small))
            .await;
        reply.plain_json()["usage"].clone()
    };
    assert!(read(1).await.get("prompt_truncated").is_none());
    let usage = read(50).await;
    let left_out = usage["prompt_truncated"]["messages"].as_u64();
    assert!(left_out > Some(10) && left_out < Some(50), "{usage}");
}

#[tokio::test]
async fn bodies_may_be_compressed() {
    let server = Server::start().await;
    let body = json!({"model": "tiny", "input": QUESTION, "reasoning": {"effort": "none"}, "max_output_tokens": 3});
    let compressed = ruzstd::encoding::compress_to_vec(
        body.to_string().as_bytes(),
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    let send = async |encoding: &str, body: Vec<u8>| {
        let request = server.request(Method::POST, "/v1/responses");
        Reply::of(request.header("content-encoding", encoding).body(body)).await
    };
    let reply = send("zstd", compressed).await.plain_json();
    assert_eq!(reply["status"], "incomplete");
    let (status, error) = send("zstd", b"{}".to_vec()).await.plain_error();
    assert_eq!(status, 400);
    assert_eq!(error["error"]["message"], "failed to decompress zstd body");
    assert_eq!(send("gzip", b"{}".to_vec()).await.status, 400);
}

#[tokio::test]
async fn refusals_have_openai_s_shape() {
    let server = Server::start().await;
    let check = async |path: &str, body: Value, status: u16, kind: &str, message: &str| {
        let reply = server.post(path, body.clone()).await;
        let (found, error) = reply.plain_error();
        let error = &error["error"];
        assert_eq!((found, &error["type"]), (status, &json!(kind)), "{error}");
        assert!(error.get("param").is_some() && error.get("code").is_some());
        let text = error["message"].as_str().unwrap();
        assert!(text.contains(message), "{path} {body}: {text}");
    };
    let invalid = "invalid_request_error";
    for path in [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
    ] {
        let reply = server.post_text(path, "").await.plain_error();
        assert_eq!(
            (reply.0, &reply.1["error"]["message"]),
            (400, &json!("EOF"))
        );
        let reply = server.post_text(path, "{").await.plain_error();
        assert_eq!(
            (reply.0, &reply.1["error"]["message"]),
            (400, &json!("unexpected EOF"))
        );
        let (status, _) = server.get(path).await.plain_error();
        assert_eq!(status, 405);
    }
    let chats = "/v1/chat/completions";
    let asked = |model: &str| with(chat(QUESTION), json!({"model": model}));
    check(
        chats,
        asked("nobody"),
        404,
        "not_found_error",
        "model 'nobody' not found",
    )
    .await;
    check(chats, asked(""), 400, invalid, "model is required").await;
    check(
        chats,
        json!({"model": "tiny", "messages": []}),
        400,
        invalid,
        "[] is too short - 'messages'",
    )
    .await;
    check(
        chats,
        asked("tiny-embed"),
        400,
        invalid,
        "does not support chat",
    )
    .await;
    let image = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]);
    let image = json!({"messages": [{"role": "user", "content": image}]});
    check(
        chats,
        with(chat(""), image),
        400,
        invalid,
        "does not support vision",
    )
    .await;
    let audio = json!([{"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}]);
    let audio = json!({"messages": [{"role": "user", "content": audio}]});
    check(
        chats,
        with(chat(""), audio),
        400,
        invalid,
        "does not support audio",
    )
    .await;
    let long = json!({"truncate": false, "options": {"num_ctx": 64}});
    let long = with(chat(&"word ".repeat(500)), long);
    let (status, error) = server.post(chats, long).await.plain_error();
    assert_eq!(
        (status, &error["error"]["code"]),
        (400, &json!("context_length_exceeded"))
    );
    check(
        "/v1/embeddings",
        json!({"model": "tiny-embed", "input": []}),
        400,
        invalid,
        "invalid input",
    )
    .await;
    check(
        "/v1/completions",
        json!({"model": "nobody", "prompt": "a"}),
        404,
        "not_found_error",
        "not found",
    )
    .await;
    check(
        "/v1/nothing",
        json!({}),
        404,
        "not_found_error",
        "404 page not found",
    )
    .await;
    check(
        "/v1/audio/transcriptions",
        json!({}),
        501,
        "api_error",
        "speech",
    )
    .await;

    let huge = "x".repeat((64 << 20) + 1);
    let (status, error) = server.post_text(chats, &huge).await.plain_error();
    assert_eq!(
        (status, &error["error"]["message"]),
        (413, &json!("http: request body too large"))
    );
}

/// The whole of a streamed reply whose worker is killed when its first part is there; nothing if there is no worker then.
async fn cut_off(server: &Server, path: &str, body: Value) -> String {
    let request = server.request(Method::POST, path);
    let mut response = request.body(body.to_string()).send().await.unwrap();
    let mut text = response.chunk().await.unwrap().unwrap().to_vec();
    let name = "tiny".parse().unwrap();
    let Some(process) = server.app.models.process_of(&name) else {
        return String::new();
    };
    crate::support::kill(process);
    while let Some(chunk) = response.chunk().await.unwrap() {
        text.extend_from_slice(&chunk);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_stream_whose_worker_dies_says_so_and_is_done() {
    let server = Server::start().await;
    for (path, body) in [
        ("/v1/chat/completions", chat("Tell me a story.")),
        (
            "/v1/completions",
            json!({"model": "tiny", "prompt": "Tell me a story."}),
        ),
        (
            "/v1/responses",
            json!({"model": "tiny", "input": "Tell me a story."}),
        ),
    ] {
        // A story that ends before its worker does shows nothing, so there are several.
        let mut text = String::new();
        for seed in 1..=20 {
            let endless = json!({"stream": true, "max_tokens": 40_000, "max_output_tokens": 40_000, "logit_bias": null, "temperature": 1.5, "seed": seed});
            text = cut_off(&server, path, with(body.clone(), endless)).await;
            if text.contains("worker process stopped") {
                break;
            }
        }
        let end: Vec<&str> = text.trim_end().split("\n\n").collect();
        let lost = |event: &str| event.contains("worker process stopped unexpectedly");
        if path == "/v1/responses" {
            let last = end.last().unwrap();
            assert!(
                last.starts_with("event: response.failed\n") && lost(last),
                "{last}"
            );
        } else {
            let [.., error, done] = end.as_slice() else {
                panic!("{text}");
            };
            assert!(
                error.starts_with("data: {\"error\":{") && lost(error),
                "{error}"
            );
            assert_eq!(*done, "data: [DONE]");
        }
    }
}

#[tokio::test]
async fn the_tokens_of_thoughts_are_counted() {
    let server = Server::start().await;
    let ask = async |effort: &str| {
        let body = with(chat("What is 3 + 4?"), json!({"reasoning_effort": effort}));
        let reply = server.post("/v1/chat/completions", body).await;
        reply.plain_json()["usage"].clone()
    };
    let usage = ask("high").await;
    let thought = usage["completion_tokens_details"]["reasoning_tokens"]
        .as_u64()
        .unwrap();
    assert!(
        thought > 0 && thought < usage["completion_tokens"].as_u64().unwrap(),
        "{usage}"
    );
    let usage = ask("none").await;
    assert!(usage["completion_tokens_details"].is_null(), "{usage}");

    let body = json!({"model": "tiny", "temperature": 0, "input": "What is 3 + 4?", "reasoning": {"effort": "high"}});
    let reply = server.post("/v1/responses", body).await.plain_json();
    assert_eq!(
        reply["usage"]["output_tokens_details"]["reasoning_tokens"], thought,
        "{reply}"
    );
}
