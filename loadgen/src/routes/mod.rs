//! The wire: what each workload sends and what makes a reply a good one. One route per file.
//!
//! Works on stamped bytes after the reply has ended. It decides whether a reply counts; it does no arithmetic over
//! several replies and knows nothing of rounds or reports.

mod classify;
mod classify_by_chat;
mod embed;
mod generate;
mod lines;

use std::{collections::BTreeSet, time::Duration};

use reqwest::StatusCode;
use serde::Deserialize;

use crate::{
    client::{Exchange, Request, TransportFailure},
    workload::Workload,
};

pub use generate::Generation;

/// The question put to one target: the same text to each, its own model name, and the options they share.
#[derive(Debug, Clone)]
pub struct Asker {
    /// What to ask.
    pub route: Route,
    /// The model's name at this target.
    pub model: String,
    /// Most tokens to generate.
    pub num_predict: u64,
    /// The sampling seed that is sent, so that greedy decoding has no excuse to vary.
    pub seed: u32,
    /// How long the target shall keep the model loaded after each request, in seconds.
    pub keep_alive_s: u64,
    /// What replies must agree with; learned from the first good reply where the user said nothing.
    pub expected: Expected,
}

/// Which request carries a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `POST /api/generate`, streamed.
    Generate,
    /// `POST /api/embed`.
    Embed,
    /// `POST /classify`.
    Classify,
    /// `POST /api/chat` with a schema that allows only the labels: for servers without a classifier.
    ClassifyByChat,
}

/// What every reply of one target and workload has to agree with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expected {
    /// Numbers per vector.
    pub dimensions: Option<usize>,
    /// The labels that exist.
    pub labels: Option<BTreeSet<String>>,
}

/// A reply that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Tokens of the input as the server counted them, if it says.
    pub input_tokens: Option<u64>,
    /// What was asked for.
    pub content: Content,
}

/// The substance of a reply, by workload.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A generated text: its timing and counts.
    Text(Generation),
    /// A vector of this many numbers.
    Vector {
        /// Numbers in it.
        dimensions: usize,
    },
    /// The best label.
    Label(String),
}

/// Why a reply does not count.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The connection failed.
    #[error(transparent)]
    Transport(#[from] TransportFailure),
    /// A status other than 200.
    #[error("HTTP {status}: {message}")]
    Status {
        /// The status code.
        status: u16,
        /// The server's own words.
        message: String,
    },
    /// An error record inside a 200 reply.
    #[error("error inside the reply: {0}")]
    ErrorRecord(String),
    /// The stream ended without its final record.
    #[error("the stream ended without a final `done` record")]
    Truncated,
    /// Not the JSON that the route promises.
    #[error("malformed reply: {0}")]
    Malformed(String),
    /// A text without a single character, or no vector, or no label.
    #[error("empty reply")]
    Empty,
    /// The counts contradict the request or the stream.
    #[error("wrong token count: {0}")]
    TokenCount(String),
    /// The final record gives no reason, or one that means no text was finished.
    #[error("unexpected done_reason {0:?}")]
    DoneReason(String),
    /// A vector of another length than the others.
    #[error("vector of {got} numbers instead of {expected}")]
    Dimensions {
        /// As the user said or as the first reply was.
        expected: usize,
        /// In this reply.
        got: usize,
    },
    /// A number that is missing, infinite or not a number; or nothing but zeros.
    #[error("{0}")]
    NotFinite(&'static str),
    /// A label that does not exist.
    #[error("unknown label {0:?}")]
    Label(String),
    /// A score outside 0 to 1 or out of order.
    #[error("bad score: {0}")]
    Score(String),
}

/// A target cannot do this work at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lacking {
    /// No such route.
    #[error("no {0}")]
    Route(&'static str),
    /// No such model, or not a model for this.
    #[error("{0}")]
    Model(String),
}

impl Route {
    /// The path of the request.
    pub fn path(self) -> &'static str {
        match self {
            Self::Generate => "/api/generate",
            Self::Embed => "/api/embed",
            Self::Classify => "/classify",
            Self::ClassifyByChat => "/api/chat",
        }
    }
}

impl Asker {
    /// The request that puts `text` to the target.
    pub fn request(&self, text: &str) -> Request {
        let body = match self.route {
            Route::Generate => generate::body(self, text),
            Route::Embed => embed::body(self, text),
            Route::Classify => classify::body(self, text),
            Route::ClassifyByChat => classify_by_chat::body(self, text),
        };
        Request {
            path: self.route.path(),
            body: body.to_string().into(),
        }
    }

    /// Checks a reply. The first good one settles what was not yet [`Expected`].
    ///
    /// # Errors
    /// The first check that fails.
    pub fn check(&mut self, exchange: &Exchange) -> Result<Answer, Failure> {
        if let Some(status) = exchange.status.filter(|status| *status != StatusCode::OK) {
            let message = error_text(&exchange.body());
            return Err(Failure::Status {
                status: status.as_u16(),
                message,
            });
        }
        match self.route {
            Route::Generate => generate::check(exchange, self.num_predict),
            Route::Embed => embed::check(&whole(exchange)?, &mut self.expected),
            Route::Classify => classify::check(&whole(exchange)?, &mut self.expected),
            Route::ClassifyByChat => classify_by_chat::check(&whole(exchange)?, &self.expected),
        }
    }

