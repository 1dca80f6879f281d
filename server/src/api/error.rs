//! The one place where a failure gets its status and its text.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::refusal::Refusal;
use super::reply;
use crate::inference;
use crate::making::MakingError;
use crate::metrics::{self, Outcome};
use crate::prompt::PromptError;
use crate::registry;
use crate::store::StoreError;

/// What a client is told to wait before it asks a busy server again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Longest text of an error.
const MAX_TEXT_BYTES: usize = 1_024;

/// Ollama's words for a prompt that is longer than the context.
const PROMPT_TOO_LONG: &str = "the prompt is longer than the context length currently available to the model; \
    shorten the prompt, adjust the context length in settings, or use a model with a longer context length";

/// Why a request is refused or has failed. Its text is what the caller is told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request makes no sense, or asks a model for what it cannot do.
    #[error("{0}")]
    BadRequest(String),
    /// No such model, blob or route.
    #[error("{0}")]
    NotFound(String),
    /// Only somebody known could do that.
    #[error("{0}")]
    Unauthorized(String),
    /// It would have to be done by a service on another host.
    #[error("{0}")]
    Forbidden(String),
    /// An option of the wrong type. Ollama notices when it schedules the request and calls it a failure of its own.
    #[error("{0}")]
    BadOption(String),
    /// Ollama can do this and this server cannot.
    #[error("{0}")]
    NotImplemented(String),
    /// The body is longer than the route accepts.
    #[error("http: request body too large")]
    BodyTooLarge,
    /// The body stopped arriving.
    #[error("the request body did not arrive in time")]
    BodyTimeout,
    /// The body ended before its announced length.
    #[error("unexpected EOF")]
    BodyBroken,
    /// Ollama calls this a failure of its own.
    #[error("{0}")]
    Failed(String),
    /// From the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// As much work is waiting as may.
    #[error("server busy, please try again.  maximum pending requests exceeded")]
    Busy,
    /// From a registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// From turning messages into a prompt.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// From running a job.
    #[error("{}", inference_text(.0))]
    Inference(#[from] inference::Error),
}

/// Ollama's shape of an error.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    error: String,
}

impl Error {
    /// The status, if the reply has not begun yet.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::BodyBroken => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::BadOption(_) | Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Store(error) => store_status(error),
            Self::Registry(error) => registry_status(error),
            Self::Prompt(error) => prompt_status(error),
            Self::Inference(error) => inference_status(error),
        }
    }

    /// The body, as a whole reply or as the last line of a stream.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        ErrorBody { error: self.text() }
    }

    /// The same for the dialects that shape it otherwise.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        Refusal {
            text: self.text(),
            code: match self {
                Self::Inference(inference::Error::PromptTooLong { .. }) => {
                    Some("context_length_exceeded")
                }
                Self::NotFound(_) | Self::Store(StoreError::NotFound(_)) => Some("model_not_found"),
                Self::Unauthorized(_) => Some("invalid_api_key"),
                _ => None,
            },
        }
    }

    /// What the caller is told. Errors repeat what they are about, and that may be as long as a body.
    fn text(&self) -> String {
        let mut text = self.to_string();
        if text.len() > MAX_TEXT_BYTES {
            text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
            text.push('…');
        }
        text
    }

    /// When it is worth another try.
    fn retry_after(&self) -> HeaderValue {
        match self {
            Self::Inference(inference::Error::LoadLoop { seconds, .. }) => (*seconds).into(),
            _ => RETRY_AFTER_SECONDS,
        }
    }

    /// How the metrics count a request that ends with this.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE => Outcome::Rejected,
            status if status.is_client_error() => Outcome::Refused,
            _ => Outcome::Failed,
        }
    }

    /// Tells the log what the caller is not told, where there is something to repair.
    pub fn log(&self) {
        if self.status().is_server_error() {
            tracing::warn!(error = ?self, "request failed");
        }
        if let Self::Inference(inference::Error::Busy) = self {
            metrics::rejected();
        }
    }
}

