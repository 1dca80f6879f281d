//! What a target does that would make its figures mean something else: remember replies, or miscount tokens.
//!
//! Asked after the measured rounds, so that it can disturb none. `cache` replays one prompt against prompts that never
//! repeat, after MLPerf's compliance test 04; `tokens` counts what the server counts, through log-probabilities; `recheck`
//! asks again, alone, some of what was asked under load.

mod cache;
mod recheck;
mod tokens;

use std::time::Instant;

use super::Check;
use crate::{
    client::Client,
    routes::{Answer, Asker},
    workload::{Cache, Inputs, Item, Workload},
};

pub use recheck::Kept;

/// Audits one target with work that it has not seen yet, and with some that it was measured by.
pub async fn target(
    workload: &Workload,
    name: &str,
    client: &Client,
    asker: &Asker,
    kept: &[Kept],
    seed: u64,
) -> Vec<Check> {
    let scope = format!("{} at {name}", workload.name);
    let unseen = unseen(workload, seed);
    let mut checks = vec![cache::audit(&scope, client, asker, &unseen).await];
    if workload.kind.streams() {
        checks.push(tokens::audit(&scope, client, asker, &unseen[0]).await);
    }
    if !kept.is_empty() {
        checks.push(recheck::audit(&scope, client, asker, kept).await);
    }
    checks
}

/// Work of the same kind as the measured, from another stream of texts, and cold whatever the workload says.
fn unseen(workload: &Workload, seed: u64) -> Vec<Item> {
    const ANOTHER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut cold = workload.clone();
    cold.prompt.cache = Cache::Cold;
    let sessions = Inputs::new(&cold, seed ^ ANOTHER).take(cache::PAIRS + 1);
    sessions
        .into_iter()
        .filter_map(|session| session.turns.into_iter().next())
        .collect()
}

/// One good reply and its times.
struct Replied {
    sent: Instant,
    chunks: Vec<Instant>,
    ended: Instant,
    answer: Answer,
}

/// Puts one piece of work to the target; `None` when the reply is not a good one.
async fn put(client: &Client, asker: &Asker, item: &Item) -> Option<Replied> {
    let mut asker = asker.clone();
    let exchange = client.post(&asker.request(item, &[])).await;
    let reading = asker.read(item, &exchange);
    Some(Replied {
        sent: exchange.started,
        chunks: reading.chunks,
        ended: exchange.ended,
        answer: reading.outcome.ok()?,
    })
}
