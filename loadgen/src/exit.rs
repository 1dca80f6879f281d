//! What the process returns, so that scripts need not read the table.

/// The outcome of a run as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was measured and every reply was good.
    Ok,
    /// Requests failed or gave wrong replies.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// The targets did not do the same work.
    Invalid,
    /// A target does not answer, or lacks the model.
    Unreachable,
    /// Stopped by the user; the report covers what was done.
    Interrupted,
}

impl Exit {
    /// The number; 3 is kept for assertions that the data do not decide.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Invalid => 4,
            Self::Unreachable => 5,
            Self::Interrupted => 130,
        }
    }

    /// The outcome in words, for a reader who does not know the numbers.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "everything asked for was measured and every reply was good",
            Self::Failed => "some requests failed or gave wrong replies",
            Self::Usage => "the command line makes no sense",
            Self::Invalid => "the targets did not do the same work",
            Self::Unreachable => "a target does not answer, or lacks the model",
            Self::Interrupted => "stopped by the user; the report covers what was done",
        }
    }
}
