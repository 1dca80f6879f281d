use super::{
    memory::peaks_by_round,
    row::{slots, value},
};
use crate::{
    checks::gates::EQUAL_LENGTH_SHARE,
    plan::Plan,
    report::model::{Comparison, Lane, Metric, RoundReport, Statistic, Verdict},
    run::{Cell, Slot, WorkloadRecord},
    stats::{self, Better, NoRatio, PairedRounds, Quotient, Ratio},
    workload::{Kind, Slo, Workload},
};

/// What is compared, where it was measured. Which one decides is the workload's word.
const COMPARED: [(Metric, Statistic); 12] = [
    (Metric::E2e, Statistic::P95),
    (Metric::E2e, Statistic::P50),
    (Metric::E2e, Statistic::P99),
    (Metric::Ttft, Statistic::P95),
    (Metric::Ttft, Statistic::P50),
    (Metric::Tpot, Statistic::P50),
    (Metric::Tpot, Statistic::P95),
    (Metric::Icl, Statistic::P99),
    (Metric::DecodeRate, Statistic::P50),
    (Metric::OutputTokens, Statistic::Total),
    (Metric::Requests, Statistic::Total),
    (Metric::Goodput, Statistic::Total),
];

/// A ratio, or why there is none.
type Compared = Result<Ratio, String>;

/// Every target but the last against the last, figure by figure.
pub(super) fn of_row(
    plan: &Plan,
    workload: &Workload,
    lanes: &[Lane],
    cell: &Cell,
    equal_length_share: &[Option<f64>],
) -> Vec<Comparison> {
    let Some(baseline) = lanes.len().checked_sub(1) else {
        return Vec::new();
    };
    let generates = matches!(workload.kind, Kind::Generate | Kind::Chat);
    let mut comparisons = Vec::new();
    for (candidate, share) in equal_length_share.iter().enumerate().take(baseline) {
        let pair = [candidate, baseline];
        for (metric, statistic) in COMPARED {
            let is_general = matches!(metric, Metric::E2e | Metric::Requests | Metric::Goodput);
            let is_meant = metric != Metric::Goodput || workload.slo.is_set();
            if !(generates || is_general) || !is_meant {
                continue;
            }
            let compared = match refusal(lanes, cell, pair, metric, *share) {
                Some(reason) => Err(reason),
                None => {
                    let slo = &workload.slo;
                    ratio(plan, cell, pair, (metric, statistic), slo)
                        .map_err(|reason| reason.to_string())
                }
            };
            let names = pair.map(|target| lanes[target].target.clone());
            let mut comparison = comparison(plan.margin, names, (metric, statistic), compared);
            comparison.primary = comparison.id() == workload.primary;
            comparisons.push(comparison);
        }
    }
    comparisons
}

/// Peaks of memory, every target but the last against the last.
pub(super) fn of_memory(plan: &Plan, lanes: &[Lane], record: &WorkloadRecord) -> Vec<Comparison> {
    let Some(baseline) = lanes.len().checked_sub(1) else {
        return Vec::new();
    };
    let peaks: Vec<Option<Vec<[f64; 2]>>> = record
        .memory
        .iter()
        .enumerate()
        .map(|(target, series)| Some(peaks_by_round(series.as_ref()?, &record.cells, target)))
        .collect();
    let mut comparisons = Vec::new();
    for candidate in 0..baseline {
        for (place, metric) in [Metric::PeakRss, Metric::PeakAnon].into_iter().enumerate() {
            let compared = match (&peaks[candidate], &peaks[baseline]) {
                (Some(one), Some(other)) => {
                    let rounds = |peaks: &[[f64; 2]]| {
                        let figures: Vec<f64> = peaks.iter().map(|peak| peak[place]).collect();
                        Quotient::of_rounds(&figures)
                    };
                    stats::ratio_of(&rounds(one), &rounds(other), plan.seed)
                        .map_err(|reason| reason.to_string())
                }
                _ => Err("not watched on both".into()),
            };
            let names = [candidate, baseline].map(|target| lanes[target].target.clone());
            comparisons.push(comparison(
                plan.margin,
                names,
                (metric, Statistic::Total),
                compared,
            ));
        }
    }
    comparisons
}

/// Several primary figures are several chances to be wrong: their differences must survive Holm's correction together.
pub(super) fn correct_for_many(plan: &Plan, primary: &mut [&mut Comparison]) {
    let known: Vec<usize> = (0..primary.len())
        .filter(|index| primary[*index].p_value.is_some())
        .collect();
    let p_values: Vec<f64> = known
        .iter()
        .filter_map(|index| primary[*index].p_value)
        .collect();
    for (index, adjusted) in known.into_iter().zip(stats::holm(&p_values)) {
        let comparison = &mut *primary[index];
        comparison.p_value = Some(adjusted);
        if let (Some(estimate), Some(low), Some(high)) =
            (comparison.ratio, comparison.low, comparison.high)
        {
            let ratio = Ratio {
                estimate,
                interval: stats::Interval { low, high },
                p_value: adjusted,
                rounds: comparison.rounds,
            };
            let verdict =
                stats::verdict_among(&ratio, better(comparison.metric), plan.margin, adjusted);
            comparison.verdict = Some(verdict.into());
        }
    }
}

