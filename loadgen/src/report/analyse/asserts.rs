//! What the user demanded, looked up in what was recorded and judged by `checks::assertion`.

use std::time::Duration;

use crate::{
    checks::assertion::{Assertion, Evidence, Judged, Statistic, judge},
    plan::Plan,
    run::{Cell, Record, Sample, Slot, WorkloadRecord},
    stats::{self, NoRatio, PairedRounds, Pooled, Quotient},
    workload::Slo,
};

/// One demand, judged at one place.
#[derive(Debug, Clone, PartialEq)]
pub struct Asserted {
    /// As typed.
    pub expression: String,
    /// The workload and load where it was judged.
    pub scope: String,
    /// How it came out.
    pub judged: Judged,
}

/// Judges every demand at every load of the workloads that it is about, and for every target that it names.
pub(super) fn asserts(plan: &Plan, record: &Record) -> Vec<Asserted> {
    let mut asserted = Vec::new();
    for (of, assertion) in &plan.asserts {
        for workload in &record.workloads {
            let is_meant = of
                .as_ref()
                .is_none_or(|name| *name == workload.workload.name);
            if !is_meant || !applies(assertion, workload) {
                continue;
            }
            for cell in &workload.cells {
                for target in targets(plan, assertion) {
                    let place = Place {
                        plan,
                        record,
                        workload,
                        cell,
                        target,
                    };
                    asserted.push(Asserted {
                        expression: assertion.to_string(),
                        scope: format!(
                            "{} {}, {}",
                            workload.workload.name,
                            cell.load.label(),
                            plan.targets[target].name
                        ),
                        judged: judge(assertion, &place.evidence(assertion)),
                    });
                }
            }
        }
    }
    // A demand that was judged nowhere must not pass for want of a place.
    for (_, assertion) in &plan.asserts {
        let expression = assertion.to_string();
        if !asserted.iter().any(|one| one.expression == expression) {
            let missing = Evidence::Missing("no measured workload has it".into());
            asserted.push(Asserted {
                expression,
                scope: String::new(),
                judged: judge(assertion, &missing),
            });
        }
    }
    asserted
}

/// Whether a workload has the metric at all: nobody demands a time to the first text of an embedding.
fn applies(assertion: &Assertion, workload: &WorkloadRecord) -> bool {
    let kind = workload.workload.kind;
    match assertion.subject.metric {
        "ttft"
        | "tpot"
        | "icl"
        | "tail"
        | "decode_rate"
        | "output_tokens"
        | "equal_length"
        | "cpu.s_per_1000_tokens" => kind.streams(),
        "embed.cosine_min" => kind.name() == "embed",
        "classify.agreement" | "classify.accuracy" => kind.name() == "classify",
        _ => true,
    }
}

/// The targets that an assertion is about: the named one; for a ratio every candidate; else every one.
fn targets(plan: &Plan, assertion: &Assertion) -> Vec<usize> {
    let last = plan.targets.len() - 1;
    (0..plan.targets.len())
        .filter(|target| match &assertion.subject.target {
            Some(name) => plan.targets[*target].name == *name,
            None => !assertion.subject.is_ratio || *target < last,
        })
        .collect()
}

struct Place<'a> {
    plan: &'a Plan,
    record: &'a Record,
    workload: &'a WorkloadRecord,
    cell: &'a Cell,
    target: usize,
}

