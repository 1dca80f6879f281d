//! Failures in the shape, the statuses and the words for kinds that text-embeddings-inference has.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::{Error, reply};
use crate::inference;

/// Any failure of a request in these shapes.
pub struct TeiError(pub Error);

#[derive(Serialize, ToSchema)]
pub struct ErrorRecord {
    error: String,
    error_type: Kind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
enum Kind {
    Unhealthy,
    Backend,
    Overloaded,
    Validation,
}

impl From<Error> for TeiError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for TeiError {
    fn into_response(self) -> Response {
        self.0.log();
        let (status, kind) = kind(&self.0);
        let record = ErrorRecord {
            error: self.0.refusal().text,
            error_type: kind,
        };
        let mut response = reply::json(status, &record);
        if kind == Kind::Overloaded {
            let second = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, second);
        }
        response
    }
}

fn kind(error: &Error) -> (StatusCode, Kind) {
    use inference::Error as Inference;
    match error {
        Error::Inference(Inference::InputTooLong | Inference::NothingLeft) => {
            (StatusCode::PAYLOAD_TOO_LARGE, Kind::Validation)
        }
        Error::Inference(Inference::Busy) => (StatusCode::TOO_MANY_REQUESTS, Kind::Overloaded),
        Error::Inference(Inference::ShuttingDown) => {
            (StatusCode::SERVICE_UNAVAILABLE, Kind::Unhealthy)
        }
        error => match error.status() {
            StatusCode::BAD_REQUEST => (StatusCode::UNPROCESSABLE_ENTITY, Kind::Validation),
            status if status.is_client_error() => (status, Kind::Validation),
            _ => (StatusCode::FAILED_DEPENDENCY, Kind::Backend),
        },
    }
}
