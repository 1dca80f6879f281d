use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::Semaphore, task::JoinSet};

use super::{Call, Reply, converse, pacer};
use crate::client::Client;

/// Between the decision to begin and the first request, so that it is as punctual as the others.
const RUN_UP: Duration = Duration::from_millis(5);

/// An open loop: each call begins at its own time, whether those before it are answered or not. No arrival is dropped: beyond
/// `max_in_flight` they wait, and the wait counts because latency counts from the intended start.
pub(super) async fn run(
    client: &Client,
    calls: &Arc<[Call]>,
    offsets: Vec<Duration>,
    max_in_flight: usize,
) -> Vec<Reply> {
    let (client, calls) = (client.clone(), Arc::clone(calls));
    let permits = Arc::new(Semaphore::new(max_in_flight));
    let runtime = Handle::current();
    // A thread of its own: the runtime's timers are a millisecond late, and its threads have replies to read.
    let pacing = thread::spawn(move || {
        let start = Instant::now() + RUN_UP;
        let lead = pacer::lead(&offsets);
        let mut tasks = JoinSet::new();
        for (call, offset) in offsets.into_iter().enumerate() {
            let intended = start + offset;
            let (client, calls, permits) =
                (client.clone(), Arc::clone(&calls), Arc::clone(&permits));
            let task = async move {
                let _permit = permits
                    .acquire()
                    .await
                    .expect("nobody closes this semaphore");
                converse(&client, &calls, call, intended).await
            };
            pacer::wait_until(intended, lead);
            tasks.spawn_on(task, &runtime);
        }
        tasks
    });
    let tasks = tokio::task::spawn_blocking(move || pacing.join())
        .await
        .expect("the runtime outlives a measurement")
        .expect("pacing reads clocks and starts tasks, which cannot fail");
    tasks.join_all().await.into_iter().flatten().collect()
}
