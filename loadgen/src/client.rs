//! One request over the wire: send it, stamp every read, judge nothing.
//!
//! Between the first stamp and the last only clock readings and pushes happen; bodies are parsed later by `routes`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use reqwest::{Method, StatusCode, Url, header};
use tower::util::MapFutureLayer;

/// How long a TCP connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Speaks to one target over kept-alive HTTP/1.1 connections. Cheap to clone; clones share the connections.
///
/// Proxies, redirects and compression are off: each would put time or work of its own between the clock and the server. So
/// are hidden retries. A kept connection that turns out to be closed is another matter: llama-server closes some after a
/// streamed reply without saying so, every HTTP client opens another then, and [`Exchange::resent`] tells.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    opened: Arc<AtomicU64>,
    in_flight: Arc<AtomicUsize>,
}

/// What a request sends.
#[derive(Debug, Clone)]
pub struct Request {
    /// The path, such as `/api/generate`.
    pub path: &'static str,
    /// The JSON body, made before the clock starts.
    pub body: Bytes,
}

/// What came back, with the time of every read.
#[derive(Debug)]
pub struct Exchange {
    /// Just before the request was handed to the connection.
    pub started: Instant,
    /// The status, once the reply's head was here.
    pub status: Option<StatusCode>,
    /// When the reply's head was here.
    pub head: Option<Instant>,
    /// Each piece of the body, stamped as it arrived.
    pub reads: Vec<(Instant, Bytes)>,
    /// When the last byte had arrived, or when the request failed.
    pub ended: Instant,
    /// Why the reply is not whole, if it is not.
    pub failure: Option<TransportFailure>,
    /// Whether it was sent twice, because the first connection ended before the reply began. The times are from the first
    /// sending to the second reply.
    pub resent: bool,
}

/// The connection let the request down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportFailure {
    /// No connection could be opened.
    #[error("no connection: {0}")]
    Connect(String),
    /// The time allowed for one request was over.
    #[error("timed out")]
    Timeout,
    /// The connection ended before the reply did.
    #[error("connection broke: {0}")]
    Broken(String),
}

impl Client {
    /// A client of the server at `base` that gives each request `timeout`.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up on this machine.
    pub fn new(base: Url, timeout: Duration) -> reqwest::Result<Self> {
        // The HTTP client wants to know whose cryptography it would use, though nothing here speaks TLS. An error says that it
        // knows.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let opened = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&opened);
        let http = reqwest::Client::builder()
            .connector_layer(MapFutureLayer::new(move |connecting| {
                count.fetch_add(1, Ordering::Relaxed);
                connecting
            }))
            .tls_certs_only([])
            .no_proxy()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .pool_idle_timeout(None)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .build()?;
        Ok(Self {
            http,
            base,
            opened,
            in_flight: Arc::default(),
        })
    }

    /// Sends `request` and reads the reply to its end. When the connection ends before the reply begins, it is sent once more.
    pub async fn post(&self, request: &Request) -> Exchange {
        let _counted = InFlight::new(&self.in_flight);
        let first = self.post_once(request).await;
        if !first.found_the_connection_closed() {
            return first;
        }
        Exchange {
            started: first.started,
            resent: true,
            ..self.post_once(request).await
        }
    }

    async fn post_once(&self, request: &Request) -> Exchange {
        let mut to_send = reqwest::Request::new(Method::POST, self.url(request.path));
        to_send.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/json"),
        );
        *to_send.body_mut() = Some(request.body.clone().into());
        self.exchange(to_send).await
    }

    /// Requests that have been sent and not yet answered, for a user who watches.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Fetches `path`.
    pub async fn get(&self, path: &str) -> Exchange {
        self.exchange(reqwest::Request::new(Method::GET, self.url(path)))
            .await
    }

    /// TCP connections that were begun so far.
    pub fn connections_opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Opens connections until `count` have been opened in all, by asking for the root so many times at once. Whether the
    /// server has anything there does not matter.
    pub async fn open_connections(&self, count: usize) {
        let open = usize::try_from(self.connections_opened()).unwrap_or(usize::MAX);
        if open < count {
            futures::future::join_all((0..count).map(|_| self.get("/"))).await;
        }
    }

    async fn exchange(&self, to_send: reqwest::Request) -> Exchange {
        let mut exchange = Exchange {
            started: Instant::now(),
            status: None,
            head: None,
            reads: Vec::new(),
            ended: Instant::now(),
            failure: None,
            resent: false,
        };
        let result = read(self.http.execute(to_send), &mut exchange).await;
        exchange.ended = Instant::now();
        exchange.failure = result.err().map(|error| classify(&error));
        exchange
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }
}

/// Counts a request until it is dropped: answered, failed or cancelled.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Exchange {
    /// Whether nothing came back before the connection ended.
    fn found_the_connection_closed(&self) -> bool {
        self.head.is_none() && matches!(self.failure, Some(TransportFailure::Broken(_)))
    }

    /// The whole body.
    pub fn body(&self) -> Vec<u8> {
        self.reads
            .iter()
            .flat_map(|(_, bytes)| bytes)
            .copied()
            .collect()
    }
}

async fn read(
    reply: impl Future<Output = reqwest::Result<reqwest::Response>>,
    exchange: &mut Exchange,
) -> reqwest::Result<()> {
    let mut reply = reply.await?;
    exchange.head = Some(Instant::now());
    exchange.status = Some(reply.status());
    while let Some(bytes) = reply.chunk().await? {
        exchange.reads.push((Instant::now(), bytes));
    }
    Ok(())
}

fn classify(error: &reqwest::Error) -> TransportFailure {
    if error.is_connect() {
        TransportFailure::Connect(root_cause(error))
    } else if error.is_timeout() {
        TransportFailure::Timeout
    } else {
        TransportFailure::Broken(root_cause(error))
    }
}

/// The innermost error says what happened; the outer ones only repeat the address.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn answer(connection: &mut TcpStream, body: &str) {
        let mut request = [0; 4096];
        assert!(connection.read(&mut request).await.unwrap() > 0);
        let reply = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(reply.as_bytes()).await.unwrap();
    }

    fn request() -> Request {
        Request {
            path: "/",
            body: Bytes::from_static(b"{}"),
        }
    }

    #[tokio::test]
    async fn a_kept_connection_that_was_closed_is_replaced_and_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            answer(&mut connection, "one").await;
            // Closed only when the next request is on its way: no client can know before.
            let mut request = [0; 4096];
            assert!(connection.read(&mut request).await.unwrap() > 0);
            drop(connection);
            let (mut connection, _) = listener.accept().await.unwrap();
            answer(&mut connection, "two").await;
        });
        let client = Client::new(url.parse().unwrap(), Duration::from_secs(10)).unwrap();
        let first = client.post(&request()).await;
        assert_eq!((first.body(), first.resent), (b"one".to_vec(), false));
        let second = client.post(&request()).await;
        assert_eq!((second.body(), second.resent), (b"two".to_vec(), true));
        assert!(second.failure.is_none() && second.started <= second.ended);
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_hangs_up_every_time_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                assert!(connection.read(&mut request).await.unwrap() > 0);
            }
        });
        let client = Client::new(url.parse().unwrap(), Duration::from_secs(10)).unwrap();
        let exchange = client.post(&request()).await;
        assert!(matches!(
            exchange.failure,
            Some(TransportFailure::Broken(_))
        ));
        assert!(exchange.resent);
        server.await.unwrap();
    }
}
