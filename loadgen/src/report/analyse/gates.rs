//! The conditions of a trustworthy measurement, filled from what was recorded: `checks::gates` judges each.

use std::time::Duration;

use crate::{
    calibration::Calibration,
    checks::{Gate, gates},
    plan::Plan,
    run::{Cell, Record, Sample, Slot, WorkloadRecord},
    stats::{self, OrderEffect},
};

/// Every gate of every load at every target.
pub(super) fn gates(plan: &Plan, record: &Record, calibration: Option<&Calibration>) -> Vec<Gate> {
    let mut found = Vec::new();
    for workload in &record.workloads {
        for cell in &workload.cells {
            let baseline = plan.targets.len() - 1;
            for (target, planned) in plan.targets.iter().enumerate() {
                let row = format!("{} {}", workload.workload.name, cell.load.label());
                let place = Place {
                    scope: format!("{row}, {}", planned.name),
                    workload,
                    cell,
                    slots: slots(cell, target),
                };
                if place.slots.is_empty() {
                    continue;
                }
                found.extend(place.gates(calibration));
                if target < baseline && !slots(cell, baseline).is_empty() {
                    let scope = format!(
                        "{row}, {} and {}",
                        planned.name, plan.targets[baseline].name
                    );
                    found.extend(between(&scope, workload, cell, [target, baseline]));
                }
            }
        }
    }
    found
}

/// One target at one load.
struct Place<'a> {
    scope: String,
    workload: &'a WorkloadRecord,
    cell: &'a Cell,
    slots: Vec<&'a Slot>,
}

impl Place<'_> {
    fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.slots.iter().flat_map(|slot| &slot.samples)
    }

    fn gates(&self, calibration: Option<&Calibration>) -> Vec<Gate> {
        let scope = self.scope.as_str();
        let lags = self.samples().map(|sample| sample.dispatch_lag());
        let lags: Vec<f64> = lags.map(milliseconds).collect();
        let first = quantile(
            self.samples().map(|sample| {
                let first = sample.to_first_token();
                first.unwrap_or_else(|| sample.response_time())
            }),
            0.50,
        );
        let noise: Vec<_> = self.slots.iter().map(|slot| slot.noise).collect();
        let failed = self.samples().filter(|sample| sample.outcome.is_err());
        let mut gates = vec![
            gates::dispatch_lag(scope, &lags, first),
            gates::client_cpu(
                scope,
                noise.iter().map(|noise| noise.client_cpu).sum(),
                noise.iter().map(|noise| noise.wall).sum(),
                std::thread::available_parallelism().map_or(1, usize::from),
            ),
            gates::noise_floor(scope, self.floor_ms(calibration), first),
            gates::error_rate(scope, failed.count() as u64, self.samples().count() as u64),
            gates::quiet_machine(scope, &noise),
            gates::clock_frequency(scope, &noise),
            gates::steady(scope, &self.medians()),
            self.resident(),
        ];
        if self.workload.workload.kind.streams() {
            gates.push(gates::warm(scope, &self.load_times()));
        }
        if self.cell.load.rate().is_some() {
            gates.extend(self.achieved_rate());
            let flow = stats::flow(&self.stays());
            gates.push(gates::littles_law(scope, flow));
        }
        gates
    }

    /// What the client adds to the time to the first text at about this many streams.
    fn floor_ms(&self, calibration: Option<&Calibration>) -> Option<f64> {
        let streams = self.cell.load.concurrency().unwrap_or_else(|| {
            let flow = stats::flow(&self.stays());
            flow.map_or(1, |flow| flow.in_flight.ceil() as usize)
        });
        Some(calibration?.level(streams)?.latency.p50)
    }

    fn medians(&self) -> Vec<f64> {
        self.slots.iter().filter_map(|slot| median(slot)).collect()
    }

    fn load_times(&self) -> Vec<(f64, f64)> {
        self.samples()
            .filter_map(|sample| {
                let load = sample.generation()?.load;
                Some((milliseconds(load), milliseconds(sample.service_time())))
            })
            .collect()
    }

    fn resident(&self) -> Gate {
        let told: Vec<bool> = self.slots.iter().filter_map(|slot| slot.resident).collect();
        let missing = told.iter().filter(|resident| !**resident).count();
        gates::resident(&self.scope, told.len(), missing)
    }

    /// Requests over the time in which they were sent, against the time in which they were due: chance moves both alike.
    fn achieved_rate(&self) -> Option<Gate> {
        let (mut arrivals, mut due, mut sent) = (0.0, 0.0, 0.0);
        for slot in &self.slots {
            let span = |of: fn(&Sample) -> u64| {
                let first = slot.samples.iter().map(of).min()?;
                let last = slot.samples.iter().map(of).max()?;
                Some((last - first) as f64 / 1e9)
            };
            arrivals += slot.samples.len() as f64 - 1.0;
            due += span(|sample| sample.times.intended)?;
            sent += span(|sample| sample.times.sent)?;
        }
        (due > 0.0 && sent > 0.0)
            .then(|| gates::achieved_rate(&self.scope, arrivals / due, arrivals / sent))
    }

    /// When each request was due and when it ended, in seconds, rounds put end to end so that pauses between them do not
    /// count.
    fn stays(&self) -> Vec<(f64, f64)> {
        let mut stays = Vec::new();
        let mut offset = 0.0;
        for slot in &self.slots {
            let since = |at: u64| at.saturating_sub(slot.started_ns) as f64 / 1e9 + offset;
            stays.extend(
                slot.samples
                    .iter()
                    .map(|sample| (since(sample.times.intended), since(sample.times.end))),
            );
            offset += slot.wall.as_secs_f64();
        }
        stays
    }
}

