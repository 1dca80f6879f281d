use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Asker, Content, Failure, lines::lines, malformed, since_start};
use crate::client::Exchange;

/// When the pieces of a generated text arrived, and how many tokens the server says they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// From the start of the request to the first piece of text.
    pub first: Duration,
    /// From the start of the request to the last piece of text.
    pub last: Duration,
    /// Between consecutive pieces of text; zero for pieces that arrived in one read.
    pub gaps: Vec<Duration>,
    /// Tokens generated (`eval_count`).
    pub tokens: u64,
    /// Whether the model ended the text itself, rather than the limit.
    pub ended_by_model: bool,
    /// The server's own measure of its decoding, tokens per second.
    pub claimed_tokens_per_second: Option<f64>,
    /// How long the server says loading took; on a warm model close to zero.
    pub load: Duration,
}

impl Generation {
    /// Pieces of text that arrived.
    pub fn chunks(&self) -> usize {
        self.gaps.len() + 1
    }

    /// Tokens per second while decoding: (n-1)/(t_last-t_first). `None` for one token or one piece.
    ///
    /// The first token is the end of the prefill. When the model ended the text, its end token was counted by the
    /// server but no piece carries it, so it is not one of the n.
    pub fn decode_tokens_per_second(&self) -> Option<f64> {
        let silent_end = self.ended_by_model && (self.chunks() as u64) < self.tokens;
        let visible = self.tokens - u64::from(silent_end);
        let time = self.last.saturating_sub(self.first);
        (visible > 1 && !time.is_zero()).then(|| (visible - 1) as f64 / time.as_secs_f64())
    }
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
    done: bool,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
    #[serde(default)]
    eval_duration: u64,
    #[serde(default)]
    load_duration: u64,
}

pub(super) fn body(asker: &Asker, text: &str) -> Value {
    json!({
        "model": asker.model,
        "prompt": text,
        "stream": true,
        "think": false,
        "keep_alive": format!("{}s", asker.keep_alive_s),
        "options": { "temperature": 0, "num_predict": asker.num_predict, "seed": asker.seed },
    })
}

pub(super) fn check(exchange: &Exchange, num_predict: u64) -> Result<Answer, Failure> {
    let mut pieces: Vec<Duration> = Vec::new();
    let mut last_record: Option<Record> = None;
    for (at, line) in lines(&exchange.reads) {
        if last_record.is_some() {
            return Err(Failure::Malformed("a record after the final one".into()));
        }
        // What a broken connection cut off is not the server's bad JSON.
        let record: Record = match (serde_json::from_slice(&line), &exchange.failure) {
            (Ok(record), _) => record,
            (Err(_), Some(failure)) => return Err(failure.clone().into()),
            (Err(error), None) => return Err(malformed(&error)),
        };
        if let Some(error) = record.error {
            return Err(Failure::ErrorRecord(error));
        }
        if !record.response.is_empty() || !record.thinking.is_empty() {
            pieces.push(since_start(exchange, at));
        }
        if record.done {
            last_record = Some(record);
        }
    }
    if let Some(failure) = &exchange.failure {
        return Err(failure.clone().into());
    }
    let record = last_record.ok_or(Failure::Truncated)?;
    answer(&pieces, record, num_predict)
}

