//! Which messages to leave out when a conversation does not fit the context.
//!
//! Ollama's rule (`server/prompt.go`): leave out the oldest messages, but keep every system message and the last
//! message. Ollama renders and counts once for every message it leaves out; since leaving out more never makes the
//! prompt longer, the search here halves the range instead and asks about log2 as often.

use super::Message;

/// The search for how many messages to leave out. The caller renders and counts each candidate, with whatever
/// waiting that takes, and reports whether it fits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Truncation {
    /// No start before this one can fit.
    low: usize,
    /// The best start known: seen to fit, or the last message, which is kept whether it fits or not.
    high: usize,
    /// The whole conversation fits most of the time, so it is asked about first.
    asked_whole: bool,
}

impl Truncation {
    /// Begins with a conversation of this many messages.
    #[must_use]
    pub fn new(messages: usize) -> Self {
        Self {
            low: 0,
            high: messages.saturating_sub(1),
            asked_whole: false,
        }
    }

    /// The start to try next, or none once the search is over.
    #[must_use]
    pub fn candidate(&self) -> Option<usize> {
        (self.low < self.high).then(|| {
            if self.asked_whole {
                self.low + (self.high - self.low) / 2
            } else {
                0
            }
        })
    }

    /// Takes note of whether [`Self::candidate`] fits. A candidate that cannot be rendered does not fit.
    pub fn report(&mut self, fits: bool) {
        let Some(candidate) = self.candidate() else {
            return;
        };
        self.asked_whole = true;
        if fits {
            self.high = candidate;
        } else {
            self.low = candidate + 1;
        }
    }

    /// Where the kept messages start, once [`Self::candidate`] is none.
    #[must_use]
    pub fn start(&self) -> usize {
        self.high
    }

    /// What is kept of a conversation from `start` on: the system messages before it, and everything after.
    #[must_use]
    pub fn kept(messages: &[Message], start: usize) -> Vec<Message> {
        messages
            .iter()
            .enumerate()
            .filter(|(index, message)| *index >= start || message.role == "system")
            .map(|(_, message)| message.clone())
            .collect()
    }
}

/// The messages that remain: as many of the newest as `fits` accepts, the last one always, and every system message.
pub fn truncate(messages: &[Message], mut fits: impl FnMut(&[Message]) -> bool) -> Vec<Message> {
    let mut search = Truncation::new(messages.len());
    while let Some(start) = search.candidate() {
        search.report(fits(&Truncation::kept(messages, start)));
    }
    Truncation::kept(messages, search.start())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule as Ollama walks it.
    fn walk(messages: &[Message], fits: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        for start in 0..messages.len() {
            let kept = Truncation::kept(messages, start);
            if start + 1 == messages.len() || fits(&kept) {
                return kept;
            }
        }
        Vec::new()
    }

    fn conversation() -> impl Strategy<Value = Vec<Message>> {
        let message = (
            prop_oneof![1 => Just("system"), 4 => Just("user"), 4 => Just("assistant"), 1 => Just("tool")],
            0..40usize,
        )
            .prop_map(|(role, length)| Message {
                role: role.into(),
                content: "x".repeat(length),
                ..Message::default()
            });
        prop::collection::vec(message, 0..40)
    }

    proptest! {
        #[test]
        fn the_search_finds_what_the_walk_finds(messages in conversation(), limit in 0..600usize) {
            let fits = |kept: &[Message]| {
                kept.iter().map(|message| message.content.len() + 4).sum::<usize>() <= limit
            };
            let mut asked = 0u32;
            let found = truncate(&messages, |kept| {
                asked += 1;
                fits(kept)
            });
            prop_assert_eq!(found, walk(&messages, fits));
            prop_assert!(asked <= 1 + usize::BITS - messages.len().leading_zeros());
        }

        #[test]
        fn an_oracle_without_order_still_ends_with_something_that_fits(
            messages in conversation(),
            answers in prop::collection::vec(any::<bool>(), 41),
        ) {
            let fits = |kept: &[Message]| answers[kept.len()];
            let found = truncate(&messages, fits);
            let forced = Truncation::kept(&messages, messages.len().saturating_sub(1));
            prop_assert!(fits(&found) || found == forced);
        }
    }

    #[test]
    fn a_conversation_that_fits_is_asked_about_once() {
        let messages = vec![Message::default(); 1000];
        let mut asked = 0;
        let kept = truncate(&messages, |_| {
            asked += 1;
            true
        });
        assert_eq!((kept.len(), asked), (1000, 1));
    }
}
