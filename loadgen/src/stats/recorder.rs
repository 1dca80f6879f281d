use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer, V2DeflateSerializer},
};

/// The shortest time told apart from zero, in nanoseconds.
const LOWEST_NS: u64 = 1_000;
/// The longest time kept as it is, in nanoseconds: one hour. Longer ones count as one hour.
const HIGHEST_NS: u64 = 3_600_000_000_000;
/// Three digits keep every printed percentile within 0.1 % of the recorded one.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Times of requests in an HDR histogram (1 µs to 1 h, 3 digits), beside the count of those that failed.
#[derive(Debug)]
pub struct Recorder {
    histogram: Histogram<u64>,
    failed: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// An empty recorder.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that hdrhistogram accepts");
        Self {
            histogram,
            failed: 0,
        }
    }

    /// Counts one time.
    pub fn record(&mut self, time: Duration) {
        self.histogram
            .saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts one request that gave no usable reply.
    pub fn record_failure(&mut self) {
        self.failed += 1;
    }

    /// How many requests were counted, failures among them.
    pub fn count(&self) -> u64 {
        self.histogram.len() + self.failed
    }

    /// The `quantile` in milliseconds by nearest rank, failures counted as infinitely slow. `None` when empty.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        if self.count() == 0 {
            return None;
        }
        let rank = super::rank(self.count() as usize, quantile) as u64;
        if rank > self.histogram.len() {
            return Some(f64::INFINITY);
        }
        // Half a rank less, so that rounding inside the histogram cannot step over to the next value.
        let within = (rank as f64 - 0.5) / self.histogram.len() as f64;
        let nanoseconds = self.histogram.value_at_quantile(within);
        Some(nanoseconds.min(self.histogram.max()) as f64 / 1e6)
    }
}

/// The finite ones of these milliseconds as the base64 form that HdrHistogram's tools exchange (V2, deflated), in nanoseconds.
pub fn hdr_base64(milliseconds: &[f64]) -> String {
    let mut recorder = Recorder::new();
    for value in milliseconds.iter().filter(|value| value.is_finite()) {
        recorder.record(Duration::from_secs_f64(value.max(0.0) / 1e3));
    }
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(&recorder.histogram, &mut bytes)
        .expect("a histogram within its bounds can be written to memory");
    BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::nearest_rank;

    #[test]
    fn the_exchanged_form_is_read_back_by_the_library_that_defines_it() {
        let text = hdr_base64(&[1.0, 2.0, 40.0, f64::INFINITY]);
        assert!(text.starts_with("HISTF"), "{text}");
        let bytes = BASE64_STANDARD.decode(text).unwrap();
        let histogram: Histogram<u64> = hdrhistogram::serialization::Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .unwrap();
        assert_eq!(histogram.len(), 3, "a failure has no time");
        let p50 = histogram.value_at_quantile(0.5) as f64;
        assert!((p50 - 2e6).abs() <= 2e3, "{p50}");
    }

    #[test]
    fn an_empty_recorder_has_no_figures() {
        let recorder = Recorder::new();
        assert_eq!(recorder.quantile_ms(0.5), None);
    }

    #[test]
    fn only_failures_are_infinitely_slow() {
        let mut recorder = Recorder::new();
        recorder.record_failure();
        assert_eq!(recorder.quantile_ms(0.5), Some(f64::INFINITY));
    }

    proptest! {
        #[test]
        fn agrees_with_the_exact_percentile_within_a_thousandth(
            times in prop::collection::vec(1_000u64..10_000_000_000, 1..200),
            failed in 0usize..20,
            quantile in 0.01..1.0f64,
        ) {
            let mut recorder = Recorder::new();
            let mut exact: Vec<f64> = times.iter().map(|time| *time as f64 / 1e6).collect();
            for time in &times {
                recorder.record(Duration::from_nanos(*time));
            }
            for _ in 0..failed {
                recorder.record_failure();
                exact.push(f64::INFINITY);
            }
            let expected = nearest_rank(&mut exact, quantile).unwrap();
            let got = recorder.quantile_ms(quantile).unwrap();
            if expected.is_infinite() {
                prop_assert!(got.is_infinite());
            } else {
                // Below a millisecond the histogram's buckets are whole microseconds.
                prop_assert!((got - expected).abs() <= expected * 1e-3 + 2e-3, "{got} for {expected}");
            }
        }
    }
}
