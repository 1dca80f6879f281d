//! Requests that were under way when a worker died. One of them may be what it died of, and whoever sent it may send it again and
//! again: after the second death in a row it is refused for a while, and everybody else's requests go on.
//!
//! Which of those under way it was nobody knows. A request that is answered is cleared of all suspicion, so that only what is
//! never answered comes to be refused. Kept of a request is a hash with a key that only this process has.

use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::deaths::{Deaths, Patience};
use crate::inference::{Error, Job};

const PATIENCE: Patience = Patience {
    tolerated: 1,
    first_pause: Duration::from_secs(60),
    longest_pause: Duration::from_secs(600),
    forgotten_after: Duration::from_secs(1800),
};

/// Most requests that are remembered: those of several workers that died with full queues. Beyond, the oldest are forgotten.
const MAX_SUSPECTS: usize = 4096;

/// A request on a model, as far as it is remembered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Trace(u64);

/// The requests under suspicion, of all models.
#[derive(Debug, Default)]
pub struct Suspects {
    keys: RandomState,
    table: Mutex<HashMap<Trace, Deaths>>,
}

impl Suspects {
    /// What to remember of a job on the model of this name.
    #[must_use]
    pub fn trace(&self, model: &str, job: &Job) -> Trace {
        let mut hasher = self.keys.build_hasher();
        hasher.write(model.as_bytes());
        hasher.write_u8(0xff);
        let Hashing(hasher) =
            postcard::to_io(job, Hashing(hasher)).expect("a hash takes any bytes");
        Trace(hasher.finish())
    }

    /// Whether the job may be given to a worker.
    ///
    /// # Errors
    /// [`Error::Suspect`] for a while after each death from the second in a row on.
    pub fn admit(&self, trace: Trace, now: Instant) -> Result<(), Error> {
        let table = self.table();
        let Some(deaths) = table.get(&trace) else {
            return Ok(());
        };
        match deaths.seconds_left(&PATIENCE, now) {
            None => Ok(()),
            Some(seconds) => Err(Error::Suspect {
                deaths: deaths.count,
                seconds,
            }),
        }
    }

    /// A worker has died, and these were under way; each counts once, however many had sent it.
    pub fn died(&self, mut under_way: Vec<Trace>, now: Instant) {
        under_way.sort_unstable_by_key(|trace| trace.0);
        under_way.dedup();
        let mut table = self.table();
        table.retain(|_, deaths| deaths.are_remembered(&PATIENCE, now));
        for trace in under_way {
            if table.len() >= MAX_SUSPECTS && !table.contains_key(&trace) {
                let oldest = table.iter().min_by_key(|(_, deaths)| deaths.last());
                let oldest = *oldest.expect("the table is full").0;
                table.remove(&oldest);
            }
            table
                .entry(trace)
                .or_insert_with(|| Deaths::none(now))
                .add(now);
        }
    }

    /// This one was answered.
    pub fn answered(&self, trace: Trace) {
        self.table().remove(&trace);
    }

    /// The table is whole between any two statements that hold it, so a panic elsewhere leaves it usable.
    fn table(&self) -> MutexGuard<'_, HashMap<Trace, Deaths>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hasher that can be written to.
struct Hashing(DefaultHasher);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(token: i32) -> Job {
        Job::Detokenize {
            tokens: vec![token],
        }
    }

    #[test]
    fn a_request_that_is_under_way_at_two_deaths_in_a_row_is_refused_for_a_while() {
        let suspects = Suspects::default();
        let mut now = Instant::now();
        let (bad, other) = (
            suspects.trace("model", &job(1)),
            suspects.trace("model", &job(2)),
        );
        suspects.died(vec![bad, other, bad], now);
        assert_eq!(suspects.admit(bad, now), Ok(()));
        suspects.answered(other);
        for (deaths, seconds) in [(2, 60), (3, 120), (4, 240), (5, 480), (6, 600), (7, 600)] {
            suspects.died(vec![bad], now);
            assert_eq!(
                suspects.admit(bad, now),
                Err(Error::Suspect { deaths, seconds })
            );
            now += Duration::from_secs(seconds.into());
            assert_eq!(suspects.admit(bad, now), Ok(()));
        }
        suspects.died(vec![other], now);
        assert_eq!(suspects.admit(other, now), Ok(()));
        suspects.answered(bad);
        suspects.died(vec![bad], now);
        assert_eq!(suspects.admit(bad, now), Ok(()));
    }

    #[test]
    fn what_is_asked_and_of_whom_tells_requests_apart() {
        let suspects = Suspects::default();
        let trace = suspects.trace("model", &job(1));
        assert_eq!(trace, suspects.trace("model", &job(1)));
        assert_ne!(trace, suspects.trace("model", &job(2)));
        assert_ne!(trace, suspects.trace("other", &job(1)));
    }

    #[test]
    fn no_more_are_remembered_than_the_bound_and_none_for_ever() {
        let suspects = Suspects::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let traces: Vec<_> = (0..=MAX_SUSPECTS as u64).map(Trace).collect();
        suspects.died(traces[..MAX_SUSPECTS].to_vec(), now);
        suspects.died(vec![traces[1], traces[MAX_SUSPECTS]], later);
        assert_eq!(suspects.table().len(), MAX_SUSPECTS);
        assert!(suspects.admit(traces[1], later).is_err());
        suspects.died(vec![], later + PATIENCE.forgotten_after);
        assert!(suspects.table().is_empty());
    }
}