    /// Whether the reply to a first request says that this target has no such route or model.
    pub fn lacking(&self, exchange: &Exchange) -> Option<Lacking> {
        let status = exchange.status?;
        let body = exchange.body();
        let words = error_words(&body);
        match status {
            StatusCode::METHOD_NOT_ALLOWED => Some(Lacking::Route(self.route.path())),
            StatusCode::NOT_FOUND => Some(match words {
                Some(words) if words.contains("model") => Lacking::Model(words),
                _ => Lacking::Route(self.route.path()),
            }),
            StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED => words
                .filter(|words| words.contains("does not support"))
                .map(Lacking::Model),
            _ => None,
        }
    }
}

impl Failure {
    /// The kind of failure, as counted in reports.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Transport(TransportFailure::Connect(_)) => "connect",
            Self::Transport(TransportFailure::Timeout) => "timeout",
            Self::Transport(TransportFailure::Broken(_)) => "connection_broken",
            Self::Status { .. } => "status",
            Self::ErrorRecord(_) => "error_record",
            Self::Truncated => "truncated",
            Self::Malformed(_) => "malformed",
            Self::Empty => "empty",
            Self::TokenCount(_) => "token_count",
            Self::DoneReason(_) => "done_reason",
            Self::Dimensions { .. } => "dimensions",
            Self::NotFinite(_) => "not_finite",
            Self::Label(_) => "label",
            Self::Score(_) => "score",
        }
    }
}

/// Decides the workload a route belongs to.
impl From<Route> for Workload {
    fn from(route: Route) -> Self {
        match route {
            Route::Generate => Self::Generate,
            Route::Embed => Self::Embed,
            Route::Classify | Route::ClassifyByChat => Self::Classify,
        }
    }
}

/// The body of a reply that arrived whole.
fn whole(exchange: &Exchange) -> Result<Vec<u8>, Failure> {
    match &exchange.failure {
        Some(failure) => Err(failure.clone().into()),
        None => Ok(exchange.body()),
    }
}

/// The time from the start of the request, for a stamp taken during it.
fn since_start(exchange: &Exchange, stamp: std::time::Instant) -> Duration {
    stamp.saturating_duration_since(exchange.started)
}

fn malformed(error: &serde_json::Error) -> Failure {
    Failure::Malformed(error.to_string())
}

/// The `error` string of an Ollama reply.
fn error_words(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorBody {
        error: String,
    }
    serde_json::from_slice::<ErrorBody>(body)
        .ok()
        .map(|body| body.error)
}

/// The server's own words, shortened to one line that fits a report.
fn error_text(body: &[u8]) -> String {
    const LONGEST_CHARS: usize = 160;
    let words = error_words(body).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    words
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(LONGEST_CHARS)
        .collect()
}

#[cfg(test)]
pub(crate) mod testing {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;

    /// A 200 reply whose reads arrived at these milliseconds.
    pub(crate) fn exchange(reads: &[(u64, &[u8])]) -> Exchange {
        let started = Instant::now();
        let reads: Vec<(Instant, Bytes)> = reads
            .iter()
            .map(|(at_ms, bytes)| {
                (
                    started + Duration::from_millis(*at_ms),
                    Bytes::copy_from_slice(bytes),
                )
            })
            .collect();
        let ended = reads.last().map_or(started, |(at, _)| *at);
        Exchange {
            started,
            status: Some(StatusCode::OK),
            reads,
            ended,
            failure: None,
        }
    }

    pub(crate) fn asker(route: Route) -> Asker {
        Asker {
            route,
            model: "tiny".into(),
            num_predict: 3,
            seed: 42,
            keep_alive_s: 60,
            expected: Expected::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::*, *};

    fn lacking(status: u16, body: &str) -> Option<Lacking> {
        let mut reply = exchange(&[(1, body.as_bytes())]);
        reply.status = StatusCode::from_u16(status).ok();
        asker(Route::Classify).lacking(&reply)
    }

    #[test]
    fn a_missing_route_is_told_from_a_missing_model_and_from_an_error() {
        assert_eq!(
            lacking(404, "404 page not found"),
            Some(Lacking::Route("/classify"))
        );
        assert_eq!(
            lacking(405, "405 method not allowed"),
            Some(Lacking::Route("/classify"))
        );
        assert_eq!(
            lacking(404, r#"{"error":{"code":404,"message":"File Not Found"}}"#),
            Some(Lacking::Route("/classify"))
        );
        assert_eq!(
            lacking(404, r#"{"error":"model 'tiny' not found"}"#),
            Some(Lacking::Model("model 'tiny' not found".into()))
        );
        assert_eq!(
            lacking(400, r#"{"error":"\"tiny\" does not support generate"}"#),
            Some(Lacking::Model("\"tiny\" does not support generate".into()))
        );
        assert_eq!(lacking(400, r#"{"error":"invalid input type"}"#), None);
        assert_eq!(lacking(503, r#"{"error":"server busy"}"#), None);
        assert_eq!(lacking(200, "{}"), None);
    }

    #[test]
    fn a_refusal_carries_the_servers_words_on_one_line() {
        let mut reply = exchange(&[(1, b"{\"error\":\"server busy,\\n please try again\"}")]);
        reply.status = Some(StatusCode::SERVICE_UNAVAILABLE);
        let failure = asker(Route::Embed).check(&reply).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "HTTP 503: server busy, please try again"
        );
        assert_eq!(failure.category(), "status");
    }

    #[test]
    fn a_reply_cut_off_by_the_connection_is_never_an_answer() {
        let mut reply = exchange(&[(1, br#"{"embeddings":[[1.0]]}"#)]);
        reply.failure = Some(TransportFailure::Timeout);
        assert_eq!(
            asker(Route::Embed).check(&reply),
            Err(Failure::Transport(TransportFailure::Timeout))
        );
    }
}