fn answer(pieces: &[Duration], record: Record, num_predict: u64) -> Result<Answer, Failure> {
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
        return Err(Failure::Empty);
    };
    let reason = record.done_reason.unwrap_or_default();
    let ended_by_model = match reason.as_str() {
        "stop" => true,
        "length" => false,
        _ => return Err(Failure::DoneReason(reason)),
    };
    let tokens = record
        .eval_count
        .ok_or_else(|| Failure::TokenCount("no eval_count".into()))?;
    if tokens > num_predict || (!ended_by_model && tokens != num_predict) {
        let message = format!("{tokens} with done_reason {reason:?} for num_predict {num_predict}");
        return Err(Failure::TokenCount(message));
    }
    if pieces.len() as u64 > tokens {
        return Err(Failure::TokenCount(format!(
            "{tokens} for {} pieces of text",
            pieces.len()
        )));
    }
    let eval_seconds = Duration::from_nanos(record.eval_duration).as_secs_f64();
    Ok(Answer {
        input_tokens: record.prompt_eval_count,
        content: Content::Text(Generation {
            first: *first,
            last: *last,
            gaps: pieces.windows(2).map(|pair| pair[1] - pair[0]).collect(),
            tokens,
            ended_by_model,
            claimed_tokens_per_second: (eval_seconds > 0.0).then(|| tokens as f64 / eval_seconds),
            load: Duration::from_nanos(record.load_duration),
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

    fn check_lines(lines: &[(u64, &str)]) -> Result<Answer, Failure> {
        let lines: Vec<(u64, String)> = lines
            .iter()
            .map(|(at, line)| (*at, format!("{line}\n")))
            .collect();
        let reads: Vec<(u64, &[u8])> = lines
            .iter()
            .map(|(at, line)| (*at, line.as_bytes()))
            .collect();
        check(&testing::exchange(&reads), 3)
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
        let answer = check_lines(&[
            (5, &word("")),
            (20, &word("a")),
            (30, &word("b")),
            (45, &word("c")),
            (46, DONE),
        ])
        .unwrap();
        assert_eq!(answer.input_tokens, Some(7));
        let generation = generation(answer);
        assert_eq!(
            generation.first,
            Duration::from_millis(20),
            "an empty chunk is not the first token"
        );
        assert_eq!(generation.last, Duration::from_millis(45));
        assert_eq!(generation.gaps, [10, 15].map(Duration::from_millis));
        assert_eq!(generation.decode_tokens_per_second(), Some(2.0 / 0.025));
        assert_eq!(generation.claimed_tokens_per_second, Some(100.0));
    }

    #[test]
    fn thinking_is_text_and_the_final_record_may_carry_some() {
        let thought = r#"{"thinking":"hm","done":false}"#;
        let tail = DONE.replace(r#""response":"""#, r#""response":"!""#);
        let generation = generation(check_lines(&[(10, thought), (30, &tail)]).unwrap());
        assert_eq!(
            (generation.first.as_millis(), generation.last.as_millis()),
            (10, 30)
        );
    }

    #[test]
    fn the_models_silent_end_token_does_not_count_as_speed() {
        let done = DONE.replace("length", "stop");
        let generation =
            generation(check_lines(&[(10, &word("a")), (20, &word("b")), (21, &done)]).unwrap());
        assert_eq!(
            generation.decode_tokens_per_second(),
            Some(100.0),
            "one gap of 10 ms, one token"
        );
    }

    #[test]
    fn one_piece_has_no_rate() {
        let done = DONE
            .replace("\"eval_count\":3", "\"eval_count\":1")
            .replace("length", "stop");
        let generation = generation(check_lines(&[(10, &word("a")), (11, &done)]).unwrap());
        assert_eq!(generation.decode_tokens_per_second(), None);
        assert_eq!(generation.chunks(), 1);
    }

    #[test]
    fn every_way_to_be_wrong_has_its_name() {
        let check = |lines: &[(u64, &str)], category: &str| {
            let failure = check_lines(lines).unwrap_err();
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
            check(&reply, 3).unwrap_err().category(),
            "connection_broken"
        );
    }

    #[test]
    fn the_request_asks_for_greedy_streamed_text_of_a_bounded_length() {
        let body = body(&testing::asker(Route::Generate), "Hello");
        assert_eq!(
            body,
            json!({
                "model": "tiny", "prompt": "Hello", "stream": true, "think": false, "keep_alive": "60s",
                "options": { "temperature": 0, "num_predict": 3, "seed": 42 },
            })
        );
    }
}
