//! Two saved reports of the same work, put side by side as one. Drift between the two runs is in the ratio, and it says so.

use super::{
    analyse,
    model::{
        Check, Comparison, Lane, Metric, MetricReport, Outcome, Report, RoundReport, Row, Samples,
        SlotReport, Statistic, TargetReport, Validity, WorkloadReport,
    },
};
use crate::{
    checks::gates::EQUAL_LENGTH_SHARE,
    stats::{self, PairedRounds},
};

/// What can be compared from saved samples.
const COMPARED: [(Metric, Statistic); 5] = [
    (Metric::E2e, Statistic::P95),
    (Metric::E2e, Statistic::P50),
    (Metric::Ttft, Statistic::P95),
    (Metric::Ttft, Statistic::P50),
    (Metric::Tpot, Statistic::P50),
];

/// Why two reports cannot be compared; each says what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No target of that name in a report.
    #[error("{file} has no target {name:?}; it has {known}")]
    Target {
        /// Which report.
        file: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The inputs were not the same.
    #[error(
        "{workload}: the inputs differ, so the work was not the same; measure both with the same workload and --seed {seed}"
    )]
    Inputs {
        /// Where.
        workload: String,
        /// The first report's seed.
        seed: u64,
    },
    /// No workload and load are in both.
    #[error("the reports share no workload at the same load: nothing to compare")]
    Nothing,
}

/// One side of the comparison.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Its name for messages.
    pub file: &'a str,
    /// What was saved.
    pub report: &'a Report,
    /// Which of its targets; its first when not said.
    pub target: Option<&'a str>,
}

/// `candidate` against `baseline` as one report of two targets.
///
/// # Errors
/// [`Refusal`] when they did not do the same work.
pub fn across(candidate: Side<'_>, baseline: Side<'_>) -> Result<Report, Refusal> {
    let places = [place(candidate)?, place(baseline)?];
    let sides = [candidate.report, baseline.report];
    let names = names(sides, places, [candidate.file, baseline.file]);
    let mut workloads = Vec::new();
    for one in &candidate.report.workloads {
        let same = |other: &&WorkloadReport| other.name == one.name;
        let Some(other) = baseline.report.workloads.iter().find(same) else {
            continue;
        };
        if one.inputs_sha256 != other.inputs_sha256 {
            return Err(Refusal::Inputs {
                workload: one.name.clone(),
                seed: candidate.report.settings.seed,
            });
        }
        workloads.extend(workload([one, other], places, &names, sides));
    }
    if workloads.is_empty() {
        return Err(Refusal::Nothing);
    }
    let targets = [0, 1].map(|side| TargetReport {
        name: names[side].clone(),
        ..sides[side].targets[places[side]].clone()
    });
    Ok(Report {
        targets: targets.into(),
        validity: validity(sides),
        workloads,
        asserts: Vec::new(),
        interrupted: sides.iter().any(|report| report.interrupted),
        exit_code: crate::exit::Exit::Ok.code(),
        exit_meaning: crate::exit::Exit::Ok.meaning().into(),
        ..candidate.report.clone()
    })
}

/// Where the target of a side stands in its report.
fn place(side: Side<'_>) -> Result<usize, Refusal> {
    let targets = &side.report.targets;
    let known = || {
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        names.join(", ")
    };
    let wanted = side
        .target
        .unwrap_or_else(|| targets.first().map_or("", |target| target.name.as_str()));
    targets
        .iter()
        .position(|target| target.name == wanted)
        .ok_or_else(|| Refusal::Target {
            file: side.file.into(),
            name: wanted.into(),
            known: known(),
        })
}

/// The targets' names if they differ, else the files' names.
fn names(sides: [&Report; 2], places: [usize; 2], files: [&str; 2]) -> [String; 2] {
    let names = [0, 1].map(|side| sides[side].targets[places[side]].name.clone());
    if names[0] != names[1] {
        return names;
    }
    let stem = |file: &str| {
        let stem = std::path::Path::new(file).file_stem();
        stem.map_or(file.to_owned(), |stem| stem.to_string_lossy().into_owned())
    };
    match files.map(stem) {
        [one, other] if one != other => [one, other],
        _ => ["A".into(), "B".into()],
    }
}

fn validity(sides: [&Report; 2]) -> Validity {
    let mut checks = vec![Check {
        id: "unpaired_in_time".into(),
        title: "unpaired in time: drift not controlled".into(),
        outcome: Outcome::Warn,
        detail: format!(
            "measured at {} and at {}; whatever the machine did differently then is in every ratio",
            sides[0].started_at, sides[1].started_at
        ),
    }];
    if sides[0].host != sides[1].host {
        checks.push(Check {
            id: "same_machine".into(),
            title: "the machines differ".into(),
            outcome: Outcome::Warn,
            detail: "processor, memory or kernel are not the same in both reports".into(),
        });
    }
    let gates = sides.iter().flat_map(|report| &report.validity.gates);
    let objections = sides
        .iter()
        .flat_map(|report| &report.validity.not_comparable);
    Validity {
        not_comparable: objections.cloned().collect(),
        gates: gates.cloned().collect(),
        checks,
        calibration: sides[0].validity.calibration.clone(),
    }
}

