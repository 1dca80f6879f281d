//! Figures and ratios as one flat table for spreadsheets: one line per figure of a target, one per ratio.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use super::model::{
    Comparison, Distribution, Metric, Quantile, Report, Row, Served, WorkloadReport,
};

const HEADER: [&str; 13] = [
    "record",
    "workload",
    "row",
    "metric",
    "statistic",
    "unit",
    "target",
    "baseline",
    "value",
    "low",
    "high",
    "n",
    "note",
];

/// Writes the figures and ratios of `report` to `path`.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, report: &Report) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(render(report).as_bytes())?;
    file.flush()
}

fn render(report: &Report) -> String {
    let mut out = String::new();
    line(&mut out, &HEADER.map(str::to_owned));
    for workload in &report.workloads {
        for row in &workload.rows {
            figures(&mut out, workload, row);
            for comparison in &row.comparisons {
                ratio(&mut out, workload, &row.label, comparison);
            }
        }
        memory(&mut out, workload);
        for comparison in &workload.memory_comparisons {
            ratio(&mut out, workload, "", comparison);
        }
    }
    out
}

fn figures(out: &mut String, workload: &WorkloadReport, row: &Row) {
    for report in &row.metrics {
        let unit = match report.metric.is_rate() {
            true => "1/s",
            false => "ms",
        };
        for (lane, distribution) in workload.lanes.iter().zip(&report.targets) {
            let Some(distribution) = distribution else {
                continue;
            };
            for (statistic, quantile) in quantiles(distribution) {
                line(
                    out,
                    &[
                        "figure".into(),
                        workload.name.clone(),
                        row.label.clone(),
                        report.metric.id().into(),
                        statistic.into(),
                        unit.into(),
                        lane.target.clone(),
                        String::new(),
                        number(quantile.value),
                        number(quantile.low),
                        number(quantile.high),
                        distribution.n.to_string(),
                        quantile.unavailable.clone().unwrap_or_default(),
                    ],
                );
            }
        }
    }
    for (lane, served) in workload.lanes.iter().zip(&row.served) {
        let Some(served) = served else { continue };
        for (metric, value) in totals(served) {
            let Some(value) = value else { continue };
            line(
                out,
                &[
                    "figure".into(),
                    workload.name.clone(),
                    row.label.clone(),
                    metric.into(),
                    "total".into(),
                    "1/s".into(),
                    lane.target.clone(),
                    String::new(),
                    number(Some(value)),
                    String::new(),
                    String::new(),
                    served.requests.to_string(),
                    served.unstable.clone().unwrap_or_default(),
                ],
            );
        }
    }
}

fn quantiles(distribution: &Distribution) -> [(&'static str, &Quantile); 4] {
    [
        ("p50", &distribution.p50),
        ("p90", &distribution.p90),
        ("p95", &distribution.p95),
        ("p99", &distribution.p99),
    ]
}

fn totals(served: &Served) -> [(&'static str, Option<f64>); 3] {
    [
        (Metric::Requests.id(), served.requests_per_s),
        (Metric::OutputTokens.id(), served.output_tokens_per_s),
        (Metric::InputTokens.id(), served.input_tokens_per_s),
    ]
}

fn ratio(out: &mut String, workload: &WorkloadReport, row: &str, comparison: &Comparison) {
    let verdict = comparison.verdict_word().map(str::to_owned);
    line(
        out,
        &[
            "ratio".into(),
            workload.name.clone(),
            row.to_owned(),
            comparison.metric.id().into(),
            comparison.statistic.title().to_ascii_lowercase(),
            "1".into(),
            comparison.candidate.clone(),
            comparison.baseline.clone(),
            number(comparison.ratio),
            number(comparison.low),
            number(comparison.high),
            comparison.rounds.to_string(),
            verdict
                .or_else(|| comparison.unavailable.clone())
                .unwrap_or_default(),
        ],
    );
}

fn memory(out: &mut String, workload: &WorkloadReport) {
    for (lane, memory) in workload.lanes.iter().zip(&workload.memory) {
        let Some(memory) = memory else { continue };
        let peak = &memory.peak;
        let figures = [
            ("peak_rss", Some(peak.rss_bytes)),
            ("peak_anon", Some(peak.anon_bytes)),
            ("peak_file", Some(peak.file_bytes)),
            ("peak_shmem", Some(peak.shmem_bytes)),
            ("pss_before", memory.pss_before_bytes),
            ("pss_after", memory.pss_after_bytes),
        ];
        for (statistic, bytes) in figures {
            let Some(bytes) = bytes else { continue };
            line(
                out,
                &[
                    "figure".into(),
                    workload.name.clone(),
                    String::new(),
                    "memory".into(),
                    statistic.into(),
                    "bytes".into(),
                    lane.target.clone(),
                    String::new(),
                    bytes.to_string(),
                    String::new(),
                    String::new(),
                    memory.readings_taken.to_string(),
                    String::new(),
                ],
            );
        }
    }
}

/// A number as every spreadsheet reads it; nothing where there is none.
fn number(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// Ends `out` with a line of RFC 4180.
fn line(out: &mut String, cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    out.push_str(&cells.join(","));
    out.push_str("\r\n");
}

/// A cell, quoted where it must be. A name that a spreadsheet would take for a formula is made a text.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '@', '\t', '\r'])
        || (cell.starts_with('-') && cell.parse::<f64>().is_err());
    let cell = if formula {
        format!("'{cell}")
    } else {
        cell.to_owned()
    };
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be_and_never_formulas() {
        let check = |cell, expected| assert_eq!(quoted(cell), expected);
        check("plain", "plain");
        check("a,b", "\"a,b\"");
        check("say \"so\"", "\"say \"\"so\"\"\"");
        check("=HYPERLINK(1)", "'=HYPERLINK(1)");
        check("-1.5", "-1.5");
        check("-x", "'-x");
    }
}
