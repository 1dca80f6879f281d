use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Asker, Content, Failure,
    lines::lines,
    stream::{self, End},
};
use crate::{
    client::Exchange,
    workload::{Input, Item, Message, Role},
};

/// A generated text, and how many tokens the server says it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// What was written, without the thinking.
    pub text: String,
    /// Tokens generated, thinking included (`eval_count`).
    pub tokens: u64,
    /// Whether the model ended the text itself, rather than the limit.
    pub ended_by_model: bool,
    /// The server's own measure of its decoding, tokens per second.
    pub claimed_tokens_per_second: Option<f64>,
    /// How long the server says loading took; on a warm model close to zero.
    pub load: Duration,
    /// Probabilities of tokens that came along, one for each token; `None` when there were none.
    pub logprobs: Option<u64>,
}

/// One line of the stream. Ollama leaves fields out when they are empty or zero.
#[derive(Debug, Deserialize)]
struct Record {
    error: Option<String>,
    #[serde(default)]
    response: String,
    #[serde(default)]
    thinking: String,
    #[serde(default)]
    message: Piece,
    #[serde(default)]
    logprobs: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
    #[serde(default)]
    eval_duration: u64,
    #[serde(default)]
    load_duration: u64,
}

/// The piece of a chat's reply; `/api/generate` has the same fields one level up.
#[derive(Debug, Default, Deserialize)]
struct Piece {
    #[serde(default)]
    content: String,
    #[serde(default)]
    thinking: String,
}

pub(super) fn body(asker: &Asker, item: &Item) -> Value {
    let prompt = match &item.input {
        Input::Text(text) => text.as_str(),
        Input::Texts(_) | Input::Messages(_) => {
            unreachable!("a workload of prompts was read as such")
        }
    };
    with_options(
        json!({ "model": asker.model, "prompt": prompt }),
        asker,
        item,
    )
}

pub(super) fn chat_body(asker: &Asker, item: &Item, earlier: &[Message]) -> Value {
    let messages = [earlier, &new_messages(item)].concat();
    with_options(
        json!({ "model": asker.model, "messages": messages }),
        asker,
        item,
    )
}

/// What this turn says.
pub fn new_messages(item: &Item) -> Vec<Message> {
    match &item.input {
        Input::Messages(messages) => messages.clone(),
        Input::Text(text) => vec![Message {
            role: Role::User,
            content: text.clone(),
        }],
        Input::Texts(_) => unreachable!("a workload of chats was read as such"),
    }
}

fn with_options(mut body: Value, asker: &Asker, item: &Item) -> Value {
    let mut options = serde_json::Map::from_iter([("temperature".to_owned(), json!(0))]);
    options.extend(asker.options.clone());
    options.insert("num_predict".into(), json!(item.max_tokens));
    options.insert("seed".into(), json!(item.seed));
    body["stream"] = json!(true);
    body["think"] = json!(false);
    body["keep_alive"] = json!(format!("{}s", asker.keep_alive_s));
    body["options"] = Value::Object(options);
    if asker.logprobs {
        body["logprobs"] = json!(true);
    }
    body
}

