use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    CellReport, Figures, GenerationFigures, LaneReport, Latency, MemoryReport, Report, SCHEMA,
    Settings, TargetReport, WorkloadReport, compare, host::Host,
};
use crate::{
    exit::Exit,
    memory::Series,
    plan::Plan,
    routes::{Lacking, Route},
    run::{Cell, Lane, Model, Record, Sample, Slot, Target, WorkloadRecord},
    stats::{self, Recorder},
};

/// Computes every figure of `record`.
pub fn analyse(plan: &Plan, record: &Record) -> Report {
    let workloads: Vec<WorkloadReport> = record
        .workloads
        .iter()
        .map(|workload| workload_report(plan, record, workload))
        .collect();
    let not_comparable = compare::objections(plan, &workloads);
    let exit_code = exit(record, &workloads, &not_comparable).code();
    Report {
        schema: SCHEMA,
        loadgen: env!("CARGO_PKG_VERSION"),
        host: Host::here(),
        started_at: to_the_second(record.started_at),
        finished_at: to_the_second(record.finished_at),
        interrupted: record.interrupted,
        settings: settings(plan),
        targets: plan
            .targets
            .iter()
            .zip(&record.targets)
            .map(|(plan, target)| target_report(plan, target))
            .collect(),
        workloads,
        not_comparable,
        exit_code,
    }
}

fn to_the_second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The worst thing that happened decides.
fn exit(record: &Record, workloads: &[WorkloadReport], not_comparable: &[String]) -> Exit {
    let lanes = || record.workloads.iter().flat_map(|workload| &workload.lanes);
    let figures = || {
        workloads
            .iter()
            .flat_map(|workload| &workload.cells)
            .flat_map(|cell| cell.figures.iter().flatten())
    };
    if record.interrupted {
        Exit::Interrupted
    } else if lanes().any(|lane| matches!(lane.lacking, Some(Lacking::Model(_)))) {
        Exit::Unreachable
    } else if figures().any(|figures| figures.failed > 0) {
        Exit::Failed
    } else if !not_comparable.is_empty() {
        Exit::Invalid
    } else {
        Exit::Ok
    }
}

fn settings(plan: &Plan) -> Settings {
    Settings {
        seed: plan.seed,
        load: "closed",
        rounds: plan.groups[0].pace().rounds.count,
        requests_per_target_and_round: plan.groups[0].pace().rounds.requests,
        warmup_per_target_and_round: plan.groups[0].pace().rounds.warmup,
        num_predict: plan.groups[0].pace().output.tokens.longest(),
        temperature: 0,
        keep_alive_s: plan.keep_alive.as_secs(),
        timeout_s: plan.timeout.as_secs_f64(),
        margin: plan.margin,
    }
}

fn target_report(plan: &crate::plan::TargetPlan, target: &Target) -> TargetReport {
    let processes = target.processes.as_ref();
    TargetReport {
        name: plan.name.clone(),
        url: plan.url.to_string(),
        version: target.version.clone(),
        pids: processes
            .map(|tree| tree.roots().to_vec())
            .unwrap_or_default(),
        process: processes.ok().map(|tree| tree.name().to_owned()),
        memory_unavailable: processes.err().map(ToString::to_string),
    }
}

fn workload_report(plan: &Plan, record: &Record, workload: &WorkloadRecord) -> WorkloadReport {
    let lanes = record
        .targets
        .iter()
        .zip(&plan.targets)
        .zip(&workload.lanes);
    WorkloadReport {
        workload: workload.workload.name.clone(),
        kind: workload.workload.kind,
        inputs: workload.workload.description.clone(),
        inputs_sha256: workload.inputs_sha256.clone(),
        lanes: lanes
            .map(|((target, plan), lane)| lane_report(&plan.name, target, lane))
            .collect(),
        cells: workload
            .cells
            .iter()
            .map(|cell| cell_report(plan, workload, cell))
            .collect(),
        memory: workload
            .memory
            .iter()
            .zip(&workload.loaded)
            .map(|(series, loaded)| Some(memory_report(series.as_ref()?, loaded.clone())))
            .collect(),
    }
}

fn lane_report(name: &str, target: &Target, lane: &Lane) -> LaneReport {
    let listed = target.model(&lane.asker.model);
    LaneReport {
        target: name.into(),
        model: lane.asker.model.clone(),
        model_bytes: listed.map(|model| model.bytes),
        model_digest: listed.map(|model| model.digest.clone()),
        route: lane.asker.route.path(),
        emulated: lane.asker.route == Route::ClassifyByChat,
        unavailable: lane.lacking.as_ref().map(ToString::to_string),
        dimensions: lane.asker.expected.dimensions,
        labels: lane
            .asker
            .expected
            .labels
            .as_ref()
            .map(|labels| labels.iter().cloned().collect()),
    }
}

fn cell_report(plan: &Plan, workload: &WorkloadRecord, cell: &Cell) -> CellReport {
    let slots = |target: usize| -> Vec<&Slot> {
        cell.rounds
            .iter()
            .filter_map(|round| round[target].as_ref())
            .collect()
    };
    let targets = 0..workload.lanes.len();
    let equal_length_share: Vec<Option<f64>> = targets
        .clone()
        .map(|target| compare::equal_length_share(cell, target))
        .collect();
    CellReport {
        concurrency: cell.load.concurrency(),
        load: cell.load.clone(),
        label: cell.load.label(),
        rounds: cell.rounds.len(),
        figures: targets.map(|target| figures(&slots(target))).collect(),
        comparisons: compare::comparisons(plan, &workload.lanes, cell, &equal_length_share),
        equal_length_share,
    }
}

