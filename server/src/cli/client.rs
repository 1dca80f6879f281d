//! Talks to a server over HTTP, as any client of Ollama does.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStream;
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::certificate;
use super::error::Error;
use crate::config::{Environment, Host};
use crate::keys::Secret;
use crate::store::Digest;
use crate::tls;

/// A server that does not even accept the connection by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest line of a stream, as Ollama's own client has it.
const MAX_LINE_BYTES: usize = 8 << 20;

/// Most of an error's body that is read.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// A server's address and the connections to it.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<Secret>,
}

impl Client {
    /// A client of the server that `OLLAMA_HOST` names, with the key in `CHASKI_API_KEY`, or where Ollama's clients look for it.
    ///
    /// # Errors
    /// When the address asks for TLS and this machine trusts no certificate.
    pub fn from_environment(environment: &Environment) -> Result<Self, Error> {
        let host = Host::parse(environment.get("OLLAMA_HOST").unwrap_or_default());
        let base = host.url();
        let key = ["CHASKI_API_KEY", "OLLAMA_API_KEY"]
            .into_iter()
            .find_map(|name| environment.get(name))
            .map(Secret::new);
        if host.scheme != "https" {
            return Ok(Self {
                key,
                ..Self::new(base)
            });
        }
        match builder().build() {
            Ok(http) => Ok(Self { http, base, key }),
            Err(error) => {
                tracing::debug!(?error, "no client with TLS");
                Err(Error::NoTls(base))
            }
        }
    }

    /// A client of the server at this URL, which asks for no TLS.
    #[must_use]
    pub fn new(base: String) -> Self {
        let http = builder()
            .tls_certs_only([])
            .build()
            .expect("a client that trusts no certificate needs nothing that could be missing");
        Self {
            http,
            base,
            key: None,
        }
    }

    /// GET of a JSON value.
    ///
    /// # Errors
    /// Those of [`Client::post`].
    pub async fn get<R: DeserializeOwned>(&self, path: &str) -> Result<R, Error> {
        let response = self.send(self.request(Method::GET, path)).await?;
        self.read(response).await
    }

    /// GET of a short text.
    ///
    /// # Errors
    /// Those of [`Client::post`].
    pub async fn get_text(&self, path: &str) -> Result<String, Error> {
        let response = self.send(self.request(Method::GET, path)).await?;
        response.text().await.map_err(|error| lost(&error))
    }

    /// POST of one JSON value that is answered by another.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or answers with something else.
    pub async fn post<R: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<R, Error> {
        let request = self.request(Method::POST, path).json(body);
        let response = self.send(request).await?;
        self.read(response).await
    }

    /// POST without a body, answered by a JSON value whatever the status is.
    ///
    /// # Errors
    /// When the server cannot be reached or answers with something else.
    pub async fn post_any<R: DeserializeOwned>(&self, path: &str) -> Result<R, Error> {
        let request = self.request(Method::POST, path);
        let response = request.send().await.map_err(|error| self.unsent(&error))?;
        self.read(response).await
    }

    /// A request whose reply has nothing in it.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn tell(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(), Error> {
        let request = self.request(method, path).json(body);
        self.send(request).await.map(drop)
    }

    /// POST of one JSON value that is answered by a stream of them.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses at once.
    pub async fn stream<R: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Lines<R>, Error> {
        let request = self.request(Method::POST, path).json(body);
        Ok(Lines {
            response: self.send(request).await?,
            splitter: Splitter::default(),
            has_ended: false,
            of: PhantomData,
        })
    }

    /// Whether the server has that blob.
    ///
    /// # Errors
    /// When the server cannot be reached or has trouble of its own.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let request = self.request(Method::HEAD, &format!("/api/blobs/{digest}"));
        match self.send(request).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Uploads a blob piece by piece.
    ///
    /// # Errors
    /// When the server cannot be reached, or what it got is not what the digest says.
    pub async fn upload<S>(&self, digest: &Digest, bytes: u64, pieces: S) -> Result<(), Error>
    where
        S: TryStream + Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        Bytes: From<S::Ok>,
    {
        let request = self
            .request(Method::POST, &format!("/api/blobs/{digest}"))
            .header(reqwest::header::CONTENT_LENGTH, bytes)
            .body(Body::wrap_stream(pieces));
        self.send(request).await.map(drop)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key.reveal()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.unsent(&error))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(refusal(response).await)
        }
    }

    fn unsent(&self, error: &reqwest::Error) -> Error {
        if let Some(reason) = certificate::fault(error) {
            let base = self.base.clone();
            Error::Untrusted { base, reason }
        } else if error.is_connect() {
            Error::NoServer(self.base.clone())
        } else {
            lost(error)
        }
    }

    async fn read<R: DeserializeOwned>(&self, response: Response) -> Result<R, Error> {
        let bytes = response.bytes().await.map_err(|error| lost(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Reply(error.to_string()))
    }
}

