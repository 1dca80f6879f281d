use super::samples::column;
use crate::report::{
    format,
    html::{
        chart::{self, Axis, Chart, Data},
        scale::Scale,
    },
    model::{Row, Samples},
};

/// Points of a curve: more are closer together than pixels.
const MOST_POINTS: usize = 240;

/// A metric that both curves can show.
#[derive(Clone, Copy)]
pub(in crate::report::html) struct Shown {
    /// In the chart's identity.
    id: &'static str,
    /// In its title.
    title: &'static str,
    of: fn(&Samples) -> &[Option<f64>],
}

impl Shown {
    pub(in crate::report::html) const E2E: Self = Self {
        id: "e2e",
        title: "end to end",
        of: |samples| &samples.e2e_ms,
    };
    pub(in crate::report::html) const TTFT: Self = Self {
        id: "ttft",
        title: "first text",
        of: |samples| &samples.ttft_ms,
    };
}

/// Sorted values per target; failures at the end.
fn sorted(row: &Row, targets: usize, shown: Shown) -> Option<Vec<Vec<f64>>> {
    let curves: Vec<Vec<f64>> = (0..targets)
        .map(|target| {
            let mut values = column(row, target, shown.of);
            values.sort_unstable_by(f64::total_cmp);
            values
        })
        .collect();
    let measured = |values: &Vec<f64>| values.first().is_some_and(|value| value.is_finite());
    curves.iter().any(measured).then_some(curves)
}

/// The ranks (from 1) of a curve's points: all of few, else spread evenly over the spectrum, the extremes always.
fn ranks(count: usize) -> Vec<usize> {
    if count <= MOST_POINTS {
        return (1..=count).collect();
    }
    let decades = (count as f64).log10();
    let from_the_end = (0..MOST_POINTS).map(|index| {
        let beyond = 10_f64.powf(-decades * index as f64 / (MOST_POINTS - 1) as f64);
        ((1.0 - beyond) * count as f64).round() as usize + 1
    });
    let mut ranks: Vec<usize> = from_the_end.map(|rank| rank.min(count)).collect();
    ranks.dedup();
    ranks
}

/// Values against percentiles, stretched so that the slowest tenth, hundredth and thousandth have as much room as the rest.
pub(in crate::report::html) fn spectrum(
    id: &str,
    row: &Row,
    names: &[&str],
    shown: Shown,
) -> Option<Chart> {
    let curves = sorted(row, names.len(), shown)?;
    let longest = curves.iter().map(Vec::len).max()?;
    let most = (longest as f64).max(20.0);
    let x = Scale::logarithmic([1.0, most], chart::across());
    let extent = chart::extent(curves.iter().flatten().copied())?;
    let y = Scale::logarithmic(chart::with_air(extent), chart::upwards());
    let mut body = String::new();
    for (target, values) in curves.iter().enumerate() {
        let count = values.len() as f64;
        let points = ranks(values.len())
            .into_iter()
            .filter(|rank| values[rank - 1].is_finite())
            .map(|rank| {
                // The rank's own share is not beyond it; half a rank keeps the last point finite.
                let beyond = (count - rank as f64 + 0.5) / count;
                (x.at(1.0 / beyond), y.at(values[rank - 1]))
            });
        body += &chart::series("line", target, names[target], &chart::line_through(points));
    }
    let percentiles = [0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999];
    let ticks = percentiles
        .into_iter()
        .map(|quantile| (1.0 / (1.0 - quantile), quantile))
        .filter(|(beyond, _)| *beyond <= most)
        .map(|(beyond, quantile)| (beyond, percentile(quantile)))
        .collect();
    Some(Chart {
        id: format!("{id}-{}-spectrum", shown.id),
        title: format!("Percentile spectrum, {}", shown.title),
        reading: "The lower curve is faster. To the right are ever rarer, slower requests; a curve that ends early ends where failures begin.".into(),
        x: Axis {
            scale: x,
            label: "percentile".into(),
            ticks,
            unit: "beyond",
        },
        y: Axis::new(y, format!("{}, log scale", shown.title), "ms", format::duration),
        height: chart::HEIGHT,
        body,
        legend: chart::legend(names),
        data: quantile_table(&curves, names),
    })
}

/// The share of requests that took at most so long.
pub(in crate::report::html) fn cumulative(
    id: &str,
    row: &Row,
    names: &[&str],
    shown: Shown,
) -> Option<Chart> {
    let curves = sorted(row, names.len(), shown)?;
    let extent = chart::extent(curves.iter().flatten().copied())?;
    let x = Scale::logarithmic(chart::with_air(extent), chart::across());
    let y = Scale::linear([0.0, 1.0], chart::upwards());
    let mut body = String::new();
    for (target, values) in curves.iter().enumerate() {
        let step = values.len().div_ceil(MOST_POINTS).max(1);
        let last = values.len();
        let ranks =
            (1..=last).filter(|rank| rank.is_multiple_of(step) || *rank == 1 || *rank == last);
        let points = ranks
            .filter(|rank| values[rank - 1].is_finite())
            .map(|rank| (x.at(values[rank - 1]), y.at(rank as f64 / last as f64)));
        body += &chart::series("line", target, names[target], &chart::line_through(points));
    }
    Some(Chart {
        id: format!("{id}-{}-ecdf", shown.id),
        title: format!("Cumulative distribution, {}", shown.title),
        reading: "The curve further to the left is faster. Its height is the share of requests that took at most so long; it stops below 100 % when requests failed.".into(),
        x: Axis::new(x, format!("{}, log scale", shown.title), "ms", format::duration),
        y: Axis::new(y, "share of requests", "share", format::percent),
        height: chart::HEIGHT,
        body,
        legend: chart::legend(names),
        data: quantile_table(&curves, names),
    })
}

/// The curve at round percentiles, by rank.
fn quantile_table(curves: &[Vec<f64>], names: &[&str]) -> Data {
    let shares = [0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999];
    let mut head = vec!["percentile".to_owned()];
    head.extend(names.iter().map(|name| (*name).to_owned()));
    let rows = shares
        .into_iter()
        .map(|share| {
            let mut cells = vec![percentile(share)];
            cells.extend(curves.iter().map(|values| {
                match crate::stats::nearest_rank(&mut values.clone(), share) {
                    Some(value) if value.is_finite() => format::duration(value),
                    Some(_) => "failed".into(),
                    None => format::NOT_AVAILABLE.into(),
                }
            }));
            cells
        })
        .collect();
    Data { head, rows }
}

/// `95 %`, `99.9 %`.
fn percentile(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_extremes_and_rises() {
        for count in [1, 7, MOST_POINTS, 1_000, 100_000] {
            let ranks = ranks(count);
            assert!(ranks.len() <= MOST_POINTS);
            assert_eq!((ranks.first(), ranks.last()), (Some(&1), Some(&count)));
            assert!(ranks.is_sorted());
        }
    }

    #[test]
    fn percentiles_are_written_without_empty_decimals() {
        assert_eq!(
            [0.5, 0.95, 0.999, 0.0].map(percentile),
            ["50 %", "95 %", "99.9 %", "0 %"]
        );
    }
}
