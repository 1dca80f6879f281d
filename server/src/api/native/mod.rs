//! What Ollama lacks: classification, reranking, tokens, and what those who run the server want to know of it.

mod classify;
mod health;
mod inputs;
mod metrics;
mod rerank;
mod score_model;
mod tag;
mod tei;
mod tokenize;

use super::error::ErrorBody;
use super::openapi::{About, Routes, TEXT};
use super::{large_bodies, openai};

/// The tag of these routes.
pub const NATIVE: &str = "native";

/// The routes of this folder.
pub fn routes() -> Routes {
    let text = |summary| About::new(summary).gives_content(TEXT);
    Routes::of::<ErrorBody>(NATIVE)
        .post("/classify", classify::classify, classify::about())
        .post("/token_classify", tag::tag, tag::about())
        .post(
            "/api/tokenize",
            tokenize::tokenize,
            tokenize::about_tokenize(),
        )
        .post(
            "/api/detokenize",
            tokenize::detokenize,
            tokenize::about_detokenize(),
        )
        .post(rerank::TEI_PATH, rerank::rerank, rerank::about_both())
        .post("/v2/rerank", rerank::rerank, rerank::about())
        .post("/api/rerank", rerank::rerank, rerank::about())
        .merge(
            // All below /v1 fails in OpenAI's shape.
            Routes::of::<openai::ErrorBody>("openai").post(
                "/v1/rerank",
                rerank::rerank,
                rerank::about(),
            ),
        )
        .bounded(large_bodies())
        .merge(tei::routes())
        .get(
            "/metrics",
            metrics::metrics,
            text("Show every metric, for Prometheus"),
        )
        .get(
            "/healthz",
            health::healthz,
            text("Tell that the process answers"),
        )
        // As text-embeddings-inference and llama.cpp's server call it.
        .get(
            "/health",
            health::healthz,
            text("Tell that the process answers"),
        )
        .get(
            "/readyz",
            health::readyz,
            text("Tell whether new requests are welcome"),
        )
}