/// The share of requests that both `target` and the last target answered with equally many tokens, among those that
/// both answered. `None` for the last target itself, for other workloads, and when there is no such pair.
pub(in crate::report) fn equal_length_share(rounds: &[RoundReport], target: usize) -> Option<f64> {
    let mut pairs = 0_u32;
    let mut equal = 0_u32;
    for round in rounds {
        let baseline = round.slots.len().checked_sub(1)?;
        if target == baseline {
            return None;
        }
        let (Some(candidate), Some(baseline)) = (&round.slots[target], &round.slots[baseline])
        else {
            continue;
        };
        let tokens = candidate
            .samples
            .output_tokens
            .iter()
            .zip(&baseline.samples.output_tokens);
        for (candidate, baseline) in tokens.filter_map(|(one, other)| Some((*one)?).zip(*other)) {
            pairs += 1;
            equal += u32::from(candidate == baseline);
        }
    }
    (pairs > 0).then(|| f64::from(equal) / f64::from(pairs))
}

/// What a ratio says of two targets; differences below `margin` do not matter.
pub(in crate::report) fn comparison(
    margin: f64,
    [candidate, baseline]: [String; 2],
    (metric, statistic): (Metric, Statistic),
    compared: Compared,
) -> Comparison {
    let ratio = compared.as_ref().ok();
    Comparison {
        metric,
        statistic,
        primary: false,
        candidate,
        baseline,
        ratio: ratio.map(|ratio| ratio.estimate),
        low: ratio.map(|ratio| ratio.interval.low),
        high: ratio.map(|ratio| ratio.interval.high),
        rounds: ratio.map_or(0, |ratio| ratio.rounds),
        p_value: ratio.map(|ratio| ratio.p_value),
        verdict: ratio
            .map(|ratio| stats::verdict(ratio, better(metric), margin))
            .map(Verdict::from),
        unavailable: compared.err(),
    }
}

/// Why two targets are not compared in this metric, before any statistics.
fn refusal(
    lanes: &[Lane],
    cell: &Cell,
    pair: [usize; 2],
    metric: Metric,
    equal_length_share: Option<f64>,
) -> Option<String> {
    if pair
        .iter()
        .any(|target| lanes[*target].unavailable.is_some())
    {
        return Some("not measured on both".into());
    }
    if pair.map(|target| lanes[target].emulated) != [false, false] {
        return Some("emulated".into());
    }
    if let Some(target) = pair
        .iter()
        .find(|target| matches!(cell.unstable.get(**target), Some(Some(_))))
    {
        return Some(format!("{} is unstable", lanes[*target].target));
    }
    let unequal = equal_length_share.is_some_and(|share| share < EQUAL_LENGTH_SHARE);
    (unequal && matches!(metric, Metric::E2e | Metric::Requests | Metric::Goodput))
        .then(|| "unequal lengths".into())
}

fn ratio(
    plan: &Plan,
    cell: &Cell,
    pair: [usize; 2],
    (metric, statistic): (Metric, Statistic),
    slo: &Slo,
) -> Result<Ratio, NoRatio> {
    let Some(quantile) = statistic.quantile() else {
        let [candidate, baseline] = pair.map(|target| {
            let rounds = slots(cell, target).map(|slot| throughput(metric, slot, slo));
            Quotient::new(rounds.collect())
        });
        return stats::ratio_of(&candidate, &baseline, plan.seed);
    };
    let [candidate, baseline] = pair.map(|target| -> Vec<Vec<f64>> {
        slots(cell, target)
            .map(|slot| values(metric, slot))
            .collect()
    });
    let rounds = PairedRounds {
        candidate: &candidate,
        baseline: &baseline,
    };
    stats::ratio(rounds, quantile, plan.seed)
}

/// Every value of a metric in one round.
fn values(metric: Metric, slot: &Slot) -> Vec<f64> {
    if metric == Metric::Icl {
        let good = slot
            .samples
            .iter()
            .filter(|sample| sample.generation().is_some());
        return good
            .flat_map(|sample| sample.gaps())
            .map(|gap| gap.as_secs_f64() * 1e3)
            .collect();
    }
    slot.samples
        .iter()
        .filter_map(|sample| value(metric, sample))
        .collect()
}

/// What one round adds to a throughput, above and below the line.
fn throughput(metric: Metric, slot: &Slot, slo: &Slo) -> (f64, f64) {
    let good = slot.samples.iter().filter(|sample| sample.outcome.is_ok());
    let amount = match metric {
        Metric::OutputTokens => good
            .filter_map(|sample| Some(sample.generation()?.tokens as f64))
            .sum(),
        Metric::Goodput => good.filter(|sample| sample.keeps(slo)).count() as f64,
        _ => good.count() as f64,
    };
    (amount, slot.wall.as_secs_f64())
}

fn better(metric: Metric) -> Better {
    if metric.is_rate() {
        Better::Higher
    } else {
        Better::Lower
    }
}

impl From<stats::Verdict> for Verdict {
    fn from(verdict: stats::Verdict) -> Self {
        match verdict {
            stats::Verdict::Faster => Self::Faster,
            stats::Verdict::Slower => Self::Slower,
            stats::Verdict::Equivalent => Self::Equivalent,
            stats::Verdict::Inconclusive => Self::Inconclusive,
        }
    }
}
