//! Models whose workers die while they load. Each request would start another process that dies: after a few deaths in a row
//! the model is tried again later and later instead, and who asks meanwhile is told when.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::inference::Error;
use crate::worker::{Deaths, Patience};

/// The next request after a death or two still tries at once: a worker may be killed by somebody, or by want of memory.
const PATIENCE: Patience = Patience {
    tolerated: 2,
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(30),
    forgotten_after: Duration::from_secs(600),
};

/// The models that died, and how often in a row.
#[derive(Debug)]
pub struct Crashes<K>(Mutex<HashMap<K, Deaths>>);

impl<K> Default for Crashes<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Copy + Eq + Hash> Crashes<K> {
    /// Whether the model may be loaded.
    ///
    /// # Errors
    /// [`Error::LoadLoop`] while it is left alone.
    pub fn admit(&self, model: &K, now: Instant) -> Result<(), Error> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(deaths) = table.get(model) else {
            return Ok(());
        };
        match deaths.seconds_left(&PATIENCE, now) {
            None => Ok(()),
            Some(seconds) => Err(Error::LoadLoop {
                deaths: deaths.count,
                seconds,
            }),
        }
    }

    /// Takes note of how a load has ended.
    pub fn record<T>(&self, model: K, load: &Result<T, Error>, now: Instant) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // So the table is bounded too: by the deaths that fit into that time.
        table.retain(|_, deaths| deaths.are_remembered(&PATIENCE, now));
        match load {
            Ok(_) => drop(table.remove(&model)),
            Err(Error::LoadDied(_)) => {
                let deaths = table.entry(model);
                deaths.or_insert_with(|| Deaths::none(now)).add(now);
            }
            // It said itself what is wrong, and costs no more than saying so.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn died() -> Result<(), Error> {
        Err(Error::LoadDied("by a signal".into()))
    }

    #[test]
    fn a_model_that_dies_again_and_again_is_left_alone_longer_and_longer() {
        let crashes = Crashes::default();
        let mut now = Instant::now();
        for _ in 0..PATIENCE.tolerated {
            crashes.record("bad", &died(), now);
            assert_eq!(crashes.admit(&"bad", now), Ok(()));
        }
        for (deaths, seconds) in [(3, 1), (4, 2), (5, 4), (6, 8), (7, 16), (8, 30), (9, 30)] {
            crashes.record("bad", &died(), now);
            let told = Error::LoadLoop { deaths, seconds };
            assert_eq!(crashes.admit(&"bad", now), Err(told));
            assert_eq!(crashes.admit(&"good", now), Ok(()));
            let nearly = now + Duration::from_secs(seconds.into()) - Duration::from_millis(1);
            let told = Error::LoadLoop { deaths, seconds: 1 };
            assert_eq!(crashes.admit(&"bad", nearly), Err(told));
            now += Duration::from_secs(seconds.into());
            assert_eq!(crashes.admit(&"bad", now), Ok(()));
        }
    }

    #[test]
    fn a_load_that_succeeds_and_a_long_time_wipe_the_slate() {
        let crashes = Crashes::default();
        let now = Instant::now();
        let thrice = || (0..3).for_each(|_| crashes.record("bad", &died(), now));
        thrice();
        assert!(crashes.admit(&"bad", now).is_err());
        crashes.record("bad", &Ok(()), now);
        assert_eq!(crashes.admit(&"bad", now), Ok(()));
        thrice();
        let later = now + PATIENCE.forgotten_after;
        crashes.record("bad", &died(), later);
        assert_eq!(crashes.admit(&"bad", later), Ok(()));
    }

    #[test]
    fn what_says_itself_what_is_wrong_is_not_left_alone() {
        let crashes = Crashes::default();
        let now = Instant::now();
        let failed: Result<(), _> = Err(Error::LoadFailed("no such file".into()));
        for _ in 0..10 {
            crashes.record("bad", &failed, now);
        }
        assert_eq!(crashes.admit(&"bad", now), Ok(()));
    }
}
