//! What can go wrong between messages and a prompt. The HTTP edge chooses the status.

/// Why a conversation could not be turned into a prompt.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PromptError {
    /// The template's text is not a template.
    #[error("template error: {0}")]
    Parse(String),
    /// The template stumbled over this conversation.
    #[error("template error: {0}")]
    Render(String),
    /// The Go template is none, or stumbled over this conversation; in Go's words.
    #[error("{0}")]
    Go(String),
    /// The template refused this conversation by calling `raise_exception` with these words.
    #[error("{0}")]
    Refused(String),
    /// The template's text or the prompt it makes is longer than anything a model could read.
    #[error("template error: more than {limit} bytes")]
    TooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// The template did not come to an end within its allowance of work.
    #[error("template error: it takes too long to render")]
    TooMuchWork,
}
