//! What Ollama lacks: classification, reranking, tokens, and what those who run the server want to know of it.

mod classify;
mod health;
mod inputs;
mod metrics;
mod rerank;
mod score_model;
mod tei;
mod tokenize;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::{App, large_bodies};

/// The routes of this folder.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/classify", post(classify::classify))
        .route("/api/tokenize", post(tokenize::tokenize))
        .route("/api/detokenize", post(tokenize::detokenize))
        .route("/rerank", post(rerank::rerank))
        .route("/v1/rerank", post(rerank::rerank))
        .route("/v2/rerank", post(rerank::rerank))
        .route("/api/rerank", post(rerank::rerank))
        .layer(large_bodies())
        .merge(tei::routes())
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(health::healthz))
        // As text-embeddings-inference and llama.cpp's server call it.
        .route("/health", get(health::healthz))
        .route("/readyz", get(health::readyz))
}
