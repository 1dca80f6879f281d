//! `loadgen` measures inference servers that speak Ollama's API, and compares them under the same work.
//!
//! `args` and `plan` say what is wanted, `run` does it through `client` and `routes`, `report` says what came of it with the help
//! of `stats`; `memory` watches the servers meanwhile. `mock` is a server with known times that proves the figures. The
//! crate depends on nothing of the servers that it measures: it meets them on the wire, as a stranger.

mod args;
mod client;
mod exit;
mod memory;
mod mock;
mod plan;
mod progress;
mod report;
mod routes;
mod run;
mod stats;
mod workload;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::Parser;

use args::{Args, Cli, Command};
use exit::Exit;
use plan::Plan;
use progress::Progress;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Mock(args)) => mock::serve(*args)
            .await
            .map(|()| Exit::Ok.code())
            .map_err(Into::into),
        Some(Command::MockWorker(args)) => mock::worker::hold(&args)
            .map(|()| Exit::Ok.code())
            .map_err(Into::into),
        None => measure(cli.args).await,
    };
    match result {
        Ok(code) => code.into(),
        Err(Stopped { exit, message }) => {
            eprintln!("error: {message}");
            exit.code().into()
        }
    }
}

/// Why there is no report.
struct Stopped {
    exit: Exit,
    message: String,
}

async fn measure(args: Args) -> Result<u8, Stopped> {
    let plan = Plan::try_from(args).map_err(|error| Stopped {
        exit: Exit::Usage,
        message: error.to_string(),
    })?;
    let mut progress = Progress::new(&plan);
    let record = run::run(&plan, &stop_on_interrupt(), &mut progress).await;
    progress.finish();
    let record = record.map_err(|error| Stopped {
        exit: Exit::Unreachable,
        message: error.to_string(),
    })?;
    let report = report::analyse(&plan, &record);
    print!("{}", report::render(&report));
    if let Some(path) = &plan.json {
        report::write_json(path, &report, &record).map_err(|error| Stopped {
            exit: Exit::Usage,
            message: format!("cannot write {}: {error}", path.display()),
        })?;
    }
    Ok(report.exit_code)
}

/// The first Ctrl-C ends the run after the requests in flight, with a report; the second ends it at once.
fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Interrupted.code().into());
            }
            eprintln!("stopping after the requests in flight; once more to stop at once");
        }
    });
    stop
}

impl From<std::io::Error> for Stopped {
    fn from(error: std::io::Error) -> Self {
        Self {
            exit: Exit::Failed,
            message: error.to_string(),
        }
    }
}
