use std::{collections::BTreeMap, time::Duration};

use super::{
    comparisons,
    distribution::{distribution, with_histogram},
};
use crate::{
    host,
    plan::Plan,
    report::model::{
        FitReport, Lane, LoadReport, Metric, MetricReport, Noise, RoundReport, Row, Samples,
        Served, SlotReport,
    },
    routes::Answer,
    run::{Cell, Sample, Slot},
    stats,
    workload::{LoadPoint, Slo, Workload},
};

/// The metrics whose every value is one request's, in the order in which they are shown.
const PER_REQUEST: [Metric; 9] = [
    Metric::E2e,
    Metric::Ttft,
    Metric::Tpot,
    Metric::Service,
    Metric::Ttfb,
    Metric::Lag,
    Metric::Tail,
    Metric::DecodeRate,
    Metric::ClaimedRate,
];

/// One load of one workload.
pub(super) fn row(plan: &Plan, workload: &Workload, lanes: &[Lane], cell: &Cell) -> Row {
    let targets = 0..lanes.len();
    let rounds: Vec<RoundReport> = cell
        .rounds
        .iter()
        .enumerate()
        .map(|(index, slots)| RoundReport {
            index,
            slots: slots
                .iter()
                .map(|slot| slot.as_ref().map(slot_report))
                .collect(),
        })
        .collect();
    let equal_length_share: Vec<Option<f64>> = targets
        .clone()
        .map(|target| comparisons::equal_length_share(&rounds, target))
        .collect();
    Row {
        label: cell.load.label(),
        load: load_report(&cell.load),
        metrics: metrics(cell, lanes.len()),
        comparisons: comparisons::of_row(plan, workload, lanes, cell, &equal_length_share),
        fits: targets.clone().map(|target| fit(cell, target)).collect(),
        served: targets
            .map(|target| served(cell, target, &workload.slo))
            .collect(),
        equal_length_share,
        rounds,
    }
}

/// The slots of one target, in time order.
pub(super) fn slots(cell: &Cell, target: usize) -> impl Iterator<Item = &Slot> {
    cell.rounds
        .iter()
        .filter_map(move |round| round.get(target)?.as_ref())
}

/// The figure of one request in `metric`: a failed one is infinitely slow; `None` for one without the figure.
pub(super) fn value(metric: Metric, sample: &Sample) -> Option<f64> {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    match metric {
        // The client's own lateness is known whatever came of the request.
        Metric::Lag => return Some(milliseconds(sample.dispatch_lag())),
        Metric::DecodeRate => return sample.decode_tokens_per_second(),
        Metric::ClaimedRate => return sample.generation()?.claimed_tokens_per_second,
        _ => {}
    }
    if sample.outcome.is_err() {
        return Some(f64::INFINITY);
    }
    match metric {
        Metric::E2e => Some(milliseconds(sample.response_time())),
        Metric::Service => Some(milliseconds(sample.service_time())),
        Metric::Ttfb => {
            let first = sample
                .times
                .first_byte?
                .saturating_sub(sample.times.intended);
            Some(milliseconds(Duration::from_nanos(first)))
        }
        Metric::Ttft => {
            sample.generation()?;
            Some(milliseconds(sample.to_first_token()?))
        }
        Metric::Tpot => Some(sample.seconds_per_token()? * 1e3),
        Metric::Tail => {
            sample.generation()?;
            Some(milliseconds(sample.tail()?))
        }
        _ => None,
    }
}

fn load_report(load: &LoadPoint) -> LoadReport {
    let (model, arrival) = match load {
        LoadPoint::Closed { .. } => ("closed", None),
        LoadPoint::Open { arrival, .. } => ("open", Some(arrival.label())),
        LoadPoint::Ramp { .. } => ("ramp", None),
        LoadPoint::Trace { .. } => ("trace", None),
    };
    LoadReport {
        model: model.into(),
        concurrency: load.concurrency(),
        rate_per_s: load.rate(),
        arrival,
    }
}

fn metrics(cell: &Cell, targets: usize) -> Vec<MetricReport> {
    let mut reports = Vec::new();
    let mut add = |metric: Metric, targets: Vec<_>| {
        if targets.iter().any(Option::is_some) {
            reports.push(MetricReport {
                metric,
                unit: metric.unit(),
                targets,
            });
        }
    };
    for metric in PER_REQUEST {
        let of = |target| {
            let values: Vec<f64> = samples(cell, target)
                .filter_map(|sample| value(metric, sample))
                .collect();
            // Failures alone say nothing about a metric that this workload may not have.
            let counts = metric == Metric::E2e || values.iter().any(|value| value.is_finite());
            let mut found = counts.then(|| distribution(&values)).flatten()?;
            found.hdr_b64 = (!metric.is_rate()).then(|| stats::hdr_base64(&values));
            Some(found)
        };
        add(metric, (0..targets).map(of).collect());
    }
    let gaps = |target| {
        let gaps: Vec<f64> = samples(cell, target)
            .filter(|sample| sample.generation().is_some())
            .flat_map(Sample::gaps)
            .map(|gap| gap.as_secs_f64() * 1e3)
            .collect();
        let mut found = with_histogram(&gaps)?;
        found.hdr_b64 = Some(stats::hdr_base64(&gaps));
        Some(found)
    };
    add(Metric::Icl, (0..targets).map(gaps).collect());
    reports
}

fn samples(cell: &Cell, target: usize) -> impl Iterator<Item = &Sample> {
    slots(cell, target).flat_map(|slot| &slot.samples)
}

