use super::{
    Page, Paint, cold, line, memory,
    table::{Cell, Table},
};
use crate::report::{
    format::{self, NOT_AVAILABLE},
    model::{
        Comparison, FitReport, Metric, MetricReport, Report, Row, SearchReport, Served, Statistic,
        Unit, Verdict, WorkloadReport,
    },
};

/// Takes one figure of a row.
type Figure = fn(&Served) -> Option<f64>;

/// Writes one figure of a line through end-to-end times.
type FitFigure = fn(&FitReport) -> String;

/// What is shown of every row, in this order, where it was measured.
const SHOWN: [(Metric, &[Statistic]); 7] = [
    (
        Metric::E2e,
        &[Statistic::P50, Statistic::P95, Statistic::P99],
    ),
    (Metric::Ttft, &[Statistic::P50, Statistic::P95]),
    (Metric::Tpot, &[Statistic::P50]),
    (Metric::Icl, &[Statistic::P50, Statistic::P99]),
    (Metric::DecodeRate, &[Statistic::P50]),
    (Metric::ClaimedRate, &[Statistic::P50]),
    (Metric::Tail, &[Statistic::P50]),
];

/// One workload: a table per candidate, so that a table never has more than two targets.
pub(super) fn workload(out: &mut String, report: &Report, workload: &WorkloadReport, page: &Page) {
    line(out, "");
    let title = page.paint(&workload.name, Paint::Strong);
    let paced = format::paced(workload, "");
    page.paragraph(
        out,
        &format!("{title}: {}; {paced}", workload.inputs),
        2,
        Paint::Plain,
    );
    for lane in &workload.lanes {
        if let Some(reason) = &lane.unavailable {
            page.paragraph(
                out,
                &format!("  {}: n/a, {reason}", lane.target),
                4,
                Paint::Unsure,
            );
        }
    }
    let measured = workload
        .rows
        .iter()
        .any(|row| row.served.iter().any(Option::is_some));
    if !measured && workload.searches.is_empty() && workload.cold.is_empty() {
        return;
    }
    let baseline = report.targets.len() - 1;
    if baseline == 0 {
        table(workload, &[0]).write(out, page);
    }
    for candidate in 0..baseline {
        if candidate > 0 {
            line(out, "");
        }
        table(workload, &[candidate, baseline]).write(out, page);
    }
    for (lane, row) in workload
        .lanes
        .iter()
        .enumerate()
        .flat_map(|(target, lane)| {
            workload
                .rows
                .iter()
                .filter_map(move |row| Some((lane, row.served[target].as_ref()?)))
        })
    {
        if let Some(failure) = &row.first_failure {
            page.paragraph(
                out,
                &format!("  {}: first failure: {failure}", lane.target),
                4,
                Paint::Bad,
            );
        }
    }
}

/// The figures of `targets`: one alone with its intervals, or a candidate beside the baseline with their ratios.
fn table(workload: &WorkloadReport, targets: &[usize]) -> Table {
    let mut table = Table::default();
    let names = |of: &dyn Fn(usize) -> String| -> Vec<Cell> {
        targets
            .iter()
            .map(|target| Cell::new(of(*target), Paint::Strong))
            .collect()
    };
    let head: Vec<Cell> = if targets.len() > 1 {
        ["ratio", "95 % interval", "verdict"]
            .map(|word| Cell::new(word, Paint::Faint))
            .into()
    } else {
        vec![Cell::new("95 % interval", Paint::Faint)]
    };
    table.row(
        "",
        names(&|target| workload.lanes[target].target.clone()),
        head,
    );
    let models = targets.iter().map(|target| {
        let lane = &workload.lanes[*target];
        let emulated = if lane.emulated { ", by chat" } else { "" };
        Cell::new(format!("{}{emulated}", lane.model), Paint::Faint)
    });
    table.row(
        Cell::new("model", Paint::Faint),
        models.collect(),
        Vec::new(),
    );
    cold::lines(&mut table, workload, targets);
    for row in &workload.rows {
        row_lines(&mut table, workload, row, targets);
    }
    for search in &workload.searches {
        search_line(&mut table, search, targets);
    }
    memory::lines(&mut table, workload, targets);
    table
}

