//! Which texts are computed together: pure decisions, measured on a BERT encoder of 22 million parameters on a processor.
//!
//! Padding texts of mixed lengths to the longest cost five times the throughput; computing texts of one length together
//! gained half at 8 tokens and a fifth at 32. So texts share a batch when they have the same [`width`], which is their
//! length, except that short texts round up a little, because there a batch saves more than its padding costs.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::inference::JobId;

/// Most tokens of a batch, padding included, unless a single text has more. It bounds the time in which a cancelled job
/// is still computed, and nothing was gained beyond it.
pub const BATCH_TOKENS: u32 = 256;

/// Texts of fewer tokens than this gain more from company than a little padding costs.
const SHORT_TOKENS: u32 = 16;

/// Lengths of short texts round up to multiples of this.
const SHORT_STEP: u32 = 4;

/// Most texts of a batch.
pub const BATCH_TEXTS: u32 = BATCH_TOKENS / SHORT_STEP;

/// Tokens that a text of this length takes in a batch, padding included. Texts of the same width may share a batch.
#[must_use]
pub fn width(tokens: u32) -> u32 {
    if tokens < SHORT_TOKENS {
        tokens.max(1).next_multiple_of(SHORT_STEP)
    } else {
        tokens
    }
}

/// A text of a job: its index among the job's inputs.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Text {
    /// The job.
    pub job: JobId,
    /// Index among the job's inputs.
    pub index: usize,
}

/// The texts that are ready to be computed, by job and width.
///
/// Jobs take turns: the job whose turn it is always has a text in the next batch, and every other job may add texts of
/// the same width, one each in rotation. So a job with one text waits at most as many batches as there are jobs, however
/// many texts they have.
#[derive(Debug, Default)]
pub struct Ready {
    /// Jobs in the order of their turns.
    turns: VecDeque<JobId>,
    /// Texts of each job in `turns` by width; never empty for a job in `turns`.
    texts: HashMap<JobId, BTreeMap<u32, VecDeque<usize>>>,
}

impl Ready {
    /// Adds a text of so many tokens.
    pub fn push(&mut self, text: Text, tokens: u32) {
        let by_width = self.texts.entry(text.job).or_default();
        if by_width.is_empty() {
            self.turns.push_back(text.job);
        }
        by_width
            .entry(width(tokens))
            .or_default()
            .push_back(text.index);
    }

    /// Forgets a job's texts.
    pub fn remove(&mut self, job: JobId) {
        if self.texts.remove(&job).is_some() {
            self.turns.retain(|turn| *turn != job);
        }
    }

    /// Takes the next batch: at least one text if any is ready, one alone unless `mates`.
    pub fn take(&mut self, mates: bool) -> Vec<Text> {
        let Some(leader) = self.turns.front().copied() else {
            return Vec::new();
        };
        let width = *self.texts[&leader]
            .first_key_value()
            .expect("a job in the rotation has texts")
            .0;
        let most = if mates {
            (BATCH_TOKENS / width).max(1) as usize
        } else {
            1
        };
        // The leader goes to the end of the rotation, and so comes first in the one that starts here.
        self.turns.rotate_left(1);
        let order: Vec<JobId> = std::iter::once(leader)
            .chain(self.turns.iter().copied().filter(|job| *job != leader))
            .collect();
        let mut batch = Vec::new();
        loop {
            let before = batch.len();
            for &job in &order {
                if batch.len() == most {
                    break;
                }
                batch.extend(self.take_one(job, width));
            }
            if batch.len() == before || batch.len() == most {
                break;
            }
        }
        batch
    }

    /// Takes one text of this width from a job that may have one.
    fn take_one(&mut self, job: JobId, width: u32) -> Option<Text> {
        let by_width = self.texts.get_mut(&job)?;
        let indices = by_width.get_mut(&width)?;
        let index = indices.pop_front().expect("emptied widths are removed");
        if indices.is_empty() {
            by_width.remove(&width);
        }
        if by_width.is_empty() {
            self.remove(job);
        }
        Some(Text { job, index })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Jobs of up to 40 texts each, as lengths in tokens.
    fn jobs() -> impl Strategy<Value = Vec<Vec<u32>>> {
        prop::collection::vec(prop::collection::vec(1u32..600, 1..40), 1..12)
    }

    fn ready(jobs: &[Vec<u32>]) -> Ready {
        let mut ready = Ready::default();
        for (job, lengths) in jobs.iter().enumerate() {
            for (index, &tokens) in lengths.iter().enumerate() {
                let job = job as JobId;
                ready.push(Text { job, index }, tokens);
            }
        }
        ready
    }

    fn batches(mut ready: Ready, mates: bool) -> Vec<Vec<Text>> {
        std::iter::from_fn(|| Some(ready.take(mates)).filter(|batch| !batch.is_empty())).collect()
    }

    proptest! {
        #[test]
        fn every_text_is_computed_exactly_once(jobs in jobs(), mates: bool) {
            let taken: Vec<Text> = batches(ready(&jobs), mates).concat();
            let distinct: HashSet<Text> = taken.iter().copied().collect();
            prop_assert_eq!(taken.len(), jobs.iter().map(Vec::len).sum::<usize>());
            prop_assert_eq!(distinct.len(), taken.len());
        }

        #[test]
        fn a_batch_has_one_width_and_fits_the_budget(jobs in jobs()) {
            for batch in batches(ready(&jobs), true) {
                let widths: Vec<u32> =
                    batch.iter().map(|text| width(jobs[text.job as usize][text.index])).collect();
                prop_assert!(widths.iter().all(|width| *width == widths[0]));
                prop_assert!(batch.len() == 1 || widths.iter().sum::<u32>() <= BATCH_TOKENS);
            }
        }

        #[test]
        fn only_short_texts_are_padded_and_by_less_than_a_step(tokens in 1u32..10_000) {
            let padding = width(tokens) - tokens;
            prop_assert!(padding < SHORT_STEP);
            prop_assert!(padding == 0 || tokens < SHORT_TOKENS);
        }

        #[test]
        fn without_mates_every_batch_is_one_text(jobs in jobs()) {
            prop_assert!(batches(ready(&jobs), false).iter().all(|batch| batch.len() == 1));
        }

        #[test]
        fn every_job_is_in_one_of_the_next_as_many_batches_as_there_are_jobs(jobs in jobs(), mates: bool) {
            let batches = batches(ready(&jobs), mates);
            for job in 0..jobs.len() as JobId {
                let first = batches.iter().position(|batch| batch.iter().any(|text| text.job == job));
                prop_assert!(first.is_some_and(|first| first < jobs.len()));
            }
        }

        #[test]
        fn a_removed_job_leaves_nothing_behind(jobs in jobs(), mates: bool) {
            let mut ready = ready(&jobs);
            ready.take(mates);
            ready.remove(0);
            prop_assert!(batches(ready, mates).concat().iter().all(|text| text.job != 0));
        }
    }

    #[test]
    fn one_text_does_not_wait_for_ten_thousand() {
        let mut ready = Ready::default();
        for index in 0..10_000 {
            ready.push(Text { job: 1, index }, 20);
        }
        ready.take(true);
        ready.push(Text { job: 2, index: 0 }, 300);
        let next_two = [ready.take(true), ready.take(true)].concat();
        assert!(next_two.contains(&Text { job: 2, index: 0 }));
    }
}
