//! From what happened to what is said about it: a [`Record`] in, a [`Report`] out.
//!
//! The figures themselves come from `stats`; this folder chooses which values they are made of.

mod asserts;
mod cold;
mod comparisons;
mod distribution;
mod gates;
mod host;
mod memory;
mod objections;
mod row;
mod search;
mod validity;

use std::time::Duration;

use jiff::Timestamp;

pub(super) use comparisons::{comparison, equal_length_share};

use super::model::{
    Environment, Lane, Report, SCHEMA, Settings, SloReport, TargetReport, Tool, WorkloadReport,
};
use crate::{
    exit::Exit,
    memory::Origin,
    plan::{Plan, TargetPlan},
    routes::Lacking,
    run::{self, Record, Target, WorkloadRecord},
    workload::Slo,
};

/// Computes every figure of `record`. `command` is the command line that was typed.
pub fn analyse(plan: &Plan, record: &Record, command: Vec<String>) -> Report {
    let mut workloads: Vec<WorkloadReport> = record
        .workloads
        .iter()
        .map(|workload| workload_report(plan, record, workload))
        .collect();
    let mut primary: Vec<_> = workloads
        .iter_mut()
        .flat_map(|workload| &mut workload.rows)
        .flat_map(|row| &mut row.comparisons)
        .filter(|comparison| comparison.primary)
        .collect();
    comparisons::correct_for_many(plan, &mut primary);
    let not_comparable = objections::objections(&workloads);
    let exit = exit(record, &workloads, &not_comparable);
    let validity = validity::validity(plan, record, not_comparable);
    let asserted = asserts::asserts(plan, record);
    let exit = validity::exit(exit, &validity, &asserted, plan.on_inconclusive);
    Report {
        schema: SCHEMA.into(),
        tool: Tool {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
        },
        command,
        started_at: to_the_second(record.started_at),
        finished_at: to_the_second(record.finished_at),
        interrupted: record.interrupted,
        host: host::here(),
        settings: settings(plan),
        targets: plan
            .targets
            .iter()
            .zip(&record.targets)
            .map(|(plan, target)| target_report(plan, target))
            .collect(),
        validity,
        workloads,
        asserts: validity::shown(asserted),
        exit_code: exit.code(),
        exit_meaning: exit.meaning().into(),
    }
}

fn to_the_second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The worst thing that happened decides.
fn exit(record: &Record, workloads: &[WorkloadReport], not_comparable: &[String]) -> Exit {
    let lanes = || record.workloads.iter().flat_map(|workload| &workload.lanes);
    let failed = workloads
        .iter()
        .flat_map(|workload| &workload.rows)
        .flat_map(|row| row.served.iter().flatten())
        .any(|served| served.failed > 0);
    if record.interrupted {
        Exit::Interrupted
    } else if lanes().any(|lane| matches!(lane.lacking, Some(Lacking::Model(_)))) {
        Exit::Unreachable
    } else if failed {
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
        keep_alive_s: plan.keep_alive.as_secs(),
        timeout_s: plan.timeout.as_secs_f64(),
        margin: plan.margin,
    }
}

fn target_report(plan: &TargetPlan, target: &Target) -> TargetReport {
    let processes = target.processes.as_ref();
    TargetReport {
        name: plan.name.clone(),
        url: without_password(&plan.url),
        version: target.version.clone(),
        api: plan.api.name().into(),
        pids: processes
            .map(|tree| tree.roots().to_vec())
            .unwrap_or_default(),
        process: processes.ok().map(|tree| tree.name().to_owned()),
        memory_unavailable: processes.err().map(ToString::to_string),
        start_to_ready_ms: target.start_to_ready.map(|time| time.as_secs_f64() * 1e3),
        environment: environment(&target.origin),
    }
}

/// `None` for a target whose processes are not seen.
fn environment(origin: &Origin) -> Option<Environment> {
    (*origin != Origin::default()).then(|| Environment {
        command_lines: origin.command_lines.clone(),
        variables: origin.variables.clone(),
    })
}

fn without_password(url: &reqwest::Url) -> String {
    let mut url = url.clone();
    // Refused only for addresses that cannot have a password.
    let _ = url.set_password(None);
    url.into()
}

fn workload_report(plan: &Plan, record: &Record, workload: &WorkloadRecord) -> WorkloadReport {
    let lanes: Vec<Lane> = record
        .targets
        .iter()
        .zip(&plan.targets)
        .zip(&workload.lanes)
        .map(|((target, plan), lane)| lane_report(&plan.name, target, lane))
        .collect();
    let meant = &workload.workload;
    let rows = workload
        .cells
        .iter()
        .map(|cell| row::row(plan, meant, &lanes, cell))
        .collect();
    let memory = workload.memory.iter().zip(&workload.loaded).enumerate();
    WorkloadReport {
        name: meant.name.clone(),
        kind: format!("{:?}", meant.kind).to_lowercase(),
        inputs: meant.description.clone(),
        rounds: meant.rounds.count,
        requests_per_target_and_round: meant.rounds.requests,
        warmup_per_target_and_round: meant.rounds.warmup,
        inputs_sha256: workload.inputs_sha256.clone(),
        memory_comparisons: comparisons::of_memory(plan, &lanes, workload),
        memory: memory
            .map(|(target, (series, loaded))| {
                let cells = &workload.cells;
                Some(memory::memory(
                    series.as_ref()?,
                    loaded.as_deref(),
                    cells,
                    target,
                ))
            })
            .collect(),
        slo: slo(&meant.slo),
        cold: workload
            .cold
            .iter()
            .map(|cold| cold.as_ref().map(cold::cold))
            .collect(),
        searches: workload.searches.iter().map(search::search).collect(),
        lanes,
        rows,
    }
}

fn slo(slo: &Slo) -> Option<SloReport> {
    let milliseconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
    slo.is_set().then(|| SloReport {
        ttft_ms: milliseconds(slo.ttft),
        tpot_ms: milliseconds(slo.tpot),
        e2e_ms: milliseconds(slo.e2e),
    })
}

fn lane_report(name: &str, target: &Target, lane: &run::Lane) -> Lane {
    let listed = target.model(&lane.asker.model);
    Lane {
        target: name.into(),
        model: lane.asker.model.clone(),
        model_bytes: listed.map(|model| model.bytes),
        model_digest: listed.map(|model| model.digest.clone()),
        route: lane.asker.route.path().into(),
        emulated: lane.asker.route.is_emulated(),
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
