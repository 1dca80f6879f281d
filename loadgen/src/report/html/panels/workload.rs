use super::{figures, promised};
use crate::report::{
    format,
    html::{
        chart::Chart,
        charts,
        markup::{add, escape},
    },
    model::{Report, Row, WorkloadReport},
};

/// Rows beyond this start folded: a sweep is read through its frontier first.
const OPEN_ROWS: usize = 2;

/// One workload: what was sent, its charts row by row, its memory.
pub(super) fn section(out: &mut String, report: &Report, workload: &WorkloadReport, index: usize) {
    let names: Vec<&str> = workload
        .lanes
        .iter()
        .map(|lane| lane.target.as_str())
        .collect();
    add(
        out,
        format_args!(
            "<section class=\"workload\" id=\"workload-{index}\"><h2>{}</h2><p class=\"sub\">{}; {}</p>",
            escape(&workload.name),
            escape(&workload.inputs),
            escape(&format::paced(
                workload,
                if workload.lanes.len() > 1 {
                    " in alternating order"
                } else {
                    ""
                }
            ))
        ),
    );
    lanes(out, workload);
    promised::cold(out, workload);
    let frontier = charts::frontier(&format!("w{index}"), workload, &names);
    if frontier.is_some() {
        out.push_str("<h3>All loads</h3>");
    }
    charts_grid(out, frontier.as_slice());
    for (position, row) in workload.rows.iter().enumerate() {
        let id = format!("w{index}r{position}");
        add(
            out,
            format_args!(
                "<details class=\"row\" id=\"{id}\"{}><summary><h3>{}</h3></summary>",
                if position < OPEN_ROWS { " open" } else { "" },
                escape(&row.label)
            ),
        );
        row_charts(out, report, workload, row, &id, &names);
        out.push_str("</details>");
    }
    promised::searches(out, workload);
    let memory = charts::memory(&format!("w{index}"), workload);
    if !memory.is_empty() {
        out.push_str("<h3>Memory of the process trees</h3>");
        charts_grid(out, &memory);
    }
    out.push_str("</section>");
}

fn lanes(out: &mut String, workload: &WorkloadReport) {
    out.push_str("<ul class=\"lanes\">");
    for lane in &workload.lanes {
        let how = if lane.emulated {
            ", standing in for a route it lacks"
        } else {
            ""
        };
        let missing = lane
            .unavailable
            .as_ref()
            .map_or(String::new(), |reason| format!(": n/a, {reason}"));
        let text = format!(
            "{}: {} over {}{how}{missing}",
            lane.target, lane.model, lane.route
        );
        add(out, format_args!("<li>{}</li>", escape(&text)));
    }
    out.push_str("</ul>");
}

fn row_charts(
    out: &mut String,
    report: &Report,
    workload: &WorkloadReport,
    row: &Row,
    id: &str,
    names: &[&str],
) {
    for (name, served) in names.iter().zip(&row.served) {
        if let Some(reason) = served.as_ref().and_then(|served| served.unstable.as_ref()) {
            let text = format!("{name} is UNSTABLE: {reason}");
            add(
                out,
                format_args!("<p class=\"note fail\">{}</p>", escape(&text)),
            );
        }
        if let Some(failure) = served
            .as_ref()
            .and_then(|served| served.first_failure.as_ref())
        {
            let text = format!("{name}, first failure: {failure}");
            add(
                out,
                format_args!("<p class=\"note fail\">{}</p>", escape(&text)),
            );
        }
    }
    for missing in figures::missing(report, row) {
        add(
            out,
            format_args!("<p class=\"note\">{}</p>", escape(&missing)),
        );
    }
    let e2e = charts::Shown::E2E;
    let ttft = charts::Shown::TTFT;
    let shown: Vec<Chart> = [
        charts::spectrum(id, row, names, e2e),
        charts::cumulative(id, row, names, e2e),
        charts::spectrum(id, row, names, ttft),
        charts::cumulative(id, row, names, ttft),
        charts::rounds(id, row, names),
        charts::prompt(id, row, names),
        charts::pieces(id, row, names),
    ]
    .into_iter()
    .flatten()
    .collect();
    charts_grid(out, &shown);
    add(
        out,
        format_args!(
            "<details class=\"data\"><summary>Every figure</summary>{}</details>",
            figures::row(workload, row)
        ),
    );
}

fn charts_grid(out: &mut String, charts: &[Chart]) {
    if charts.is_empty() {
        return;
    }
    out.push_str("<div class=\"charts\">");
    for chart in charts {
        out.push_str(&chart.render());
    }
    out.push_str("</div>");
}
