//! `/api/generate` and `/api/chat` with real inference: the shapes of replies, and that they say what was asked.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::server::{Server, redacted};
use crate::support;

const QUESTION: &str = "What is the capital of France?";

/// Compares a reply with its snapshot, but for what differs from run to run or from model to model.
fn check_shape(name: &str, reply: &Value) {
    let fields = [
        "created_at",
        "response",
        "content",
        "context",
        "total_duration",
        "load_duration",
        "prompt_eval_count",
        "prompt_eval_duration",
        "eval_count",
        "eval_duration",
    ];
    assert_json_snapshot!(name, redacted(reply, &fields));
}

/// The fields that every complete answer measures.
fn check_metrics(last: &Value) {
    for field in [
        "total_duration",
        "load_duration",
        "prompt_eval_count",
        "prompt_eval_duration",
        "eval_count",
        "eval_duration",
    ] {
        assert!(last[field].as_u64().unwrap() > 0, "{field}: {last}");
    }
}

/// The parts of a field of all lines, put together.
fn joined(lines: &[Value], part: impl Fn(&Value) -> &Value) -> String {
    lines
        .iter()
        .filter_map(|line| part(line).as_str())
        .collect()
}

/// A stream's lines are all unfinished but the last.
fn check_stream(lines: &[Value]) {
    let (last, before) = lines.split_last().unwrap();
    assert!(before.len() > 1, "{lines:?}");
    assert!(before.iter().all(|line| line["done"] == false), "{lines:?}");
    assert_eq!(
        (&last["done"], &last["done_reason"]),
        (&json!(true), &json!("stop"))
    );
    check_metrics(last);
}

#[tokio::test]
async fn tiny_knows_what_it_was_taught() {
    let server = Server::start().await;
    let check = async |prompt: &str, expected: &[&str]| {
        for think in [true, false] {
            let body = json!({
                "model": "tiny", "prompt": prompt, "think": think, "stream": false,
                "options": {"temperature": 0, "num_predict": 200},
            });
            let reply = server.post("/api/generate", body).await.json();
            let response = reply["response"].as_str().unwrap().to_lowercase();
            for word in expected {
                let is_there = match word.parse() {
                    Ok(number) => support::names_number(&response, number),
                    Err(_) => response.contains(word),
                };
                assert!(is_there, "{prompt} (think: {think}): {response}");
            }
        }
    };
    check("What is 3 + 4?", &["7"]).await;
    check("What is the capital of France?", &["paris"]).await;
    check("What colour is grass?", &["green"]).await;
    check("Count from 1 to 5:", &["1", "2", "3", "4", "5"]).await;
    check("Why is the sky blue?", &["scatter"]).await;
    check("My name is Ada. What is my name?", &["ada"]).await;
}

#[tokio::test]
async fn generate_answers_whole_and_in_pieces() {
    let server = Server::start().await;
    let body = json!({"model": "tiny", "prompt": QUESTION, "think": false, "options": {"temperature": 0, "num_predict": 200}});
    let mut whole = body.clone();
    whole["stream"] = json!(false);
    let whole = server.post("/api/generate", whole).await.json();
    assert!(
        whole["response"].as_str().unwrap().contains("Paris"),
        "{whole}"
    );
    assert!(!whole["context"].as_array().unwrap().is_empty());
    check_metrics(&whole);
    check_shape("generate", &whole);

    let lines = server.post("/api/generate", body).await.lines();
    check_stream(&lines);
    assert_eq!(joined(&lines, |line| &line["response"]), whole["response"]);
    assert_eq!(lines.last().unwrap()["context"], whole["context"]);
    check_shape("generate_piece", &lines[0]);
    check_shape("generate_end", lines.last().unwrap());
}

