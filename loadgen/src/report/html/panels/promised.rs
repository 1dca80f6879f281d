//! What a workload promises beside latencies: a first text in time after a cold start, and the highest rate that keeps a limit.

use crate::report::{
    format::{self, NOT_AVAILABLE},
    html::markup::{add, escape, table},
    model::{ColdReport, SearchOutcome, SearchReport, Spread, Unit, WorkloadReport},
};

/// Takes one figure of a target's cold starts.
type Figure = fn(&ColdReport) -> &Option<Spread>;

/// From no model in memory to the first text, start by start.
pub(super) fn cold(out: &mut String, workload: &WorkloadReport) {
    if workload.cold.iter().all(Option::is_none) {
        return;
    }
    out.push_str(
        "<h3>Cold starts</h3><p class=\"reading\">With no model in memory, its files in the page cache: the median, then the least and \
         the largest. Too few for percentiles, so no ratio is claimed.</p>",
    );
    let figures: [(&str, Figure); 4] = [
        ("process start to ready", |one| &one.start_to_ready_ms),
        ("first text, loading included", |one| &one.first_text_ms),
        ("whole reply", |one| &one.e2e_ms),
        ("loading, as the target claims", |one| &one.claimed_load_ms),
    ];
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (label, figure) in figures {
        let of = |cold: &Option<ColdReport>| -> Option<String> {
            figure(cold.as_ref()?).as_ref().map(format::spread)
        };
        let cells: Vec<Option<String>> = workload.cold.iter().map(of).collect();
        if cells.iter().any(Option::is_some) {
            let shown = cells
                .into_iter()
                .map(|cell| cell.unwrap_or(NOT_AVAILABLE.into()));
            rows.push(std::iter::once(label.to_owned()).chain(shown).collect());
        }
    }
    let counts = workload.cold.iter().map(|cold| match cold {
        None => NOT_AVAILABLE.into(),
        Some(ColdReport {
            unavailable: Some(reason),
            ..
        }) => format!("n/a, {reason}"),
        Some(cold) if cold.failed == 0 => cold.repeats.to_string(),
        Some(cold) => format!(
            "{} ({} failed: {})",
            cold.repeats,
            cold.failed,
            cold.first_failure.as_deref().unwrap_or_default()
        ),
    });
    rows.push(std::iter::once("starts".to_owned()).chain(counts).collect());
    let mut head = vec![""];
    head.extend(workload.lanes.iter().map(|lane| lane.target.as_str()));
    out.push_str(&table(&head, &rows));
}

/// The highest rate of each target, and every rate that was tried.
pub(super) fn searches(out: &mut String, workload: &WorkloadReport) {
    for search in &workload.searches {
        add(
            out,
            format_args!(
                "<h3>{}</h3><p class=\"reading\">{}</p>",
                escape(&format!(
                    "Highest rate with {} P{} within {}",
                    search.metric,
                    search.quantile * 100.0,
                    format::duration(search.max_ms)
                )),
                escape(&format!(
                    "Requests come as a {} stream. A rate is kept when so few requests over the limit would be seen with at most 1 % probability if \
                     the promise were broken, and no queue grows.",
                    search.arrival
                ))
            ),
        );
        let rows: Vec<Vec<String>> = workload
            .lanes
            .iter()
            .zip(&search.outcomes)
            .map(|(lane, outcome)| found(&lane.target, outcome.as_ref()))
            .collect();
        out.push_str(&table(
            &[
                "target",
                "highest rate kept",
                "lowest rate not kept",
                "rates tried",
            ],
            &rows,
        ));
        add(
            out,
            format_args!(
                "<details class=\"data\"><summary>Every rate that was tried</summary>{}</details>",
                steps(workload, search)
            ),
        );
    }
}

fn found(target: &str, outcome: Option<&SearchOutcome>) -> Vec<String> {
    let rate = |rate: Option<f64>, none: &str| match rate {
        Some(_) => format!("{}/s", format::figure(rate, Unit::PerSecond)),
        None => none.to_owned(),
    };
    let cells = match outcome {
        None => [NOT_AVAILABLE, NOT_AVAILABLE, NOT_AVAILABLE].map(str::to_owned),
        Some(outcome) => [
            rate(outcome.highest_per_s, "none"),
            rate(outcome.lowest_failing_per_s, "none up to the limit"),
            outcome.steps.len().to_string(),
        ],
    };
    std::iter::once(target.to_owned()).chain(cells).collect()
}

fn steps(workload: &WorkloadReport, search: &SearchReport) -> String {
    let mut rows = Vec::new();
    for (lane, outcome) in workload.lanes.iter().zip(&search.outcomes) {
        for step in outcome.iter().flat_map(|outcome| &outcome.steps) {
            let verdict = match (&step.unstable, step.kept) {
                (Some(reason), _) => format!("not kept: {reason}"),
                (None, true) => "kept".into(),
                (None, false) => "not kept".into(),
            };
            rows.push(vec![
                lane.target.clone(),
                format!("{}/s", format::digits(step.rate_per_s)),
                step.requests.to_string(),
                step.over.to_string(),
                verdict,
            ]);
        }
    }
    table(
        &[
            "target",
            "rate",
            "requests",
            "over the limit or failed",
            "outcome",
        ],
        &rows,
    )
}
