use std::path::{Path, PathBuf};

use super::Stopped;
use crate::{
    exit::Exit,
    report::{self, Page, Report, Side},
};

/// The options of `compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The report of the candidate, as `--json` wrote it
    #[arg(value_name = "A.json")]
    pub candidate: PathBuf,

    /// The report of the baseline
    #[arg(value_name = "B.json")]
    pub baseline: PathBuf,

    /// Which target of both reports, or of each: NAME or A_NAME,B_NAME [default: the first of each]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub target: Vec<String>,

    /// Write the comparison as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write figures and ratios as CSV to this file
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// Write the comparison as one web page with charts to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Carries `compare` out.
///
/// # Errors
/// [`Stopped`] when the reports cannot be read, or did not do the same work.
pub async fn execute(args: Args) -> Result<u8, Stopped> {
    let [candidate, baseline] = [read(&args.candidate)?, read(&args.baseline)?];
    let files = [&args.candidate, &args.baseline].map(|file| file.display().to_string());
    let compared = report::across(
        Side {
            file: &files[0],
            report: &candidate,
            target: args.target.first().map(String::as_str),
        },
        Side {
            file: &files[1],
            report: &baseline,
            target: args.target.last().map(String::as_str),
        },
    )
    .map_err(|refusal| Stopped {
        exit: Exit::Invalid,
        message: refusal.to_string(),
    })?;
    print!("{}", report::render(&compared, &Page::stdout()));
    let forms = [
        report::write(args.json.as_deref(), |path| {
            report::write_json(path, &compared)
        }),
        report::write(args.csv.as_deref(), |path| {
            report::write_csv(path, &compared)
        }),
        report::write(args.html.as_deref(), |path| {
            report::write_html(path, &compared)
        }),
    ];
    for written in forms {
        written.map_err(Stopped::usage)?;
    }
    Ok(Exit::Ok.code())
}

fn read(path: &Path) -> Result<Report, Stopped> {
    report::read(path).map_err(|error| Stopped::usage(format!("{}: {error}", path.display())))
}
