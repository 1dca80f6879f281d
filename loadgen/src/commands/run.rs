use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::Stopped;
use crate::{
    args::Measure,
    exit::Exit,
    plan::Plan,
    progress::Progress,
    report::{self, Page, Report},
    run,
};

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

/// Measures what `args` ask for and reports it. Returns the exit code.
///
/// # Errors
/// [`Stopped`] when nothing could be measured.
pub async fn measured(args: Measure) -> Result<u8, Stopped> {
    if args.dry_run {
        let plan = Plan::try_from(args).map_err(Stopped::usage)?;
        print!("{}", plan.schedule());
        return Ok(Exit::Ok.code());
    }
    Ok(carried_out(args).await?.exit_code)
}

/// Measures what `args` ask for and reports it.
///
/// # Errors
/// [`Stopped`] when nothing could be measured.
pub async fn carried_out(args: Measure) -> Result<Report, Stopped> {
    let outputs = args.outputs.clone();
    let plan = Plan::try_from(args).map_err(Stopped::usage)?;
    let mut progress = Progress::new(&plan);
    let record = run::run(&plan, &stop_on_interrupt(), &mut progress).await;
    progress.finish();
    let record = record.map_err(|error| Stopped {
        exit: Exit::Unreachable,
        message: error.to_string(),
    })?;
    let report = report::analyse(&plan, &record, typed(plan.seed));
    print!("{}", report::render(&report, &Page::stdout()));
    outputs.write(&report, &record).map_err(Stopped::usage)?;
    Ok(report)
}

/// The command line that repeats this run: as typed, with the seed that was drawn.
fn typed(seed: u64) -> Vec<String> {
    let mut words: Vec<String> = std::env::args()
        .map(|word| without_password(&word))
        .collect();
    if let Some(program) = words.first_mut() {
        *program = env!("CARGO_PKG_NAME").into();
    }
    let seeded = words
        .iter()
        .any(|word| word == "--seed" || word.starts_with("--seed="));
    if !seeded {
        words.extend(["--seed".into(), seed.to_string()]);
    }
    words
}

/// `word` without the password of an address in it: reports are shown to others.
fn without_password(word: &str) -> String {
    let Some((before, rest)) = word.split_once("://") else {
        return word.into();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => {
            let name = user.split(':').next().unwrap_or_default();
            format!("{before}://{name}{}", &rest[user.len()..])
        }
        None => word.into(),
    }
}

/// The first Ctrl-C ends the run after the requests in flight, with a report; the second ends it at once.
fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if flag.swap(true, Ordering::Relaxed) {
                run::end_all();
                std::process::exit(Exit::Interrupted.code().into());
            }
            eprintln!("stopping after the requests in flight; once more to stop at once");
        }
    });
    stop
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_command_shows_no_password() {
        let check = |word, expected| assert_eq!(without_password(word), expected);
        check("ours=http://me:secret@host:1/a", "ours=http://me@host:1/a");
        check("ours=http://host:1/a@b", "ours=http://host:1/a@b");
        check("--rounds", "--rounds");
    }
}
