//! Figures in the format of Go's benchmarks, for `benchstat`: a line per round, so that its own statistics have samples.
//!
//! <https://go.dev/design/14313-benchmark-format>: `key: value` lines configure what follows, then
//! `BenchmarkName iterations value unit...`. Targets are a key, so that `benchstat -col /target` puts them side by side.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use super::model::{Report, Samples, SlotReport};
use crate::stats;

/// Writes the rounds of `report` to `path`.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, report: &Report) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(render(report).as_bytes())?;
    file.flush()
}

fn render(report: &Report) -> String {
    let mut out = format!(
        "goos: linux\npkg: {}\n",
        one_line(&report.tool.name.to_lowercase())
    );
    if let Some(cpu) = &report.host.cpu {
        out += &format!("cpu: {}\n", one_line(cpu));
    }
    // What benchstat cannot know: which way is better.
    out += "Unit p95-ms better=lower\nUnit ttft-p50-ms better=lower\nUnit req/s better=higher\nUnit tok/s better=higher\n";
    for workload in &report.workloads {
        for row in &workload.rows {
            for round in &row.rounds {
                for (lane, slot) in workload.lanes.iter().zip(&round.slots) {
                    let Some(slot) = slot else { continue };
                    let name = [
                        ("workload", &workload.name),
                        ("load", &row.label),
                        ("target", &lane.target),
                    ]
                    .map(|(key, value)| format!("/{key}={}", word(value)))
                    .concat();
                    if let Some(figures) = figures(slot) {
                        out += &format!("BenchmarkServe{name} {figures}\n");
                    }
                }
            }
        }
    }
    out
}

/// The figures of one round; `None` when a request of it failed, which has no time that could be averaged.
fn figures(slot: &SlotReport) -> Option<String> {
    let Samples {
        e2e_ms,
        ttft_ms,
        output_tokens,
        ..
    } = &slot.samples;
    let mut times: Vec<f64> = e2e_ms.iter().copied().collect::<Option<_>>()?;
    let mean_ms = stats::mean(&times)?;
    let count = times.len();
    let p95_ms = stats::nearest_rank(&mut times, 0.95)?;
    let mut line = format!("{count} {:.0} ns/op {p95_ms:.3} p95-ms", mean_ms * 1e6);
    let mut firsts: Vec<f64> = ttft_ms.iter().flatten().copied().collect();
    if let Some(p50) = stats::nearest_rank(&mut firsts, 0.5) {
        line += &format!(" {p50:.3} ttft-p50-ms");
    }
    let seconds = slot.wall_ms / 1e3;
    if seconds > 0.0 {
        line += &format!(" {:.3} req/s", count as f64 / seconds);
        let tokens: u64 = output_tokens.iter().flatten().sum();
        if tokens > 0 {
            line += &format!(" {:.3} tok/s", tokens as f64 / seconds);
        }
    }
    Some(line)
}

/// A part of a benchmark's name: no blanks, no slashes, and no `-N` at the end, which would be read as a number of processors.
fn word(text: &str) -> String {
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() || "._=+".contains(character) {
            character
        } else {
            '_'
        }
    };
    text.chars().map(plain).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(e2e_ms: &[Option<f64>]) -> SlotReport {
        SlotReport {
            turn: 0,
            started_ms: 0.0,
            wall_ms: 500.0,
            noise: None,
            samples: Samples {
                e2e_ms: e2e_ms.into(),
                ttft_ms: vec![Some(2.0); e2e_ms.len()],
                output_tokens: vec![Some(8); e2e_ms.len()],
                ..Samples::default()
            },
        }
    }

    #[test]
    fn a_round_is_one_line_of_values_and_units() {
        let line = figures(&slot(&[Some(10.0), Some(30.0)])).unwrap();
        assert_eq!(
            line,
            "2 20000000 ns/op 30.000 p95-ms 2.000 ttft-p50-ms 4.000 req/s 32.000 tok/s"
        );
        assert_eq!(figures(&slot(&[Some(10.0), None])), None);
        assert_eq!(figures(&slot(&[])), None);
    }

    #[test]
    fn names_hold_nothing_that_go_reads_otherwise() {
        assert_eq!(word("open poisson 1.5/s"), "open_poisson_1.5_s");
        assert_eq!(word("chat-short-8"), "chat_short_8");
    }
}
