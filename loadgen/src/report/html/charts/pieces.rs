use crate::report::{
    format,
    html::{
        chart::{self, Axis, Chart, Data},
        markup::{coordinate, escape},
        scale::Scale,
    },
    model::{Distribution, Histogram, Metric, Row},
};

/// Takes one figure of all gaps.
type Figure = fn(&Distribution) -> Option<f64>;

/// The gaps between pieces of text: how evenly a text flows, and its worst stalls.
pub(in crate::report::html) fn pieces(id: &str, row: &Row, names: &[&str]) -> Option<Chart> {
    let report = row.metric(Metric::Icl)?;
    let histograms: Vec<Option<&Histogram>> = report
        .targets
        .iter()
        .map(|target| target.as_ref()?.histogram.as_ref())
        .collect();
    let known = || histograms.iter().flatten();
    let edges = chart::extent(known().flat_map(|one| [one.from, edge(one, one.counts.len())]))?;
    let x = Scale::logarithmic(edges, chart::across());
    let highest = known()
        .flat_map(|one| {
            let total = total(one);
            one.counts.iter().map(move |count| *count as f64 / total)
        })
        .reduce(f64::max)?;
    let y = Scale::linear([0.0, highest * 1.05], chart::upwards());
    let mut body = String::new();
    for (target, histogram) in histograms.iter().enumerate() {
        let Some(histogram) = histogram else { continue };
        body += &steps(histogram, target, names[target], &x, &y);
    }
    Some(Chart {
        id: format!("{id}-icl"),
        title: "Gaps between pieces of text".into(),
        reading: "A narrow hill is an even flow; what lies far to the right are stalls a reader notices. Where each piece is one token this is the \
                  inter-token latency."
            .into(),
        x: Axis::new(x, "gap, log scale", "ms", format::duration),
        y: Axis::new(y, "share of gaps", "share", format::percent),
        height: chart::HEIGHT,
        body,
        legend: chart::legend(names),
        data: data(row, names),
    })
}

fn edge(histogram: &Histogram, bin: usize) -> f64 {
    histogram.from
        * histogram
            .factor
            .powi(i32::try_from(bin).unwrap_or(i32::MAX))
}

fn total(histogram: &Histogram) -> f64 {
    histogram.counts.iter().sum::<u64>().max(1) as f64
}

/// An outline of the bins, filled faintly.
fn steps(histogram: &Histogram, target: usize, name: &str, x: &Scale, y: &Scale) -> String {
    let total = total(histogram);
    let floor = coordinate(y.at(0.0));
    let mut d = format!("M{} {floor}", coordinate(x.at(histogram.from)));
    for (bin, count) in histogram.counts.iter().enumerate() {
        d += &format!(
            "V{}H{}",
            coordinate(y.at(*count as f64 / total)),
            coordinate(x.at(edge(histogram, bin + 1)))
        );
    }
    d += &format!("V{floor}");
    format!(
        "<path class=\"hill {}\" data-hill=\"{}\" d=\"{d}\"/>",
        chart::style(target),
        escape(name)
    )
}

fn data(row: &Row, names: &[&str]) -> Data {
    let mut head = vec!["gap".to_owned()];
    head.extend(names.iter().map(|name| (*name).to_owned()));
    let Some(report) = row.metric(Metric::Icl) else {
        return Data {
            head,
            rows: Vec::new(),
        };
    };
    let lines: [(&str, Figure); 5] = [
        ("median", |one| one.p50.value),
        ("P95", |one| one.p95.value),
        ("P99", |one| one.p99.value),
        ("longest", |one| one.max),
        ("mean", |one| one.mean),
    ];
    let rows = lines
        .into_iter()
        .map(|(label, of)| {
            let mut cells = vec![label.to_owned()];
            cells.extend(report.targets.iter().map(|target| {
                let value = target.as_ref().and_then(of);
                value.map_or(format::NOT_AVAILABLE.into(), format::duration)
            }));
            cells
        })
        .collect();
    Data { head, rows }
}
