use super::super::model::{SearchOutcome, SearchReport, SearchStep};
use crate::run::{self, SearchRecord};

/// What a search came to.
pub(super) fn search(record: &SearchRecord) -> SearchReport {
    let search = &record.search;
    SearchReport {
        metric: search.metric.name().into(),
        quantile: search.quantile,
        max_ms: search.max.as_secs_f64() * 1e3,
        arrival: search.arrival.label(),
        outcomes: record
            .outcomes
            .iter()
            .map(|outcome| outcome.as_ref().map(of_target))
            .collect(),
    }
}

fn of_target(outcome: &run::SearchOutcome) -> SearchOutcome {
    let steps = outcome.steps.iter().map(|step| SearchStep {
        rate_per_s: step.rate,
        requests: step.slot.samples.len(),
        over: step.over,
        unstable: step.unstable.clone(),
        kept: step.kept,
    });
    SearchOutcome {
        highest_per_s: outcome.highest,
        lowest_failing_per_s: outcome.lowest_failing,
        steps: steps.collect(),
    }
}