/// The highest rate that each target kept a promise at.
fn search_line(table: &mut Table, search: &SearchReport, targets: &[usize]) {
    table.title(format!(
        "highest rate with {} P{} within {}",
        search.metric,
        search.quantile * 100.0,
        format::duration(search.max_ms)
    ));
    let outcome = |target: &usize| search.outcomes[*target].as_ref();
    let cells = targets.iter().map(|target| {
        let highest = outcome(target).and_then(|outcome| outcome.highest_per_s);
        Cell::from(format::figure(highest, Unit::PerSecond))
    });
    table.row(
        format!("  {} arrivals", search.arrival),
        cells.collect(),
        Vec::new(),
    );
}

fn row_lines(table: &mut Table, workload: &WorkloadReport, row: &Row, targets: &[usize]) {
    table.title(row.label.clone());
    let served = |figure: &dyn Fn(&Served) -> String| -> Vec<Cell> {
        targets
            .iter()
            .map(|target| {
                row.served[*target]
                    .as_ref()
                    .map_or(NOT_AVAILABLE.into(), figure)
            })
            .map(Cell::from)
            .collect()
    };
    table.row(
        "  requests",
        served(&|one| one.requests.to_string()),
        Vec::new(),
    );
    for (metric, statistics) in SHOWN {
        let Some(report) = row.metric(metric) else {
            continue;
        };
        for (index, statistic) in statistics.iter().enumerate() {
            let label = if index == 0 {
                format!("  {} {}", metric.title(), statistic.title())
            } else {
                format!("    {}", statistic.title())
            };
            metric_line(table, row, targets, report, *statistic, label);
        }
    }
    let totals: [(Metric, Figure); 4] = [
        (Metric::OutputTokens, |one| one.output_tokens_per_s),
        (Metric::InputTokens, |one| one.input_tokens_per_s),
        (Metric::Requests, |one| one.requests_per_s),
        (Metric::Goodput, |one| one.goodput_per_s),
    ];
    for (metric, value) in totals {
        let figures = |one: &Served| format::figure(value(one), Unit::PerSecond);
        if targets
            .iter()
            .any(|target| row.served[*target].as_ref().and_then(value).is_some())
        {
            table.row(
                format!("  {}", metric.title()),
                served(&figures),
                words(row, targets, metric, Statistic::Total),
            );
        }
    }
    if let Some(slo) = &workload.slo {
        table.row(
            format!("  within {}", format::promises(slo)),
            served(&|one| {
                one.in_time_share()
                    .map_or(NOT_AVAILABLE.into(), format::percent)
            }),
            Vec::new(),
        );
    }
    fits(table, row, targets);
    means(table, row, targets);
    if targets.iter().any(|target| {
        row.served[*target]
            .as_ref()
            .is_some_and(|one| one.resent > 0)
    }) {
        table.row(
            "  sent twice",
            served(&|one| one.resent.to_string()),
            Vec::new(),
        );
    }
    table.row("  failed", failed_cells(row, targets), Vec::new());
    if let Some(share) = row.equal_length_share[targets[0]] {
        let text = format!("{} of equal requests", format::percent(share));
        table.row("  equally long replies", vec![], vec![text.into()]);
    }
    for target in targets {
        if let Some(reason) = row.served[*target]
            .as_ref()
            .and_then(|one| one.unstable.as_ref())
        {
            table.row(
                Cell::new("  UNSTABLE", Paint::Bad),
                vec![],
                vec![Cell::new(reason.clone(), Paint::Bad)],
            );
        }
    }
}

/// What a reply costs before its tokens, and what each token costs.
fn fits(table: &mut Table, row: &Row, targets: &[usize]) {
    let fit = |target: &usize| row.fits.get(*target)?.as_ref();
    if targets.iter().all(|target| fit(target).is_none()) {
        return;
    }
    let lines: [(&str, FitFigure); 2] = [
        ("  e2e: fixed cost", |one| format::duration(one.fixed_ms)),
        ("    and per token", format::per_token),
    ];
    for (label, figure) in lines {
        let cells = targets.iter().map(|target| {
            let text = fit(target).map(figure);
            Cell::from(text.unwrap_or_else(|| NOT_AVAILABLE.into()))
        });
        table.row(label, cells.collect(), Vec::new());
    }
}

