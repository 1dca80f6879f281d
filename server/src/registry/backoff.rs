//! Waiting before another attempt: longer each time, and never in step with others who failed at the same moment.

use std::time::Duration;

use super::{Error, Limits};

/// How long to wait after the `failures`th failure in a row, which was `error`.
pub fn delay(limits: &Limits, failures: u32, error: &Error) -> Duration {
    let doubled = limits.backoff.saturating_mul(
        1_u32
            .checked_shl(failures.saturating_sub(1))
            .unwrap_or(u32::MAX),
    );
    let jittered = doubled
        .min(limits.max_backoff)
        .mul_f64(rand::random_range(0.5..1.5));
    // What the registry asks for is the least it should get, but it cannot put us to sleep.
    jittered
        .max(error.retry_after().unwrap_or_default())
        .min(limits.max_backoff)
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn told(retry_after: Option<u64>) -> Error {
        Error::Status {
            status: StatusCode::TOO_MANY_REQUESTS,
            body: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn waits_grow_up_to_a_bound() {
        let limits = Limits::default();
        for (failures, seconds) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (99, 30)] {
            let delay = delay(&limits, failures, &Error::Stalled);
            let middle = Duration::from_secs(seconds);
            assert!(delay >= middle / 2 && delay <= (middle * 3 / 2).min(limits.max_backoff));
        }
    }

    #[test]
    fn a_registry_is_waited_for_but_not_for_ever() {
        let limits = Limits::default();
        assert!(delay(&limits, 1, &told(Some(7))) >= Duration::from_secs(7));
        assert_eq!(delay(&limits, 1, &told(Some(86_400))), limits.max_backoff);
        assert!(delay(&limits, 1, &told(None)) < Duration::from_secs(2));
    }
}
