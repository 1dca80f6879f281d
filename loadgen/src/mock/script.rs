use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Args, fault::Kind};

/// A piece of a reply and when it is sent, counted from the request. `None` closes the connection.
pub(super) type Step = (Duration, Option<Bytes>);

/// Words of which the text is made; the accents make characters of two bytes.
const WORDS: [&str; 6] = ["más ", "allá ", "del ", "río ", "está ", "Ñuñoa "];

/// The whole stream of one generated text of at most `num_predict` tokens.
pub(super) fn generate(
    args: &Args,
    model: &str,
    num_predict: u64,
    logprobs: bool,
    faults: &[Kind],
) -> Vec<Step> {
    let tokens = args.eos_at.map_or(num_predict, |eos| eos.min(num_predict));
    let chunks = tokens.div_ceil(args.tokens_per_chunk);
    let due = |chunk: u64| args.ttft + args.itl * u32::try_from(chunk).unwrap_or(u32::MAX);

    let mut records: Vec<(Duration, Value)> = Vec::new();
    if faults.contains(&Kind::EmptyFirst) {
        records.push((
            Duration::ZERO,
            json!({ "model": model, "response": "", "done": false }),
        ));
    }
    for chunk in 0..chunks {
        let here = args
            .tokens_per_chunk
            .min(tokens - chunk * args.tokens_per_chunk);
        let text: String = (0..here)
            .map(|token| word(chunk * args.tokens_per_chunk + token))
            .collect();
        let mut record = json!({ "model": model, "response": text, "done": false });
        if logprobs {
            let entry = json!({ "token": "x", "logprob": -0.5 });
            record["logprobs"] = vec![entry; usize::try_from(here).unwrap_or(0)].into();
        }
        records.push((due(chunk), record));
    }
    let end = due(chunks - 1);
    records.push((end, done(args, model, tokens, tokens < num_predict, faults)));

    let middle = records.len() / 2;
    if faults.contains(&Kind::MissingDone) {
        records.pop();
    }
    if faults.contains(&Kind::ErrorLine) {
        records.truncate(middle);
        records.push((
            due(chunks / 2),
            json!({ "error": "the mock fails as it was told to" }),
        ));
    }
    if faults.contains(&Kind::Stall) {
        records
            .iter_mut()
            .skip(middle)
            .for_each(|(at, _)| *at += args.stall);
    }
    let mut steps: Vec<Step> = Vec::new();
    for (at, record) in records {
        let line = format!("{record}\n");
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

fn word(token: u64) -> &'static str {
    WORDS[usize::try_from(token).unwrap_or(0) % WORDS.len()]
}

fn done(args: &Args, model: &str, tokens: u64, ended_by_model: bool, faults: &[Kind]) -> Value {
    let itl_ns = u64::try_from(args.itl.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "model": model,
        "response": "",
        "done": true,
        "done_reason": if ended_by_model { "stop" } else { "length" },
        "prompt_eval_count": 12,
        "eval_count": tokens + u64::from(faults.contains(&Kind::WrongCount)),
        "eval_duration": itl_ns.saturating_mul(tokens.div_ceil(args.tokens_per_chunk)),
    })
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

    fn script(options: &str, num_predict: u64, faults: &[Kind]) -> Vec<(u128, String)> {
        let words = ["loadgen", "mock"]
            .into_iter()
            .chain(options.split_whitespace());
        let Some(Command::Mock(args)) = Cli::try_parse_from(words).unwrap().command else {
            panic!("not a mock")
        };
        generate(&args, "tiny", num_predict, false, faults)
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
