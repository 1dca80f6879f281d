//! Where a prompt is computed: on whose cache it goes on, which cache it takes the place of, and whether it had better wait.
//!
//! The longest known beginning is looked for in every sequence, one after the other: there are a few dozen, most differ from
//! the prompt in their first tokens, and a tree of them would have to be kept true in every cut, shift and eviction.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::sequence::{Running, Sequence};
use super::{Assigned, ROOM, Request, Scheduler, Scope, count};
use crate::inference::generate::Slot;

/// A cached prefix below one part in this many of the prompt is not worth giving up another job's longer cache for.
const WORTHWHILE_PREFIX_PARTS: usize = 10;

/// A prompt waits for one that is being computed if that spares it so many tokens.
const WORTH_WAITING: usize = 128;

/// Waiting jobs that are looked at, from the one whose turn it is, for one that need not wait for another's prompt.
const LOOKED_AT: usize = 64;

impl Scheduler {
    /// Gives the job whose turn it is a slot, if one is idle and there are cells for it. One whose prompt begins as
    /// another's that is being computed lets others pass until it can go on from there.
    pub fn assign(&mut self) -> Option<Assigned> {
        let is_paused = |one: &Sequence| one.running.as_ref().is_some_and(|job| job.is_paused);
        if self.running() >= self.slots || self.sequences.iter().any(is_paused) {
            return None;
        }
        let turns = self.turns();
        let mut looked_at = turns.into_iter().take(LOOKED_AT);
        let (place, choice) =
            looked_at.find_map(|place| Some((place, self.choose(&self.waiting[place])?)))?;
        if !self.has_room(&self.waiting[place], choice) {
            return None;
        }
        let request = self.waiting.remove(place).expect("it was just looked at");
        Some(self.place(request, choice))
    }

    /// The places of the waiting jobs in the order of their turns: those of one caller in the order they came, and of several callers
    /// the one's first who would then have the fewest running, so that nobody waits behind all that another has sent.
    fn turns(&self) -> Vec<usize> {
        let mut of_caller: HashMap<Scope, usize> = HashMap::new();
        for sequence in self.sequences.iter().filter(|one| !one.is_idle()) {
            *of_caller.entry(sequence.scope).or_default() += 1;
        }
        let mut turns: Vec<(usize, usize)> = (self.waiting.iter().enumerate())
            .map(|(place, request)| {
                let before = of_caller.entry(request.scope).or_default();
                *before += 1;
                (*before, place)
            })
            .collect();
        turns.sort_unstable();
        turns.into_iter().map(|(_, place)| place).collect()
    }

    /// Where a prompt is to be computed, going on from what; nowhere if it is better to wait.
    fn choose(&self, request: &Request) -> Option<Choice> {
        let worthwhile = |known: usize| match known * WORTHWHILE_PREFIX_PARTS < request.prompt.len()
        {
            true => 0,
            false => known,
        };
        let known = |slot: Slot| self.at(slot).known(request.scope, &request.prompt);
        let idle = || self.slots().filter(|&slot| self.at(slot).is_idle());
        if !self.limits.shares {
            let slot = idle().max_by_key(|&slot| {
                (
                    worthwhile(known(slot)),
                    Reverse((self.at(slot).released, slot)),
                )
            })?;
            return Some(Choice {
                slot,
                source: None,
                known: known(slot),
            });
        }
        let best = self
            .slots()
            .max_by_key(|&slot| (known(slot), self.at(slot).is_idle(), Reverse(slot)))?;
        let found = known(best);
        let promised = self
            .slots()
            .map(|slot| self.at(slot).promised(request.scope, &request.prompt));
        if promised.max()? >= found + WORTH_WAITING {
            return None;
        }
        if worthwhile(found) == 0 {
            return Some(Choice {
                slot: self.spare(None)?,
                source: None,
                known: 0,
            });
        }
        let source = self.at(best);
        let goes_on = source.is_idle() && source.computed == found;
        match self.spare(Some(best)).filter(|_| !goes_on) {
            Some(slot) => Some(Choice {
                slot,
                source: Some(best),
                known: found,
            }),
            None if source.is_idle() => Some(Choice {
                slot: best,
                source: None,
                known: found,
            }),
            None => None,
        }
    }

    /// The idle slot whose cache is missed least: an empty one, or the longest unused.
    fn spare(&self, but: Option<Slot>) -> Option<Slot> {
        let idle = self
            .slots()
            .filter(|&slot| self.at(slot).is_idle() && Some(slot) != but);
        idle.min_by_key(|&slot| {
            let sequence = self.at(slot);
            (sequence.computed > 0, sequence.released, slot)
        })
    }

    /// Whether there are cells for a prompt and a little of its answer, besides what those that run still need for theirs.
    fn has_room(&self, request: &Request, choice: Choice) -> bool {
        if self.running() == 0 {
            return true;
        }
        let stays = |slot: &Slot| {
            !self.at(*slot).is_idle()
                || Some(*slot) == choice.source
                || *slot == choice.slot && choice.known > 0
        };
        let kept = self
            .slots()
            .filter(stays)
            .flat_map(|slot| &self.at(slot).cells);
        let available = self.cells.total() - self.cells.distinct(kept);
        let needed = request.prompt.len() - choice.known + ROOM;
        available >= needed + self.outstanding()
    }

    fn place(&mut self, request: Request, choice: Choice) -> Assigned {
        let Choice {
            slot,
            source,
            known,
        } = choice;
        let (id, assigned) = (request.id, self.tick());
        if source.is_some() || known == 0 {
            self.evict(slot);
        }
        if let Some(source) = source {
            let source = &mut self.sequences[source as usize];
            source.released = source.released.max(assigned);
            source.used = self.steps;
            let shared = source.cells[..known].to_vec();
            shared.iter().for_each(|cell| self.cells.hold(*cell));
            let target = &mut self.sequences[slot as usize];
            (target.cells, target.computed, target.exact) = (shared, known, known);
        }
        let sequence = &mut self.sequences[slot as usize];
        sequence.truncate(known, &mut self.cells);
        sequence.scope = request.scope;
        sequence.tokens.clone_from(&request.prompt);
        sequence.running = Some(Running::new(request, self.luck.of_one(), assigned));
        Assigned {
            id,
            slot,
            source,
            cached_tokens: count(known),
        }
    }

    /// Says how many tokens are really left in the cache of a slot that was just assigned; at most as many as proposed.
    pub fn start(&mut self, slot: Slot, cached_tokens: u32) {
        self.left(slot, cached_tokens);
    }
}

/// Where a prompt is to be computed.
#[derive(Clone, Copy, Debug)]
struct Choice {
    slot: Slot,
    /// Whose cache it goes on from, if not the slot's own.
    source: Option<Slot>,
    /// Tokens that are known there.
    known: usize,
}
