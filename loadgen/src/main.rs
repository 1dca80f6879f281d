//! `loadgen` measures inference servers that speak Ollama's API, and compares them under the same work.
//!
//! `args` and `plan` say what is wanted, `run` does it through `client` and `routes`, `report` says what came of it with the help
//! of `stats`; `memory` watches the servers meanwhile, `commands` ties them together. `mock` is a server with known times that
//! proves the figures. The crate depends on nothing of the servers that it measures: it meets them on the wire, as a stranger.

mod args;
mod calibration;
mod checks;
mod client;
mod commands;
mod exit;
mod host;
mod memory;
mod mock;
mod plan;
mod progress;
mod report;
mod routes;
mod run;
mod stats;
mod units;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use commands::Stopped;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(command) => command.execute().await,
        None => commands::run::measured(cli.measure).await,
    };
    match result {
        Ok(code) => code.into(),
        Err(Stopped { exit, message }) => {
            eprintln!("error: {message}");
            exit.code().into()
        }
    }
}
