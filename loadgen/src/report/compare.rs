use super::{CellReport, Comparison, Metric, WorkloadReport, analyse::first_token};
use crate::{
    plan::Plan,
    routes::Route,
    run::{Cell, Lane, Sample},
    stats::{self, Better, PairedRounds},
    workload::Kind,
};

/// Replies of different lengths are different work: below this share of equal pairs, end-to-end times are not compared.
const LEAST_EQUAL_LENGTH_SHARE: f64 = 0.95;

impl Metric {
    const ALL: [Self; 3] = [
        Self::EndToEndP95,
        Self::TimeToFirstP95,
        Self::DecodeRateMedian,
    ];

    fn quantile(self) -> f64 {
        match self {
            Self::EndToEndP95 | Self::TimeToFirstP95 => 0.95,
            Self::DecodeRateMedian => 0.50,
        }
    }

    fn better(self) -> Better {
        match self {
            Self::EndToEndP95 | Self::TimeToFirstP95 => Better::Lower,
            Self::DecodeRateMedian => Better::Higher,
        }
    }

    fn applies_to(self, route: Route) -> bool {
        self == Self::EndToEndP95 || route.streams()
    }

    /// The figure of one request: a failed one is infinitely slow; one without a rate has none.
    fn value(self, sample: &Sample) -> Option<f64> {
        let seconds = match self {
            Self::EndToEndP95 => sample.outcome.is_ok().then(|| sample.response_time()),
            Self::TimeToFirstP95 => first_token(sample),
            Self::DecodeRateMedian => return sample.decode_tokens_per_second(),
        };
        Some(seconds.map_or(f64::INFINITY, |time| time.as_secs_f64()))
    }
}

/// Every target but the last against the last, metric by metric.
pub(super) fn comparisons(
    plan: &Plan,
    lanes: &[Lane],
    cell: &Cell,
    equal_length_share: &[Option<f64>],
) -> Vec<Comparison> {
    let baseline = lanes.len() - 1;
    let mut comparisons = Vec::new();
    for candidate in 0..baseline {
        for metric in Metric::ALL
            .into_iter()
            .filter(|metric| metric.applies_to(lanes[candidate].asker.route))
        {
            let refusal = refusal(
                lanes,
                [candidate, baseline],
                metric,
                equal_length_share[candidate],
            );
            let result = match refusal {
                Some(reason) => Err(reason),
                None => ratio(plan, cell, [candidate, baseline], metric),
            };
            let (ratio, unavailable) = match result {
                Ok(ratio) => (Some(ratio), None),
                Err(reason) => (None, Some(reason)),
            };
            comparisons.push(Comparison {
                metric,
                candidate: plan.targets[candidate].name.clone(),
                baseline: plan.targets[baseline].name.clone(),
                ratio: ratio.map(|ratio| ratio.estimate),
                interval: ratio.map(|ratio| [ratio.interval.low, ratio.interval.high]),
                verdict: ratio
                    .map(|ratio| stats::verdict(&ratio, metric.better(), plan.margin).word()),
                unavailable,
            });
        }
    }
    comparisons
}

/// The share of requests that both `target` and the last target answered with equally many tokens, among those that
/// both answered. `None` for the last target itself, for other workloads, and when there is no such pair.
pub(super) fn equal_length_share(cell: &Cell, target: usize) -> Option<f64> {
    let mut pairs = 0_u32;
    let mut equal = 0_u32;
    for round in &cell.rounds {
        let baseline = round.len() - 1;
        if target == baseline {
            return None;
        }
        let (Some(candidate), Some(baseline)) = (&round[target], &round[baseline]) else {
            continue;
        };
        for (candidate, baseline) in candidate.samples.iter().zip(&baseline.samples) {
            let (Some(candidate), Some(baseline)) = (candidate.generation(), baseline.generation())
            else {
                continue;
            };
            pairs += 1;
            equal += u32::from(candidate.tokens == baseline.tokens);
        }
    }
    (pairs > 0).then(|| f64::from(equal) / f64::from(pairs))
}

/// What the replies reveal about the targets not doing the same work.
pub(super) fn objections(plan: &Plan, workloads: &[WorkloadReport]) -> Vec<String> {
    let mut objections = Vec::new();
    for workload in workloads {
        let baseline = plan.targets.len() - 1;
        let last = &workload.lanes[baseline];
        for (lane, target) in workload.lanes[..baseline].iter().zip(0..) {
            let names = format!("{}: {} and {}", workload.workload, lane.target, last.target);
            if let (Some(one), Some(other)) = (lane.dimensions, last.dimensions)
                && workload.kind == Kind::Embed
                && one != other
            {
                objections.push(format!(
                    "{names} give vectors of {one} and {other} numbers: not the same model"
                ));
            }
            if let (Some(one), Some(other)) = (&lane.labels, &last.labels)
                && workload.kind == Kind::Classify
                && one != other
            {
                objections.push(format!(
                    "{names} know different labels ({}; {}): not the same model",
                    one.join(", "),
                    other.join(", ")
                ));
            }
            for cell in &workload.cells {
                objections.extend(
                    unequal_lengths(cell, target).map(|reason| format!("{names} {reason}")),
                );
            }
        }
    }
    objections
}

fn unequal_lengths(cell: &CellReport, target: usize) -> Option<String> {
    let share =
        cell.equal_length_share[target].filter(|share| *share < LEAST_EQUAL_LENGTH_SHARE)?;
    Some(format!(
        "gave equally long replies to only {:.0} % of the requests at {}: end-to-end times are not compared",
        share * 100.0,
        cell.label
    ))
}

/// Why two targets are not compared in this metric, before any statistics.
fn refusal(
    lanes: &[Lane],
    pair: [usize; 2],
    metric: Metric,
    equal_length_share: Option<f64>,
) -> Option<String> {
    if pair.iter().any(|target| lanes[*target].lacking.is_some()) {
        return Some("not measured on both".into());
    }
    if lanes[pair[0]].asker.route != lanes[pair[1]].asker.route {
        return Some("emulated".into());
    }
    let unequal = equal_length_share.is_some_and(|share| share < LEAST_EQUAL_LENGTH_SHARE);
    (unequal && metric == Metric::EndToEndP95).then(|| "unequal lengths".into())
}

fn ratio(
    plan: &Plan,
    cell: &Cell,
    [candidate, baseline]: [usize; 2],
    metric: Metric,
) -> Result<stats::Ratio, String> {
    let by_round = |target: usize| -> Vec<Vec<f64>> {
        cell.rounds
            .iter()
            .filter_map(|round| round[target].as_ref())
            .map(|slot| {
                slot.samples
                    .iter()
                    .filter_map(|sample| metric.value(sample))
                    .collect()
            })
            .collect()
    };
    let rounds = PairedRounds {
        candidate: &by_round(candidate),
        baseline: &by_round(baseline),
    };
    stats::ratio(rounds, metric.quantile(), plan.seed).map_err(|reason| reason.to_string())
}
