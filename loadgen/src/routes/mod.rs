//! The wire: what each workload sends and what makes a reply a good one. One route per file.
//!
//! Works on stamped bytes after the reply has ended. It decides whether a reply counts; it does no arithmetic over
//! several replies and knows nothing of rounds or reports.

mod classify;
mod classify_by_chat;
mod embed;
mod generate;
mod lines;
mod openai;
mod stream;
mod tei;

use std::{collections::BTreeSet, time::Instant};

use reqwest::StatusCode;
use serde::Deserialize;

use crate::{
    client::{Exchange, Request, TransportFailure},
    workload::{Item, Kind, Message},
};

pub use generate::{Generation, new_messages};

/// How one target is asked: the same work as every other, its own model name, and the options they share.
#[derive(Debug, Clone)]
pub struct Asker {
    /// What to ask.
    pub route: Route,
    /// The model's name at this target.
    pub model: String,
    /// Sampling options, sent as they are.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// Whether to ask for the probabilities of tokens, of which there is one for each.
    pub logprobs: bool,
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
    /// `POST /api/chat`, streamed.
    Chat,
    /// `POST /api/embed`.
    Embed,
    /// `POST /classify`.
    Classify,
    /// `POST /api/chat` with a schema that allows only the labels: for servers without a classifier.
    ClassifyByChat,
    /// `POST /v1/completions`, streamed.
    OpenaiCompletion,
    /// `POST /v1/chat/completions`, streamed.
    OpenaiChat,
    /// `POST /v1/embeddings`.
    OpenaiEmbed,
    /// `POST /v1/chat/completions` with a schema that allows only the labels.
    OpenaiClassify,
    /// `POST /embed`.
    TeiEmbed,
    /// `POST /predict`.
    TeiPredict,
}

/// What every reply of one target and workload has to agree with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expected {
    /// Numbers per vector.
    pub dimensions: Option<usize>,
    /// The labels that exist.
    pub labels: Option<BTreeSet<String>>,
}

/// What one reply showed: when its pieces came, and whether it is a good one.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// When each piece of text (or thinking) was here. Kept for failures too.
    pub chunks: Vec<Instant>,
    /// The checked reply, or why it does not count.
    pub outcome: Result<Answer, Failure>,
}

/// A reply that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Tokens of the input as the server counted them, if it says.
    pub input_tokens: Option<u64>,
    /// How many of them it did not have to compute, if it says.
    pub cached_tokens: Option<u64>,
    /// What was asked for.
    pub content: Content,
}

/// The substance of a reply, by kind of work.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A generated text and its counts.
    Text(Generation),
    /// Vectors.
    Vectors(Vectors),
    /// Labels.
    Label(Labelled),
}

/// The vectors of the texts of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// How many.
    pub count: usize,
    /// Numbers in each.
    pub dimensions: usize,
    /// The numbers, in the order of the texts; empty once they have been checked and are of no further use.
    pub values: Vec<Vec<f32>>,
}

/// The labels of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// The most likely one.
    pub best: String,
    /// Every label with its probability, the most likely first; empty where a chat stands in for the classifier.
    pub scores: Vec<(String, f32)>,
    /// Whether it is the label that the source of the text knows to be right; `None` where it knows none.
    pub right: Option<bool>,
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
    /// Whether it stands in for another that the target lacks.
    pub fn is_emulated(self) -> bool {
        matches!(self, Self::ClassifyByChat | Self::OpenaiClassify)
    }

    /// The path of the request.
    pub fn path(self) -> &'static str {
        match self {
            Self::Generate => "/api/generate",
            Self::Chat => "/api/chat",
            Self::Embed => "/api/embed",
            Self::Classify => "/classify",
            Self::ClassifyByChat => "/api/chat",
            Self::OpenaiCompletion => "/v1/completions",
            Self::OpenaiChat | Self::OpenaiClassify => "/v1/chat/completions",
            Self::OpenaiEmbed => "/v1/embeddings",
            Self::TeiEmbed => "/embed",
            Self::TeiPredict => "/predict",
        }
    }
}

impl Asker {
    /// The request that puts `item` to the target, after the messages of the conversation's earlier turns.
    pub fn request(&self, item: &Item, earlier: &[Message]) -> Request {
        let body = match self.route {
            Route::Generate => generate::body(self, item),
            Route::Chat => generate::chat_body(self, item, earlier),
            Route::Embed => embed::body(self, item),
            Route::Classify => classify::body(self, item),
            Route::ClassifyByChat => classify_by_chat::body(self, item),
            Route::OpenaiCompletion => openai::completion_body(self, item),
            Route::OpenaiChat => openai::chat_body(self, item, earlier),
            Route::OpenaiEmbed => openai::embed_body(self, item),
            Route::OpenaiClassify => openai::classify_body(self, item),
            Route::TeiEmbed => tei::embed_body(item),
            Route::TeiPredict => tei::predict_body(item),
        };
        Request {
            path: self.route.path(),
            body: body.to_string().into(),
        }
    }

