//! The routes of Hugging Face's text-embeddings-inference, for clients that were written against it. Its `/rerank` is told
//! from Cohere's by its fields, see [`super::rerank`], and its `/v1/embeddings` is OpenAI's.
//!
//! That server has one model, so its requests name none; here they may, see [`super::score_model`].

mod embed;
mod embed_all;
mod error;
mod info;
mod predict;
mod similarity;
mod texts;
mod tokenize;

pub use self::error::TeiError;
use crate::api::large_bodies;
use crate::api::openapi::Routes;

/// The routes of this folder.
pub fn routes() -> Routes {
    Routes::of::<error::ErrorRecord>("tei")
        .post("/embed", embed::embed, embed::about())
        .post("/embed_all", embed_all::embed_all, embed_all::about())
        .post(
            "/embed_sparse",
            embed_all::embed_sparse,
            embed_all::about_sparse(),
        )
        .post("/predict", predict::predict, predict::about())
        .post("/similarity", similarity::similarity, similarity::about())
        .post("/tokenize", tokenize::tokenize, tokenize::about_tokenize())
        .post("/decode", tokenize::decode, tokenize::about_decode())
        .bounded(large_bodies())
        .get("/info", info::info, info::about())
}
