//! The routes of Hugging Face's text-embeddings-inference, for clients that were written against it: `/embed`, `/predict`
//! and `/info`. Its `/rerank` is told from Cohere's by its fields, see [`super::rerank`].
//!
//! That server has one model, so its requests name none; here they may, see [`super::score_model`].

mod embed;
mod error;
mod info;
mod predict;

pub use self::error::TeiError;
use crate::api::large_bodies;
use crate::api::openapi::Routes;

/// The routes of this folder.
pub fn routes() -> Routes {
    Routes::of::<error::ErrorRecord>("tei")
        .post("/embed", embed::embed, embed::about())
        .post("/predict", predict::predict, predict::about())
        .bounded(large_bodies())
        .get("/info", info::info, info::about())
}
