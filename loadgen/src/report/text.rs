use super::table::{NOT_AVAILABLE, Table, line, or_not_available};
use super::{
    CellReport, Comparison, Figures, GenerationFigures, LaneReport, Latency, MemoryReport, Metric,
    Report, WorkloadReport,
};
use crate::workload::Kind;

/// The report as a table for a terminal: targets side by side, one row per figure.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    header(&mut out, report);
    for workload in &report.workloads {
        workload_section(&mut out, report, workload);
    }
    for objection in &report.not_comparable {
        line(&mut out, &format!("NOT COMPARABLE  {objection}"));
    }
    out
}

fn header(out: &mut String, report: &Report) {
    let settings = &report.settings;
    line(
        out,
        &format!(
            "loadgen {}: closed loop, {} rounds of {} requests per target{}, {} to warm up before each, seed {}",
            report.loadgen,
            settings.rounds,
            settings.requests_per_target_and_round,
            if report.targets.len() > 1 {
                " in alternating order"
            } else {
                ""
            },
            settings.warmup_per_target_and_round,
            settings.seed,
        ),
    );
    let host = &report.host;
    line(
        out,
        &format!(
            "on {} CPUs ({}), {} GiB, Linux {}, {}{}",
            host.cpus
                .map_or(NOT_AVAILABLE.into(), |cpus| cpus.to_string()),
            host.cpu.as_deref().unwrap_or(NOT_AVAILABLE),
            host.memory_bytes
                .map_or(NOT_AVAILABLE.into(), |bytes| format!(
                    "{:.0}",
                    bytes as f64 / f64::from(1 << 30)
                )),
            host.kernel.as_deref().unwrap_or(NOT_AVAILABLE),
            report.started_at,
            if report.interrupted {
                "; INTERRUPTED, whole rounds only"
            } else {
                ""
            },
        ),
    );
    for target in &report.targets {
        let version = target.version.as_deref().unwrap_or(NOT_AVAILABLE);
        let process = match (&target.process, &target.memory_unavailable) {
            (Some(process), _) => format!("{process}, pid {}", joined(&target.pids)),
            (None, reason) => format!("memory n/a: {}", reason.as_deref().unwrap_or_default()),
        };
        line(
            out,
            &format!(
                "  {}  {}  version {version}  ({process})",
                target.name, target.url
            ),
        );
    }
}

fn workload_section(out: &mut String, report: &Report, workload: &WorkloadReport) {
    let how = match workload.kind {
        Kind::Generate | Kind::Chat => {
            format!(
                "; at most {} tokens, temperature 0, streamed",
                report.settings.num_predict
            )
        }
        Kind::Embed | Kind::Classify => String::new(),
    };
    line(out, "");
    line(
        out,
        &format!("{}: {}{how}", workload.workload, workload.inputs),
    );
    for lane in workload
        .lanes
        .iter()
        .filter(|lane| lane.unavailable.is_some())
    {
        line(
            out,
            &format!(
                "  {}: n/a, {}",
                lane.target,
                lane.unavailable.as_deref().unwrap_or_default()
            ),
        );
    }
    if workload
        .cells
        .iter()
        .all(|cell| cell.figures.iter().all(Option::is_none))
    {
        return;
    }

    let mut table = Table::default();
    let pairs: Vec<String> = workload
        .cells
        .first()
        .map_or(Vec::new(), |cell| pair_names(&cell.comparisons));
    table.row("", workload.lanes.iter().map(lane_title), pairs.clone());
    for cell in &workload.cells {
        cell_rows(&mut table, cell, pairs.len());
    }
    memory_rows(&mut table, &workload.memory, pairs.len());
    table.write(out, workload.lanes.len());
    for (lane, failure) in first_failures(workload) {
        line(out, &format!("  {}: first failure: {failure}", lane.target));
    }
}