fn means(table: &mut Table, row: &Row, targets: &[usize]) {
    let means: [(&str, Figure); 3] = [
        ("  input tokens, mean", |one| one.mean_input_tokens),
        ("  output tokens, mean", |one| one.mean_output_tokens),
        ("  pieces per token", |one| one.pieces_per_token),
    ];
    for (label, value) in means {
        let values: Vec<Option<f64>> = targets
            .iter()
            .map(|target| row.served[*target].as_ref().and_then(value))
            .collect();
        if values.iter().any(Option::is_some) {
            let cells = values
                .into_iter()
                .map(|value| value.map_or(NOT_AVAILABLE.into(), format::digits));
            table.row(label, cells.map(Cell::from).collect(), Vec::new());
        }
    }
}

fn failed_cells(row: &Row, targets: &[usize]) -> Vec<Cell> {
    targets
        .iter()
        .map(|target| match &row.served[*target] {
            None => NOT_AVAILABLE.into(),
            Some(served) if served.failed == 0 => "0".into(),
            Some(served) => {
                let kinds: Vec<String> = served
                    .failures
                    .iter()
                    .map(|(kind, count)| format!("{kind} {count}"))
                    .collect();
                Cell::new(
                    format!("{} ({})", served.failed, kinds.join(", ")),
                    Paint::Bad,
                )
            }
        })
        .collect()
}

fn metric_line(
    table: &mut Table,
    row: &Row,
    targets: &[usize],
    report: &MetricReport,
    statistic: Statistic,
    label: String,
) {
    let quantile = |target: &usize| report.targets[*target].as_ref()?.quantile(statistic);
    let cells: Vec<Cell> = targets
        .iter()
        .map(|target| match quantile(target) {
            None => NOT_AVAILABLE.into(),
            Some(quantile) => match quantile.value {
                None => Cell::new("failed", Paint::Bad),
                value => format::figure(value, report.unit).into(),
            },
        })
        .collect();
    let words = if targets.len() > 1 {
        words(row, targets, report.metric, statistic)
    } else {
        quantile(&targets[0]).map_or(Vec::new(), |quantile| {
            let text = match (quantile.low, quantile.high, &quantile.unavailable) {
                (Some(low), Some(high), _) => format!(
                    "[{}, {}]",
                    format::figure(Some(low), report.unit),
                    format::figure(Some(high), report.unit)
                ),
                (_, _, Some(reason)) => format!("n/a, {reason}"),
                _ => NOT_AVAILABLE.into(),
            };
            vec![Cell::new(text, Paint::Faint)]
        })
    };
    let primary = comparison(row, targets, report.metric, statistic).is_some_and(|one| one.primary);
    let paint = if primary { Paint::Strong } else { Paint::Plain };
    table.row(Cell::new(label, paint), cells, words);
}

fn comparison<'a>(
    row: &'a Row,
    targets: &[usize],
    metric: Metric,
    statistic: Statistic,
) -> Option<&'a Comparison> {
    let per_candidate = row
        .comparisons
        .iter()
        .filter(|one| one.metric == metric && one.statistic == statistic);
    (targets.len() > 1)
        .then(|| per_candidate.into_iter().nth(targets[0]))
        .flatten()
}

fn words(row: &Row, targets: &[usize], metric: Metric, statistic: Statistic) -> Vec<Cell> {
    compared(comparison(row, targets, metric, statistic))
}

/// Ratio, interval and verdict; or why there are none; or nothing for what is not compared.
pub(super) fn compared(comparison: Option<&Comparison>) -> Vec<Cell> {
    let Some(comparison) = comparison else {
        return Vec::new();
    };
    match (
        comparison.ratio,
        comparison.low.zip(comparison.high),
        comparison.verdict.zip(comparison.verdict_word()),
    ) {
        (Some(ratio), Some((low, high)), Some((verdict, word))) => vec![
            format::ratio(ratio).into(),
            Cell::new(format::interval(low, high), Paint::Faint),
            Cell::new(word, paint(verdict)),
        ],
        _ => {
            let reason = comparison.unavailable.as_deref().unwrap_or_default();
            vec![Cell::new(format!("n/a, {reason}"), Paint::Faint)]
        }
    }
}

fn paint(verdict: Verdict) -> Paint {
    match verdict {
        Verdict::Faster => Paint::Good,
        Verdict::Slower => Paint::Bad,
        Verdict::Equivalent => Paint::Plain,
        Verdict::Inconclusive => Paint::Unsure,
    }
}
