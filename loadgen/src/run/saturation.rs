use super::{Sample, Slot};
use crate::stats;

/// How fast waits may grow, in seconds per second. A server that works on 0.95 of each second's requests within a second makes
/// later ones wait 0.05 s longer each second.
const GROWTH: f64 = 0.05;

/// How much of the growth must be more than chance, in standard errors.
const SIGNIFICANCE: f64 = 3.0;

/// Fewer requests than this show no trend.
const FEWEST: usize = 10;

/// Why a target could not keep up with an open loop, if so: its waits grew for as long as requests came. Rounds are laid over
/// one another, each from its own start.
pub(super) fn of(slots: &[&Slot]) -> Option<String> {
    let points: Vec<(f64, f64)> = slots
        .iter()
        .flat_map(|slot| {
            slot.samples
                .iter()
                .filter(|sample| sample.turn == 0)
                .map(|sample| point(slot, sample))
        })
        .collect();
    if points.len() < FEWEST {
        return None;
    }
    let line = stats::least_squares(points.iter().copied())?;
    let error = line.slope_error?;
    let length = points.iter().map(|(at, _)| *at).fold(0.0, f64::max);
    let mut waits: Vec<f64> = points.iter().map(|(_, wait)| *wait).collect();
    let median = stats::nearest_rank(&mut waits, 0.5)?;
    // A short round of a slow server always grows a little: it has to grow by what a request takes, too.
    let grows = line.slope >= GROWTH
        && line.slope > SIGNIFICANCE * error
        && line.slope * length > median / 2.0;
    grows.then(|| {
        format!(
            "waits grow by {:.2} s per second: it cannot keep up",
            line.slope
        )
    })
}

/// When a request was to start, from the start of its round, and how long it waited, in seconds. What failed had waited that
/// long too.
fn point(slot: &Slot, sample: &Sample) -> (f64, f64) {
    let at = sample.times.intended.saturating_sub(slot.started_ns) as f64 / 1e9;
    (at, sample.response_time().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::run::record::testing::text;

    /// Requests every 100 ms at a server that works on one at a time and takes `service_ms` for each.
    fn slot(service_ms: u64, requests: u64) -> Slot {
        let mut free = 0;
        let samples = (0..requests)
            .map(|index| {
                let arrives = index * 100;
                free = free.max(arrives) + service_ms + index % 3;
                text([arrives, arrives, free], &[free], 1, false)
            })
            .collect();
        Slot {
            order: 0,
            wall: Duration::from_secs(1),
            started_ns: 0,
            samples,
            new_connections: 0,
            noise: crate::host::Noise::default(),
            resident: None,
        }
    }

    #[test]
    fn a_growing_queue_is_told_from_a_busy_server() {
        let check = |service_ms, requests, unstable: bool| {
            let slots = [slot(service_ms, requests), slot(service_ms, requests)];
            let verdict = of(&slots.iter().collect::<Vec<_>>());
            assert_eq!(verdict.is_some(), unstable, "{service_ms} ms: {verdict:?}");
        };
        check(10, 20, false);
        check(90, 50, false);
        check(130, 20, true);
        check(120, 50, true);
        check(300, 4, false);
    }
}