/// `None` when no load is in both.
fn workload(
    pair: [&WorkloadReport; 2],
    places: [usize; 2],
    names: &[String; 2],
    sides: [&Report; 2],
) -> Option<WorkloadReport> {
    let rows: Vec<Row> = pair[0]
        .rows
        .iter()
        .filter_map(|one| {
            let other = pair[1].rows.iter().find(|other| other.label == one.label)?;
            Some(row([one, other], places, names, sides))
        })
        .collect();
    let lane = |side: usize| Lane {
        target: names[side].clone(),
        ..pair[side].lanes[places[side]].clone()
    };
    let memory = |side: usize| pair[side].memory[places[side]].clone();
    (!rows.is_empty()).then(|| WorkloadReport {
        lanes: vec![lane(0), lane(1)],
        rows,
        memory: vec![memory(0), memory(1)],
        memory_comparisons: Vec::new(),
        cold: [0, 1]
            .map(|side| pair[side].cold.get(places[side]).cloned().flatten())
            .into(),
        ..pair[0].clone()
    })
}

fn row(pair: [&Row; 2], places: [usize; 2], names: &[String; 2], sides: [&Report; 2]) -> Row {
    let metrics: Vec<MetricReport> = pair[0]
        .metrics
        .iter()
        .map(|one| {
            let other = pair[1].metric(one.metric);
            MetricReport {
                targets: vec![
                    one.targets[places[0]].clone(),
                    other.and_then(|other| other.targets[places[1]].clone()),
                ],
                ..one.clone()
            }
        })
        .collect();
    let rounds: Vec<RoundReport> = pair[0]
        .rounds
        .iter()
        .zip(&pair[1].rounds)
        .map(|(one, other)| RoundReport {
            index: one.index,
            slots: vec![one.slots[places[0]].clone(), other.slots[places[1]].clone()],
        })
        .collect();
    let share = analyse::equal_length_share(&rounds, 0);
    let compared = COMPARED
        .into_iter()
        .filter(|(metric, _)| metrics.iter().any(|report| report.metric == *metric))
        .map(|(metric, statistic)| {
            let ratio = ratio(&rounds, metric, statistic, share, sides[0].settings.seed);
            let mut comparison = analyse::comparison(
                sides[0].settings.margin,
                names.clone(),
                (metric, statistic),
                ratio,
            );
            comparison.primary = is_primary(pair[0], metric, statistic);
            comparison
        })
        .collect();
    Row {
        served: vec![
            pair[0].served[places[0]].clone(),
            pair[1].served[places[1]].clone(),
        ],
        metrics,
        comparisons: compared,
        equal_length_share: vec![share, None],
        fits: [0, 1]
            .map(|side| pair[side].fits.get(places[side]).cloned().flatten())
            .into(),
        rounds,
        ..pair[0].clone()
    }
}

/// As the run declared; P95 of the whole reply where it compared nothing.
fn is_primary(row: &Row, metric: Metric, statistic: Statistic) -> bool {
    let declared: Option<&Comparison> = row.comparisons.iter().find(|one| one.primary);
    let is_known = declared.is_some_and(|one| COMPARED.contains(&(one.metric, one.statistic)));
    match declared {
        Some(one) if is_known => (one.metric, one.statistic) == (metric, statistic),
        _ => (metric, statistic) == (Metric::E2e, Statistic::P95),
    }
}

/// Rounds of the same number had the same inputs, so they are drawn together.
fn ratio(
    rounds: &[RoundReport],
    metric: Metric,
    statistic: Statistic,
    equal_length_share: Option<f64>,
    seed: u64,
) -> Result<stats::Ratio, String> {
    let unequal = equal_length_share.is_some_and(|share| share < EQUAL_LENGTH_SHARE);
    if unequal && metric == Metric::E2e {
        return Err("unequal lengths".into());
    }
    let by_round = |side: usize| -> Vec<Vec<f64>> {
        rounds
            .iter()
            .filter_map(|round| round.slots[side].as_ref())
            .map(|slot| values(metric, slot))
            .collect()
    };
    let quantile = statistic.quantile().ok_or("no percentile")?;
    let rounds = PairedRounds {
        candidate: &by_round(0),
        baseline: &by_round(1),
    };
    stats::ratio(rounds, quantile, seed).map_err(|reason| reason.to_string())
}

/// Failed requests are infinitely slow; a reply of one token has no time per token, which is no failure.
fn values(metric: Metric, slot: &SlotReport) -> Vec<f64> {
    let samples = &slot.samples;
    let column = |of: fn(&Samples) -> &Vec<Option<f64>>| of(samples).iter().zip(&samples.e2e_ms);
    let present = |(value, whole): (&Option<f64>, &Option<f64>)| match (value, whole) {
        (Some(value), _) => Some(*value),
        (None, None) => Some(f64::INFINITY),
        (None, Some(_)) => None,
    };
    match metric {
        Metric::Ttft => column(|one| &one.ttft_ms).filter_map(present).collect(),
        Metric::Tpot => column(|one| &one.tpot_ms).filter_map(present).collect(),
        _ => column(|one| &one.e2e_ms).filter_map(present).collect(),
    }
}