/// Proxies of the environment are for the web; a model server is on this machine or in its network.
fn builder() -> reqwest::ClientBuilder {
    tls::install();
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .no_proxy()
}

/// A reply of one JSON value per line. Dropping it tells the server to stop.
#[derive(Debug)]
pub struct Lines<R> {
    response: Response,
    splitter: Splitter,
    has_ended: bool,
    of: PhantomData<R>,
}

impl<R: DeserializeOwned> Lines<R> {
    /// The next value; `None` once the server has said everything.
    ///
    /// # Errors
    /// When the server reports one, the connection breaks, or a line is no such value.
    pub async fn next(&mut self) -> Result<Option<R>, Error> {
        loop {
            if let Some(line) = self.splitter.next_line() {
                return parse(&line).map(Some);
            }
            if self.has_ended {
                return Ok(None);
            }
            match self.response.chunk().await.map_err(|error| lost(&error))? {
                Some(piece) => self.splitter.push(&piece)?,
                None => {
                    self.has_ended = true;
                    self.splitter.push(b"\n")?;
                }
            }
        }
    }
}

/// Makes lines of pieces that end anywhere.
#[derive(Debug, Default)]
struct Splitter {
    lines: VecDeque<Vec<u8>>,
    rest: Vec<u8>,
}

impl Splitter {
    fn push(&mut self, piece: &[u8]) -> Result<(), Error> {
        let mut parts = piece.split(|byte| *byte == b'\n');
        let last = parts
            .next_back()
            .expect("splitting gives at least one part");
        for part in parts {
            self.rest.extend_from_slice(part);
            let line = std::mem::take(&mut self.rest);
            if !line.trim_ascii().is_empty() {
                self.lines.push_back(line);
            }
        }
        self.rest.extend_from_slice(last);
        if self.rest.len() > MAX_LINE_BYTES {
            return Err(Error::Reply(format!(
                "a line is longer than {MAX_LINE_BYTES} bytes"
            )));
        }
        Ok(())
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        self.lines.pop_front()
    }
}

/// A line of a stream, which may be the server's last word on what went wrong.
fn parse<R: DeserializeOwned>(line: &[u8]) -> Result<R, Error> {
    let nonsense = |error: serde_json::Error| Error::Reply(error.to_string());
    let value: Value = serde_json::from_slice(line).map_err(nonsense)?;
    if let Some(text) = value.get("error").and_then(Value::as_str) {
        return Err(Error::Server {
            status: StatusCode::OK,
            text: text.to_owned(),
        });
    }
    serde_json::from_value(value).map_err(nonsense)
}

/// What the server says when it refuses: Ollama's `{"error":"…"}`, or whatever a stranger in between says.
async fn refusal(mut response: Response) -> Error {
    let status = response.status();
    let mut body = Vec::new();
    // A body that breaks off is told as far as it came.
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ERROR_BYTES {
            body.truncate(MAX_ERROR_BYTES);
            break;
        }
    }
    let told = serde_json::from_slice::<Value>(&body).ok();
    let told = told.as_ref().and_then(|value| value.get("error"));
    let text = match told.and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => {
            let body = String::from_utf8_lossy(&body);
            let first_line = body.trim().lines().next().unwrap_or_default();
            format!("{status} {first_line}").trim_end().to_owned()
        }
    };
    Error::Server { status, text }
}

