use std::time::Duration;

use super::{Stopped, run};
use crate::{args::Measure, client::Client, exit::Exit};

/// How long the whole measurement may take.
const TIME: Duration = Duration::from_secs(90);

/// How long a port may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The options of `quick`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As in `run`; --target is found by itself when none is named.
    #[command(flatten)]
    measure: Measure,
}

/// Finds `ours` and `ollama` at their usual ports and measures who answers, small and soon.
///
/// # Errors
/// [`Stopped`] when nobody answers.
pub async fn execute(args: Args) -> Result<u8, Stopped> {
    let mut measure = args.measure;
    if measure.targets.is_empty() {
        for (name, url) in [("ours", &measure.ours_url), ("ollama", &measure.ollama_url)] {
            if answers(url).await {
                measure.targets.push(name.into());
            }
        }
        if measure.targets.is_empty() {
            return Err(Stopped {
                exit: Exit::Unreachable,
                message: format!(
                    "nothing answers at {} or {}; start a server or pass --target NAME=URL",
                    measure.ours_url, measure.ollama_url
                ),
            });
        }
    }
    if measure.rounds.is_none() && measure.requests.is_none() && measure.effort.is_none() {
        // Enough for a ratio where there is time for them.
        (measure.rounds, measure.requests) = (Some(6), Some(12));
    }
    measure.max_time = measure.max_time.or(Some(TIME));
    let code = run::measured(measure).await?;
    println!(
        "quick: a first impression, not a publishable result; loadgen run --effort publish makes one"
    );
    Ok(code)
}

/// Whether a server listens there, whatever it is.
async fn answers(url: &str) -> bool {
    let whole = if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    };
    let Ok(url) = reqwest::Url::parse(&whole) else {
        return false;
    };
    match Client::new(url, PATIENCE) {
        Ok(client) => client.get("/api/version").await.status.is_some(),
        Err(_) => false,
    }
}
