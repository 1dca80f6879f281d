//! The report as a file: one JSON document, written and read back.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::Path,
};

use serde::Deserialize;

use super::model::{Report, SCHEMA};

/// Why a file is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// It is not JSON, or not of this form.
    #[error("not a report of `loadgen --json`: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is a report of another version.
    #[error("its form is {0:?}, this loadgen reads {SCHEMA:?}: use the loadgen that wrote it")]
    Version(String),
}

/// Writes `report` to `path`.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, report: &Report) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    serde_json::to_writer(&mut file, report)?;
    file.write_all(b"\n")?;
    file.flush()
}

/// Reads what [`write`] wrote.
///
/// # Errors
/// [`ReadError`], which says what the file is instead.
pub fn read(path: &Path) -> Result<Report, ReadError> {
    #[derive(Deserialize)]
    struct Head {
        schema: Option<String>,
    }
    let text = io::read_to_string(BufReader::new(File::open(path)?))?;
    // First the version alone: a newer form would otherwise be called malformed.
    let head: Head = serde_json::from_str(&text)?;
    match head.schema {
        Some(schema) if schema != SCHEMA => Err(ReadError::Version(schema)),
        _ => Ok(serde_json::from_str(&text)?),
    }
}
