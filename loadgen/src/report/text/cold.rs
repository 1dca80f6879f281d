use super::{
    Paint,
    table::{Cell, Table},
};
use crate::report::{
    format::{self, NOT_AVAILABLE},
    model::{ColdReport, Spread, WorkloadReport},
};

/// Takes one figure of a target's cold starts.
type Figure = fn(&ColdReport) -> &Option<Spread>;

/// Takes one of a few values.
type Part = fn(&Spread) -> f64;

/// From no model in memory to the first text: the middle one, the least and the largest.
pub(super) fn lines(table: &mut Table, workload: &WorkloadReport, targets: &[usize]) {
    let of = |target: &usize| workload.cold.get(*target)?.as_ref();
    if targets.iter().all(|target| of(target).is_none()) {
        return;
    }
    table.title("cold start, files in the page cache");
    let figures: [(&str, Figure); 4] = [
        ("process start to ready", |one| &one.start_to_ready_ms),
        ("first text, load included", |one| &one.first_text_ms),
        ("whole reply", |one| &one.e2e_ms),
        ("loading, as claimed", |one| &one.claimed_load_ms),
    ];
    for (label, figure) in figures {
        let spreads: Vec<Option<&Spread>> = targets
            .iter()
            .map(|target| figure(of(target)?).as_ref())
            .collect();
        if spreads.iter().any(Option::is_some) {
            let parts: [(String, Part); 3] = [
                (format!("  {label}, median"), |one| one.median),
                ("    least".into(), |one| one.min),
                ("    largest".into(), |one| one.max),
            ];
            for (label, part) in parts {
                let cells = spreads.iter().map(|spread| {
                    let value = spread.map(part);
                    Cell::from(value.map_or(NOT_AVAILABLE.into(), format::duration))
                });
                table.row(label, cells.collect(), Vec::new());
            }
        }
    }
    let counts = targets.iter().map(|target| match of(target) {
        None => Cell::from(NOT_AVAILABLE),
        Some(one) if one.failed == 0 => Cell::from(one.repeats.to_string()),
        Some(one) => Cell::new(
            format!("{} ({} failed)", one.repeats, one.failed),
            Paint::Bad,
        ),
    });
    table.row("  starts", counts.collect(), Vec::new());
    for target in targets {
        let reason = |one: &ColdReport| {
            let failure = one
                .first_failure
                .as_ref()
                .map(|words| format!("first failure: {words}"));
            let missing = one
                .unavailable
                .as_ref()
                .map(|words| format!("n/a, {words}"));
            missing.or(failure)
        };
        if let Some(reason) = of(target).and_then(reason) {
            let words = format!("{}: {reason}", workload.lanes[*target].target);
            table.row("", vec![], vec![Cell::new(words, Paint::Unsure)]);
        }
    }
}