/// What concerns two targets together.
fn between(
    scope: &str,
    workload: &WorkloadRecord,
    cell: &Cell,
    [candidate, baseline]: [usize; 2],
) -> Vec<Gate> {
    let mut gates = vec![gates::order(
        scope,
        order_effect(cell, [candidate, baseline]),
    )];
    if workload.workload.kind.streams() {
        let share = equal_length_share(cell, [candidate, baseline]);
        gates.push(gates::equal_length(scope, share));
    }
    gates
}

fn order_effect(cell: &Cell, [candidate, baseline]: [usize; 2]) -> Option<OrderEffect> {
    let rounds: Vec<(f64, bool)> = cell
        .rounds
        .iter()
        .filter_map(|round| {
            let (candidate, baseline) = (round[candidate].as_ref()?, round[baseline].as_ref()?);
            let log_ratio = (median(candidate)? / median(baseline)?).ln();
            Some((log_ratio, candidate.order < baseline.order))
        })
        .collect();
    stats::order_effect(&rounds)
}

/// The share of requests that both answered with equally many tokens, among those that both answered.
fn equal_length_share(cell: &Cell, [candidate, baseline]: [usize; 2]) -> Option<f64> {
    let tokens = |sample: &Sample| sample.generation().map(|generation| generation.tokens);
    let pairs: Vec<bool> = cell
        .rounds
        .iter()
        .filter_map(|round| round[candidate].as_ref().zip(round[baseline].as_ref()))
        .flat_map(|(candidate, baseline)| candidate.samples.iter().zip(&baseline.samples))
        .filter_map(|(candidate, baseline)| Some(tokens(candidate)? == tokens(baseline)?))
        .collect();
    let equal = pairs.iter().filter(|equal| **equal).count();
    (!pairs.is_empty()).then(|| equal as f64 / pairs.len() as f64)
}

fn slots(cell: &Cell, target: usize) -> Vec<&Slot> {
    cell.rounds
        .iter()
        .filter_map(|round| round[target].as_ref())
        .collect()
}

/// The median response time of one round in milliseconds; `None` when it falls on a failed request.
fn median(slot: &Slot) -> Option<f64> {
    let mut values: Vec<f64> = slot
        .samples
        .iter()
        .map(|sample| match sample.outcome {
            Ok(_) => milliseconds(sample.response_time()),
            Err(_) => f64::INFINITY,
        })
        .collect();
    stats::nearest_rank(&mut values, 0.5).filter(|median| median.is_finite())
}

fn quantile(times: impl Iterator<Item = Duration>, quantile: f64) -> Option<f64> {
    let mut values: Vec<f64> = times.map(milliseconds).collect();
    stats::nearest_rank(&mut values, quantile)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