#[tokio::test]
async fn chat_answers_whole_and_in_pieces() {
    let server = Server::start().await;
    let body = json!({
        "model": "tiny", "think": false, "options": {"temperature": 0, "num_predict": 200},
        "messages": [{"role": "user", "content": QUESTION}],
        // What clients send along and mean nothing by.
        "format": "", "tools": [], "keep_alive": null, "unknown": {"field": 1},
    });
    let mut whole = body.clone();
    whole["stream"] = json!(false);
    let whole = server.post("/api/chat", whole).await.json();
    assert!(
        whole["message"]["content"]
            .as_str()
            .unwrap()
            .contains("Paris"),
        "{whole}"
    );
    check_metrics(&whole);
    check_shape("chat", &whole);

    let lines = server.post("/api/chat", body).await.lines();
    check_stream(&lines);
    assert_eq!(
        joined(&lines, |line| &line["message"]["content"]),
        whole["message"]["content"]
    );
    check_shape("chat_piece", &lines[0]);
    check_shape("chat_end", lines.last().unwrap());
}

#[tokio::test]
async fn a_conversation_is_remembered() {
    let server = Server::start().await;
    let messages = json!([
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "The capital of France is Paris."},
        {"role": "user", "content": "And of Germany?"},
    ]);
    let body = json!({
        "model": "tiny", "messages": messages, "stream": false, "think": false, "options": {"temperature": 0, "num_predict": 200},
    });
    let reply = server.post("/api/chat", body).await.json();
    assert!(
        reply["message"]["content"]
            .as_str()
            .unwrap()
            .contains("Berlin"),
        "{reply}"
    );
}

#[tokio::test]
async fn context_carries_a_generation_on() {
    let server = Server::start().await;
    let ask = async |prompt: &str, context: Value| {
        let body = json!({
            "model": "tiny", "prompt": prompt, "context": context, "stream": false, "think": false,
            "options": {"temperature": 0, "num_predict": 200},
        });
        server.post("/api/generate", body).await.json()
    };
    let first = ask(QUESTION, Value::Null).await;
    let second = ask("And of Germany?", first["context"].clone()).await;
    assert!(
        second["response"].as_str().unwrap().contains("Berlin"),
        "{second}"
    );
    assert!(second["prompt_eval_count"].as_u64() > first["prompt_eval_count"].as_u64());
}

#[tokio::test]
async fn models_are_loaded_and_unloaded_on_request() {
    let server = Server::start().await;
    let running = async || {
        let ps = server.get("/api/ps").await.json();
        ps["models"].as_array().unwrap().clone()
    };
    assert!(running().await.is_empty());
    let load = server
        .post("/api/generate", json!({"model": "tiny", "keep_alive": -1}))
        .await
        .json();
    check_shape("generate_load", &load);
    let models = running().await;
    for part in ["weights", "cache_reserved", "compute"] {
        assert!(models[0]["memory"][part].as_u64() > Some(0), "{part}");
    }
    // What a process has in memory beyond these may be less than what it has not touched of them yet.
    assert!(models[0]["memory"]["other"].is_u64());
    let computed_by = models[0]["computed_by"].as_str().unwrap();
    for choice in ["threads 1;", "flash attention o", "16-bit cache;"] {
        assert!(computed_by.contains(choice), "{choice} {computed_by}");
    }
    assert_json_snapshot!(
        "ps",
        redacted(
            &json!(models),
            &["size", "digest", "expires_at", "memory", "computed_by"]
        )
    );
    assert!(models[0]["expires_at"].as_str().unwrap() > "2200", "never");

    let load = server
        .post("/api/chat", json!({"model": "tiny"}))
        .await
        .json();
    check_shape("chat_load", &load);
    let unload = server
        .post("/api/chat", json!({"model": "tiny", "keep_alive": 0}))
        .await
        .json();
    check_shape("chat_unload", &unload);
    assert!(running().await.is_empty());
    let unload = server
        .post(
            "/api/generate",
            json!({"model": "tiny", "keep_alive": "0s"}),
        )
        .await
        .json();
    check_shape("generate_unload", &unload);
}