impl From<MakingError> for Error {
    /// A file that is not what it should be is the caller's, not the server's.
    fn from(error: MakingError) -> Self {
        use crate::convert::Error as Convert;
        match error {
            MakingError::Store(StoreError::BrokenModel(text)) => Self::BadRequest(text),
            MakingError::Store(StoreError::BlobNotFound(_) | StoreError::NotFound(_)) => {
                Self::BadRequest(error.to_string())
            }
            MakingError::Store(StoreError::Unsupported(text)) => Self::NotImplemented(text),
            MakingError::Store(other) => Self::Store(other),
            MakingError::Convert(Convert::Refused(text)) => Self::BadRequest(text),
            MakingError::Convert(Convert::NoSpace) => Self::Store(StoreError::NoSpace),
            MakingError::Convert(error) => Self::Failed(error.to_string()),
            MakingError::Busy => Self::Busy,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.log();
        let status = self.status();
        let mut response = reply::json(status, &self.body());
        response.extensions_mut().insert(self.refusal());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, self.retry_after());
        }
        response
    }
}

fn store_status(error: &StoreError) -> StatusCode {
    match error {
        StoreError::NotFound(_) | StoreError::BlobNotFound(_) => StatusCode::NOT_FOUND,
        StoreError::InvalidName(_)
        | StoreError::InvalidDigest
        | StoreError::InvalidPath(_)
        | StoreError::InvalidRequest(_)
        | StoreError::DigestMismatch { .. } => StatusCode::BAD_REQUEST,
        StoreError::BrokenModel(_)
        | StoreError::Unsupported(_)
        | StoreError::NotQuantizable
        | StoreError::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        StoreError::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
    }
}

/// To Ollama, whatever goes wrong with a registry is a failure of its own.
fn registry_status(error: &registry::Error) -> StatusCode {
    match error {
        registry::Error::InvalidName => StatusCode::BAD_REQUEST,
        registry::Error::Unlisted(_) => StatusCode::NOT_FOUND,
        registry::Error::Busy | registry::Error::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        registry::Error::Store(StoreError::NoSpace) => StatusCode::INSUFFICIENT_STORAGE,
        registry::Error::Shared(error) => registry_status(error),
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn prompt_status(error: &PromptError) -> StatusCode {
    match error {
        PromptError::Refused(_) => StatusCode::BAD_REQUEST,
        PromptError::Parse(_)
        | PromptError::Render(_)
        | PromptError::Go(_)
        | PromptError::TooLarge { .. }
        | PromptError::TooMuchWork => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn inference_status(error: &inference::Error) -> StatusCode {
    use inference::Error as Inference;
    match error {
        Inference::PromptTooLong { .. }
        | Inference::InputTooLong
        | Inference::NothingLeft
        | Inference::EmptyPrompt
        | Inference::Unsupported(_)
        | Inference::InvalidJob(_) => StatusCode::BAD_REQUEST,
        Inference::Busy
        | Inference::ShuttingDown
        | Inference::LoadLoop { .. }
        | Inference::NoProcess(_) => StatusCode::SERVICE_UNAVAILABLE,
        // Not 503: whoever passes requests on would try it elsewhere.
        Inference::Suspect { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Inference::LoadFailed(_)
        | Inference::LoadDied(_)
        | Inference::Engine(_)
        | Inference::WorkerLost
        | Inference::SlowReader => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn inference_text(error: &inference::Error) -> String {
    match error {
        inference::Error::PromptTooLong { .. } => PROMPT_TOO_LONG.into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert;

    #[test]
    fn an_error_says_no_more_than_anyone_reads() {
        let long = Error::BadRequest(format!("invalid format: {}", "é".repeat(100_000)));
        let text = long.body().error;
        assert!(text.starts_with("invalid format: é") && text.ends_with("é…"));
        assert!(text.len() <= MAX_TEXT_BYTES + '…'.len_utf8());
        assert_eq!(long.refusal().text, text);
        let short = Error::NotFound("model 'x' not found".into());
        assert_eq!(short.body().error, "model 'x' not found");
    }

    #[test]
    fn a_full_disk_has_a_status_of_its_own_whoever_meets_it() {
        let errors = [
            Error::from(StoreError::NoSpace),
            Error::from(registry::Error::Store(StoreError::NoSpace)),
            Error::from(MakingError::Store(StoreError::NoSpace)),
            Error::from(MakingError::Convert(convert::Error::NoSpace)),
        ];
        for error in errors {
            assert_eq!(
                error.status(),
                StatusCode::INSUFFICIENT_STORAGE,
                "{error:?}"
            );
            assert_eq!(error.to_string(), StoreError::NoSpace.to_string());
        }
    }
}
