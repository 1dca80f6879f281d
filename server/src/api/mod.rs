//! HTTP and JSON live only here.
//!
//! Each family of clients has its folder: [`ollama`] for Ollama's own API, [`openai`] and [`anthropic`] for the two that it
//! answers besides, [`native`] for what Ollama lacks, and [`ui`] for people with a browser. Inside,
//! an endpoint is one file that turns its JSON into a typed job and renders the job's typed events. What they share is
//! beside this file. Nothing here knows an engine library, a worker's frames or the layout of the store.

mod access;
mod answer;
mod answers;
mod anthropic;
mod blocks;
mod body;
mod chat;
mod continuation;
mod conversation;
mod cors;
mod edge;
mod encoding;
mod error;
mod extension;
mod find;
mod function;
mod guard;
mod identity;
mod images;
mod json;
mod keep_alive;
mod listen;
mod logprob;
mod manner;
mod media;
mod native;
mod number;
mod observe;
mod ollama;
mod openai;
mod openapi;
mod options;
mod prompter;
mod reference;
mod refusal;
mod reply;
mod session;
mod shape;
mod sse;
#[cfg(test)]
mod testing;
mod time;
mod tool_choice;
mod ui;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;

pub use self::edge::{Edge, EdgeError};
pub use self::error::Error;
pub use self::listen::{MAX_CONNECTIONS, serve};
use self::prompter::Prompters;
use crate::builtin;
use crate::config::Config;
use crate::making::Making;
use crate::models::Models;
use crate::registry::{self, Registry};
use crate::store::Store;

/// Longest body of a request that carries no texts to work on.
const SMALL_BODY_BYTES: usize = 1 << 20;

/// Longest body of a request with prompts, conversations or lists of texts.
const LARGE_BODY_BYTES: usize = 64 << 20;

/// Everything the routes share.
pub struct App {
    /// What the server was started with.
    pub config: Arc<Config>,
    /// The models on the disk.
    pub store: Store,
    /// The models in memory.
    pub models: Models,
    /// New models in the making.
    pub making: Making,
    /// The models of others.
    pub registry: Registry,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    /// Who may ask, and the certificate.
    pub edge: Edge,
    prompters: Prompters,
    draining: AtomicBool,
}

impl App {
    /// An app that takes requests.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        store: Store,
        models: Models,
        metrics: PrometheusHandle,
        edge: Edge,
    ) -> Self {
        Self {
            registry: Registry::new(registry_options(&config), store.clone()),
            making: Making::new(store.clone(), &config),
            config,
            store,
            models,
            metrics,
            edge,
            prompters: Prompters::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// From now on `/readyz` says no and new requests are refused; those under way go on, but for pulls: they take long and
    /// lose nothing.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.registry.stop_pulls();
    }

    /// Whether the server is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// What the configuration says about registries.
fn registry_options(config: &Config) -> registry::Options {
    registry::Options {
        key: config.key.clone(),
        version: config.version.clone(),
        streams: config.transfer_streams,
        hub: config.hub.clone(),
        hub_token: config.hub_token.clone(),
        no_prune: config.no_prune,
        built_in: builtin::MODELS,
        catalogue: registry::catalogue::all(),
        limits: registry::Limits::default(),
        place: registry::place,
    }
}

/// All routes, behind the guards of a server that listens on `address`.
pub fn router(app: Arc<App>, address: SocketAddr) -> Router {
    let origins = cors::Origins::new(&app.config.origins);
    ollama::routes()
        .merge(openai::routes())
        .merge(anthropic::routes())
        .merge(native::routes())
        .merge(ui::routes())
        .into_router()
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "404 page not found") })
        .method_not_allowed_fallback(|| async {
            plain(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed")
        })
        .layer(from_fn_with_state(Arc::clone(&app), guard::drain))
        .layer(from_fn_with_state(Arc::clone(&app), access::guard))
        .layer(from_fn(refusal::in_dialect))
        .layer(from_fn_with_state(address, guard::hosts))
        .layer(from_fn_with_state(origins, cors::guard))
        .layer(from_fn(observe::observe))
        .with_state(app)
}

/// Bounds the bodies of a route that is asked with prompts or lists of texts.
fn large_bodies() -> DefaultBodyLimit {
    DefaultBodyLimit::max(LARGE_BODY_BYTES)
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, "text/plain")], text).into_response();
    let refusal = refusal::Refusal {
        text: text.to_owned(),
        code: None,
    };
    response.extensions_mut().insert(refusal);
    response
}
