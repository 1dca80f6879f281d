//! Which texts are computed together: pure decisions, measured on a BERT encoder of 22 million parameters on a processor.
//!
//! Padding texts of mixed lengths to the longest cost five times the throughput; computing texts of one length together
//! gained half at 8 tokens and a fifth at 32. So where texts are padded, they share a batch when they have the same
//! [`width`], which is their length, except that short texts round up a little, because there a batch saves more than its
//! padding costs. Where nothing is padded, any texts share a batch.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::RangeInclusive;

use super::Company;
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
/// Jobs take turns: the job whose turn it is always has a text in the next batch. What room is left goes to the jobs that are nearest to their end,
/// to one after another as much as fits. So a job with one text waits at most as many batches as there are jobs, however many texts they have, and
/// jobs that came together end one after another instead of all with the last batch: half the wait on average, and whoever reads an answer and asks
/// again does so while others are computed.
#[derive(Debug, Default)]
pub struct Ready {
    /// Jobs in the order of their turns.
    turns: VecDeque<JobId>,
    /// What each job in `turns` has.
    jobs: HashMap<JobId, Share>,
}

/// What a job has ready; never nothing.
#[derive(Debug, Default)]
struct Share {
    /// Its texts by width.
    texts: BTreeMap<u32, VecDeque<usize>>,
    /// The widths of all, added up.
    tokens: u64,
}

impl Ready {
    /// Adds a text of so many tokens.
    pub fn push(&mut self, text: Text, tokens: u32) {
        let share = self.jobs.entry(text.job).or_default();
        if share.texts.is_empty() {
            self.turns.push_back(text.job);
        }
        let width = width(tokens);
        share.tokens += u64::from(width);
        share.texts.entry(width).or_default().push_back(text.index);
    }

    /// Forgets a job's texts.
    pub fn remove(&mut self, job: JobId) {
        if self.jobs.remove(&job).is_some() {
            self.turns.retain(|turn| *turn != job);
        }
    }

    /// Takes the next batch: at least one text if any is ready, and as much company for it as it may have.
    pub fn take(&mut self, company: Company) -> Vec<Text> {
        let Some(leader) = self.turns.front().copied() else {
            return Vec::new();
        };
        let width = *self.jobs[&leader]
            .texts
            .first_key_value()
            .expect("a job in the rotation has texts")
            .0;
        // The leader goes to the end of the rotation: it has its text now.
        self.turns.rotate_left(1);
        let mut order: Vec<JobId> = self.turns.iter().copied().collect();
        let mut batch = Vec::from_iter(self.take_one(leader, width..=width).map(|(text, _)| text));
        order.sort_by_key(|job| self.jobs.get(job).map_or(0, |share| share.tokens));
        let mut room = BATCH_TOKENS.saturating_sub(width);
        for job in order {
            while batch.len() < BATCH_TEXTS as usize {
                let fitting = match company {
                    Company::Alone => return batch,
                    Company::SameWidth if width > room => return batch,
                    Company::SameWidth => width..=width,
                    Company::Any => 0..=room,
                };
                let Some((text, width)) = self.take_one(job, fitting) else {
                    break;
                };
                batch.push(text);
                room -= width;
            }
        }
        batch
    }

