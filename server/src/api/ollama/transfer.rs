//! What pull and push share: their body, and the lines that tell how far they are.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::json::{Fields, FromJson, Mismatch};
use crate::api::openapi::{About, NDJSON};
use crate::api::reference::ModelRef;
use crate::api::{Error, reply};
use crate::registry::{Credentials, Progress, Request, Transfer};

/// The body of both.
#[derive(Default)]
pub struct TransferRequest {
    /// The model as typed.
    pub model: String,
    insecure: bool,
    stream: Option<bool>,
    username: String,
    password: String,
}

/// A line of the reply.
#[derive(Serialize, ToSchema)]
struct Line {
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    total: u64,
    #[serde(skip_serializing_if = "is_zero")]
    completed: u64,
}

impl FromJson for TransferRequest {
    const GO_TYPE: &'static str = "PullRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            model: fields.take_name()?,
            insecure: fields.take("insecure")?,
            stream: fields.take("stream")?,
            username: fields.take("username")?,
            password: fields.take("password")?,
        })
    }
}

impl TransferRequest {
    /// Whether progress is wanted line by line.
    pub fn is_streaming(&self) -> bool {
        self.stream.unwrap_or(true)
    }

    /// What it means.
    ///
    /// # Errors
    /// When the name is none.
    pub fn meant(self) -> Result<Request, Error> {
        let reference = ModelRef::parse(&self.model)?.stored().parse()?;
        let credentials = (!self.username.is_empty()).then_some(Credentials {
            username: self.username,
            password: self.password,
        });
        Ok(Request {
            reference,
            insecure: self.insecure,
            credentials,
        })
    }
}

/// For the document.
pub fn about(summary: &str) -> About {
    About::new(summary)
        .takes::<TransferRequest>()
        .gives_or_streams::<Line>(NDJSON)
}

/// The lines of a transfer as they come, or the last one alone.
pub async fn answer(transfer: Transfer, is_streaming: bool) -> Response {
    if is_streaming {
        let told = stream::unfold(transfer, |mut transfer| async {
            let told = transfer.next().await?;
            Some((told, transfer))
        });
        return reply::ndjson(told.map(|told| Ok(line(&told?))));
    }
    match transfer.finish().await {
        Ok(()) => reply::json(StatusCode::OK, &line(&Progress::Success)),
        Err(error) => Error::from(error).into_response(),
    }
}

fn line(progress: &Progress) -> Line {
    let moved = progress.moved();
    Line {
        status: progress.to_string(),
        digest: moved.map(|moved| moved.digest.to_string()),
        total: moved.map_or(0, |moved| moved.total),
        completed: moved.map_or(0, |moved| moved.completed),
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
