//! The dialect of OpenAI, as llama-server, vLLM and many others speak it.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Asker, Content, Expected, Failure, Generation, Labelled,
    classify::text,
    classify_by_chat, embed,
    generate::new_messages,
    lines::lines,
    malformed,
    stream::{self, End},
};
use crate::{
    client::Exchange,
    workload::{Input, Item, Message},
};

/// What a stream ends with.
const DONE: &[u8] = b"[DONE]";

/// One event of a stream.
#[derive(Debug, Deserialize)]
struct Event {
    error: Option<ErrorObject>,
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ErrorObject {
    Object { message: String },
    Text(String),
}

#[derive(Debug, Deserialize)]
struct Choice {
    /// Of a completion.
    text: Option<String>,
    /// Of a chat.
    #[serde(default)]
    delta: Delta,
    logprobs: Option<Logprobs>,
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Delta {
    content: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
}

/// A chat lists `content`, a completion `tokens`.
#[derive(Debug, Deserialize)]
struct Logprobs {
    content: Option<Vec<serde::de::IgnoredAny>>,
    tokens: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

pub(super) fn completion_body(asker: &Asker, item: &Item) -> Value {
    let prompt = match &item.input {
        Input::Text(text) => text.as_str(),
        Input::Texts(_) | Input::Messages(_) => {
            unreachable!("a workload of prompts was read as such")
        }
    };
    let mut body = json!({ "model": asker.model, "prompt": prompt });
    if asker.logprobs {
        body["logprobs"] = json!(1);
    }
    with_options(body, asker, item)
}

pub(super) fn chat_body(asker: &Asker, item: &Item, earlier: &[Message]) -> Value {
    let messages = [earlier, &new_messages(item)].concat();
    let mut body = json!({ "model": asker.model, "messages": messages });
    if asker.logprobs {
        body["logprobs"] = json!(true);
    }
    with_options(body, asker, item)
}

/// The context length is not a parameter of a request here.
fn with_options(mut body: Value, asker: &Asker, item: &Item) -> Value {
    body["temperature"] = json!(0);
    for (name, value) in asker.options.iter().filter(|(name, _)| *name != "num_ctx") {
        body[name] = value.clone();
    }
    body["max_tokens"] = json!(item.max_tokens);
    body["seed"] = json!(item.seed);
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    body
}

pub(super) fn check(
    exchange: &Exchange,
    max_tokens: u64,
    chunks: &mut Vec<Instant>,
) -> Result<Answer, Failure> {
    let mut text = String::new();
    let mut logprobs = 0;
    let mut finish = None;
    let mut usage: Option<Usage> = None;
    let mut done = false;
    for (at, line) in lines(&exchange.reads) {
        // Comments and event names carry nothing.
        let Some(data) = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii) else {
            continue;
        };
        if done {
            return Err(Failure::Malformed("an event after the final one".into()));
        }
        if data == DONE {
            done = true;
            continue;
        }
        let event: Event = stream::parsed(data, exchange)?;
        if let Some(ErrorObject::Object { message } | ErrorObject::Text(message)) = event.error {
            return Err(Failure::ErrorRecord(message));
        }
        usage = event.usage.or(usage);
        for choice in event.choices {
            let written = [choice.text, choice.delta.content];
            let thought = [choice.delta.reasoning_content, choice.delta.reasoning];
            let has_text =
                |piece: &Option<String>| piece.as_ref().is_some_and(|piece| !piece.is_empty());
            if written.iter().chain(&thought).any(has_text) {
                chunks.push(at);
            }
            text.extend(written.into_iter().flatten());
            if let Some(Logprobs { content, tokens }) = choice.logprobs {
                logprobs += content.or(tokens).map_or(0, |one| one.len() as u64);
            }
            finish = choice.finish_reason.or(finish);
        }
    }
    if let Some(failure) = &exchange.failure {
        return Err(failure.clone().into());
    }
    if !done {
        return Err(Failure::Truncated);
    }
    let end = End {
        reason: finish.as_deref(),
        reason_field: "finish_reason",
        tokens: usage.and_then(|usage| usage.completion_tokens),
        tokens_field: "completion_tokens",
    };
    let (tokens, ended_by_model) = end.checked(chunks.len(), max_tokens)?;
    Ok(Answer {
        input_tokens: usage.and_then(|usage| usage.prompt_tokens),
        cached_tokens: usage
            .and_then(|usage| usage.prompt_tokens_details)
            .and_then(|details| details.cached_tokens),
        content: Content::Text(Generation {
            text,
            tokens,
            ended_by_model,
            claimed_tokens_per_second: None,
            load: Duration::ZERO,
            logprobs: (logprobs > 0).then_some(logprobs),
        }),
    })
}

pub(super) fn embed_body(asker: &Asker, item: &Item) -> Value {
    json!({
        "model": asker.model,
        "input": embed::input(item),
        "encoding_format": "float",
    })
}

pub(super) fn check_embeddings(
    body: &[u8],
    item: &Item,
    expected: &mut Expected,
) -> Result<Answer, Failure> {
    #[derive(Deserialize)]
    struct Reply {
        data: Vec<Row>,
        usage: Option<Usage>,
    }
    #[derive(Deserialize)]
    struct Row {
        #[serde(default)]
        index: usize,
        embedding: Vec<Option<f32>>,
    }
    let mut reply: Reply = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    reply.data.sort_by_key(|row| row.index);
    let vectors = reply.data.into_iter().map(|row| row.embedding).collect();
    let tokens = reply.usage.and_then(|usage| usage.prompt_tokens);
    embed::vectors(vectors, tokens, item, expected)
}

pub(super) fn classify_body(asker: &Asker, item: &Item) -> Value {
    let (question, schema) = classify_by_chat::question(asker, text(item));
    json!({
        "model": asker.model,
        "messages": [{ "role": "user", "content": question }],
        "response_format": {
            "type": "json_schema",
            "json_schema": { "name": "label", "strict": true, "schema": schema },
        },
        "temperature": 0,
        "max_tokens": classify_by_chat::LONGEST_TOKENS,
        "seed": item.seed,
    })
}

pub(super) fn check_classify(body: &[u8], expected: &Expected) -> Result<Answer, Failure> {
    #[derive(Deserialize)]
    struct Reply {
        choices: Vec<Said>,
        usage: Option<Usage>,
    }
    #[derive(Deserialize)]
    struct Said {
        message: Words,
    }
    #[derive(Deserialize)]
    struct Words {
        content: Option<String>,
    }
    let mut reply: Reply = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let said = reply.choices.pop().ok_or(Failure::Empty)?;
    let content = said.message.content.unwrap_or_default();
    let best = classify_by_chat::label(&content, expected)?;
    Ok(Answer {
        input_tokens: reply.usage.and_then(|usage| usage.prompt_tokens),
        cached_tokens: None,
        content: Content::Label(Labelled {
            best,
            scores: Vec::new(),
            right: None,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{Route, testing};

    const USAGE: &str = r#"data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}}"#;

    fn read_events(events: &[(u64, &str)]) -> (Vec<u128>, Result<Answer, Failure>) {
        let events: Vec<(u64, String)> = events
            .iter()
            .map(|(at, event)| (*at, format!("{event}\n\n")))
            .collect();
        let reads: Vec<(u64, &[u8])> = events
            .iter()
            .map(|(at, event)| (*at, event.as_bytes()))
            .collect();
        let exchange = testing::exchange(&reads);
        let reading = stream::read(&exchange, 3, check);
        let since = |at: Instant| (at - exchange.started).as_millis();
        let chunks = reading.chunks.into_iter().map(since).collect();
        (chunks, reading.outcome)
    }

    fn delta(text: &str) -> String {
        format!(r#"data: {{"choices":[{{"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#)
    }

    const END: &str = r#"data: {"choices":[{"delta":{},"finish_reason":"length"}]}"#;

    #[test]
    fn a_role_is_no_text_and_usage_counts_the_tokens() {
        let role = r#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
        let (chunks, outcome) = read_events(&[
            (5, role),
            (20, &delta("a")),
            (30, &delta("b")),
            (40, ": a comment"),
            (45, &delta("c")),
            (46, END),
            (47, USAGE),
            (48, "data: [DONE]"),
        ]);
        assert_eq!(chunks, [20, 30, 45]);
        let answer = outcome.unwrap();
        assert_eq!(
            (answer.input_tokens, answer.cached_tokens),
            (Some(7), Some(2))
        );
        let Content::Text(generation) = answer.content else {
            panic!("no text")
        };
        assert_eq!((generation.text.as_str(), generation.tokens), ("abc", 3));
    }

    #[test]
    fn thinking_is_text_and_so_is_a_completions() {
        let thought = r#"data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}"#;
        let text = r#"data: {"choices":[{"text":"x","logprobs":{"tokens":["x"]}}]}"#;
        let (chunks, outcome) = read_events(&[
            (1, thought),
            (2, text),
            (3, END),
            (4, USAGE),
            (5, "data: [DONE]"),
        ]);
        assert_eq!(chunks, [1, 2]);
        let Content::Text(generation) = outcome.unwrap().content else {
            panic!("no text")
        };
        assert_eq!(
            (generation.text.as_str(), generation.logprobs),
            ("x", Some(1))
        );
    }

    #[test]
    fn every_way_to_be_wrong_has_its_name() {
        let check = |events: &[&str], category: &str| {
            let events: Vec<(u64, &str)> = events.iter().map(|event| (1, *event)).collect();
            let failure = read_events(&events).1.unwrap_err();
            assert_eq!(failure.category(), category, "{failure}");
        };
        let a = delta("a");
        check(&[&a, END, USAGE], "truncated");
        check(&[END, USAGE, "data: [DONE]"], "empty");
        check(&[&a, USAGE, "data: [DONE]"], "done_reason");
        check(&[&a, END, "data: [DONE]"], "token_count");
        check(&[&a, &a, &a, &a, END, USAGE, "data: [DONE]"], "token_count");
        check(&[&a, "data: {"], "malformed");
        check(
            &[&a, r#"data: {"error":{"message":"gone"}}"#],
            "error_record",
        );
        check(&[&a, END, USAGE, "data: [DONE]", &a], "malformed");
    }

    #[test]
    fn vectors_are_in_the_order_of_their_texts() {
        let mut batch = testing::item("");
        batch.input = Input::Texts(vec!["a".into(), "b".into()]);
        let body = r#"{"data":[{"index":1,"embedding":[0,1]},{"index":0,"embedding":[1,0]}],"usage":{"prompt_tokens":4}}"#;
        let answer = check_embeddings(body.as_bytes(), &batch, &mut Expected::default()).unwrap();
        assert_eq!(answer.input_tokens, Some(4));
        let Content::Vectors(vectors) = answer.content else {
            panic!("no vectors")
        };
        assert_eq!(vectors.values, [[1.0, 0.0], [0.0, 1.0]]);
    }

    #[test]
    fn requests_ask_for_usage_and_leave_the_context_alone() {
        let mut asker = testing::asker(Route::OpenaiChat);
        asker.options.insert("num_ctx".into(), json!(4096));
        asker.options.insert("top_p".into(), json!(0.9));
        let body = chat_body(&asker, &testing::item("Hello"), &[]);
        assert_eq!(
            body,
            json!({
                "model": "tiny", "messages": [{ "role": "user", "content": "Hello" }], "temperature": 0, "top_p": 0.9,
                "max_tokens": 3, "seed": 42, "stream": true, "stream_options": { "include_usage": true },
            })
        );
    }
}