/// The innermost cause says most.
fn lost(error: &reqwest::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Error::Lost(cause.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::cli::testing::{Reply, ScriptedServer};

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(
            lines in prop::collection::vec("[a-zé{}\" ]{1,20}", 0..8),
            cuts in prop::collection::vec(1_usize..9, 1..40),
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let mut splitter = Splitter::default();
            let mut rest = text.as_bytes();
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                splitter.push(piece).unwrap();
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            let mut seen = Vec::new();
            while let Some(line) = splitter.next_line() {
                seen.push(String::from_utf8(line).unwrap());
            }
            let expected: Vec<_> = lines.into_iter().filter(|line| !line.trim().is_empty()).collect();
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut splitter = Splitter::default();
        let piece = vec![b'x'; MAX_LINE_BYTES];
        splitter.push(&piece).unwrap();
        assert!(matches!(splitter.push(b"x"), Err(Error::Reply(_))));
    }

    async fn lines_of(reply: Reply) -> (Vec<Value>, Option<String>) {
        let server = ScriptedServer::start([("POST /api/pull", reply)]).await;
        let mut lines = server.client.stream("/api/pull", &json!({})).await.unwrap();
        let mut seen = Vec::new();
        loop {
            match lines.next().await {
                Ok(Some(line)) => seen.push(line),
                Ok(None) => return (seen, None),
                Err(error) => return (seen, Some(error.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn a_stream_arrives_whole_and_its_error_is_told() {
        let pieces = &["{\"a\"", ":1}\n{\"a\":2}", "\n\n", "{\"a\":3}"];
        let expected = vec![json!({"a": 1}), json!({"a": 2}), json!({"a": 3})];
        assert_eq!(lines_of(Reply::pieces(pieces)).await, (expected, None));
        let failing = Reply::ok("{\"a\":1}\n{\"error\":\"no space\"}\n");
        let expected = (vec![json!({"a": 1})], Some("no space".to_owned()));
        assert_eq!(lines_of(failing).await, expected);
        let (seen, error) = lines_of(Reply::ok("{\"a\":1}\n{\"a\":")).await;
        assert_eq!(seen, [json!({"a": 1})]);
        assert!(
            error
                .unwrap()
                .starts_with("the server's reply makes no sense")
        );
    }

    #[tokio::test]
    async fn refusals_are_told_in_the_servers_words() {
        let cases = [
            (r#"{"error":"model 'x' not found"}"#, "model 'x' not found"),
            (
                "404 page not found\nmore",
                "404 Not Found 404 page not found",
            ),
            ("", "404 Not Found"),
            (
                r#"{"error":{"message":"x"}}"#,
                r#"404 Not Found {"error":{"message":"x"}}"#,
            ),
        ];
        for (body, expected) in cases {
            let server = ScriptedServer::start([("GET /x", Reply::refused(404, body))]).await;
            let error = server.client.get::<Value>("/x").await.unwrap_err();
            assert!(error.is_not_found());
            assert_eq!(error.to_string(), expected);
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_with_its_address() {
        // Bound and closed again, so that nobody else listens there.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Client::new(url.clone())
            .get::<Value>("/")
            .await
            .unwrap_err();
        let expected =
            format!("could not connect to a chaski server at {url}; start one with `chaski serve`");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn the_address_comes_from_the_environment() {
        let of = |host| Client::from_environment(&Environment::of([("OLLAMA_HOST", host)]));
        assert_eq!(of("0.0.0.0:8080").unwrap().base, "http://127.0.0.1:8080");
        // A machine without certificates can refuse only this one.
        if let Ok(client) = of("https://example.org") {
            assert_eq!(client.base, "https://example.org:443");
        }
    }
}