/// What a reply costs before its first token, and what each token costs.
fn fit(cell: &Cell, target: usize) -> Option<FitReport> {
    let points: Vec<(f64, f64)> = samples(cell, target)
        .filter_map(|sample| {
            let tokens = sample.generation()?.tokens as f64;
            Some((tokens, sample.response_time().as_secs_f64() * 1e3))
        })
        .collect();
    let line = stats::least_squares(points.iter().copied())?;
    Some(FitReport {
        fixed_ms: line.intercept,
        per_token_ms: line.slope,
        per_token_error_ms: line.slope_error,
        replies: points.len(),
    })
}

/// `None` for a target that was not asked.
fn served(cell: &Cell, target: usize, slo: &Slo) -> Option<Served> {
    let samples: Vec<&Sample> = samples(cell, target).collect();
    if samples.is_empty() {
        return None;
    }
    let mut failures = BTreeMap::new();
    for failure in samples
        .iter()
        .filter_map(|sample| sample.outcome.as_ref().err())
    {
        *failures.entry(failure.category().to_owned()).or_default() += 1;
    }
    let answers: Vec<&Answer> = samples
        .iter()
        .filter_map(|sample| sample.outcome.as_ref().ok())
        .collect();
    let generated: Vec<&&Sample> = samples
        .iter()
        .filter(|sample| sample.generation().is_some())
        .collect();
    let input: Vec<f64> = answers
        .iter()
        .filter_map(|answer| answer.input_tokens)
        .map(|tokens| tokens as f64)
        .collect();
    let output: Vec<f64> = generated
        .iter()
        .filter_map(|sample| sample.generation())
        .map(|one| one.tokens as f64)
        .collect();
    let pieces: usize = generated
        .iter()
        .map(|sample| sample.times.chunks.len())
        .sum();
    let wall_s: f64 = slots(cell, target)
        .map(|slot| slot.wall.as_secs_f64())
        .sum();
    let sum = |tokens: &[f64]| tokens.iter().sum::<f64>();
    let per_second = |amount: f64| (wall_s > 0.0).then(|| amount / wall_s);
    let good_in_time = slo.is_set().then(|| {
        let good = samples.iter().filter(|sample| sample.keeps(slo));
        good.count() as u64
    });
    let tokens_per_second = |tokens: &[f64]| per_second(sum(tokens)).filter(|_| !tokens.is_empty());
    Some(Served {
        requests: samples.len() as u64,
        failed: (samples.len() - answers.len()) as u64,
        failures,
        first_failure: samples
            .iter()
            .find_map(|sample| sample.outcome.as_ref().err())
            .map(ToString::to_string),
        wall_s,
        requests_per_s: per_second(answers.len() as f64),
        output_tokens_per_s: tokens_per_second(&output),
        input_tokens_per_s: tokens_per_second(&input),
        mean_input_tokens: stats::mean(&input),
        mean_output_tokens: stats::mean(&output),
        pieces_per_token: (sum(&output) > 0.0).then(|| pieces as f64 / sum(&output)),
        new_connections: slots(cell, target).map(|slot| slot.new_connections).sum(),
        resent: samples.iter().filter(|sample| sample.resent).count() as u64,
        good_in_time,
        goodput_per_s: good_in_time.and_then(|good| per_second(good as f64)),
        unstable: cell.unstable.get(target).cloned().flatten(),
    })
}

fn slot_report(slot: &Slot) -> SlotReport {
    let column = |metric: Metric| -> Vec<Option<f64>> {
        slot.samples
            .iter()
            .map(|sample| value(metric, sample).filter(|value| value.is_finite()))
            .map(|value| value.map(to_the_microsecond))
            .collect()
    };
    SlotReport {
        turn: slot.order,
        started_ms: to_the_microsecond(slot.started_ns as f64 / 1e6),
        wall_ms: to_the_microsecond(slot.wall.as_secs_f64() * 1e3),
        noise: Some(noise(&slot.noise)),
        samples: Samples {
            // Never dropped, so that failures can be counted in every workload.
            e2e_ms: column(Metric::E2e),
            ttft_ms: unless_empty(column(Metric::Ttft)),
            tpot_ms: unless_empty(column(Metric::Tpot)),
            input_tokens: unless_empty(
                slot.samples
                    .iter()
                    .map(|sample| sample.outcome.as_ref().ok()?.input_tokens)
                    .collect(),
            ),
            output_tokens: unless_empty(
                slot.samples
                    .iter()
                    .map(|sample| Some(sample.generation()?.tokens))
                    .collect(),
            ),
        },
    }
}

fn noise(noise: &host::Noise) -> Noise {
    let readings = [
        ("cpu_stalled", noise.cpu_stalled),
        ("memory_stalled", noise.memory_stalled),
        ("steal", noise.steal),
        ("others", noise.others),
        ("mhz", noise.mhz),
        ("load", noise.load),
    ];
    Noise {
        noisy: noise.is_noisy(),
        readings: readings
            .into_iter()
            .filter_map(|(name, reading)| Some((name.to_owned(), reading?)))
            .collect(),
    }
}

/// A column in which nothing was measured is no column.
fn unless_empty<T>(column: Vec<Option<T>>) -> Vec<Option<T>> {
    if column.iter().any(Option::is_some) {
        column
    } else {
        Vec::new()
    }
}

/// Three decimals of a millisecond: finer than any clock path measures, and a third of the digits.
fn to_the_microsecond(milliseconds: f64) -> f64 {
    (milliseconds * 1e3).round() / 1e3
}
