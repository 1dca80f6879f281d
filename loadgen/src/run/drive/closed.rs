use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::task::JoinSet;

use super::{Call, Reply, converse};
use crate::client::Client;

/// A closed loop: `concurrency` callers share the calls, and each sends its next one when its last has been answered.
pub(super) async fn run(client: &Client, calls: &Arc<[Call]>, concurrency: usize) -> Vec<Reply> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..concurrency.min(calls.len()) {
        let (client, calls, next) = (client.clone(), Arc::clone(calls), Arc::clone(&next));
        callers.spawn(async move {
            let mut replies = Vec::new();
            loop {
                let call = next.fetch_add(1, Ordering::Relaxed);
                if call >= calls.len() {
                    return replies;
                }
                replies.extend(converse(&client, &calls, call, Instant::now()).await);
            }
        });
    }
    callers.join_all().await.into_iter().flatten().collect()
}
