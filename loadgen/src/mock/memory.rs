use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// Prompts that a remembering mock keeps; beyond it, it forgets them all.
const MOST: usize = 10_000;

/// The prompts that have been answered, for a mock that plays a server with a cache of replies.
#[derive(Debug, Default)]
pub(super) struct Replies(Mutex<HashSet<String>>);

impl Replies {
    /// Whether this question was asked before. It is from now on.
    pub(super) fn knows(&self, question: String) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        !known.insert(question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_known_from_the_second_time_on() {
        let replies = Replies::default();
        assert!(!replies.knows("a".into()));
        assert!(replies.knows("a".into()) && !replies.knows("b".into()));
    }
}
