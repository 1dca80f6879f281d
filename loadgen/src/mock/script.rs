use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Args, fault::Kind};

/// A piece of a reply and when it is sent, counted from the request. `None` closes the connection.
pub(super) type Step = (Duration, Option<Bytes>);

/// Words of which the text is made; the accents make characters of two bytes.
const WORDS: [&str; 6] = ["más ", "allá ", "del ", "río ", "está ", "Ñuñoa "];

/// How a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `/api/generate`.
    Generate,
    /// `/api/chat`.
    Chat,
    /// `/v1/completions`.
    OpenaiCompletion,
    /// `/v1/chat/completions`.
    OpenaiChat,
}

/// What one request asks for, and how it is to be answered.
#[derive(Debug, Clone)]
pub(super) struct Asked<'a> {
    pub dialect: Dialect,
    pub model: &'a str,
    pub max_tokens: u64,
    pub logprobs: bool,
    pub faults: &'a [Kind],
}

/// Tokens that every prompt is said to have.
const PROMPT_TOKENS: u64 = 12;

/// The whole stream of one generated text.
pub(super) fn generate(args: &Args, asked: &Asked<'_>) -> Vec<Step> {
    let faults = asked.faults;
    let tokens = args
        .eos_at
        .map_or(asked.max_tokens, |eos| eos.min(asked.max_tokens));
    let chunks = tokens.div_ceil(args.tokens_per_chunk);
    let due = |chunk: u64| args.ttft + args.itl * u32::try_from(chunk).unwrap_or(u32::MAX);

    let mut records: Vec<(Duration, String)> = Vec::new();
    if faults.contains(&Kind::EmptyFirst) {
        records.push((Duration::ZERO, asked.piece("", 0)));
    }
    for chunk in 0..chunks {
        let here = args
            .tokens_per_chunk
            .min(tokens - chunk * args.tokens_per_chunk);
        let text: String = (0..here)
            .map(|token| word(chunk * args.tokens_per_chunk + token))
            .collect();
        records.push((due(chunk), asked.piece(&text, here)));
    }
    let counted = tokens + u64::from(faults.contains(&Kind::WrongCount));
    let ended_by_model = tokens < asked.max_tokens;
    let end = asked.end(args.itl, counted, chunks, ended_by_model);
    records.push((due(chunks - 1), end));

    let middle = records.len() / 2;
    if faults.contains(&Kind::MissingDone) {
        records.pop();
    }
    if faults.contains(&Kind::ErrorLine) {
        records.truncate(middle);
        records.push((
            due(chunks / 2),
            asked.error("the mock fails as it was told to"),
        ));
    }
    if faults.contains(&Kind::Stall) {
        records
            .iter_mut()
            .skip(middle)
            .for_each(|(at, _)| *at += args.stall);
    }
    let mut steps: Vec<Step> = Vec::new();
    for (at, line) in records {
        if faults.contains(&Kind::Split) {
            let cut = inside_a_character(&line);
            let bytes = Bytes::from(line);
            steps.push((at, Some(bytes.slice(..cut))));
            steps.push((at, Some(bytes.slice(cut..))));
        } else {
            steps.push((at, Some(line.into())));
        }
    }
    if faults.contains(&Kind::Cut) {
        steps.truncate(middle);
        steps.push((due(chunks / 2), None));
    }
    steps
}

impl Dialect {
    /// The type of its replies.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Generate | Self::Chat => "application/x-ndjson",
            Self::OpenaiCompletion | Self::OpenaiChat => "text/event-stream",
        }
    }

    fn write(self, record: &Value) -> String {
        match self {
            Self::Generate | Self::Chat => format!("{record}\n"),
            Self::OpenaiCompletion | Self::OpenaiChat => format!("data: {record}\n\n"),
        }
    }
}

impl Asked<'_> {
    /// A piece of text, with as many probabilities as it has tokens if they were asked for.
    fn piece(&self, text: &str, tokens: u64) -> String {
        let model = self.model;
        let one = json!({ "token": "x", "logprob": -0.5 });
        let logprobs: Vec<Value> = (0..if self.logprobs { tokens } else { 0 })
            .map(|_| one.clone())
            .collect();
        let mut record = match self.dialect {
            Dialect::Generate => json!({ "model": model, "response": text, "done": false }),
            Dialect::Chat => {
                json!({ "model": model, "message": { "role": "assistant", "content": text }, "done": false })
            }
            Dialect::OpenaiCompletion => json!({ "choices": [{ "index": 0, "text": text }] }),
            Dialect::OpenaiChat => {
                json!({ "choices": [{ "index": 0, "delta": { "content": text } }] })
            }
        };
        if !logprobs.is_empty() {
            match self.dialect {
                Dialect::Generate | Dialect::Chat => record["logprobs"] = json!(logprobs),
                Dialect::OpenaiCompletion => {
                    record["choices"][0]["logprobs"] = json!({ "tokens": logprobs });
                }
                Dialect::OpenaiChat => {
                    record["choices"][0]["logprobs"] = json!({ "content": logprobs });
                }
            }
        }
        self.dialect.write(&record)
    }

    /// What ends a stream that ended well.
    fn end(&self, itl: Duration, tokens: u64, chunks: u64, ended_by_model: bool) -> String {
        let reason = if ended_by_model { "stop" } else { "length" };
        let mut record = json!({
            "model": self.model,
            "done": true,
            "done_reason": reason,
            "prompt_eval_count": PROMPT_TOKENS,
            "eval_count": tokens,
            "eval_duration": u64::try_from(itl.as_nanos()).unwrap_or(u64::MAX).saturating_mul(chunks),
        });
        match self.dialect {
            Dialect::Generate => record["response"] = json!(""),
            Dialect::Chat => record["message"] = json!({ "role": "assistant", "content": "" }),
            Dialect::OpenaiCompletion | Dialect::OpenaiChat => {
                let last =
                    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] });
                let usage = json!({
                    "choices": [],
                    "usage": { "prompt_tokens": PROMPT_TOKENS, "completion_tokens": tokens },
                });
                return format!("data: {last}\n\ndata: {usage}\n\ndata: [DONE]\n\n");
            }
        }
        self.dialect.write(&record)
    }

    fn error(&self, words: &str) -> String {
        self.dialect.write(&match self.dialect {
            Dialect::Generate | Dialect::Chat => json!({ "error": words }),
            Dialect::OpenaiCompletion | Dialect::OpenaiChat => {
                json!({ "error": { "message": words } })
            }
        })
    }
}

