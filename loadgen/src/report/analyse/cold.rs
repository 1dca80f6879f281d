use crate::{
    report::model::{ColdReport, Spread},
    run::{Cold, ColdStart},
    stats,
    workload::SloMetric,
};

/// What one target's cold starts came to.
pub(super) fn cold(cold: &Cold) -> ColdReport {
    let starts = &cold.starts;
    let failed = starts.iter().filter(|start| start.sample.outcome.is_err());
    let spread = |value: &dyn Fn(&ColdStart) -> Option<f64>| {
        let good = starts.iter().filter(|start| start.sample.outcome.is_ok());
        spread(good.filter_map(value).collect())
    };
    ColdReport {
        repeats: starts.len(),
        failed: failed.count(),
        first_failure: starts
            .iter()
            .find_map(|start| start.sample.outcome.as_ref().err())
            .map(ToString::to_string),
        start_to_ready_ms: spread(&|start| Some(start.start_to_ready?.as_secs_f64() * 1e3)),
        first_text_ms: spread(&|start| {
            let first = start.sample.promised(SloMetric::Ttft)?;
            Some(first.as_secs_f64() * 1e3)
        }),
        e2e_ms: spread(&|start| Some(start.sample.response_time().as_secs_f64() * 1e3)),
        claimed_load_ms: spread(&|start| {
            let load = start.sample.generation()?.load;
            (!load.is_zero()).then_some(load.as_secs_f64() * 1e3)
        }),
        unavailable: cold.unavailable.clone(),
    }
}

fn spread(values: Vec<f64>) -> Option<Spread> {
    Some(Spread {
        median: stats::nearest_rank(&mut values.clone(), 0.5)?,
        min: values.iter().copied().reduce(f64::min)?,
        max: values.iter().copied().reduce(f64::max)?,
        values,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{routes::Failure, run::testing::text};

    #[test]
    fn a_few_starts_are_shown_as_they_are_and_failed_ones_only_counted() {
        let start = |first, end| ColdStart {
            start_to_ready: Some(Duration::from_millis(7)),
            sample: text([0, 0, end], &[first], 1, false),
        };
        let mut starts = vec![start(30, 40), start(20, 25), start(90, 95), start(1, 2)];
        starts[3].sample.outcome = Err(Failure::Empty);
        let report = cold(&Cold {
            starts,
            unavailable: None,
        });
        assert_eq!((report.repeats, report.failed), (4, 1));
        let first = report.first_text_ms.unwrap();
        assert_eq!((first.median, first.min, first.max), (30.0, 20.0, 90.0));
        assert_eq!(first.values, [30.0, 20.0, 90.0]);
        assert_eq!(report.claimed_load_ms, None, "the server says nothing");
        assert_eq!(report.start_to_ready_ms.unwrap().max, 7.0);
    }
}