    /// Takes the shortest text of these widths from a job that may have one, and tells its width.
    fn take_one(&mut self, job: JobId, widths: RangeInclusive<u32>) -> Option<(Text, u32)> {
        let share = self.jobs.get_mut(&job)?;
        let (&width, indices) = share.texts.range_mut(widths).next()?;
        let index = indices.pop_front().expect("emptied widths are removed");
        share.tokens -= u64::from(width);
        if indices.is_empty() {
            share.texts.remove(&width);
        }
        if share.texts.is_empty() {
            self.remove(job);
        }
        Some((Text { job, index }, width))
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

    fn company() -> impl Strategy<Value = Company> {
        prop_oneof![
            Just(Company::Alone),
            Just(Company::SameWidth),
            Just(Company::Any)
        ]
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

    fn batches(mut ready: Ready, company: Company) -> Vec<Vec<Text>> {
        std::iter::from_fn(|| Some(ready.take(company)).filter(|batch| !batch.is_empty())).collect()
    }

    proptest! {
        #[test]
        fn every_text_is_computed_exactly_once(jobs in jobs(), company in company()) {
            let taken: Vec<Text> = batches(ready(&jobs), company).concat();
            let distinct: HashSet<Text> = taken.iter().copied().collect();
            prop_assert_eq!(taken.len(), jobs.iter().map(Vec::len).sum::<usize>());
            prop_assert_eq!(distinct.len(), taken.len());
        }

        #[test]
        fn a_batch_has_one_width_and_fits_the_budget(jobs in jobs()) {
            for batch in batches(ready(&jobs), Company::SameWidth) {
                let widths: Vec<u32> =
                    batch.iter().map(|text| width(jobs[text.job as usize][text.index])).collect();
                prop_assert!(widths.iter().all(|width| *width == widths[0]));
                prop_assert!(batch.len() == 1 || widths.iter().sum::<u32>() <= BATCH_TOKENS);
            }
        }

        #[test]
        fn without_padding_any_texts_share_a_batch_within_the_budget(jobs in jobs()) {
            let batches = batches(ready(&jobs), Company::Any);
            let tokens = |batch: &Vec<Text>| -> u32 {
                batch.iter().map(|text| jobs[text.job as usize][text.index]).sum()
            };
            for batch in &batches {
                prop_assert!(batch.len() == 1 || tokens(batch) <= BATCH_TOKENS);
                prop_assert!(batch.len() <= BATCH_TEXTS as usize);
            }
            // Two half-empty batches in a row would have been one, unless a long text led the second.
            let short = jobs.iter().flatten().all(|tokens| *tokens <= BATCH_TOKENS / 2);
            let half_empty = |pair: &[Vec<Text>]| tokens(&pair[0]) + tokens(&pair[1]) < BATCH_TOKENS / 2
                && pair[0].len() + pair[1].len() <= BATCH_TEXTS as usize;
            prop_assert!(!short || !batches.windows(2).any(half_empty));
        }

        #[test]
        fn only_short_texts_are_padded_and_by_less_than_a_step(tokens in 1u32..10_000) {
            let padding = width(tokens) - tokens;
            prop_assert!(padding < SHORT_STEP);
            prop_assert!(padding == 0 || tokens < SHORT_TOKENS);
        }

        #[test]
        fn without_mates_every_batch_is_one_text(jobs in jobs()) {
            prop_assert!(batches(ready(&jobs), Company::Alone).iter().all(|batch| batch.len() == 1));
        }

        #[test]
        fn every_job_is_in_one_of_the_next_as_many_batches_as_there_are_jobs(jobs in jobs(), company in company()) {
            let batches = batches(ready(&jobs), company);
            for job in 0..jobs.len() as JobId {
                let first = batches.iter().position(|batch| batch.iter().any(|text| text.job == job));
                prop_assert!(first.is_some_and(|first| first < jobs.len()));
            }
        }

        #[test]
        fn a_removed_job_leaves_nothing_behind(jobs in jobs(), company in company()) {
            let mut ready = ready(&jobs);
            ready.take(company);
            ready.remove(0);
            prop_assert!(batches(ready, company).concat().iter().all(|text| text.job != 0));
        }
    }

    #[test]
    fn jobs_that_came_together_end_one_after_another() {
        let mut ready = ready(&[vec![32; 8], vec![32; 8], vec![32; 8], vec![32; 8]]);
        let mut left = [8; 4];
        let mut ends = Vec::new();
        for number in 1.. {
            let batch = ready.take(Company::Any);
            if batch.is_empty() {
                break;
            }
            for text in batch {
                left[text.job as usize] -= 1;
                if left[text.job as usize] == 0 {
                    ends.push(number);
                }
            }
        }
        // Each batch has room for eight texts. By turns, all would end with the last.
        assert_eq!(ends, [1, 2, 3, 4]);
    }

    #[test]
    fn one_text_does_not_wait_for_ten_thousand() {
        let mut ready = Ready::default();
        for index in 0..10_000 {
            ready.push(Text { job: 1, index }, 20);
        }
        ready.take(Company::SameWidth);
        ready.push(Text { job: 2, index: 0 }, 300);
        let next_two = [
            ready.take(Company::SameWidth),
            ready.take(Company::SameWidth),
        ]
        .concat();
        assert!(next_two.contains(&Text { job: 2, index: 0 }));
    }
}
