//! Raw samples: one JSON object per line and measured request, for tools of others.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    thread,
};

use ruzstd::encoding::CompressionLevel;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    routes::Content,
    run::{Record, Sample},
};

/// One measured request. Times are nanoseconds since the run began; what did not happen is `null`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSample<'a> {
    /// The workload.
    pub workload: &'a str,
    /// The row: the load.
    pub row: &'a str,
    /// The target.
    pub target: &'a str,
    /// From 0.
    pub round: usize,
    /// The target's turn in the round, from 0.
    pub turn: usize,
    /// Requests of one round with the same index had the same input.
    pub index: usize,
    /// The conversation within the round.
    pub session: u32,
    /// The turn of that conversation, from 0.
    pub session_turn: u32,
    /// When the request was due. Latencies count from here.
    pub intended_ns: u64,
    /// When it was sent.
    pub sent_ns: u64,
    /// When the first byte of the body came.
    pub ttfb_ns: Option<u64>,
    /// When the first piece of text or thinking came.
    pub ttft_ns: Option<u64>,
    /// When the last piece of text came.
    pub last_ns: Option<u64>,
    /// When the reply ended.
    pub end_ns: u64,
    /// Between consecutive pieces of text.
    pub gaps_ns: Vec<u64>,
    /// Bytes of the reply's body.
    pub bytes: u64,
    /// The HTTP status, if a reply began.
    pub http_status: Option<u16>,
    /// Tokens of the input, as the server counts.
    pub input_tokens: Option<u64>,
    /// How many of them the server did not have to compute, if it says.
    pub cached_tokens: Option<u64>,
    /// Tokens generated, as the server counts.
    pub output_tokens: Option<u64>,
    /// Whether it was sent twice, because a kept connection turned out to be closed.
    pub resent: bool,
    /// Why the text ended: `stop` or `length`.
    pub done_reason: Option<&'a str>,
    /// The label of a classification.
    pub label: Option<&'a str>,
    /// How long the server says loading took.
    pub load_ns: Option<u64>,
    /// `ok`, or the kind of failure.
    pub status: &'a str,
    /// The failure in words.
    pub failure: Option<String>,
}

/// What a file's name ends with that is to be compressed.
const COMPRESSED: &str = "zst";

/// Writes every measured request of `record` to `path`, in the order in which they were due; as one zstd frame when its name ends
/// in `.zst`.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, names: &[&str], record: &Record) -> io::Result<()> {
    let file = File::create(path)?;
    if path
        .extension()
        .is_none_or(|extension| extension != COMPRESSED)
    {
        return lines(BufWriter::new(file), names, record);
    }
    // The encoder wants to read, the lines want to be written: a pipe between them, so that nothing is held in memory.
    let (reader, writer) = io::pipe()?;
    thread::scope(|scope| {
        let compressing = scope.spawn(move || {
            let mut file = Checked {
                file: BufWriter::new(file),
                failed: None,
            };
            ruzstd::encoding::compress(reader, &mut file, CompressionLevel::Fastest);
            file.finish()
        });
        let written = lines(BufWriter::new(writer), names, record);
        let compressed = compressing
            .join()
            .expect("compressing panics at nothing that a pipe or this file does");
        // A full disk ends the reader first, and what the writer then says is only that it left.
        compressed.and(written)
    })
}

/// A file that keeps its first error: the encoder takes every write for a good one.
struct Checked {
    file: BufWriter<File>,
    failed: Option<io::Error>,
}

impl Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_none()
            && let Err(error) = self.file.write_all(bytes)
        {
            self.failed = Some(error);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Checked {
    fn finish(mut self) -> io::Result<()> {
        match self.failed {
            Some(error) => Err(error),
            None => self.file.flush(),
        }
    }
}

fn lines(mut file: impl Write, names: &[&str], record: &Record) -> io::Result<()> {
    for workload in &record.workloads {
        for cell in &workload.cells {
            let row = cell.load.label();
            for (round, slots) in cell.rounds.iter().enumerate() {
                for (target, slot) in names.iter().zip(slots) {
                    let Some(slot) = slot else { continue };
                    for sample in &slot.samples {
                        let place = Place {
                            workload: &workload.workload.name,
                            row: &row,
                            target,
                            round,
                            turn: slot.order,
                        };
                        serde_json::to_writer(&mut file, &raw(place, sample))?;
                        file.write_all(b"\n")?;
                    }
                }
            }
        }
    }
    file.flush()
}

/// Where in the run a sample belongs.
struct Place<'a> {
    workload: &'a str,
    row: &'a str,
    target: &'a str,
    round: usize,
    turn: usize,
}

fn raw<'a>(place: Place<'a>, sample: &'a Sample) -> RawSample<'a> {
    let times = &sample.times;
    let answer = sample.outcome.as_ref().ok();
    let failure = sample.outcome.as_ref().err();
    let generation = sample.generation();
    RawSample {
        workload: place.workload,
        row: place.row,
        target: place.target,
        round: place.round,
        turn: place.turn,
        index: sample.index,
        session: sample.session,
        session_turn: sample.turn,
        intended_ns: times.intended,
        sent_ns: times.sent,
        ttfb_ns: times.first_byte,
        ttft_ns: times.chunks.first().copied(),
        last_ns: times.chunks.last().copied(),
        end_ns: times.end,
        gaps_ns: times
            .chunks
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect(),
        bytes: sample.bytes,
        http_status: sample.status,
        input_tokens: answer.and_then(|answer| answer.input_tokens),
        cached_tokens: answer.and_then(|answer| answer.cached_tokens),
        output_tokens: generation.map(|one| one.tokens),
        resent: sample.resent,
        done_reason: generation.map(|one| if one.ended_by_model { "stop" } else { "length" }),
        label: answer.and_then(|answer| match &answer.content {
            Content::Label(label) => Some(label.best.as_str()),
            Content::Text(_) | Content::Vectors(_) => None,
        }),
        load_ns: generation.map(|one| u64::try_from(one.load.as_nanos()).unwrap_or(u64::MAX)),
        status: failure.map_or("ok", |failure| failure.category()),
        failure: failure.map(ToString::to_string),
    }
}
