/// How requests flowed through a server while they kept arriving.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow {
    /// Requests in the server on average, until the last arrival (L).
    pub in_flight: f64,
    /// Arrivals per second (λ).
    pub arrival_rate: f64,
    /// Seconds that a request stayed on average (W).
    pub stay: f64,
}

impl Flow {
    /// How far L is from λ·W, as a share of λ·W. Little's law makes them equal in a steady state; in-flight requests below
    /// λ·W mean that replies came later and later: a queue grew.
    pub fn imbalance(&self) -> f64 {
        let expected = self.arrival_rate * self.stay;
        (self.in_flight - expected) / expected
    }
}

/// The flow of requests given by when each began and ended, in seconds on one clock. `None` below two arrivals or when all
/// arrive at once.
pub fn flow(requests: &[(f64, f64)]) -> Option<Flow> {
    let starts = requests.iter().map(|(start, _)| *start);
    let first = starts.clone().min_by(f64::total_cmp)?;
    let last = starts.max_by(f64::total_cmp)?;
    let window = last - first;
    if window <= 0.0 {
        return None;
    }
    // The last arrival closes the window, so it is not one of the arrivals in it.
    let inside: Vec<(f64, f64)> = requests
        .iter()
        .copied()
        .filter(|(start, _)| *start < last)
        .collect();
    let count = inside.len() as f64;
    let present: f64 = inside
        .iter()
        .map(|(start, end)| end.min(last) - start)
        .sum();
    let stay: f64 = inside.iter().map(|(start, end)| end - start).sum::<f64>() / count;
    Some(Flow {
        in_flight: present / window,
        arrival_rate: count / window,
        stay,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_steady_flow_obeys_littles_law() {
        let requests: Vec<(f64, f64)> = (0..1000)
            .map(|index| (f64::from(index) * 0.1, f64::from(index) * 0.1 + 0.35))
            .collect();
        let flow = flow(&requests).unwrap();
        assert!((flow.arrival_rate - 10.0).abs() < 0.02, "{flow:?}");
        assert!((flow.stay - 0.35).abs() < 1e-9);
        assert!(flow.imbalance().abs() < 0.01, "{flow:?}");
    }

    #[test]
    fn a_growing_queue_breaks_it() {
        // Ten arrivals a second, nine served.
        let requests: Vec<(f64, f64)> = (0..1000)
            .map(|index| (f64::from(index) / 10.0, f64::from(index + 1) / 9.0))
            .collect();
        assert!(flow(&requests).unwrap().imbalance() < -0.05);
    }

    #[test]
    fn one_arrival_is_no_flow() {
        assert_eq!(flow(&[]), None);
        assert_eq!(flow(&[(0.0, 1.0)]), None);
        assert_eq!(flow(&[(0.0, 1.0), (0.0, 2.0)]), None);
    }

    proptest! {
        #[test]
        fn never_more_in_flight_than_littles_law_allows(
            requests in prop::collection::vec((0.0..100.0f64, 0.001..10.0f64), 2..200),
        ) {
            let requests: Vec<(f64, f64)> = requests.into_iter().map(|(start, stay)| (start, start + stay)).collect();
            if let Some(flow) = flow(&requests) {
                prop_assert!(flow.imbalance() <= 1e-9);
            }
        }
    }
}