fn word(token: u64) -> &'static str {
    WORDS[usize::try_from(token).unwrap_or(0) % WORDS.len()]
}

/// A place in `line` after the first byte of a character of several bytes, else its middle.
fn inside_a_character(line: &str) -> usize {
    let wide = line
        .char_indices()
        .find(|(_, character)| character.len_utf8() > 1);
    wide.map_or(line.len() / 2, |(start, _)| start + 1)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{args::Cli, commands::Command};

    fn script(options: &str, max_tokens: u64, faults: &[Kind]) -> Vec<(u128, String)> {
        script_in(Dialect::Generate, options, max_tokens, faults)
    }

    fn script_in(
        dialect: Dialect,
        options: &str,
        max_tokens: u64,
        faults: &[Kind],
    ) -> Vec<(u128, String)> {
        let words = ["loadgen", "mock"]
            .into_iter()
            .chain(options.split_whitespace());
        let Some(Command::Mock(args)) = Cli::try_parse_from(words).unwrap().command else {
            panic!("not a mock")
        };
        let asked = Asked {
            dialect,
            model: "tiny",
            max_tokens,
            logprobs: false,
            faults,
        };
        generate(&args, &asked)
            .into_iter()
            .map(|(at, bytes)| {
                (
                    at.as_millis(),
                    bytes.map_or("CUT".into(), |bytes| {
                        String::from_utf8_lossy(&bytes).into_owned()
                    }),
                )
            })
            .collect()
    }

    fn times(steps: &[(u128, String)]) -> Vec<u128> {
        steps.iter().map(|(at, _)| *at).collect()
    }

    #[test]
    fn pieces_come_when_they_were_promised() {
        let steps = script("--ttft 50ms --itl 10ms", 4, &[]);
        assert_eq!(times(&steps), [50, 60, 70, 80, 80]);
        assert!(
            steps[4].1.contains(r#""done_reason":"length""#)
                && steps[4].1.contains(r#""eval_count":4"#)
        );
    }

    #[test]
    fn several_tokens_may_share_a_piece_and_the_model_may_end_early() {
        let steps = script(
            "--ttft 50ms --itl 10ms --tokens-per-chunk 2 --eos-at 3",
            8,
            &[],
        );
        assert_eq!(times(&steps), [50, 60, 60]);
        assert!(steps[0].1.contains("más allá ") && steps[1].1.contains("\"del \""));
        assert!(
            steps[2].1.contains(r#""done_reason":"stop""#)
                && steps[2].1.contains(r#""eval_count":3"#)
        );
    }

    #[test]
    fn every_dialect_says_the_same() {
        let steps = script_in(Dialect::OpenaiChat, "", 2, &[]);
        assert_eq!(
            steps[0].1,
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"más \"}}]}\n\n"
        );
        assert!(steps[2].1.ends_with("data: [DONE]\n\n"));
        assert!(steps[2].1.contains(r#""completion_tokens":2"#));
        let steps = script_in(Dialect::Chat, "", 2, &[]);
        assert!(steps[0].1.contains(r#""content":"más ""#));
    }

    #[test]
    fn faults_are_what_they_say() {
        let check = |fault, last: &str| {
            let steps = script("", 4, &[fault]);
            assert!(steps.last().unwrap().1.contains(last), "{steps:?}");
        };
        check(Kind::MissingDone, "río ");
        check(Kind::ErrorLine, "\"error\"");
        check(Kind::Cut, "CUT");
        check(Kind::WrongCount, r#""eval_count":5"#);
        let split = script("", 4, &[Kind::Split]);
        assert!(
            split[0].1.ends_with('\u{fffd}'),
            "the first half ends inside a character: {split:?}"
        );
        let stalled = script("--stall 9s --ttft 20ms --itl 5ms", 4, &[Kind::Stall]);
        assert_eq!(times(&stalled), [20, 25, 9030, 9035, 9035]);
        assert_eq!(times(&script("", 4, &[Kind::EmptyFirst]))[0], 0);
    }
}
