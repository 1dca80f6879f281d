//! Answers that consist of messages with headers, where no part can be told without its header.

use std::fmt;

use super::tools::Called;

/// Most bytes held back while a message is incomplete that cannot be shown in part.
pub(in crate::prompt) const MAX_HELD_BYTES: usize = 4 << 20;

/// Takes such an answer apart.
pub(in crate::prompt) trait Channels: fmt::Debug + Send {
    /// Takes the next text of the answer and returns what is certain by now.
    fn push(&mut self, text: &str) -> Vec<Said>;

    /// Ends the answer and returns what was held back.
    fn finish(&mut self) -> Vec<Said>;
}

/// A part of such an answer.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::prompt) enum Said {
    /// What the model thinks.
    Thinking(String),
    /// What it says.
    Content(String),
    /// A tool it calls.
    Call(Called),
}
