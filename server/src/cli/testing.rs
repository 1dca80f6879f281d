//! A server that says what a test tells it to, and remembers what it was asked.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

use super::client::Client;
use super::console::Console;
use super::error::Error;

/// One answer. The last one of a route answers all later requests too.
#[derive(Clone)]
pub struct Reply {
    status: StatusCode,
    pieces: Vec<Bytes>,
    /// Told when the client has left, which an endless reply waits for.
    endless: Option<mpsc::Sender<()>>,
}

impl Reply {
    /// 200 with this body.
    pub fn ok(body: &str) -> Self {
        Self::pieces(&[body])
    }

    /// 200 with a body that arrives in these pieces.
    pub fn pieces(pieces: &[&str]) -> Self {
        let pieces = pieces.iter();
        Self {
            status: StatusCode::OK,
            pieces: pieces
                .map(|piece| Bytes::from((*piece).to_owned()))
                .collect(),
            endless: None,
        }
    }

    /// Another status with this body.
    pub fn refused(status: u16, body: &str) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            ..Self::ok(body)
        }
    }

    /// 200 with this body, and then nothing until the client leaves.
    pub fn endless(body: &str) -> (Self, mpsc::Receiver<()>) {
        let (sender, receiver) = mpsc::channel(1);
        let reply = Self {
            endless: Some(sender),
            ..Self::ok(body)
        };
        (reply, receiver)
    }
}

/// The server. It ends with the test's runtime.
pub struct ScriptedServer {
    /// A client of it.
    pub client: Client,
    shared: Arc<Shared>,
}

struct Shared {
    replies: Mutex<HashMap<String, VecDeque<Reply>>>,
    requests: Mutex<Vec<(String, Vec<u8>)>>,
    asked: Notify,
}

/// Drops its sender's only copy with the response's stream.
struct Leaving(Option<mpsc::Sender<()>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            // Full means that the test knows already.
            let _ = sender.try_send(());
        }
    }
}

impl ScriptedServer {
    /// Answers `METHOD /path` so; anything else with 404.
    pub async fn start<const N: usize>(replies: [(&str, Reply); N]) -> Self {
        Self::start_with(replies).await
    }

    /// The same for any number of answers.
    pub async fn start_with(replies: impl IntoIterator<Item = (&str, Reply)>) -> Self {
        let mut script: HashMap<String, VecDeque<Reply>> = HashMap::new();
        for (route, reply) in replies {
            script.entry(route.to_owned()).or_default().push_back(reply);
        }
        let shared = Arc::new(Shared {
            replies: Mutex::new(script),
            requests: Mutex::default(),
            asked: Notify::new(),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            client: Client::new(base),
            shared,
        }
    }

    /// Routes that were asked, in order.
    pub fn routes(&self) -> Vec<String> {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().map(|(route, _)| route.clone()).collect()
    }

    /// Returns once this route has been asked.
    pub async fn asked(&self, route: &str) {
        loop {
            let next = self.shared.asked.notified();
            if self.routes().iter().any(|asked| asked == route) {
                return;
            }
            next.await;
        }
    }

    /// JSON bodies that this route was sent, in order.
    pub fn bodies(&self, route: &str) -> Vec<Value> {
        let requests = self.shared.requests.lock().unwrap();
        let of_route = requests.iter().filter(|(asked, _)| asked == route);
        of_route
            .map(|(_, body)| serde_json::from_slice(body).unwrap())
            .collect()
    }

    /// The first body that this route was sent, as it was.
    pub fn raw_body(&self, route: &str) -> Vec<u8> {
        let requests = self.shared.requests.lock().unwrap();
        let mut of_route = requests.iter().filter(|(asked, _)| asked == route);
        of_route.next().unwrap().1.clone()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let route = format!("{} {}", request.method(), request.uri().path());
    let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
    shared
        .requests
        .lock()
        .unwrap()
        .push((route.clone(), body.to_vec()));
    shared.asked.notify_waiters();
    let reply = match shared.replies.lock().unwrap().get_mut(&route) {
        Some(replies) if replies.len() > 1 => replies.pop_front().unwrap(),
        Some(replies) => replies.front().unwrap().clone(),
        None => Reply::refused(404, "404 page not found"),
    };
    let is_endless = reply.endless.is_some();
    let leaving = Leaving(reply.endless);
    let pieces = stream::iter(reply.pieces.into_iter().map(Ok::<_, Infallible>));
    let body = if is_endless {
        let silence = stream::once(async move {
            let _leaving = leaving;
            std::future::pending::<Result<Bytes, Infallible>>().await
        });
        // Held from the start, so that a client that leaves at once is noticed too.
        Body::from_stream(pieces.chain(silence))
    } else {
        Body::from_stream(pieces)
    };
    Response::builder().status(reply.status).body(body).unwrap()
}

/// What a command wrote and how it ended.
#[derive(Debug, PartialEq)]
pub struct Ran {
    /// Standard output.
    pub out: String,
    /// Standard error, with the line that `main` would add.
    pub err: String,
}

/// Runs a command that writes into nothing but memory, `columns` wide if it is to be a terminal.
pub async fn ran(
    columns: Option<usize>,
    command: impl AsyncFnOnce(&mut Console<'_>) -> Result<(), Error>,
) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        columns,
        is_animated: false,
    };
    if let Err(error) = command(&mut console).await {
        console.fail(&error);
    }
    Ran {
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
    }
}

/// Runs a command that asks no server, and returns what it wrote.
pub fn printed<R>(command: impl FnOnce(&mut Console<'_>) -> R) -> (R, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let result = command(&mut Console {
        out: &mut out,
        err: &mut err,
        columns: None,
        is_animated: false,
    });
    (result, String::from_utf8(out).unwrap())
}
