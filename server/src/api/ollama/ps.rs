//! GET `/api/ps`: the models in memory.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::details::DetailsRecord;
use crate::api::openapi::About;
use crate::api::{App, reply, time};
use crate::models::Loaded;

#[derive(Serialize, ToSchema)]
struct Ps {
    /// Those that stay longest first.
    models: Vec<Process>,
    /// Extension: requests that wait for a model to find room or to be loaded otherwise.
    waiting: usize,
}

#[derive(Serialize, ToSchema)]
struct Process {
    name: String,
    model: String,
    /// In bytes.
    size: u64,
    /// 64 hexadecimal digits.
    digest: String,
    details: DetailsRecord,
    expires_at: String,
    /// What of it lies on graphics processors; 0 in builds that know none.
    size_vram: u64,
    context_length: u32,
    /// Extension: what `size` is made of.
    memory: Memory,
    /// Extension: the engine, how it holds the weights and with whose kernels it computes, for people.
    computed_by: String,
    /// Extension: sequences that can advance together.
    slots: u32,
    /// Extension: requests that hold a slot.
    running: u32,
    /// Extension: requests that wait for a slot; one that comes now is the next after them.
    queued: u32,
}

/// In bytes; 0 where the engine does not tell.
#[derive(Serialize, ToSchema)]
struct Memory {
    /// The model's weights.
    weights: u64,
    /// The key-value cache of the tokens that it holds.
    cache: u64,
    /// What the cache may grow to.
    cache_reserved: u64,
    /// Tokens that the cache holds.
    cache_tokens: u32,
    /// Buffers of the computation.
    compute: u64,
    /// What is left of `size`: the process itself, the vocabulary, copies of weights in another order.
    other: u64,
}

/// For the document.
#[must_use]
pub fn about() -> About {
    About::new("List the models in memory").gives::<Ps>()
}

/// The list.
pub async fn ps(State(app): State<Arc<App>>) -> Response {
    let models = app.models.loaded().iter().map(Process::of).collect();
    let waiting = app.models.waiting();
    reply::json(StatusCode::OK, &Ps { models, waiting })
}

impl Process {
    fn of(loaded: &Loaded) -> Self {
        Self {
            name: loaded.name.to_string(),
            model: loaded.name.to_string(),
            size: loaded.size_bytes + loaded.memory.on_devices,
            digest: loaded.model.id.hex(),
            details: DetailsRecord::loaded(&loaded.model.details),
            expires_at: time::expiry(loaded.expires_at, loaded.forever),
            size_vram: loaded.memory.on_devices,
            context_length: loaded.context,
            memory: Memory::of(loaded),
            computed_by: loaded.description.clone(),
            slots: loaded.slots,
            running: loaded.running,
            queued: loaded.queued,
        }
    }
}

impl Memory {
    fn of(loaded: &Loaded) -> Self {
        let memory = loaded.memory;
        let known = memory.weights + memory.cache + memory.compute;
        Self {
            weights: memory.weights,
            cache: memory.cache,
            cache_reserved: memory.cache_reserved,
            cache_tokens: loaded.cached_tokens,
            compute: memory.compute,
            other: (loaded.size_bytes + memory.on_devices).saturating_sub(known),
        }
    }
}
