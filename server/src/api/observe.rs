//! One id, one log line and one measurement per request, taken when its reply has ended: only then is it known how
//! long a stream took and whether its reader stayed.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::metrics;
use crate::traces::Caller;

/// Names a request in the log and in its reply. A client's own is taken over.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a reply took, stage by stage: <https://www.w3.org/TR/server-timing/>.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Longest id that is taken over from a client.
const MAX_ID_BYTES: usize = 128;

/// What paths without a route are counted as, so that callers cannot make up time series.
const NO_ROUTE: &str = "none";

/// What a worker took for the current request.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    /// Making tokens of texts. A part of `queue`, and of `compute` where a list is long.
    pub tokenize: Duration,
    /// From the arrival at the worker until it began to compute.
    pub queue: Duration,
    /// From then on until the last result.
    pub compute: Duration,
}

tokio::task_local! {
    static STAGES: Cell<Option<Stages>>;
}

/// Gives a request its id and watches it to its end.
pub async fn observe(mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .filter(|id| id.len() <= MAX_ID_BYTES && id.to_str().is_ok())
        .cloned()
        .unwrap_or_else(new_id);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| NO_ROUTE.to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = request.uri().path(),
        model = Empty,
        key = Empty,
    );
    let mut exchange = Exchange {
        method: request.method().to_string(),
        route,
        started: Instant::now(),
        status: 0,
        bytes: 0,
        complete: false,
        span: span.clone(),
    };
    let caller = {
        let header = |name| (request.headers().get(name)).and_then(|value| value.to_str().ok());
        Caller::of(header("traceparent"), header("tracestate"))
    };
    let answered = async { (next.run(request).await, STAGES.with(Cell::take)) };
    let answering = STAGES.scope(Cell::new(None), answered.instrument(span));
    let (mut response, stages) = caller.waits_for(answering).await;
    exchange.status = response.status().as_u16();
    response.headers_mut().insert(REQUEST_ID, id);
    if let Some(stages) = stages {
        let timing = stages.header(exchange.started.elapsed());
        response.headers_mut().insert(SERVER_TIMING, timing);
    }
    response.map(|body| {
        exchange.complete = body.is_end_stream();
        Body::new(Watched { body, exchange })
    })
}

/// Notes the model that the current request is about.
pub fn about_model(name: &str) {
    Span::current().record("model", name);
}

/// Notes what the worker took for the current request, to be told in its reply.
pub fn about_stages(stages: Stages) {
    // Outside of a request nobody wants to know.
    let _ = STAGES.try_with(|noted| noted.set(Some(stages)));
}

impl Stages {
    /// The value of the header, in milliseconds. `total` is from the head of the request to that of the reply.
    fn header(self, total: Duration) -> HeaderValue {
        let stages = [
            ("tokenize", self.tokenize),
            ("queue", self.queue),
            ("compute", self.compute),
            ("total", total),
        ];
        let entry = |(name, took): (&str, Duration)| {
            let milliseconds = took.as_secs_f64() * 1e3;
            format!("{name};dur={milliseconds:.3}")
        };
        let value = stages.map(entry).join(", ");
        HeaderValue::from_str(&value).expect("names and numbers make a header")
    }
}

/// Notes whose key the current request has shown.
pub fn about_key(name: &str) {
    Span::current().record("key", name);
}

/// Ids count up from a number that differs from start to start.
fn new_id() -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let start = START.get_or_init(|| {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(std::process::id())
    });
    let id = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::from_str(&format!("{id:016x}")).expect("hexadecimal digits make a header")
}

/// A request and its reply, logged when dropped.
struct Exchange {
    method: String,
    route: String,
    started: Instant,
    /// 0 until the reply has begun.
    status: u16,
    bytes: u64,
    complete: bool,
    span: Span,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        /// The status Ollama and nginx use for a caller who left before there was a reply.
        const CLIENT_LEFT: u16 = 499;
        let duration = self.started.elapsed();
        let status = if self.status == 0 {
            CLIENT_LEFT
        } else {
            self.status
        };
        metrics::http_request(&self.method, &self.route, status, duration);
        let duration_ms = duration.as_secs_f64() * 1e3;
        let (bytes, complete) = (self.bytes, self.complete);
        let _entered = self.span.enter();
        tracing::info!(status, duration_ms, bytes, complete, "request ended");
    }
}

/// A reply's body on its way out.
struct Watched {
    body: Body,
    exchange: Exchange,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let polled = {
            // What the body logs while it is made belongs to the request.
            let _entered = this.exchange.span.enter();
            Pin::new(&mut this.body).poll_frame(context)
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.exchange.bytes += u64::try_from(length).expect("a length fits 64 bits");
                this.exchange.complete = this.body.is_end_stream();
            }
            Poll::Ready(None) => this.exchange.complete = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
