//! What Ollama lacks: classification, and what those who run the server want to know of it.

mod classify;
mod health;
mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::{App, large_bodies};

/// The routes of this folder.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/classify", post(classify::classify))
        .layer(large_bodies())
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
}