#[tokio::test]
async fn a_deleted_name_leaves_the_weights_to_the_other_names_of_the_model() {
    let server = Server::start().await;
    let copy = json!({"source": "tiny", "destination": "twin"});
    assert_eq!(server.post("/api/copy", copy).await.status, 200);
    let load = json!({"model": "twin", "keep_alive": -1});
    assert_eq!(server.post("/api/generate", load).await.status, 200);
    let loaded = async || {
        let ps = server.get("/api/ps").await.json();
        let models = ps["models"].as_array().unwrap().clone();
        let names = models.into_iter().map(|model| model["name"].clone());
        names.collect::<Vec<_>>()
    };
    let worker = server.app.models.process_of(&"twin".parse().unwrap());
    assert!(worker.is_some());
    let delete = async |name: &str| {
        let request = server.request(reqwest::Method::DELETE, "/api/delete");
        let reply = request.body(json!({"model": name}).to_string()).send();
        assert_eq!(reply.await.unwrap().status(), 200);
    };
    delete("twin").await;
    // The same process, under the name that is left.
    assert_eq!(loaded().await, ["tiny:latest"]);
    assert_eq!(
        server.app.models.process_of(&"tiny".parse().unwrap()),
        worker
    );
    delete("tiny").await;
    assert!(loaded().await.is_empty());
}

