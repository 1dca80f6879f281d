//! Where the leader of a team shows which step of a computation is open, and everybody takes pieces of it.
//!
//! Steps take some ten microseconds, so that nobody sleeps between them; a thread that was asleep when the computation began needs longer
//! than that to wake up. So nobody is waited for who has not taken a piece: whoever comes late, or was put off the processor by the system,
//! finds fewer pieces left, and the leader computes alone what nobody else takes.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Turns of waiting by asking before a thread lets others run: some ten microseconds. The one it waits for may be on this very processor, and would
/// not get it before the system takes it away, which is after milliseconds.
const SPINS: u32 = 200;

/// Bits of [`Board::open`] that count pieces.
const PIECE_BITS: u32 = 16;

/// The board. Its leader alone opens steps.
#[derive(Debug)]
pub struct Board {
    pieces: usize,
    /// The number of the turn, and the next piece of it: in one word, so that nobody takes a piece of a turn that is over.
    open: AtomicU64,
    /// Which step the turn is. It changes only when no piece is taken and not done.
    step: AtomicUsize,
    /// Pieces of the turn that are done.
    done: AtomicUsize,
    /// Whether a computation is under way.
    active: AtomicBool,
}

impl Board {
    /// A board for steps of so many pieces.
    pub fn new(pieces: usize) -> Self {
        assert!((1..1 << PIECE_BITS).contains(&pieces));
        Self {
            pieces,
            // All of this turn's pieces are taken.
            open: AtomicU64::new(pieces as u64),
            step: AtomicUsize::new(0),
            done: AtomicUsize::new(pieces),
            active: AtomicBool::new(false),
        }
    }

    /// How many pieces a step has.
    pub fn pieces(&self) -> usize {
        self.pieces
    }

    /// The leader begins a computation: whoever [`helps`](Self::help) from now on stays for it.
    pub fn begin(&self) {
        self.active.store(true, Ordering::SeqCst);
    }

    /// The leader ends it.
    pub fn end(&self) {
        self.active.store(false, Ordering::Release);
    }

    /// The leader opens a step, takes pieces of it, and returns when all of them are done, by whomever.
    pub fn lead(&self, step: usize, compute: &mut dyn FnMut(usize)) {
        self.step.store(step, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        let turn = (self.open.load(Ordering::Relaxed) >> PIECE_BITS) + 1;
        // What the leader wrote before is seen by those who take a piece.
        self.open.store(turn << PIECE_BITS, Ordering::Release);
        while let Some(piece) = self.take() {
            compute(piece);
            self.done.fetch_add(1, Ordering::Release);
        }
        // And what they wrote is seen by the leader.
        wait_until(|| self.done.load(Ordering::Acquire) == self.pieces);
    }

    /// Takes pieces of the steps of the computation that is under way, `compute(step, piece)`, until it ends.
    pub fn help(&self, compute: &mut dyn FnMut(usize, usize)) {
        while self.active.load(Ordering::SeqCst) {
            let mut taken = None;
            wait_until(|| {
                taken = self.take();
                taken.is_some() || !self.active.load(Ordering::Acquire)
            });
            if let Some(piece) = taken {
                compute(self.step.load(Ordering::Relaxed), piece);
                self.done.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// The next piece of the step that is open.
    fn take(&self) -> Option<usize> {
        let next = |open: u64| {
            let piece = open & ((1 << PIECE_BITS) - 1);
            (piece < self.pieces as u64).then_some(open + 1)
        };
        let open = self
            .open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        open.ok()
            .map(|open| (open & ((1 << PIECE_BITS) - 1)) as usize)
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let mut spins = 0;
    while !is_so() {
        if spins < SPINS {
            spins += 1;
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_piece_of_every_step_is_taken_once_by_whoever_comes() {
        let board = Board::new(3);
        let taken = Mutex::new(Vec::new());
        let take = |step, piece| taken.lock().unwrap().push((step, piece));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while taken.lock().unwrap().len() < 300 {
                        board.help(&mut |step, piece| take(step, piece));
                    }
                });
            }
            for computation in 0..10 {
                board.begin();
                for step in 0..10 {
                    let step = computation * 10 + step;
                    board.lead(step, &mut |piece| take(step, piece));
                    // Nothing of this step comes later, and nothing of the next one came before.
                    let mut pieces = taken.lock().unwrap()[step * 3..].to_vec();
                    pieces.sort_unstable();
                    assert_eq!(pieces, [(step, 0), (step, 1), (step, 2)]);
                }
                board.end();
            }
        });
    }

    #[test]
    fn the_leader_waits_for_nobody_who_does_not_come() {
        let board = Board::new(4);
        let mut taken = Vec::new();
        board.begin();
        board.lead(7, &mut |piece| taken.push(piece));
        board.end();
        assert_eq!(taken, [0, 1, 2, 3]);
        // Too late.
        board.help(&mut |_, _| unreachable!("nothing is under way"));
    }
}
