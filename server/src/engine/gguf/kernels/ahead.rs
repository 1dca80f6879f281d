//! Memory that is asked for before it is used.

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
use std::cell::Cell;

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Bytes of a page: a processor looks for sequences of lines within one, and runs ahead of a sequence in each of several.
const PAGE: usize = 4096;

/// Most sequences at a time.
const SEQUENCES: usize = 8;

/// Rows of weights that lie one behind the other, and are asked for while others are computed with: a little at a time, as nothing else can
/// be read while too much is on its way; and in several sequences by turns, each in pages of its own. That brings up to a third more than one line
/// after the other, as each sequence that the processor finds is one more that it runs ahead of by itself.
pub(super) struct Ahead {
    /// Where the first sequence goes on.
    at: Cell<*const u8>,
    /// Bytes from one sequence to the next.
    distance: usize,
    sequences: usize,
    /// Lines of the first sequence that are left.
    left: Cell<usize>,
    /// Bytes that are to be asked for when they are a line of each sequence.
    due: Cell<usize>,
}

impl Ahead {
    /// For rows of so many bytes together, from `from` on.
    pub(super) fn new(from: *const u8, bytes: usize) -> Self {
        let sequences = bytes.div_ceil(PAGE).clamp(1, SEQUENCES);
        let ahead = Self {
            at: Cell::new(from),
            distance: bytes.div_ceil(sequences * LINE) * LINE,
            sequences,
            left: Cell::new(0),
            due: Cell::new(0),
        };
        ahead.turn_to(from);
        ahead
    }

    /// As many groups of `bytes` each as are asked for together: two, unless that is too much for a second cache.
    pub(super) fn groups(bytes: usize) -> usize {
        if bytes <= SEQUENCES * PAGE { 2 } else { 1 }
    }

    /// Goes on to others.
    pub(super) fn turn_to(&self, from: *const u8) {
        self.at.set(from);
        self.left.set(self.distance / LINE);
        // The last lines, too, if they are fewer.
        self.due.set(self.sequences * LINE - 1);
    }

    /// Asks for so many bytes more, which are to come as far as the second cache. Any processor with 64 bits can.
    #[inline(always)]
    pub(super) fn ask(&self, bytes: usize) {
        // SAFETY: it reads nothing.
        self.each(bytes, |line| unsafe {
            _mm_prefetch::<_MM_HINT_T1>(line.cast());
        });
    }

    /// The lines that so many bytes more are.
    #[inline(always)]
    fn each(&self, bytes: usize, mut line: impl FnMut(*const u8)) {
        let mut due = self.due.get() + bytes;
        while due >= self.sequences * LINE && self.left.get() > 0 {
            due -= self.sequences * LINE;
            self.left.set(self.left.get() - 1);
            let mut at = self.at.get();
            self.at.set(at.wrapping_add(LINE));
            for _ in 0..self.sequences {
                line(at);
                at = at.wrapping_add(self.distance);
            }
        }
        self.due.set(due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_asked_for_once_and_hardly_any_beyond() {
        for bytes in [64, 544, 9792, 16320, 32640, 100_000] {
            for step in [32, 544, 2304] {
                let from = std::ptr::without_provenance::<u8>(1 << 20);
                let ahead = Ahead::new(from, bytes);
                let mut lines = Vec::new();
                for _ in 0..bytes.div_ceil(step) + 3 {
                    ahead.each(step, |line| lines.push((line.addr() - from.addr()) / LINE));
                }
                let all = lines.len();
                assert!(all < bytes.div_ceil(LINE) + SEQUENCES, "{bytes}: {all}");
                lines.sort_unstable();
                let expected: Vec<usize> = (0..all).collect();
                assert_eq!(lines, expected, "{bytes}");
                assert!(all >= bytes.div_ceil(LINE));
            }
        }
    }
}
