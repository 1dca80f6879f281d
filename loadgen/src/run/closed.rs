use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::task::JoinSet;

use crate::client::{Client, Exchange, Request};

/// A closed loop: `concurrency` callers share `requests`, and each sends its next one when its last has been answered.
/// Replies come back in the order of the requests. Their bodies stay in memory until then; `--requests` bounds them.
pub(super) async fn run(
    client: &Client,
    requests: Vec<Request>,
    concurrency: usize,
) -> Vec<Exchange> {
    let requests: Arc<[Request]> = requests.into();
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..concurrency {
        let (client, requests, next) = (client.clone(), Arc::clone(&requests), Arc::clone(&next));
        callers.spawn(async move {
            let mut exchanges = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(request) = requests.get(index) else {
                    return exchanges;
                };
                exchanges.push((index, client.post(request).await));
            }
        });
    }
    let mut exchanges: Vec<(usize, Exchange)> =
        callers.join_all().await.into_iter().flatten().collect();
    exchanges.sort_unstable_by_key(|(index, _)| *index);
    exchanges
        .into_iter()
        .map(|(_, exchange)| exchange)
        .collect()
}
