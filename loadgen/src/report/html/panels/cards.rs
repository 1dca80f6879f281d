use crate::report::{
    format,
    html::{
        chart,
        markup::{add, escape},
        words,
    },
    model::{Comparison, MetricReport, Report, Row, Verdict, WorkloadReport},
};

/// One card per declared primary figure: the answer before its evidence.
pub(super) fn section(out: &mut String, report: &Report) {
    out.push_str("<section id=\"results\" tabindex=\"-1\"><h2>Results</h2><div class=\"cards\">");
    for workload in &report.workloads {
        for row in &workload.rows {
            let primary: Vec<&Comparison> =
                row.comparisons.iter().filter(|one| one.primary).collect();
            if primary.is_empty() {
                alone(out, workload, row);
            }
            for comparison in primary {
                card(out, report, workload, row, comparison);
            }
        }
    }
    out.push_str("</div></section>");
}

fn card(
    out: &mut String,
    report: &Report,
    workload: &WorkloadReport,
    row: &Row,
    comparison: &Comparison,
) {
    let (class, word) = match (comparison.verdict, comparison.verdict_word()) {
        (Some(verdict @ (Verdict::Faster | Verdict::Slower)), Some(word)) => {
            (verdict.word(), format!("{} {word}", comparison.candidate))
        }
        (Some(verdict), _) => (verdict.word(), verdict.word().to_owned()),
        (None, _) => ("none", "no ratio".into()),
    };
    let mark = match comparison.verdict {
        Some(Verdict::Faster) => "\u{25b2}",
        Some(Verdict::Slower) => "\u{25bc}",
        Some(Verdict::Equivalent) => "=",
        Some(Verdict::Inconclusive) => "?",
        None => "\u{2013}",
    };
    add(
        out,
        format_args!(
            "<article class=\"card {class}\"><h3>{} <small>{}</small></h3><p class=\"verdict\"><span aria-hidden=\"true\">{mark}</span> {}</p>",
            escape(&workload.name),
            escape(&row.label),
            escape(&word),
        ),
    );
    match (comparison.ratio, comparison.low, comparison.high) {
        (Some(ratio), Some(low), Some(high)) => add(
            out,
            format_args!(
                "<p class=\"big\">{}<small>\u{d7}</small></p><p class=\"interval\">95 % interval {}: {}</p>",
                format::ratio(ratio),
                format::interval(low, high),
                escape(&words::span(low, high)),
            ),
        ),
        _ => add(
            out,
            format_args!(
                "<p class=\"big\">n/a</p><p class=\"interval\">{}</p>",
                escape(comparison.unavailable.as_deref().unwrap_or_default())
            ),
        ),
    }
    let report_of = row.metric(comparison.metric);
    let target = |name: &str| report.targets.iter().position(|target| target.name == name);
    out.push_str("<dl>");
    for name in [&comparison.candidate, &comparison.baseline] {
        let Some(index) = target(name) else { continue };
        value(out, index, name, report_of, comparison);
    }
    add(
        out,
        format_args!(
            "</dl><p class=\"foot\">{}{}</p></article>",
            escape(&comparison.title()),
            escape(&basis(comparison))
        ),
    );
}

/// What the verdict rests on.
fn basis(comparison: &Comparison) -> String {
    match comparison.p_value {
        Some(p_value) if p_value < 0.001 => {
            format!(", {} rounds, p < 0.001", comparison.rounds)
        }
        Some(p_value) => format!(", {} rounds, p = {p_value:.3}", comparison.rounds),
        None => String::new(),
    }
}

fn value(
    out: &mut String,
    target: usize,
    name: &str,
    report: Option<&MetricReport>,
    comparison: &Comparison,
) {
    let distribution = report.and_then(|report| report.targets.get(target)?.as_ref());
    let quantile = distribution.and_then(|one| one.quantile(comparison.statistic));
    let text = match (report, quantile) {
        (Some(report), Some(quantile)) if quantile.value.is_some() => {
            format::figure(quantile.value, report.unit)
        }
        (_, Some(_)) => "failed".into(),
        _ => format::NOT_AVAILABLE.into(),
    };
    let n = distribution.map_or(String::new(), |one| format!(" (n = {})", one.n));
    add(
        out,
        format_args!(
            "<div><dt><span class=\"swatch {}\" aria-hidden=\"true\"></span>{}</dt><dd>{}<small>{}</small></dd></div>",
            chart::style(target),
            escape(name),
            escape(&text),
            escape(&n)
        ),
    );
}

/// A target measured alone has no ratio: its medians and P95 stand instead.
fn alone(out: &mut String, workload: &WorkloadReport, row: &Row) {
    let Some(report) = row.metrics.first() else {
        return;
    };
    for (target, distribution) in report.targets.iter().enumerate() {
        let (Some(distribution), Some(lane)) = (distribution, workload.lanes.get(target)) else {
            continue;
        };
        add(
            out,
            format_args!(
                "<article class=\"card none\"><h3>{} <small>{}</small></h3><p class=\"verdict\">{}</p><p class=\"big\">{}</p>\
                 <p class=\"interval\">{} P95</p><dl><div><dt>median</dt><dd>{}</dd></div><div><dt>P99</dt><dd>{}</dd></div></dl>\
                 <p class=\"foot\">n = {}, {} failed</p></article>",
                escape(&workload.name),
                escape(&row.label),
                escape(&lane.target),
                escape(&format::figure(distribution.p95.value, report.unit)),
                escape(report.metric.title()),
                escape(&format::figure(distribution.p50.value, report.unit)),
                escape(&format::figure(distribution.p99.value, report.unit)),
                distribution.n,
                distribution.failed
            ),
        );
    }
}
