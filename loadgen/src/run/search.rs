use super::{Sample, SearchOutcome, SearchStep};
use crate::{
    stats::{self, Judgement},
    workload::Search,
};

/// Rates that one search tries at most; precision usually ends it long before.
const MOST_STEPS: usize = 24;

/// How far below the first rate a search goes before it says that the promise cannot be kept: ten halvings, 1/1024.
const MOST_HALVINGS: usize = 10;

/// Which rate to try next: doubled until one fails, then halfway (geometrically) between the highest that was kept and the
/// lowest that was not.
#[derive(Debug)]
pub(super) struct Searcher {
    search: Search,
    kept: Option<f64>,
    failed: Option<f64>,
    tried: usize,
}

impl Searcher {
    pub(super) fn new(search: Search) -> Self {
        Self {
            search,
            kept: None,
            failed: None,
            tried: 0,
        }
    }

    /// The next rate; `None` when the answer is as precise as it was to be.
    pub(super) fn next_rate(&self) -> Option<f64> {
        if self.tried >= MOST_STEPS {
            return None;
        }
        let Search {
            start,
            limit,
            precision,
            ..
        } = self.search;
        match (self.kept, self.failed) {
            (None, None) => Some(start),
            (Some(kept), None) => (kept < limit).then(|| (2.0 * kept).min(limit)),
            (None, Some(failed)) => (self.tried <= MOST_HALVINGS).then_some(failed / 2.0),
            (Some(kept), Some(failed)) => {
                (failed / kept > 1.0 + precision).then(|| (kept * failed).sqrt())
            }
        }
    }

    /// Notes what came of a rate.
    pub(super) fn note(&mut self, rate: f64, kept: bool) {
        self.tried += 1;
        if kept {
            self.kept = Some(self.kept.map_or(rate, |best| best.max(rate)));
        } else {
            self.failed = Some(self.failed.map_or(rate, |worst| worst.min(rate)));
        }
    }

    pub(super) fn outcome(self, steps: Vec<SearchStep>) -> SearchOutcome {
        SearchOutcome {
            steps,
            highest: self.kept,
            lowest_failing: self.failed,
        }
    }
}

/// How many requests took longer than promised, and whether the promise was kept with confidence: by MLPerf's rule, so few
/// over the limit would be seen with at most 1 % probability if the true share were too large. Neighbours count in full, as
/// they do there: near the capacity they always resemble each other, and stability is judged apart.
pub(super) fn judge(search: &Search, samples: &[Sample]) -> (usize, bool) {
    let limit = search.max;
    let keeps = |sample: &&Sample| {
        sample
            .promised(search.metric)
            .is_some_and(|time| time <= limit)
    };
    let over = samples.len() - samples.iter().filter(keeps).count();
    let judgement = stats::counted(
        over as u64,
        samples.len() as u64,
        search.quantile,
        stats::COUNTING_CONFIDENCE,
    );
    let kept = judgement == Judgement::Pass;
    (over, kept)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        routes::Failure,
        run::record::testing::text,
        workload::{Arrival, SloMetric},
    };

    fn search(start: f64, limit: f64) -> Search {
        Search {
            metric: SloMetric::E2e,
            quantile: 0.95,
            max: Duration::from_millis(100),
            arrival: Arrival::Poisson,
            start,
            limit,
            precision: 0.05,
            max_in_flight: 1000,
        }
    }

    /// What a search finds at a server that keeps its promise up to `capacity`, and the rates that it tried.
    fn find(capacity: f64, start: f64, limit: f64) -> (SearchOutcome, Vec<f64>) {
        let mut searcher = Searcher::new(search(start, limit));
        let mut rates = Vec::new();
        while let Some(rate) = searcher.next_rate() {
            searcher.note(rate, rate <= capacity);
            rates.push(rate);
        }
        (searcher.outcome(Vec::new()), rates)
    }

    #[test]
    fn it_doubles_and_then_halves_the_gap() {
        let (outcome, rates) = find(7.0, 1.0, 1000.0);
        assert_eq!(rates[..4], [1.0, 2.0, 4.0, 8.0]);
        let highest = outcome.highest.unwrap();
        assert!((7.0 / 1.05..=7.0).contains(&highest), "{highest}");
        assert!(outcome.lowest_failing.unwrap() / highest <= 1.05);
        assert!(rates.len() <= 10, "{rates:?}");
    }

    #[test]
    fn it_goes_down_when_the_first_rate_is_too_much_and_gives_up_in_time() {
        let (outcome, _) = find(0.3, 1.0, 1000.0);
        assert!((0.28..=0.3).contains(&outcome.highest.unwrap()));
        let (outcome, rates) = find(0.0, 1.0, 1000.0);
        assert_eq!((outcome.highest, rates.len()), (None, 11));
    }

    #[test]
    fn it_stops_at_its_limit() {
        let (outcome, rates) = find(1e9, 1.0, 6.0);
        assert_eq!(rates, [1.0, 2.0, 4.0, 6.0]);
        assert_eq!((outcome.highest, outcome.lowest_failing), (Some(6.0), None));
    }

    #[test]
    fn failures_and_lateness_break_a_promise_and_few_requests_keep_none() {
        let good = || text([0, 0, 50], &[20], 1, false);
        let late = || text([0, 90, 150], &[120], 1, false);
        let failed = || Sample {
            outcome: Err(Failure::Empty),
            ..good()
        };
        let check = |samples: Vec<Sample>, expected| {
            assert_eq!(judge(&search(1.0, 9.0), &samples), expected);
        };
        check(vec![good(); 100], (0, true));
        check(vec![good(); 50], (0, false));
        let mut some = vec![good(); 90];
        some.extend(vec![late(); 6]);
        some.extend(vec![failed(); 4]);
        check(some, (10, false));
    }
}
