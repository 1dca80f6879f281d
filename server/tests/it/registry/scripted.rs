//! A registry that does as a test tells it, right or wrong, and remembers what it was asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chaski::store::Digest;
use futures::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    /// How often this method and path had been asked before.
    pub nth: usize,
}

/// A rule may answer a request in the registry's place.
type Rule = Box<dyn Fn(&Asked) -> Option<Response> + Send + Sync>;

/// The registry. It ends with the test's runtime.
#[derive(Clone)]
pub struct Scripted {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    manifests: Mutex<HashMap<String, Bytes>>,
    blobs: Mutex<HashMap<String, Bytes>>,
    uploads: Mutex<HashMap<String, Vec<u8>>>,
    rules: Mutex<Vec<Rule>>,
    asked: Mutex<Vec<Asked>>,
}

impl Asked {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub fn is_blob(&self) -> bool {
        self.method == Method::GET && self.path().contains("/blobs/sha256:")
    }

    pub fn is_manifest(&self) -> bool {
        self.path().contains("/manifests/")
    }

    pub fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The bytes that are asked for, as first and one past the last.
    pub fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self
            .header(header::RANGE)?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        Some((first.parse().unwrap(), last.parse::<usize>().unwrap() + 1))
    }
}

impl Scripted {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    pub async fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let registry = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::default(),
        };
        let router = Router::new().fallback(answer).with_state(registry.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        registry
    }

    /// A model's name here, for pulls over plain HTTP.
    pub fn name(&self, model: &str) -> String {
        format!("http://{}/{model}", self.address)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Has a blob from now on.
    pub fn add_blob(&self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        let mut blobs = self.shared.blobs.lock().unwrap();
        blobs.insert(digest.to_string(), bytes);
        digest
    }

    /// Has a manifest under `namespace/model/tag` from now on.
    pub fn add_manifest(&self, name: &str, bytes: impl Into<Bytes>) {
        let mut manifests = self.shared.manifests.lock().unwrap();
        manifests.insert(name.to_owned(), bytes.into());
    }

    pub fn manifest(&self, name: &str) -> Option<Bytes> {
        self.shared.manifests.lock().unwrap().get(name).cloned()
    }

    pub fn has_blob(&self, digest: &Digest) -> bool {
        let blobs = self.shared.blobs.lock().unwrap();
        blobs.contains_key(&digest.to_string())
    }

    /// Asks this rule first, for every request from now on.
    pub fn rule(&self, rule: impl Fn(&Asked) -> Option<Response> + Send + Sync + 'static) {
        self.shared.rules.lock().unwrap().push(Box::new(rule));
    }

    pub fn forget_rules(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many requests were for something.
    pub fn count(&self, of: impl Fn(&Asked) -> bool) -> usize {
        self.asked().iter().filter(|asked| of(asked)).count()
    }

    /// What the registry itself answers to a GET of a blob.
    pub fn blob(&self, asked: &Asked) -> Response {
        let digest = asked.path().rsplit('/').next().unwrap();
        let Some(bytes) = self.shared.blobs.lock().unwrap().get(digest).cloned() else {
            return StatusCode::NOT_FOUND.into_response();
        };
        match asked.range() {
            Some((first, end)) if end <= bytes.len() => {
                let range = format!("bytes {first}-{}/{}", end - 1, bytes.len());
                let headers = [(header::CONTENT_RANGE, range)];
                (
                    StatusCode::PARTIAL_CONTENT,
                    headers,
                    bytes.slice(first..end),
                )
                    .into_response()
            }
            Some(_) => StatusCode::RANGE_NOT_SATISFIABLE.into_response(),
            None => bytes.into_response(),
        }
    }

    fn upload(&self, asked: &Asked, body: &[u8]) -> Response {
        let mut uploads = self.shared.uploads.lock().unwrap();
        let id = asked.path().to_owned();
        match asked.method.as_str() {
            "POST" => {
                let id = format!("{id}{}", uploads.len());
                uploads.insert(id.clone(), Vec::new());
                // A relative location with a query of its own, as registries may send.
                let headers = [(header::LOCATION, format!("{id}?state=1"))];
                (StatusCode::ACCEPTED, headers).into_response()
            }
            "GET" => {
                let here = uploads[&id].len().saturating_sub(1);
                let headers = [(header::RANGE, format!("0-{here}"))];
                (StatusCode::NO_CONTENT, headers).into_response()
            }
            "PATCH" => {
                let bytes = uploads.get_mut(&id).unwrap();
                let first = asked.header(header::CONTENT_RANGE).unwrap();
                let first: usize = first.split('-').next().unwrap().parse().unwrap();
                if first != bytes.len() {
                    return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
                }
                bytes.extend_from_slice(body);
                let headers = [(header::LOCATION, format!("{id}?state=2"))];
                (StatusCode::ACCEPTED, headers).into_response()
            }
            "PUT" => {
                let bytes = uploads.remove(&id).unwrap();
                let digest = Digest::of(&bytes).to_string().replace(':', "%3A");
                if !asked.target.contains(&digest) {
                    return (StatusCode::BAD_REQUEST, "digest invalid").into_response();
                }
                self.add_blob(bytes);
                StatusCode::CREATED.into_response()
            }
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        }
    }

    /// Keeps what came of an upload that the registry then pretends to have lost.
    pub fn keep_of_upload(&self, path: &str, bytes: &[u8]) {
        let mut uploads = self.shared.uploads.lock().unwrap();
        uploads.get_mut(path).unwrap().extend_from_slice(bytes);
    }

    fn right_answer(&self, asked: &Asked, body: Bytes) -> Response {
        if asked.path().contains("/blobs/uploads/") {
            return self.upload(asked, &body);
        }
        let parts: Vec<&str> = asked.path().split('/').collect();
        match parts.as_slice() {
            ["", "v2", namespace, model, "manifests", tag] => {
                let name = format!("{namespace}/{model}/{tag}");
                if asked.method == Method::PUT {
                    self.add_manifest(&name, body);
                    return StatusCode::CREATED.into_response();
                }
                match self.manifest(&name) {
                    Some(bytes) => bytes.into_response(),
                    None => StatusCode::NOT_FOUND.into_response(),
                }
            }
            ["", "v2", _, _, "blobs", _] => self.blob(asked),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

async fn answer(State(registry): State<Scripted>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().unwrap().to_string();
    let asked = {
        let mut all = registry.shared.asked.lock().unwrap();
        let path = target.split('?').next().unwrap();
        let is_same = |former: &&Asked| former.method == head.method && former.path() == path;
        let asked = Asked {
            nth: all.iter().filter(is_same).count(),
            method: head.method,
            target: target.clone(),
            headers: head.headers,
        };
        all.push(asked.clone());
        asked
    };
    let ruled = {
        let rules = registry.shared.rules.lock().unwrap();
        rules.iter().find_map(|rule| rule(&asked))
    };
    match ruled {
        Some(response) => response,
        None => {
            let body = to_bytes(body, usize::MAX).await.unwrap();
            registry.right_answer(&asked, body)
        }
    }
}

/// The same reply, whose body breaks off after so many bytes though its head promises all of them.
pub fn cut(response: Response, after: usize) -> Response {
    let (mut head, body) = response.into_parts();
    let body = stream::once(async move {
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        bytes.slice(..after.min(bytes.len()))
    });
    let broken = stream::once(async { Err(std::io::Error::other("cut")) });
    head.headers.remove(header::CONTENT_LENGTH);
    // Flushed in a turn of its own, so that the bytes are on their way when the connection breaks.
    let body = body.map(Ok).chain(stream::once(async {
        tokio::task::yield_now().await;
        Ok(Bytes::new())
    }));
    Response::from_parts(head, Body::from_stream(body.chain(broken)))
}

/// The same reply, which stops after so many bytes and waits for ever.
pub fn stuck(response: Response, after: usize) -> Response {
    let (mut head, body) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    let body = stream::once(async move {
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Ok::<_, Infallible>(bytes.slice(..after.min(bytes.len())))
    });
    let silence = stream::once(std::future::pending());
    Response::from_parts(head, Body::from_stream(body.chain(silence)))
}

/// The same reply, whose body comes once it is let through.
pub fn gated(response: Response, mut open: watch::Receiver<bool>) -> Response {
    let (head, body) = response.into_parts();
    let body = stream::once(async move {
        open.wait_for(|open| *open).await.unwrap();
        to_bytes(body, usize::MAX).await
    });
    Response::from_parts(head, Body::from_stream(body))
}

/// An answer without a body.
pub fn status(code: u16) -> Response {
    StatusCode::from_u16(code).unwrap().into_response()
}

/// A redirect.
pub fn redirect(to: &str) -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
}
