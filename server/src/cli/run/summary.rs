//! `--verbose`: what an answer took.

use std::io::{self, Write};
use std::time::Duration;

use serde::Deserialize;

use crate::cli::format::go_duration;

/// The metrics of a last line. What is 0 was not measured.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Timings {
    /// In nanoseconds, like all durations here.
    total_duration: u64,
    load_duration: u64,
    /// In tokens.
    prompt_eval_count: u64,
    prompt_eval_duration: u64,
    /// In tokens.
    eval_count: u64,
    eval_duration: u64,
}

impl Timings {
    /// Writes what was measured.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |name: &str, measured: u64, text: String| match measured {
            0 => Ok(()),
            _ => writeln!(out, "{name:<21} {text}"),
        };
        let time = |nanoseconds| go_duration(Duration::from_nanos(nanoseconds));
        let tokens = |count: u64| format!("{count} token(s)");
        let rate = |count: u64, nanoseconds: u64| {
            format!(
                "{:.2} tokens/s",
                count as f64 / Duration::from_nanos(nanoseconds).as_secs_f64()
            )
        };
        let Self {
            total_duration,
            load_duration,
            prompt_eval_count,
            prompt_eval_duration,
            eval_count,
            eval_duration,
        } = *self;
        line("total duration:", total_duration, time(total_duration))?;
        line("load duration:", load_duration, time(load_duration))?;
        line(
            "prompt eval count:",
            prompt_eval_count,
            tokens(prompt_eval_count),
        )?;
        line(
            "prompt eval duration:",
            prompt_eval_duration,
            time(prompt_eval_duration),
        )?;
        let prompt_rate = rate(prompt_eval_count, prompt_eval_duration);
        line("prompt eval rate:", prompt_eval_duration, prompt_rate)?;
        line("eval count:", eval_count, tokens(eval_count))?;
        line("eval duration:", eval_duration, time(eval_duration))?;
        line("eval rate:", eval_duration, rate(eval_count, eval_duration))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn timings_are_ollamas() {
        let timings = json!({
            "model": "x", "total_duration": 1_500_000_000, "load_duration": 0, "prompt_eval_count": 12,
            "prompt_eval_duration": 60_000_000, "eval_count": 100, "eval_duration": 1_250_000_000,
        });
        let timings: Timings = serde_json::from_value(timings).unwrap();
        let mut out = Vec::new();
        timings.write(&mut out).unwrap();
        let expected = "\
total duration:       1.5s
prompt eval count:    12 token(s)
prompt eval duration: 60ms
prompt eval rate:     200.00 tokens/s
eval count:           100 token(s)
eval duration:        1.25s
eval rate:            80.00 tokens/s
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