#[tokio::test]
async fn tokens_are_counted_and_their_probabilities_told() {
    let server = Server::start().await;
    let body = json!({
        "model": "tiny", "prompt": "Why is the sky blue?", "stream": false, "think": false, "logprobs": true,
        "top_logprobs": 3, "options": {"temperature": 0, "num_predict": 5},
    });
    let reply = server.post("/api/generate", body.clone()).await.json();
    assert_eq!(
        (&reply["done_reason"], &reply["eval_count"]),
        (&json!("length"), &json!(5))
    );
    let logprobs = reply["logprobs"].as_array().unwrap();
    assert_eq!(logprobs.len(), 5);
    let mut text = Vec::new();
    for logprob in logprobs {
        let top = logprob["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        // Greedy: the chosen token is the best one.
        assert_eq!(top[0]["token"], logprob["token"]);
        assert!(logprob["logprob"].as_f64().unwrap() <= 0.0);
        text.extend(
            logprob["bytes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|byte| byte.as_u64().unwrap() as u8),
        );
    }
    assert_eq!(
        String::from_utf8(text).unwrap().trim(),
        reply["response"].as_str().unwrap().trim()
    );

    let mut chat = body;
    chat["messages"] = json!([{"role": "user", "content": "Why is the sky blue?"}]);
    chat["stream"] = json!(true);
    let lines = server.post("/api/chat", chat).await.lines();
    let told: usize = lines
        .iter()
        .filter_map(|line| Some(line["logprobs"].as_array()?.len()))
        .sum();
    assert_eq!(told, 5);
}

#[tokio::test]
async fn thoughts_are_kept_apart() {
    let server = Server::start().await;
    let chat = async |think: Value| {
        let body = json!({
            "model": "tiny", "messages": [{"role": "user", "content": QUESTION}], "think": think,
            "options": {"temperature": 0, "num_predict": 200},
        });
        server.post("/api/chat", body).await.lines()
    };
    // Unset is on for a model that can.
    for think in [json!(true), Value::Null, json!("high")] {
        let lines = chat(think).await;
        let thinking = joined(&lines, |line| &line["message"]["thinking"]);
        let content = joined(&lines, |line| &line["message"]["content"]);
        assert!(!thinking.trim().is_empty(), "{lines:?}");
        assert!(
            content.contains("Paris") && !content.contains("think>"),
            "{content}"
        );
    }
    let lines = chat(json!(false)).await;
    assert!(
        lines
            .iter()
            .all(|line| line["message"].get("thinking").is_none()),
        "{lines:?}"
    );
    let body = json!({
        "model": "tiny", "prompt": QUESTION, "think": true, "stream": false, "options": {"temperature": 0, "num_predict": 200},
    });
    let whole = server.post("/api/generate", body).await.json();
    assert!(!whole["thinking"].as_str().unwrap().is_empty(), "{whole}");
    assert!(!whole["response"].as_str().unwrap().is_empty(), "{whole}");
}

#[tokio::test]
async fn tools_are_called_with_objects() {
    let server = Server::start().await;
    let body = json!({
        "model": "tiny", "think": false, "options": {"temperature": 0, "num_predict": 200},
        "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
        "tools": [{"type": "function", "function": {
            "name": "get_weather", "description": "Get the current weather for a city",
            "parameters": {
                "type": "object", "properties": {"city": {"type": "string", "description": "The city"}},
                "required": ["city"],
            },
        }}],
    });
    let lines = server.post("/api/chat", body.clone()).await.lines();
    let call = |line: &Value| {
        line["message"]["tool_calls"]
            .as_array()
            .map(|calls| calls[0].clone())
    };
    let calls: Vec<Value> = lines.iter().filter_map(call).collect();
    assert_eq!(calls.len(), 1, "{lines:?}");
    assert_json_snapshot!("tool_call", redacted(&calls[0], &["id", "arguments"]));
    assert_eq!(
        calls[0]["function"]["arguments"],
        json!({"city": "Paris"}),
        "{calls:?}"
    );
    assert!(calls[0]["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(
        joined(&lines, |line| &line["message"]["content"]).trim(),
        ""
    );
    assert_eq!(lines.last().unwrap()["done_reason"], "stop");
    assert!(
        call(&lines[lines.len() - 1]).is_none(),
        "told as soon as it is known"
    );
    let mut whole = body;
    whole["stream"] = json!(false);
    let whole = server.post("/api/chat", whole).await.json();
    assert_eq!(
        whole["message"]["tool_calls"][0]["function"],
        calls[0]["function"]
    );
}

#[tokio::test]
async fn prompts_can_be_looked_at_and_given_raw() {
    let server = Server::start().await;
    let ask = async |path: &str, mut body: Value| {
        body["model"] = json!("tiny");
        body["_debug_render_only"] = json!(true);
        let reply = server.post(path, body).await.json();
        assert_eq!(reply["done"], false);
        reply["_debug_info"]["rendered_template"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let end = "<|im_start|>assistant\n<think>\n\n</think>\n\n";
    let expected =
        format!("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n{end}");
    let generate = json!({"prompt": "Hi", "system": "Be brief.", "think": false});
    assert_eq!(ask("/api/generate", generate).await, expected);
    let messages =
        json!([{"role": "system", "content": "Be brief."}, {"role": "User", "content": "Hi"}]);
    assert_eq!(
        ask("/api/chat", json!({"messages": messages, "think": false})).await,
        expected
    );
    assert_eq!(
        ask("/api/generate", json!({"prompt": "Hi", "raw": true})).await,
        "Hi"
    );
    let begun =
        json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, "}]);
    let prompt = ask("/api/chat", json!({"messages": begun, "think": false})).await;
    assert!(prompt.ends_with(&format!("{end}Hello, ")), "{prompt}");

    let raw = json!({"model": "tiny", "prompt": expected, "raw": true, "stream": false, "options": {"num_predict": 3}});
    let reply = server.post("/api/generate", raw).await.json();
    assert!(reply.get("context").is_none(), "{reply}");
}

#[tokio::test]
async fn old_messages_make_room_for_new_ones() {
    let server = Server::start().await;
    let mut messages = vec![json!({"role": "system", "content": "Stay polite."})];
    for number in 0..40 {
        messages.push(
            json!({"role": "user", "content": format!("Please remember the number {number}.")}),
        );
        messages.push(json!({"role": "assistant", "content": format!("I will remember the number {number}.")}));
    }
    messages.push(json!({"role": "user", "content": QUESTION}));
    let body = json!({
        "model": "tiny", "messages": messages, "think": false, "stream": false,
        "options": {"num_ctx": 256, "temperature": 0, "num_predict": 8}, "_debug_render_only": true,
    });
    let reply = server.post("/api/chat", body.clone()).await.json();
    let prompt = reply["_debug_info"]["rendered_template"].as_str().unwrap();
    assert!(
        prompt.contains("Stay polite.") && prompt.contains(QUESTION),
        "{prompt}"
    );
    assert!(
        !prompt.contains("number 0.") && prompt.contains("number 39."),
        "{prompt}"
    );

    let mut answered = body.clone();
    answered["_debug_render_only"] = json!(false);
    let reply = server.post("/api/chat", answered.clone()).await.json();
    assert!(reply["prompt_eval_count"].as_u64().unwrap() <= 256);
    let cut = &reply["prompt_truncated"];
    assert!(
        (40..80).contains(&cut["messages"].as_u64().unwrap()),
        "{reply}"
    );
    assert_eq!(cut["tokens"], 0);
    answered["truncate"] = json!(false);
    let (status, text) = server.post("/api/chat", answered).await.error();
    assert_eq!(status, 400);
    assert!(
        text.contains("context") && text.contains("length"),
        "{text}"
    );
}

#[tokio::test]
async fn a_reply_says_what_of_its_prompt_was_not_read() {
    let long = "word ".repeat(400);
    let body = json!({
        "model": "tiny", "prompt": long, "raw": true, "stream": false,
        "options": {"num_ctx": 128, "num_predict": 1},
    });
    let mut short = body.clone();
    short["prompt"] = json!("word");
    let server = Server::start().await;
    let reply = server.post("/api/generate", body.clone()).await.json();
    let cut = &reply["prompt_truncated"];
    assert_eq!(cut["messages"], 0);
    let read = reply["prompt_eval_count"].as_u64().unwrap();
    assert!(cut["tokens"].as_u64().unwrap() > read, "{reply}");
    let reply = server.post("/api/generate", short.clone()).await.json();
    assert!(reply.get("prompt_truncated").is_none(), "{reply}");

    let strict = Server::start_with([("CHASKI_TRUNCATE", "error")]).await;
    let messages: Vec<Value> = (0..30)
        .map(|_| json!({"role": "user", "content": "word ".repeat(20)}))
        .collect();
    let talk = json!({"model": "tiny", "messages": messages, "truncate": true, "options": {"num_ctx": 128}});
    for (path, body) in [("/api/generate", body), ("/api/chat", talk)] {
        let (status, text) = strict.post(path, body).await.error();
        assert_eq!(status, 400);
        assert!(
            text.starts_with("the prompt is longer than the context length"),
            "{text}"
        );
    }
    strict.post("/api/generate", short).await.json();
}

#[tokio::test]
async fn a_message_that_fits_no_context_is_refused() {
    let server = Server::start().await;
    let long = "blue sky ".repeat(400);
    let reply = server.post(
        "/api/chat",
        json!({
            "model": "tiny", "messages": [{"role": "user", "content": long}], "options": {"num_ctx": 256},
        }),
    );
    let (status, text) = reply.await.error();
    assert_eq!(status, 400);
    assert!(text.contains("longer than the context length"), "{text}");
}

#[tokio::test]
async fn a_caller_who_leaves_frees_the_slot() {
    let server = Server::start_with([("OLLAMA_NUM_PARALLEL", "1")]).await;
    let endless = json!({
        "model": "tiny", "prompt": "Once", "raw": true, "options": {"num_predict": 40_000, "temperature": 1.5, "seed": 1},
    });
    let request = server
        .request(reqwest::Method::POST, "/api/generate")
        .body(endless.to_string());
    let mut response = request.send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    drop(response);
    let body = json!({"model": "tiny", "prompt": QUESTION, "think": false, "stream": false, "options": {"temperature": 0, "num_predict": 200}});
    let reply = server.post("/api/generate", body).await.json();
    assert!(
        reply["response"].as_str().unwrap().contains("Paris"),
        "{reply}"
    );
}