/// `None` for a target that was not asked.
fn figures(slots: &[&Slot]) -> Option<Figures> {
    let samples: Vec<&Sample> = slots.iter().flat_map(|slot| &slot.samples).collect();
    if samples.is_empty() {
        return None;
    }
    let mut failures = BTreeMap::new();
    for failure in samples
        .iter()
        .filter_map(|sample| sample.outcome.as_ref().err())
    {
        *failures.entry(failure.category()).or_default() += 1;
    }
    let answers: Vec<_> = samples
        .iter()
        .filter_map(|sample| sample.outcome.as_ref().ok())
        .collect();
    let wall_s: f64 = slots.iter().map(|slot| slot.wall.as_secs_f64()).sum();
    let input_tokens: Vec<f64> = answers
        .iter()
        .filter_map(|answer| answer.input_tokens)
        .map(|n| n as f64)
        .collect();
    let generates = samples.iter().any(|sample| sample.generation().is_some());
    Some(Figures {
        requests: samples.len() as u64,
        failed: (samples.len() - answers.len()) as u64,
        failures,
        first_failure: samples
            .iter()
            .find_map(|sample| sample.outcome.as_ref().err())
            .map(ToString::to_string),
        end_to_end_ms: latency(
            samples
                .iter()
                .map(|sample| sample.outcome.is_ok().then(|| sample.response_time())),
        ),
        time_to_first_ms: generates
            .then(|| latency(samples.iter().map(|sample| first_token(sample)))),
        between_chunks_ms: generates.then(|| {
            latency(
                samples
                    .iter()
                    .filter(|sample| sample.generation().is_some())
                    .flat_map(|sample| sample.gaps())
                    .map(Some),
            )
        }),
        requests_per_second: answers.len() as f64 / wall_s,
        generation: generation_figures(&samples, wall_s),
        mean_input_tokens: stats::mean(&input_tokens),
        input_tokens_per_second: (!generates && !input_tokens.is_empty())
            .then(|| input_tokens.iter().sum::<f64>() / wall_s),
    })
}

/// `None` when no reply was a text.
fn generation_figures(samples: &[&Sample], wall_s: f64) -> Option<GenerationFigures> {
    let good: Vec<&&Sample> = samples
        .iter()
        .filter(|sample| sample.generation().is_some())
        .collect();
    let generations = || good.iter().filter_map(|sample| sample.generation());
    let tokens: Vec<f64> = generations().map(|one| one.tokens as f64).collect();
    let chunks: usize = good.iter().map(|sample| sample.times.chunks.len()).sum();
    let median = |mut values: Vec<f64>| stats::nearest_rank(&mut values, 0.5);
    let tails = good
        .iter()
        .filter_map(|sample| Some(sample.tail()?.as_secs_f64() * 1e3))
        .collect();
    let all_tokens: f64 = tokens.iter().sum();
    Some(GenerationFigures {
        decode_tokens_per_second: median(
            good.iter()
                .filter_map(|sample| sample.decode_tokens_per_second())
                .collect(),
        ),
        claimed_tokens_per_second: median(
            generations()
                .filter_map(|one| one.claimed_tokens_per_second)
                .collect(),
        ),
        aggregate_tokens_per_second: all_tokens / wall_s,
        mean_output_tokens: stats::mean(&tokens)?,
        chunks_per_token: chunks as f64 / all_tokens,
        tail_ms: median(tails)?,
    })
}

fn memory_report(series: &Series, loaded: Option<Vec<Model>>) -> MemoryReport {
    let peak = series.peak().clone();
    let bytes: Option<u64> = loaded
        .as_ref()
        .map(|models| models.iter().map(|model| model.bytes).sum());
    MemoryReport {
        before: series.snapshots[0].clone(),
        ratio: bytes
            .filter(|bytes| *bytes > 0)
            .map(|bytes| peak.rss_bytes as f64 / bytes as f64),
        peak,
        pss_before_bytes: series.pss_before_bytes(),
        pss_after_bytes: series.pss_after_bytes(),
        loaded,
    }
}

/// The time to the first text of a good reply; `None` for a failed request.
pub(super) fn first_token(sample: &Sample) -> Option<std::time::Duration> {
    sample.generation()?;
    sample.to_first_token()
}

/// `None` among `times` is a request that failed.
fn latency(times: impl Iterator<Item = Option<std::time::Duration>>) -> Latency {
    let mut recorder = Recorder::new();
    let mut exact_ms = Vec::new();
    for time in times {
        match time {
            Some(time) => recorder.record(time),
            None => recorder.record_failure(),
        }
        exact_ms.push(time.map_or(f64::INFINITY, |time| time.as_secs_f64() * 1e3));
    }
    let interval = stats::quantile_interval(&exact_ms, 0.95);
    Latency {
        n: recorder.count(),
        mean: recorder.mean_ms(),
        p50: recorder.quantile_ms(0.50),
        p95: recorder.quantile_ms(0.95),
        p99: recorder.quantile_ms(0.99),
        max: recorder.max_ms(),
        p95_interval: interval.ok().map(|interval| [interval.low, interval.high]),
        p95_interval_needs: interval.err().map(|needs| needs.0),
    }
}
