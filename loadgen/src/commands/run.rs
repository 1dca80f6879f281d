use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::Stopped;
use crate::{args::Measure, exit::Exit, plan::Plan, progress::Progress, report, run};

/// The options of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Workloads; the same as --workload
    #[arg(value_name = "WORKLOAD")]
    pub also: Vec<String>,
    /// How to measure them.
    #[command(flatten)]
    pub measure: Measure,
}

/// Carries `run` out.
///
/// # Errors
/// [`Stopped`] when nothing could be measured.
pub async fn execute(args: Args) -> Result<u8, Stopped> {
    let mut measure = args.measure;
    measure.workloads.extend(args.also);
    measured(measure).await
}

/// Measures what `args` ask for and reports it.
///
/// # Errors
/// [`Stopped`] when nothing could be measured.
pub async fn measured(args: Measure) -> Result<u8, Stopped> {
    let plan = Plan::try_from(args).map_err(Stopped::usage)?;
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
        report::write_json(path, &report, &record)
            .map_err(|error| Stopped::usage(format!("cannot write {}: {error}", path.display())))?;
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
