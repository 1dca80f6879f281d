//! The routes of Hugging Face's text-embeddings-inference, for clients that were written against it: `/embed`, `/predict`
//! and `/info`. Its `/rerank` is told from Cohere's by its fields, see [`super::rerank`].
//!
//! That server has one model, so its requests name none; here they may, see [`super::score_model`].

mod embed;
mod error;
mod info;
mod predict;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

pub use self::error::TeiError;
use crate::api::{App, large_bodies};

/// The routes of this folder.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/embed", post(embed::embed))
        .route("/predict", post(predict::predict))
        .layer(large_bodies())
        .route("/info", get(info::info))
}
