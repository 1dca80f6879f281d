//! The command line: one file per command. `serve` and `worker` are the product itself; the others are clients that
//! speak to a server over HTTP, as any other client does, at `OLLAMA_HOST`.

mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, Environment};
use crate::{telemetry, worker};

/// Serve and use language models on this machine.
#[derive(Debug, Parser)]
#[command(name = "chaski", version, about, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    #[command(alias = "start")]
    Serve(serve::Args),
    /// One loaded model, started by the server
    #[command(hide = true)]
    Worker,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    telemetry::init();
    let config = || Config::from_environment(&Environment::of_process());
    match args.command {
        Command::Serve(args) => serve::run(&args, config()),
        Command::Worker => worker::child::main(),
    }
}
