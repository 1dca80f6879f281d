use crate::report::{
    format,
    html::{
        chart::{self, Axis, Chart, Data},
        markup::{add, coordinate, escape},
        scale::Scale,
    },
    model::{Metric, Row, WorkloadReport},
};

/// One load at one target.
struct Point {
    label: String,
    throughput: f64,
    p50: Option<f64>,
    p95: f64,
}

/// Latency against throughput over all loads of a workload: what a target can take before its users wait.
pub(in crate::report::html) fn frontier(
    id: &str,
    workload: &WorkloadReport,
    names: &[&str],
) -> Option<Chart> {
    if workload.rows.len() < 2 {
        return None;
    }
    let counts_tokens = workload
        .rows
        .iter()
        .flat_map(|row| row.served.iter().flatten())
        .any(|served| served.output_tokens_per_s.is_some());
    let lines: Vec<Vec<Point>> = (0..names.len())
        .map(|target| {
            let points = workload.rows.iter();
            points
                .filter_map(|row| point(row, target, counts_tokens))
                .collect()
        })
        .collect();
    let all = || lines.iter().flatten();
    let rates = chart::extent(all().map(|point| point.throughput))?;
    let times = chart::extent(all().flat_map(|point| point.p50.into_iter().chain([point.p95])))?;
    let x = Scale::linear([0.0, rates[1] * 1.05], chart::across());
    let y = Scale::logarithmic(chart::with_air(times), chart::upwards());
    let mut body = String::new();
    for (target, points) in lines.iter().enumerate() {
        let name = names[target];
        let p95 = || {
            points
                .iter()
                .map(|point| (x.at(point.throughput), y.at(point.p95)))
        };
        let p50 = points
            .iter()
            .filter_map(|point| Some((x.at(point.throughput), y.at(point.p50?))));
        body += &chart::series(
            "line second",
            target,
            &format!("{name} P50"),
            &chart::line_through(p50),
        );
        body += &chart::series(
            "line",
            target,
            &format!("{name} P95"),
            &chart::line_through(p95()),
        );
        body += &chart::series(
            "dot",
            target,
            &format!("{name} P95"),
            &chart::dots_at(p95()),
        );
        for point in points {
            // Labels of the last target stand below its line, those of the others above theirs.
            let offset = if target + 1 == lines.len() && target > 0 {
                18.0
            } else {
                -10.0
            };
            add(
                &mut body,
                format_args!(
                    "<text class=\"mid small {}\" x=\"{}\" y=\"{}\">{}</text>",
                    chart::style(target),
                    coordinate(
                        x.at(point.throughput)
                            .clamp(chart::LEFT + 24.0, chart::WIDTH - 30.0)
                    ),
                    coordinate((y.at(point.p95) + offset).max(10.0)),
                    escape(&point.label)
                ),
            );
        }
    }
    let label = if counts_tokens {
        "generated tokens per second, all callers together"
    } else {
        "requests per second, all callers together"
    };
    Some(Chart {
        id: format!("{id}-frontier"),
        title: "Latency against throughput".into(),
        reading: "Each dot is a load. Further right serves more, lower waits less: a target whose line lies below and to the right is better at every load. \
                  The strong line is P95, the faint one the median."
            .into(),
        x: Axis::new(x, label, "rate", format::digits),
        y: Axis::new(y, "end to end, log scale", "ms", format::duration),
        height: chart::HEIGHT,
        body,
        legend: chart::legend(names),
        data: data(&lines, names),
    })
}

fn point(row: &Row, target: usize, counts_tokens: bool) -> Option<Point> {
    let served = row.served.get(target)?.as_ref()?;
    let distribution = row.metric(Metric::E2e)?.targets.get(target)?.as_ref()?;
    Some(Point {
        label: short(&row.label),
        throughput: if counts_tokens {
            served.output_tokens_per_s?
        } else {
            served.requests_per_s?
        },
        p50: distribution.p50.value,
        p95: distribution.p95.value?,
    })
}

/// The last word of a row's label: `c=4`, `1.5/s`.
fn short(label: &str) -> String {
    label.rsplit(' ').next().unwrap_or(label).into()
}

fn data(lines: &[Vec<Point>], names: &[&str]) -> Data {
    let head = ["target", "load", "throughput", "P50", "P95"].map(str::to_owned);
    let rows = lines.iter().zip(names).flat_map(|(points, name)| {
        points.iter().map(|point| {
            vec![
                (*name).to_owned(),
                point.label.clone(),
                format!("{}/s", format::digits(point.throughput)),
                point
                    .p50
                    .map_or(format::NOT_AVAILABLE.into(), format::duration),
                format::duration(point.p95),
            ]
        })
    });
    Data {
        head: head.into(),
        rows: rows.collect(),
    }
}
