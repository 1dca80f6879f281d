//! A whole server for one test: its own store with the built-in models, its own port, real worker processes.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use chaski::api::{self, App, Edge};
use chaski::builtin;
use chaski::config::{Config, Environment};
use chaski::metrics;
use chaski::models::Models;
use chaski::store::Store;
use metrics_exporter_prometheus::PrometheusHandle;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support;

/// A running server. Dropped, it ends with the test's runtime.
pub struct Server {
    /// What it shares with its routes.
    pub app: Arc<App>,
    address: SocketAddr,
    client: Client,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<std::io::Result<()>>,
    models: TempDir,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub content_type: String,
    pub text: String,
}

impl Server {
    /// A server as it starts for everyone.
    pub async fn start() -> Self {
        Self::start_with([]).await
    }

    /// A server with these environment variables.
    pub async fn start_with<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Self::start_on(TempDir::new().unwrap(), variables).await
    }

    /// Stops, and starts anew with the same models and these environment variables.
    pub async fn restart_with<const N: usize>(mut self, variables: [(&str, &str); N]) -> Self {
        self.stop();
        self.running.await.unwrap().unwrap();
        Self::start_on(self.models, variables).await
    }

    async fn start_on<const N: usize>(models: TempDir, variables: [(&str, &str); N]) -> Self {
        support::use_built_executable();
        let mut config = Config::from_environment(&Environment::of(variables));
        models.path().clone_into(&mut config.models);
        let edge = Edge::of(&config).unwrap();
        let config = Arc::new(config);
        let store = Store::open_with(models.path(), config.go_templates).unwrap();
        store.seed(builtin::MODELS).unwrap();
        let loaded = Models::new(Arc::clone(&config), store.clone());
        let app = Arc::new(App::new(config, store, loaded, recorder(), edge));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = api::serve(listener, Arc::clone(&app), async {
            // A dropped sender is no order to stop.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        Self {
            app,
            address,
            client: Client::new(),
            stop: Some(stop),
            running: tokio::spawn(serving),
            models,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A request to be adorned and sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    /// GETs a path.
    pub async fn get(&self, path: &str) -> Reply {
        Reply::of(self.request(Method::GET, path)).await
    }

    /// POSTs a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.post_text(path, &body.to_string()).await
    }

    /// POSTs a body, JSON or not, without a content type.
    pub async fn post_text(&self, path: &str, body: &str) -> Reply {
        Reply::of(self.request(Method::POST, path).body(body.to_owned())).await
    }

    /// Makes a model of these files, uploaded as any client does it.
    pub async fn create(&self, name: &str, files: &[(&str, Vec<u8>)]) {
        let mut named = serde_json::Map::new();
        for (file, bytes) in files {
            let digest = chaski::store::Digest::of(bytes).to_string();
            let upload = self
                .request(Method::POST, &format!("/api/blobs/{digest}"))
                .body(bytes.clone());
            assert!(upload.send().await.unwrap().status().is_success());
            named.insert((*file).to_owned(), digest.into());
        }
        let body = serde_json::json!({"model": name, "files": named, "stream": false});
        let reply = self.post("/api/create", body).await.json();
        assert_eq!(reply["status"], "success", "{reply}");
    }

    /// Tells the server to stop, without waiting for it.
    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits until it has stopped.
    pub async fn stopped(self) {
        self.running.await.unwrap().unwrap();
    }
}

impl Reply {
    /// Sends a request and reads the whole reply.
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let content_type = response.headers().get("content-type");
        Self {
            status: response.status(),
            content_type: content_type
                .map_or("", |kind| kind.to_str().unwrap())
                .to_owned(),
            text: response.text().await.unwrap(),
        }
    }

    /// The body as one JSON value of a reply that must be a success.
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(
            self.content_type, "application/json; charset=utf-8",
            "{self:?}"
        );
        serde_json::from_str(&self.text).unwrap()
    }

    /// The lines of a stream that must have begun well.
    pub fn lines(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.content_type, "application/x-ndjson", "{self:?}");
        assert!(
            self.text.ends_with('\n') && !self.text.contains("\n\n"),
            "{self:?}"
        );
        self.text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The body as one JSON value of a success on a route of OpenAI's or Anthropic's.
    pub fn plain_json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.content_type, "application/json", "{self:?}");
        serde_json::from_str(&self.text).unwrap()
    }

    /// The server-sent events of a stream that must have begun well: their names, if they have some, and what they hold.
    pub fn events(&self) -> Vec<(Option<String>, Value)> {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.content_type, "text/event-stream", "{self:?}");
        let text = self.text.strip_suffix("\n\n").unwrap();
        text.split("\n\n")
            .map(|event| {
                let (name, data) = match event.split_once('\n') {
                    Some((name, data)) => (Some(name.strip_prefix("event: ").unwrap()), data),
                    None => (None, event),
                };
                let data = data.strip_prefix("data: ").unwrap();
                let data = serde_json::from_str(data).unwrap_or_else(|_| data.into());
                (name.map(str::to_owned), data)
            })
            .collect()
    }

    /// Status and error of a refusal in the shape of OpenAI or Anthropic.
    pub fn plain_error(&self) -> (u16, Value) {
        assert_eq!(self.content_type, "application/json", "{self:?}");
        (
            self.status.as_u16(),
            serde_json::from_str(&self.text).unwrap(),
        )
    }

    /// Status and error text of a refusal in Ollama's shape.
    pub fn error(&self) -> (u16, String) {
        assert_eq!(
            self.content_type, "application/json; charset=utf-8",
            "{self:?}"
        );
        let body: Value = serde_json::from_str(&self.text).unwrap();
        assert_eq!(body.as_object().unwrap().len(), 1, "{self:?}");
        (
            self.status.as_u16(),
            body["error"].as_str().unwrap().to_owned(),
        )
    }
}

/// The process has one recorder, whatever the number of servers in it.
pub fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| metrics::install().unwrap()).clone()
}

/// The same value with these fields, wherever they are, replaced by their names: what differs from run to run, or from
/// model to model, has no place in a snapshot.
pub fn redacted(value: &Value, fields: &[&str]) -> Value {
    match value {
        Value::Object(object) => {
            let entry = |(key, value): (&String, &Value)| {
                let is_redacted = fields.contains(&key.as_str());
                let value = if is_redacted {
                    Value::from(format!("[{key}]"))
                } else {
                    redacted(value, fields)
                };
                (key.clone(), value)
            };
            Value::Object(object.iter().map(entry).collect())
        }
        Value::Array(items) => items.iter().map(|item| redacted(item, fields)).collect(),
        other => other.clone(),
    }
}