fn cell_rows(table: &mut Table, cell: &CellReport, pairs: usize) {
    let each = |figure: &dyn Fn(&Figures) -> Option<String>| -> Vec<Option<String>> {
        cell.figures
            .iter()
            .map(|figures| figure(figures.as_ref()?))
            .collect()
    };
    let generation = |figure: &dyn Fn(&GenerationFigures) -> Option<String>| {
        each(&|figures| figure(figures.generation.as_ref()?))
    };
    let compared = |table: &mut Table, label: &str, metric, figures: Vec<Option<String>>| {
        if figures.iter().any(Option::is_some) {
            table.row(
                label,
                figures.into_iter().map(or_not_available),
                comparisons(cell, metric, pairs),
            );
        }
    };

    let title = cell.label.clone();
    table.row(
        &title,
        each(&|figures| Some(format!("n = {}", figures.requests)))
            .into_iter()
            .map(or_not_available),
        Vec::new(),
    );

    table.plain_row(
        "  end to end, ms: P50",
        each(&|figures| latency(figures.end_to_end_ms.p50)),
    );
    compared(
        table,
        "    P95",
        Metric::EndToEndP95,
        each(&|figures| latency(figures.end_to_end_ms.p95)),
    );
    table.plain_row(
        "    95 % interval of P95",
        each(&|figures| Some(interval(&figures.end_to_end_ms))),
    );
    table.plain_row(
        "    P99",
        each(&|figures| latency(figures.end_to_end_ms.p99)),
    );

    let first = |of: fn(&Latency) -> Option<f64>| {
        each(&|figures| latency(of(figures.time_to_first_ms.as_ref()?)))
    };
    table.plain_row("  to first text, ms: P50", first(|times| times.p50));
    compared(
        table,
        "    P95",
        Metric::TimeToFirstP95,
        first(|times| times.p95),
    );
    table.plain_row("    P99", first(|times| times.p99));

    let gaps = |of: fn(&Latency) -> Option<f64>| {
        each(&|figures| latency(of(figures.between_chunks_ms.as_ref()?)))
    };
    table.plain_row("  between chunks, ms: P50", gaps(|times| times.p50));
    table.plain_row("    P95", gaps(|times| times.p95));
    table.plain_row("    P99", gaps(|times| times.p99));

    compared(
        table,
        "  decode tokens/s per request, median",
        Metric::DecodeRateMedian,
        generation(&|one| latency(one.decode_tokens_per_second)),
    );
    table.plain_row(
        "    as the server claims",
        generation(&|one| latency(one.claimed_tokens_per_second)),
    );
    table.plain_row(
        "  tokens/s of all requests",
        generation(&|one| latency(Some(one.aggregate_tokens_per_second))),
    );
    table.plain_row(
        "  output tokens, mean",
        generation(&|one| Some(format!("{:.1}", one.mean_output_tokens))),
    );
    table.plain_row(
        "    chunks per token",
        generation(&|one| Some(format!("{:.2}", one.chunks_per_token))),
    );
    table.plain_row(
        "  input tokens, mean",
        each(&|figures| Some(format!("{:.1}", figures.mean_input_tokens?))),
    );
    table.plain_row(
        "  input tokens/s of all requests",
        each(&|figures| latency(figures.input_tokens_per_second)),
    );
    table.plain_row(
        "  requests/s",
        each(&|figures| latency(Some(figures.requests_per_second))),
    );
    table.plain_row("  failed", each(&|figures| Some(failures(figures))));
}

fn memory_rows(table: &mut Table, memory: &[Option<MemoryReport>], pairs: usize) {
    if memory.iter().all(Option::is_none) {
        return;
    }
    let each = |figure: &dyn Fn(&MemoryReport) -> Option<String>| -> Vec<Option<String>> {
        memory
            .iter()
            .map(|memory| figure(memory.as_ref()?))
            .collect()
    };
    let processes = each(&|memory| Some(counted(memory.peak.processes, "process", "processes")));
    table.row(
        "memory of the process tree",
        processes.into_iter().map(or_not_available),
        Vec::new(),
    );
    let peak = each(&|memory| Some(mebibytes(memory.peak.rss_bytes)));
    table.row(
        "  peak RSS, MiB",
        peak.into_iter().map(or_not_available),
        memory_ratios(memory, pairs),
    );
    table.plain_row(
        "    anonymous / file / shared",
        each(&|memory| {
            let peak = &memory.peak;
            Some(
                [peak.anon_bytes, peak.file_bytes, peak.shmem_bytes]
                    .map(mebibytes)
                    .join(" / "),
            )
        }),
    );
    table.plain_row(
        "  PSS before / after, MiB",
        each(&|memory| {
            Some(format!(
                "{} / {}",
                mebibytes(memory.pss_before_bytes?),
                mebibytes(memory.pss_after_bytes?)
            ))
        }),
    );
    table.plain_row(
        "  files of loaded models, MiB",
        each(&|memory| {
            Some(mebibytes(
                memory
                    .loaded
                    .as_ref()?
                    .iter()
                    .map(|model| model.bytes)
                    .sum(),
            ))
        }),
    );
    table.row(
        "  memory ratio: peak RSS / files",
        each(&|memory| Some(format!("{:.2}", memory.ratio?)))
            .into_iter()
            .map(or_not_available),
        Vec::new(),
    );
}

