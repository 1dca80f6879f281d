use std::{
    thread,
    time::{Duration, Instant},
};

/// How long before its time a sleep is left for a spin: a sleeping thread wakes up to this late.
const LEAD: Duration = Duration::from_micros(200);

/// The share of a CPU that spinning may take from servers on the same machine.
const SPIN_SHARE: f64 = 0.1;

/// How long to spin before each of these times: as long as sleeps need, but no more than [`SPIN_SHARE`] of the time between
/// them. Not at all on one CPU, where it would only keep others from working; latency counts from the intended time all
/// the same.
pub(super) fn lead(offsets: &[Duration]) -> Duration {
    let cpus = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match (cpus, offsets.last()) {
        (1, _) | (_, None) => Duration::ZERO,
        (_, Some(last)) => LEAD.min(last.mul_f64(SPIN_SHARE / offsets.len() as f64)),
    }
}

/// Returns at `at`, or at once when it has passed: sleeps until `lead` before it, then spins.
pub(super) fn wait_until(at: Instant, lead: Duration) {
    let sleep = at
        .saturating_duration_since(Instant::now())
        .saturating_sub(lead);
    if !sleep.is_zero() {
        thread::sleep(sleep);
    }
    if !lead.is_zero() {
        while Instant::now() < at {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_early() {
        for lead in [Duration::ZERO, LEAD] {
            let at = Instant::now() + Duration::from_millis(2);
            wait_until(at, lead);
            assert!(Instant::now() >= at);
        }
        let past = Instant::now();
        wait_until(past, LEAD);
    }

    #[test]
    fn spinning_is_a_small_share_of_the_time() {
        let every = |gap: Duration| (0..100).map(|index| gap * index).collect::<Vec<_>>();
        let fast = lead(&every(Duration::from_micros(500)));
        assert!(fast <= Duration::from_micros(50), "{fast:?}");
        assert!(lead(&every(Duration::from_secs(1))) <= LEAD);
        assert_eq!(lead(&[]), Duration::ZERO);
    }
}
