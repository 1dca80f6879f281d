use super::{Stopped, run};
use crate::{args::Measure, exit::Exit, report::Report};

/// The options of `aa`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to measure the one target.
    #[command(flatten)]
    measure: Measure,
}

/// Measures one target against itself, as if it were two. Returns 4 when that shows a difference: then neither this machine
/// nor any difference that it shows can be trusted.
///
/// # Errors
/// [`Stopped`] when there is not exactly one target, or nothing could be measured.
pub async fn execute(args: Args) -> Result<u8, Stopped> {
    let mut measure = args.measure;
    measure.targets = twice(&measure)?;
    if measure.dry_run {
        return run::measured(measure).await;
    }
    let report = run::carried_out(measure).await?;
    let differences = differences(&report);
    if differences.is_empty() {
        println!("A/A: no difference, as it should be");
        return Ok(report.exit_code);
    }
    println!("A/A: a target differs from itself; look at `loadgen doctor` and use more rounds");
    for difference in differences {
        println!("  {difference}");
    }
    Ok(Exit::Invalid.code())
}

/// The primary figures that show a difference, already corrected for how many there are.
fn differences(report: &Report) -> Vec<String> {
    let mut found = Vec::new();
    for workload in &report.workloads {
        for row in &workload.rows {
            let primary = row.comparisons.iter().filter(|one| one.primary);
            for comparison in primary {
                let word = comparison.verdict.map_or("", |verdict| verdict.word());
                if let ("faster" | "slower", Some(ratio)) = (word, comparison.ratio) {
                    let title = comparison.title();
                    found.push(format!(
                        "{} {}, {title}: {word}, ratio {ratio:.3}",
                        workload.name, row.label
                    ));
                }
            }
        }
    }
    found
}

/// The one target under two names.
fn twice(measure: &Measure) -> Result<Vec<String>, Stopped> {
    let [typed] = measure.targets.as_slice() else {
        return Err(Stopped::usage(
            "a target is compared with itself: name one --target",
        ));
    };
    let (name, place) = match (typed.split_once('='), typed.as_str()) {
        (Some((name, place)), _) => (name, place),
        (None, "ours") => ("ours", measure.ours_url.as_str()),
        (None, "ollama") => ("ollama", measure.ollama_url.as_str()),
        // The plan says what a target looks like.
        (None, other) => return Ok(vec![other.to_owned()]),
    };
    Ok(vec![
        format!("{name}-a={place}"),
        format!("{name}-b={place}"),
    ])
}
