//! Who gives way when cells or contexts are full: caches of ended jobs, the youngest jobs, the older half of a context.

use super::sequence::Sequence;
use super::{Cut, Full, ROOM, Scheduler, count};
use crate::inference::generate::Slot;

impl Scheduler {
    /// What the engine is to drop, in this order; [`Self::left`] is to be told what that leaves.
    pub fn cuts(&mut self) -> Vec<Cut> {
        std::mem::take(&mut self.cuts)
    }

    /// Says how many tokens of a slot are really left after a cut; at most as many as asked for.
    pub fn left(&mut self, slot: Slot, tokens: u32) {
        let sequence = &mut self.sequences[slot as usize];
        sequence.truncate(tokens as usize, &mut self.cells);
    }

    /// A slot whose job needs room in its context for its next token, if there is one.
    pub fn full(&mut self) -> Option<Full> {
        let context = self.limits.context as usize;
        let slot = self.slots().find(|&slot| {
            let sequence = self.at(slot);
            sequence.active().is_some() && sequence.computed >= context
        })?;
        let job = self.at(slot).running();
        // llama.cpp's context shift: at least four tokens are not kept, and half of those go.
        let keep = (job.keep as usize).min(context.saturating_sub(4));
        let dropped = ((self.at(slot).computed - keep) / 2).max(1);
        let has_images = job.has_images;
        // Moving a cell moves it for all who hold it. Those who only might be gone on from lose what follows.
        let first = self.at(slot).cells[keep];
        for other in self.slots() {
            if self.at(other).is_idle() && self.at(other).cells.get(keep) == Some(&first) {
                self.drop_from(other, keep);
            }
        }
        let is_shared = || {
            self.at(slot).cells[keep..]
                .iter()
                .any(|cell| self.cells.is_shared(*cell))
        };
        Some(Full {
            slot,
            keep: count(keep),
            count: count(dropped),
            moves: has_images || !is_shared(),
        })
    }

    /// Notes that the engine did what [`Self::full`] asked for.
    pub fn shifted(&mut self, full: Full) {
        let (keep, count) = (full.keep as usize, full.count as usize);
        let sequence = &mut self.sequences[full.slot as usize];
        if full.moves {
            for cell in sequence.cells.drain(keep..keep + count) {
                self.cells.give(cell);
            }
            sequence.computed -= count;
            sequence.exact = sequence.exact.min(keep);
        } else {
            sequence.truncate(keep, &mut self.cells);
        }
        sequence.tokens.drain(keep..keep + count);
    }

    /// Evicts caches of ended jobs, the longest unused first, until so many cells are free. False if that is not enough.
    pub(super) fn make_free(&mut self, cells: usize) -> bool {
        while self.cells.free() < cells {
            let holding = self.slots().filter(|&slot| {
                let sequence = self.at(slot);
                sequence.is_idle() && sequence.computed > 0
            });
            let Some(slot) = holding.min_by_key(|&slot| self.at(slot).released) else {
                return false;
            };
            self.evict(slot);
        }
        true
    }

    /// Evicts caches of ended jobs that have slowed others down for long enough.
    pub(super) fn evict_unused(&mut self) {
        for slot in self.slots() {
            let sequence = self.at(slot);
            let is_unused = self.steps - sequence.used >= u64::from(self.limits.kept_steps);
            if is_unused && sequence.is_idle() && sequence.computed > 0 {
                self.evict(slot);
            }
        }
    }

    /// Takes the cells of the youngest job for the others. There is always one left: all cells hold a whole context.
    pub(super) fn pause_youngest(&mut self) {
        let youngest = self
            .slots()
            .filter(|&slot| self.at(slot).active().is_some())
            .max_by_key(|&slot| self.at(slot).active())
            .expect("one job alone has room");
        self.drop_from(youngest, 0);
        self.sequences[youngest as usize].running_mut().is_paused = true;
    }

    /// Lets paused jobs go on, the oldest first, while there are cells for all of their tokens beside the others'.
    pub(super) fn resume(&mut self, streams: usize) {
        loop {
            let paused = self.slots().filter(|&slot| {
                let job = self.at(slot).running.as_ref();
                job.is_some_and(|job| job.is_paused)
            });
            let Some(slot) = paused.min_by_key(|&slot| self.at(slot).running().assigned) else {
                return;
            };
            let is_active = |slot: &Slot| self.at(*slot).active().is_some();
            let held = self
                .slots()
                .filter(is_active)
                .flat_map(|slot| &self.at(slot).cells);
            let available = self.cells.total() - self.cells.distinct(held);
            let needed = self.at(slot).tokens.len() + ROOM + streams + self.outstanding();
            if self.slots().any(|slot| is_active(&slot)) && available < needed {
                return;
            }
            self.sequences[slot as usize].running_mut().is_paused = false;
        }
    }

    /// Cells that the active jobs need for what they have to compute now.
    pub(super) fn outstanding(&self) -> usize {
        let active = self.sequences.iter().filter(|one| one.active().is_some());
        active.map(Sequence::missing).sum()
    }

    /// Empties an idle slot.
    pub(super) fn evict(&mut self, slot: Slot) {
        self.drop_from(slot, 0);
        self.sequences[slot as usize].tokens.clear();
    }

    /// Drops what is computed from this token on, here and in the engine.
    pub(super) fn drop_from(&mut self, slot: Slot, length: usize) {
        let sequence = &mut self.sequences[slot as usize];
        sequence.truncate(length, &mut self.cells);
        self.cuts.push(Cut {
            slot,
            position: count(length),
        });
    }
}
