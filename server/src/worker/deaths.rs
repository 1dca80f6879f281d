//! Deaths in a row, and how long whatever brings them about is left alone.

use std::time::{Duration, Instant};

/// How much is put up with.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Deaths in a row after which the next try is still let through at once.
    pub tolerated: u32,
    /// How long it is left alone after the first death that is not tolerated; twice as long after each one more.
    pub first_pause: Duration,
    /// Longest time for which it is left alone.
    pub longest_pause: Duration,
    /// Deaths that nobody has seen the like of for so long count no more.
    pub forgotten_after: Duration,
}

/// Deaths without a success between them.
#[derive(Clone, Copy, Debug)]
pub struct Deaths {
    /// How many.
    pub count: u32,
    last: Instant,
}

impl Deaths {
    /// None so far.
    #[must_use]
    pub fn none(now: Instant) -> Self {
        Self {
            count: 0,
            last: now,
        }
    }

    /// One more.
    pub fn add(&mut self, now: Instant) {
        self.count = self.count.saturating_add(1);
        self.last = now;
    }

    /// When the last one was.
    #[must_use]
    pub fn last(&self) -> Instant {
        self.last
    }

    /// Whether they still count.
    #[must_use]
    pub fn are_remembered(&self, patience: &Patience, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < patience.forgotten_after
    }

    /// Seconds until the next try, rounded up; `None` if it may be now.
    #[must_use]
    pub fn seconds_left(&self, patience: &Patience, now: Instant) -> Option<u32> {
        let doublings = self.count.checked_sub(patience.tolerated + 1)?;
        let factor = 2_u32.saturating_pow(doublings);
        let pause = patience.first_pause.saturating_mul(factor);
        let pause = pause.min(patience.longest_pause);
        let left = pause.saturating_sub(now.saturating_duration_since(self.last));
        (!left.is_zero()).then(|| left.as_secs_f64().ceil() as u32)
    }
}
