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
    /// The data do not decide an assertion.
    Inconclusive,
    /// The measurement is not to be believed, or the targets did not do the same work.
    Invalid,
    /// A target does not answer, or lacks the model.
    Unreachable,
    /// Stopped by the user; the report covers what was done.
    Interrupted,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::Invalid => 4,
            Self::Unreachable => 5,
            Self::Interrupted => 130,
        }
    }

    /// The outcome in words, for a reader who does not know the numbers.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "everything asked for was measured and every reply was good",
            Self::Failed => {
                "some requests failed or gave wrong replies, or an assertion does not hold"
            }
            Self::Usage => "the command line makes no sense",
            Self::Inconclusive => "the data do not decide what was demanded",
            Self::Invalid => {
                "the measurement is not valid, or the targets did not do the same work"
            }
            Self::Unreachable => "a target does not answer, or lacks the model",
            Self::Interrupted => "stopped by the user; the report covers what was done",
        }
    }
}

/// Reads `--on-inconclusive`: what an assertion that the data do not decide means.
///
/// # Errors
/// One line that says what to type.
pub fn on_inconclusive(typed: &str) -> Result<Exit, String> {
    match typed {
        "pass" => Ok(Exit::Ok),
        "fail" => Ok(Exit::Failed),
        "3" => Ok(Exit::Inconclusive),
        _ => Err("write pass, fail or 3".into()),
    }
}