pub(super) fn check(
    exchange: &Exchange,
    max_tokens: u64,
    chunks: &mut Vec<Instant>,
) -> Result<Answer, Failure> {
    let mut text = String::new();
    let mut logprobs = 0;
    let mut last_record: Option<Record> = None;
    for (at, line) in lines(&exchange.reads) {
        if last_record.is_some() {
            return Err(Failure::Malformed("a record after the final one".into()));
        }
        let record: Record = stream::parsed(&line, exchange)?;
        if let Some(error) = record.error {
            return Err(Failure::ErrorRecord(error));
        }
        let written = [&record.response, &record.message.content];
        let thought = [&record.thinking, &record.message.thinking];
        if written
            .iter()
            .chain(&thought)
            .any(|piece| !piece.is_empty())
        {
            chunks.push(at);
        }
        text.extend(written.map(String::as_str));
        logprobs += record.logprobs.len() as u64;
        if record.done {
            last_record = Some(record);
        }
    }
    if let Some(failure) = &exchange.failure {
        return Err(failure.clone().into());
    }
    let record = last_record.ok_or(Failure::Truncated)?;
    let end = End {
        reason: record.done_reason.as_deref(),
        reason_field: "done_reason",
        tokens: record.eval_count,
        tokens_field: "eval_count",
    };
    let (tokens, ended_by_model) = end.checked(chunks.len(), max_tokens)?;
    let eval_seconds = Duration::from_nanos(record.eval_duration).as_secs_f64();
    Ok(Answer {
        input_tokens: record.prompt_eval_count,
        cached_tokens: None,
        content: Content::Text(Generation {
            text,
            tokens,
            ended_by_model,
            claimed_tokens_per_second: (eval_seconds > 0.0).then(|| tokens as f64 / eval_seconds),
            load: Duration::from_nanos(record.load_duration),
            logprobs: (logprobs > 0).then_some(logprobs),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::TransportFailure,
        routes::{Route, testing},
    };

    const DONE: &str = r#"{"response":"","done":true,"done_reason":"length","eval_count":3,"eval_duration":30000000,"prompt_eval_count":7}"#;

    fn read_lines(lines: &[(u64, &str)]) -> (Vec<u128>, Result<Answer, Failure>) {
        let lines: Vec<(u64, String)> = lines
            .iter()
            .map(|(at, line)| (*at, format!("{line}\n")))
            .collect();
        let reads: Vec<(u64, &[u8])> = lines
            .iter()
            .map(|(at, line)| (*at, line.as_bytes()))
            .collect();
        let exchange = testing::exchange(&reads);
        let reading = stream::read(&exchange, 3, check);
        let since = |at: Instant| (at - exchange.started).as_millis();
        (
            reading.chunks.into_iter().map(since).collect(),
            reading.outcome,
        )
    }

    fn word(text: &str) -> String {
        format!(r#"{{"response":"{text}","done":false}}"#)
    }

    fn generation(answer: Answer) -> Generation {
        match answer.content {
            Content::Text(generation) => generation,
            other => panic!("not a text: {other:?}"),
        }
    }

    #[test]
    fn times_and_counts_are_those_of_the_stream() {
        let (chunks, outcome) = read_lines(&[
            (5, &word("")),
            (20, &word("a")),
            (30, &word("b")),
            (45, &word("c")),
            (46, DONE),
        ]);
        assert_eq!(
            chunks,
            [20, 30, 45],
            "an empty piece is not the first token"
        );
        let answer = outcome.unwrap();
        assert_eq!(answer.input_tokens, Some(7));
        let generation = generation(answer);
        assert_eq!((generation.text.as_str(), generation.tokens), ("abc", 3));
        assert_eq!(generation.claimed_tokens_per_second, Some(100.0));
    }

    #[test]
    fn thinking_is_text_and_the_final_record_may_carry_some() {
        let thought = r#"{"thinking":"hm","done":false}"#;
        let tail = DONE.replace(r#""response":"""#, r#""response":"!""#);
        let (chunks, outcome) = read_lines(&[(10, thought), (30, &tail)]);
        assert_eq!(chunks, [10, 30]);
        assert_eq!(generation(outcome.unwrap()).text, "!");
    }

    #[test]
    fn a_chats_pieces_are_one_level_down_and_probabilities_are_counted() {
        let piece = |text: &str| {
            format!(
                r#"{{"message":{{"role":"assistant","content":"{text}"}},"logprobs":[{{"token":"{text}","logprob":-1}}],"done":false}}"#
            )
        };
        let done = DONE.replace(
            r#""response":"""#,
            r#""message":{"role":"assistant","content":""}"#,
        );
        let (chunks, outcome) = read_lines(&[(1, &piece("a")), (2, &piece("b")), (3, &done)]);
        assert_eq!(chunks, [1, 2]);
        let generation = generation(outcome.unwrap());
        assert_eq!(
            (generation.text.as_str(), generation.logprobs),
            ("ab", Some(2))
        );
    }

    #[test]
    fn pieces_of_a_failed_reply_keep_their_times() {
        let (chunks, outcome) = read_lines(&[(10, &word("a")), (20, &word("b"))]);
        assert_eq!((chunks, outcome), (vec![10, 20], Err(Failure::Truncated)));
    }

    #[test]
    fn every_way_to_be_wrong_has_its_name() {
        let check = |lines: &[(u64, &str)], category: &str| {
            let failure = read_lines(lines).1.unwrap_err();
            assert_eq!(failure.category(), category, "{failure}");
        };
        let a = word("a");
        check(&[(1, &a)], "truncated");
        check(&[], "truncated");
        check(&[(1, DONE)], "empty");
        check(
            &[(1, &a), (2, r#"{"error":"the model died"}"#)],
            "error_record",
        );
        check(&[(1, &a), (2, "<html>")], "malformed");
        check(&[(1, &a), (2, DONE), (3, DONE)], "malformed");
        check(
            &[(1, &a), (2, &DONE.replace("length", "load"))],
            "done_reason",
        );
        check(
            &[
                (1, &a),
                (2, &DONE.replace(r#""done_reason":"length","#, "")),
            ],
            "done_reason",
        );
        check(
            &[(1, &a), (2, &DONE.replace(r#""eval_count":3,"#, ""))],
            "token_count",
        );
        check(
            &[
                (1, &a),
                (2, &DONE.replace("\"eval_count\":3", "\"eval_count\":4")),
            ],
            "token_count",
        );
        check(
            &[
                (1, &a),
                (2, &DONE.replace("\"eval_count\":3", "\"eval_count\":2")),
            ],
            "token_count",
        );
        check(
            &[(1, &a), (2, &a), (3, &a), (4, &a), (5, DONE)],
            "token_count",
        );
    }

    #[test]
    fn a_line_cut_off_by_a_broken_connection_is_the_connections_fault() {
        let mut reply = testing::exchange(&[(1, br#"{"respo"#)]);
        reply.failure = Some(TransportFailure::Broken("reset".into()));
        assert_eq!(
            stream::read(&reply, 3, check)
                .outcome
                .unwrap_err()
                .category(),
            "connection_broken"
        );
    }

    #[test]
    fn the_request_asks_for_greedy_streamed_text_of_a_bounded_length() {
        let body = body(&testing::asker(Route::Generate), &testing::item("Hello"));
        assert_eq!(
            body,
            json!({
                "model": "tiny", "prompt": "Hello", "stream": true, "think": false, "keep_alive": "60s",
                "options": { "temperature": 0, "num_predict": 3, "seed": 42 },
            })
        );
    }
}