    /// Checks the reply to `item`. The first good one settles what was not yet [`Expected`].
    pub fn read(&mut self, item: &Item, exchange: &Exchange) -> Reading {
        if let Some(status) = exchange.status.filter(|status| *status != StatusCode::OK) {
            let message = error_text(&exchange.body());
            let status = status.as_u16();
            return Reading::whole(Err(Failure::Status { status, message }));
        }
        match self.route {
            Route::Generate | Route::Chat => {
                stream::read(exchange, item.max_tokens, generate::check)
            }
            Route::OpenaiCompletion | Route::OpenaiChat => {
                stream::read(exchange, item.max_tokens, openai::check)
            }
            _ => Reading::whole(whole(exchange).and_then(|body| self.check(item, &body))),
        }
    }

    /// Checks a reply that is not streamed.
    fn check(&mut self, item: &Item, body: &[u8]) -> Result<Answer, Failure> {
        let mut answer = match self.route {
            Route::Embed => embed::check(body, item, &mut self.expected),
            Route::Classify => classify::check(body, &mut self.expected),
            Route::ClassifyByChat => classify_by_chat::check(body, &self.expected),
            Route::OpenaiEmbed => openai::check_embeddings(body, item, &mut self.expected),
            Route::OpenaiClassify => openai::check_classify(body, &self.expected),
            Route::TeiEmbed => tei::check_embed(body, item, &mut self.expected),
            Route::TeiPredict => tei::check_predict(body, &mut self.expected),
            Route::Generate | Route::Chat | Route::OpenaiCompletion | Route::OpenaiChat => {
                unreachable!("streams are read line by line")
            }
        }?;
        if let Content::Label(labelled) = &mut answer.content {
            labelled.right = item.label.as_ref().map(|right| *right == labelled.best);
        }
        Ok(answer)
    }

    /// Whether the reply to a first request says that this target has no such route or model.
    pub fn lacking(&self, exchange: &Exchange) -> Option<Lacking> {
        let status = exchange.status?;
        let body = exchange.body();
        let words = error_words(&body);
        match status {
            StatusCode::METHOD_NOT_ALLOWED => Some(Lacking::Route(self.route.path())),
            StatusCode::NOT_FOUND => Some(match words {
                Some(words) if words.to_lowercase().contains("model") => Lacking::Model(words),
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

impl Reading {
    /// Of a reply that is not streamed.
    fn whole(outcome: Result<Answer, Failure>) -> Self {
        Self {
            chunks: Vec::new(),
            outcome,
        }
    }
}

/// Decides the kind of work that a route is for.
impl From<Route> for Kind {
    fn from(route: Route) -> Self {
        match route {
            Route::Generate | Route::OpenaiCompletion => Self::Generate,
            Route::Chat | Route::OpenaiChat => Self::Chat,
            Route::Embed | Route::OpenaiEmbed | Route::TeiEmbed => Self::Embed,
            Route::Classify | Route::ClassifyByChat | Route::OpenaiClassify | Route::TeiPredict => {
                Self::Classify
            }
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

fn malformed(error: &serde_json::Error) -> Failure {
    Failure::Malformed(error.to_string())
}

/// The words of an error: a string at Ollama, an object with a message elsewhere.
fn error_words(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorBody {
        error: Words,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Text(String),
        Object { message: String },
    }
    let body = serde_json::from_slice::<ErrorBody>(body).ok()?;
    let (Words::Text(words) | Words::Object { message: words }) = body.error;
    Some(words)
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
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::workload::Input;

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
            head: Some(started),
            reads,
            ended,
            failure: None,
            resent: false,
        }
    }

    pub(crate) fn asker(route: Route) -> Asker {
        Asker {
            route,
            model: "tiny".into(),
            options: serde_json::Map::new(),
            logprobs: false,
            keep_alive_s: 60,
            expected: Expected::default(),
        }
    }

    /// A text for which three tokens may be generated.
    pub(crate) fn item(text: &str) -> Item {
        Item {
            input: Input::Text(text.into()),
            max_tokens: 3,
            seed: 42,
            label: None,
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
        let reading = asker(Route::Embed).read(&item("x"), &reply);
        let failure = reading.outcome.unwrap_err();
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
            asker(Route::Embed).read(&item("x"), &reply).outcome,
            Err(Failure::Transport(TransportFailure::Timeout))
        );
    }
}
