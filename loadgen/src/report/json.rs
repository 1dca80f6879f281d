use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    time::Duration,
};

use serde::Serialize;

use super::Report;
use crate::{
    memory::Snapshot,
    routes::Content,
    run::{Record, Sample},
};

/// The report with everything it was made from.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a Report,
    samples: Vec<SampleRow<'a>>,
    memory_samples: Vec<MemoryRow<'a>>,
}

/// One measured request.
#[derive(Serialize)]
struct SampleRow<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    #[serde(flatten)]
    measured: Measured<'a>,
}

/// Where in the run a request belongs.
#[derive(Serialize)]
struct Place<'a> {
    workload: &'a str,
    load: String,
    round: usize,
    /// The target's turn in the round.
    turn: usize,
    target: &'a str,
    /// Requests of one round with the same index had the same text.
    index: usize,
}

/// What a request showed. Times in milliseconds from its own start, except `started_ms`, which is since the run began.
/// What a workload or a failed request does not have is left out.
#[derive(Serialize)]
struct Measured<'a> {
    started_ms: f64,
    end_ms: f64,
    #[serde(flatten)]
    text: Option<TextRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureRow>,
}

#[derive(Serialize)]
struct TextRow {
    first_ms: f64,
    last_ms: f64,
    gaps_ms: Vec<f64>,
    output_tokens: u64,
    load_ms: f64,
}

#[derive(Serialize)]
struct FailureRow {
    category: &'static str,
    message: String,
}

/// Every memory reading of one target during one workload.
#[derive(Serialize)]
struct MemoryRow<'a> {
    workload: &'a str,
    target: &'a str,
    snapshots: &'a [Snapshot],
}

/// Writes report, samples and memory readings to `path` as one JSON document.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, report: &Report, record: &Record) -> io::Result<()> {
    let names: Vec<&str> = report
        .targets
        .iter()
        .map(|target| target.name.as_str())
        .collect();
    let document = Document {
        report,
        samples: samples(&names, record),
        memory_samples: memory_samples(&names, record),
    };
    let mut file = BufWriter::new(File::create(path)?);
    serde_json::to_writer(&mut file, &document)?;
    file.write_all(b"\n")?;
    file.flush()
}

fn samples<'a>(names: &[&'a str], record: &'a Record) -> Vec<SampleRow<'a>> {
    let mut rows = Vec::new();
    for workload in &record.workloads {
        for cell in &workload.cells {
            for (round, slots) in cell.rounds.iter().enumerate() {
                for (target, slot) in names.iter().zip(slots) {
                    let Some(slot) = slot else { continue };
                    rows.extend(
                        slot.samples
                            .iter()
                            .enumerate()
                            .map(|(index, sample)| SampleRow {
                                place: Place {
                                    workload: &workload.workload.name,
                                    load: cell.load.label(),
                                    round,
                                    turn: slot.order,
                                    target,
                                    index,
                                },
                                measured: measured(sample),
                            }),
                    );
                }
            }
        }
    }
    rows
}

fn measured(sample: &Sample) -> Measured<'_> {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let answer = sample.outcome.as_ref().ok();
    let failure = sample.outcome.as_ref().err();
    Measured {
        started_ms: milliseconds(Duration::from_nanos(sample.times.intended)),
        end_ms: milliseconds(sample.response_time()),
        text: sample.generation().and_then(|one| {
            Some(TextRow {
                first_ms: milliseconds(sample.to_first_token()?),
                last_ms: milliseconds(sample.response_time() - sample.tail()?),
                gaps_ms: sample.gaps().map(milliseconds).collect(),
                output_tokens: one.tokens,
                load_ms: milliseconds(one.load),
            })
        }),
        input_tokens: answer.and_then(|answer| answer.input_tokens),
        label: answer.and_then(|answer| match &answer.content {
            Content::Label(label) => Some(label.best.as_str()),
            Content::Text(_) | Content::Vectors(_) => None,
        }),
        failure: failure.map(|failure| FailureRow {
            category: failure.category(),
            message: failure.to_string(),
        }),
    }
}

fn memory_samples<'a>(names: &[&'a str], record: &'a Record) -> Vec<MemoryRow<'a>> {
    let mut rows = Vec::new();
    for workload in &record.workloads {
        for (target, series) in names.iter().zip(&workload.memory) {
            let Some(series) = series else { continue };
            rows.push(MemoryRow {
                workload: &workload.workload.name,
                target,
                snapshots: &series.snapshots,
            });
        }
    }
    rows
}
