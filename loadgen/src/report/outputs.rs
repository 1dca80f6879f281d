//! Which forms of the report are written besides the table.

use std::path::{Path, PathBuf};

use super::{benchstat, csv, html, json, model::Report, raw};
use crate::run::Record;

/// Files to write, as typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Outputs {
    /// Write the report as JSON to this file; `loadgen report` and `loadgen compare` read it
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write one JSON line per measured request to this file; compressed when its name ends in .zst
    #[arg(long, value_name = "FILE")]
    pub raw: Option<PathBuf>,

    /// Write figures and ratios as CSV to this file
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// Write every round in the format of Go's benchmarks to this file, for benchstat
    #[arg(long, value_name = "FILE")]
    pub benchstat: Option<PathBuf>,

    /// Write the report as one web page with charts to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub struct WriteError {
    path: String,
    source: std::io::Error,
}

impl Outputs {
    /// Writes every file that was asked for.
    ///
    /// # Errors
    /// The first file that cannot be written.
    pub fn write(&self, report: &Report, record: &Record) -> Result<(), WriteError> {
        let names: Vec<&str> = report
            .targets
            .iter()
            .map(|target| target.name.as_str())
            .collect();
        write(self.json.as_deref(), |path| json::write(path, report))?;
        write(self.raw.as_deref(), |path| raw::write(path, &names, record))?;
        write(self.csv.as_deref(), |path| csv::write(path, report))?;
        write(self.benchstat.as_deref(), |path| {
            benchstat::write(path, report)
        })?;
        write(self.html.as_deref(), |path| html::write(path, report))
    }
}

/// Writes one file, if it was asked for.
///
/// # Errors
/// When that fails, with the file's name.
pub fn write(
    path: Option<&Path>,
    form: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<(), WriteError> {
    let Some(path) = path else { return Ok(()) };
    form(path).map_err(|source| WriteError {
        path: path.display().to_string(),
        source,
    })
}