impl Place<'_> {
    fn evidence(&self, assertion: &Assertion) -> Evidence {
        let metric = assertion.subject.metric;
        let statistic = assertion.subject.statistic;
        let confidence = assertion.confidence.unwrap_or(stats::CONFIDENCE);
        let found = if assertion.subject.is_ratio {
            self.ratio(metric, statistic, confidence)
        } else {
            self.absolute(metric, statistic, confidence)
        };
        found.unwrap_or_else(Evidence::Missing)
    }

    fn ratio(
        &self,
        metric: &str,
        statistic: Option<Statistic>,
        confidence: f64,
    ) -> Result<Evidence, String> {
        let baseline = self.plan.targets.len() - 1;
        if self.target == baseline {
            return Err("the last target is what others are divided by".into());
        }
        let seed = self.plan.seed;
        let ratio = match statistic {
            Some(Statistic::Percentile(percent)) => {
                let (one, other) = (
                    self.by_round(self.target, metric),
                    self.by_round(baseline, metric),
                );
                let rounds = PairedRounds {
                    candidate: &one,
                    baseline: &other,
                };
                stats::ratio_at(rounds, f64::from(percent) / 100.0, seed, confidence)
            }
            Some(Statistic::Mean) => stats::ratio_of_at(
                &Quotient::mean(&self.by_round(self.target, metric)),
                &Quotient::mean(&self.by_round(baseline, metric)),
                seed,
                confidence,
            ),
            None => stats::ratio_of_at(
                &self.total(self.target, metric)?,
                &self.total(baseline, metric)?,
                seed,
                confidence,
            ),
        };
        estimate(ratio)
    }

    fn absolute(
        &self,
        metric: &str,
        statistic: Option<Statistic>,
        confidence: f64,
    ) -> Result<Evidence, String> {
        match statistic {
            Some(Statistic::Percentile(percent)) => Ok(Evidence::Values {
                values: self.by_round(self.target, metric).concat(),
                quantile: f64::from(percent) / 100.0,
            }),
            Some(Statistic::Mean) => self.interval(
                &Quotient::mean(&self.by_round(self.target, metric)),
                confidence,
            ),
            None => self.single(metric, confidence),
        }
    }

    /// A metric that is one figure.
    fn single(&self, metric: &str, confidence: f64) -> Result<Evidence, String> {
        let samples = || self.samples(self.target);
        let failed = || samples().filter(|sample| sample.outcome.is_err()).count() as f64;
        match metric {
            "errors" => Ok(Evidence::Exact(failed())),
            "error_rate" if samples().count() > 0 => {
                Ok(Evidence::Exact(failed() / samples().count() as f64))
            }
            "mem.peak_rss" | "mem.peak_anon" => {
                let series = self.series(self.target)?.peak();
                Ok(Evidence::Exact(match metric {
                    "mem.peak_rss" => series.rss_bytes as f64,
                    _ => series.anon_bytes as f64,
                }))
            }
            "mem.edge_pss" => {
                let pss = self.series(self.target)?.pss_after_bytes();
                Ok(Evidence::Exact(pss.ok_or("not told")? as f64))
            }
            "mem.ratio" => {
                let loaded = self.workload.loaded[self.target].as_ref();
                let bytes: u64 = loaded
                    .iter()
                    .copied()
                    .flatten()
                    .map(|model| model.bytes)
                    .sum();
                if bytes == 0 {
                    return Err("the target does not say how large its models are".into());
                }
                let peak = self.series(self.target)?.peak().rss_bytes;
                Ok(Evidence::Exact(peak as f64 / bytes as f64))
            }
            "slo_share" if samples().count() > 0 => {
                let slo = self.slo()?;
                let good = samples().filter(|sample| sample.keeps(slo)).count();
                Ok(Evidence::Exact(good as f64 / samples().count() as f64))
            }
            "requests" | "output_tokens" | "input_tokens" | "goodput" | "cpu.s_per_1000_tokens" => {
                self.interval(&self.total(self.target, metric)?, confidence)
            }
            "embed.cosine_min" => self.found("same_vectors"),
            "classify.agreement" => self.found("same_labels"),
            "classify.accuracy" => self.found("same_accuracy"),
            _ => Err(format!("{metric} is not kept")),
        }
    }

    /// The figure of a check of this workload and target.
    fn found(&self, id: &str) -> Result<Evidence, String> {
        let workload = format!("{}: ", self.workload.workload.name);
        let name = &self.plan.targets[self.target].name;
        self.record
            .checks
            .iter()
            .find(|check| {
                check.id == id && check.detail.starts_with(&workload) && check.detail.contains(name)
            })
            .and_then(|check| check.value)
            .map(Evidence::Exact)
            .ok_or_else(|| "not checked: it takes two targets".into())
    }

    /// Work over time, or a mean over rounds.
    fn total(&self, target: usize, metric: &str) -> Result<Quotient, String> {
        let of = |part: &dyn Fn(&Slot) -> Option<(f64, f64)>| -> Result<Quotient, String> {
            let rounds: Option<Vec<(f64, f64)>> =
                self.slots(target).map(part).collect::<Option<Vec<_>>>();
            rounds
                .map(Quotient::new)
                .ok_or_else(|| "not measured".into())
        };
        let wall = |slot: &Slot| slot.wall.as_secs_f64();
        let good = |slot: &Slot| {
            slot.samples
                .iter()
                .filter(|one| one.outcome.is_ok())
                .count()
        };
        let output = |slot: &Slot| -> f64 {
            let generations = slot.samples.iter().filter_map(Sample::generation);
            generations.map(|generation| generation.tokens as f64).sum()
        };
        let input = |slot: &Slot| -> f64 {
            let answers = slot
                .samples
                .iter()
                .filter_map(|one| one.outcome.as_ref().ok());
            answers
                .filter_map(|answer| answer.input_tokens)
                .map(|tokens| tokens as f64)
                .sum()
        };
        match metric {
            "requests" => of(&|slot| Some((good(slot) as f64, wall(slot)))),
            "output_tokens" => of(&|slot| Some((output(slot), wall(slot)))),
            "input_tokens" => of(&|slot| Some((input(slot), wall(slot)))),
            "goodput" => {
                let slo = self.slo()?;
                let good = |slot: &Slot| slot.samples.iter().filter(|one| one.keeps(slo)).count();
                of(&|slot| Some((good(slot) as f64, wall(slot))))
            }
            "cpu.s_per_1000_tokens" => of(&|slot| {
                let seconds = slot.noise.server_cpu?.as_secs_f64();
                Some((1e3 * seconds, output(slot)))
            }),
            "mem.peak_rss" | "mem.peak_anon" => {
                let series = self.series(target)?;
                of(&|slot| {
                    let from = slot.started_ns / 1_000_000;
                    // One reading a tenth of a second: the nearest ones count for a short round.
                    let to = from + slot.wall.as_millis() as u64 + 100;
                    let peak = series.peak_between(from.saturating_sub(100), to)?;
                    let bytes = if metric == "mem.peak_rss" {
                        peak.rss_bytes
                    } else {
                        peak.anon_bytes
                    };
                    Some((bytes as f64, 1.0))
                })
            }
            _ => Err(format!("{metric} has no ratio")),
        }
    }

    /// The figure itself with its interval: its ratio to 1.
    fn interval(&self, figure: &impl Pooled, confidence: f64) -> Result<Evidence, String> {
        let one = Quotient::of_rounds(&vec![1.0; figure.rounds()]);
        estimate(stats::ratio_of_at(figure, &one, self.plan.seed, confidence))
    }

    /// The times of the workload's `[slo]`.
    fn slo(&self) -> Result<&Slo, String> {
        Some(&self.workload.workload.slo)
            .filter(|slo| slo.is_set())
            .ok_or_else(|| "the workload has no [slo]".into())
    }

    fn series(&self, target: usize) -> Result<&crate::memory::Series, String> {
        self.workload.memory[target]
            .as_ref()
            .ok_or_else(|| "its memory is not visible from here".into())
    }

    fn slots(&self, target: usize) -> impl Iterator<Item = &Slot> {
        self.cell
            .rounds
            .iter()
            .filter_map(move |round| round[target].as_ref())
    }

    fn samples(&self, target: usize) -> impl Iterator<Item = &Sample> {
        self.slots(target).flat_map(|slot| &slot.samples)
    }

    fn by_round(&self, target: usize, metric: &str) -> Vec<Vec<f64>> {
        self.slots(target)
            .map(|slot| {
                let samples = slot.samples.iter();
                samples.flat_map(|sample| values(sample, metric)).collect()
            })
            .collect()
    }
}

/// The values of one request: milliseconds, or tokens per second. A failed request is infinitely slow and has no rate.
fn values(sample: &Sample, metric: &str) -> Vec<f64> {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    if metric == "decode_rate" {
        return sample.decode_tokens_per_second().into_iter().collect();
    }
    if sample.outcome.is_err() {
        return vec![f64::INFINITY];
    }
    let one = match metric {
        "e2e" => Some(sample.response_time()),
        "service" => Some(sample.service_time()),
        "ttft" => sample.to_first_token(),
        "tail" => sample.tail(),
        "lag" => Some(sample.dispatch_lag()),
        "ttfb" => sample
            .times
            .first_byte
            .map(|at| Duration::from_nanos(at.saturating_sub(sample.times.intended))),
        "tpot" => sample.seconds_per_token().map(Duration::from_secs_f64),
        "icl" => return sample.gaps().map(milliseconds).collect(),
        _ => None,
    };
    one.map(milliseconds).into_iter().collect()
}

fn estimate(ratio: Result<stats::Ratio, NoRatio>) -> Result<Evidence, String> {
    ratio
        .map(|ratio| Evidence::Estimate {
            value: ratio.estimate,
            interval: ratio.interval,
        })
        .map_err(|reason| reason.to_string())
}
