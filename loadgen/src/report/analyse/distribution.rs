use crate::{
    report::model::{Distribution, Histogram, Quantile},
    stats,
};

/// Bins of a histogram per doubling: with 8, neighbours differ by 9 %, finer than the eye tells.
const BINS_PER_DOUBLING: f64 = 8.0;
/// More bins than this are a mistake of the data, not a picture: 32 doublings span a microsecond to more than an hour.
const MOST_BINS: usize = 256;

/// The values of one metric in the order in which they were measured; a failed request is infinite. `None` without values.
pub(super) fn distribution(values: &[f64]) -> Option<Distribution> {
    if values.is_empty() {
        return None;
    }
    let known: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .collect();
    Some(Distribution {
        n: values.len() as u64,
        failed: (values.len() - known.len()) as u64,
        mean: stats::mean(&known),
        min: known.iter().copied().reduce(f64::min),
        max: known.iter().copied().reduce(f64::max),
        p50: quantile(values, 0.50),
        p90: quantile(values, 0.90),
        p95: quantile(values, 0.95),
        p99: quantile(values, 0.99),
        hdr_b64: None,
        histogram: None,
    })
}

/// The same with a histogram, for a metric with too many values to keep them all.
pub(super) fn with_histogram(values: &[f64]) -> Option<Distribution> {
    let mut distribution = distribution(values)?;
    distribution.histogram = histogram(values);
    Some(distribution)
}

fn quantile(values: &[f64], quantile: f64) -> Quantile {
    let point = stats::nearest_rank(&mut values.to_vec(), quantile);
    let finite = |value: f64| value.is_finite().then_some(value);
    let interval = stats::quantile_interval(values, quantile);
    let unavailable = match (&interval, point) {
        (_, Some(f64::INFINITY)) => Some("falls on a failed request".into()),
        (Err(needs), _) => Some(format!("needs {}", needs.0)),
        (Ok(_), _) => None,
    };
    Quantile {
        value: point.and_then(finite),
        low: interval.ok().and_then(|interval| finite(interval.low)),
        high: interval.ok().and_then(|interval| finite(interval.high)),
        unavailable,
    }
}

fn histogram(values: &[f64]) -> Option<Histogram> {
    let known = || values.iter().copied().filter(|value| value.is_finite());
    let from = known().filter(|value| *value > 0.0).reduce(f64::min)?;
    let mut counts = Vec::new();
    for value in known() {
        // Zero has no logarithm; the saturating conversion puts it into the first bin.
        let bin = ((value / from).log2() * BINS_PER_DOUBLING).floor() as usize;
        let bin = bin.min(MOST_BINS - 1);
        if counts.len() <= bin {
            counts.resize(bin + 1, 0);
        }
        counts[bin] += 1;
    }
    Some(Histogram {
        from,
        factor: (1.0 / BINS_PER_DOUBLING).exp2(),
        counts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_as_infinitely_slow_and_are_never_a_number() {
        let mut values = vec![10.0; 90];
        values.extend([f64::INFINITY; 10]);
        let distribution = distribution(&values).unwrap();
        assert_eq!((distribution.n, distribution.failed), (100, 10));
        assert_eq!(distribution.p50.value, Some(10.0));
        assert_eq!(distribution.p95.value, None);
        assert_eq!(
            distribution.p95.unavailable.as_deref(),
            Some("falls on a failed request")
        );
        assert_eq!(distribution.mean, Some(10.0));
    }

    #[test]
    fn too_few_values_have_a_percentile_but_no_interval() {
        let p95 = distribution(&[1.0, 2.0, 3.0]).unwrap().p95;
        assert_eq!((p95.value, p95.low, p95.high), (Some(3.0), None, None));
        assert!(p95.unavailable.unwrap().starts_with("needs "));
    }

    #[test]
    fn a_histogram_counts_every_known_value_once() {
        let values = [0.0, 0.5, 1.0, 2.0, 4.0, 4.0, f64::INFINITY];
        let histogram = with_histogram(&values).unwrap().histogram.unwrap();
        assert_eq!(histogram.counts.iter().sum::<u64>(), 6);
        assert_eq!(histogram.from, 0.5);
        assert_eq!(histogram.counts[0], 2, "zero is with the smallest");
        assert_eq!(histogram.counts[24], 2, "three doublings up");
    }

    #[test]
    fn absurd_spreads_do_not_grow_a_histogram_without_end() {
        let histogram = with_histogram(&[1e-300, 1e300]).unwrap().histogram.unwrap();
        assert_eq!(histogram.counts.len(), MOST_BINS);
    }
}
