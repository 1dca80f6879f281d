use std::path::PathBuf;

use super::Stopped;
use crate::{
    exit::Exit,
    report::{self, Form, Page},
};

/// The options of `report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A report that `--json` wrote
    #[arg(value_name = "RUN.json", required_unless_present = "schema")]
    pub file: Option<PathBuf>,

    /// Write it as one web page with charts to this file, instead of showing it here
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Write figures and ratios as CSV to this file, instead of showing it here
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// Write every round in the format of Go's benchmarks to this file, for benchstat, instead of showing it here
    #[arg(long, value_name = "FILE")]
    pub benchstat: Option<PathBuf>,

    /// Print the JSON Schema of what --json or --raw write
    #[arg(long, value_name = "FORM", conflicts_with = "file")]
    pub schema: Option<Form>,
}

/// Carries `report` out. A report that shows a bad run is itself no failure.
///
/// # Errors
/// [`Stopped`] when there is no result.
pub async fn execute(args: Args) -> Result<u8, Stopped> {
    if let Some(form) = args.schema {
        println!("{:#}", report::schema(form));
    }
    if let Some(file) = &args.file {
        let saved = report::read(file)
            .map_err(|error| Stopped::usage(format!("{}: {error}", file.display())))?;
        report::write(args.html.as_deref(), |path| {
            report::write_html(path, &saved)
        })
        .map_err(Stopped::usage)?;
        report::write(args.csv.as_deref(), |path| report::write_csv(path, &saved))
            .map_err(Stopped::usage)?;
        report::write(args.benchstat.as_deref(), |path| {
            report::write_benchstat(path, &saved)
        })
        .map_err(Stopped::usage)?;
        if args.html.is_none() && args.csv.is_none() && args.benchstat.is_none() {
            print!("{}", report::render(&saved, &Page::stdout()));
        }
    }
    Ok(Exit::Ok.code())
}
