use std::time::Duration;

use super::Stopped;
use crate::{
    exit::Exit,
    host::doctor::{self, Facts, Level},
    units::duration,
};

/// The options of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long to watch for time that a hypervisor gives to others
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    watch: Duration,
}

/// Prints what about this machine would spoil a measurement, each with its remedy. Returns 4 when something makes
/// measurements mislead, else 0.
///
/// # Errors
/// None: what the machine does not tell is said so.
pub async fn execute(args: Args) -> Result<u8, Stopped> {
    let findings = doctor::examine(&Facts::read(args.watch).await);
    for finding in &findings {
        let mark = match finding.level {
            Level::Good => "ok     ",
            Level::Unknown => "unknown",
            Level::Concern => "concern",
            Level::Problem => "PROBLEM",
        };
        println!("{mark}  {}: {}", finding.subject, finding.found);
        if !finding.remedy.is_empty() {
            println!("           -> {}", finding.remedy);
        }
    }
    let is_bad = findings
        .iter()
        .any(|finding| finding.level == Level::Problem);
    Ok(if is_bad { Exit::Invalid } else { Exit::Ok }.code())
}