fn lane_title(lane: &LaneReport) -> String {
    let emulated = if lane.emulated {
        ", emulated by chat"
    } else {
        ""
    };
    format!("{} ({}{emulated})", lane.target, lane.model)
}

fn pair_names(comparisons: &[Comparison]) -> Vec<String> {
    comparisons
        .iter()
        .filter(|comparison| comparison.metric == Metric::EndToEndP95)
        .map(|comparison| format!("{} / {}", comparison.candidate, comparison.baseline))
        .collect()
}

/// One cell per pair of targets, in the order of [`pair_names`].
fn comparisons(cell: &CellReport, metric: Metric, pairs: usize) -> Vec<String> {
    let mut cells: Vec<String> = cell
        .comparisons
        .iter()
        .filter(|comparison| comparison.metric == metric)
        .map(
            |comparison| match (comparison.ratio, comparison.interval, comparison.verdict) {
                (Some(ratio), Some([low, high]), Some(verdict)) => {
                    format!("{ratio:.2}  [{low:.2}, {high:.2}]  {verdict}")
                }
                _ => format!(
                    "n/a, {}",
                    comparison.unavailable.as_deref().unwrap_or_default()
                ),
            },
        )
        .collect();
    cells.truncate(pairs);
    cells
}

/// One peak per run has no interval, so it gets a ratio and no verdict.
fn memory_ratios(memory: &[Option<MemoryReport>], pairs: usize) -> Vec<String> {
    let peak = |memory: &Option<MemoryReport>| Some(memory.as_ref()?.peak.rss_bytes as f64);
    let baseline = memory.last().and_then(peak);
    memory
        .iter()
        .take(pairs)
        .map(|candidate| match peak(candidate).zip(baseline) {
            Some((candidate, baseline)) => format!("{:.2}", candidate / baseline),
            None => NOT_AVAILABLE.into(),
        })
        .collect()
}

fn first_failures(workload: &WorkloadReport) -> Vec<(&LaneReport, &str)> {
    let mut failures: Vec<(&LaneReport, &str)> = Vec::new();
    for (target, lane) in workload.lanes.iter().enumerate() {
        let first = workload
            .cells
            .iter()
            .find_map(|cell| cell.figures[target].as_ref()?.first_failure.as_deref());
        failures.extend(first.map(|failure| (lane, failure)));
    }
    failures
}

fn failures(figures: &Figures) -> String {
    if figures.failed == 0 {
        return "0".into();
    }
    let kinds: Vec<String> = figures
        .failures
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    format!("{} ({})", figures.failed, kinds.join(", "))
}

fn interval(latency: &Latency) -> String {
    match (latency.p95_interval, latency.p95_interval_needs) {
        (Some([low, high]), _) => format!("[{}, {}]", number(low), number(high)),
        (None, Some(needs)) => format!("n/a, needs {needs}"),
        (None, None) => NOT_AVAILABLE.into(),
    }
}

fn latency(value: Option<f64>) -> Option<String> {
    value.map(number)
}

/// Three significant digits; a percentile that falls on a failed request says so.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size.is_infinite() => return "failed".into(),
        size if size < 1.0 => 3,
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

fn joined(pids: &[i32]) -> String {
    pids.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_and_never_hide_a_failure() {
        let written = [0.0421, 0.9999, 1.234, 12.34, 123.4, 12345.6, f64::INFINITY].map(number);
        assert_eq!(
            written,
            ["0.042", "1.000", "1.23", "12.3", "123", "12346", "failed"]
        );
    }
}
