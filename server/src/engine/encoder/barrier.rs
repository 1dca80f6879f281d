//! Waiting for each other, many times in a millisecond.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Turns of waiting by asking before a member lets others run: some ten microseconds. The one it waits for may be on this very
/// processor, and would not get it before the system takes it away, which is after milliseconds.
const SPINS: u32 = 200;

/// A barrier that is passed by asking over and over: its members wait for microseconds, which a sleep cannot.
#[derive(Debug)]
pub struct Barrier {
    members: usize,
    arrived: AtomicUsize,
    passed: AtomicUsize,
}

impl Barrier {
    pub fn new(members: usize) -> Self {
        Self {
            members,
            arrived: AtomicUsize::new(0),
            passed: AtomicUsize::new(0),
        }
    }

    /// Returns when all members have called it.
    pub fn wait(&self) {
        if self.members == 1 {
            return;
        }
        let round = self.passed.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.members {
            self.arrived.store(0, Ordering::Relaxed);
            self.passed.store(round.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.passed.load(Ordering::Acquire) == round {
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}
