//! Sending the work of one round at one pace, and nothing else: what is measured happens here, and what can be done
//! before or after it is.

mod closed;
mod open;
mod pacer;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    client::{Client, Exchange, Request},
    routes::{Asker, Content, new_messages},
    workload::{Item, LoadPoint, Message, Role},
};

/// One request or conversation, ready to be sent.
#[derive(Debug)]
pub(super) struct Call {
    /// The first request's bytes, made before the clock starts.
    pub first: Request,
    /// The turns; the first is what `first` carries.
    pub turns: Vec<Item>,
    /// From a reply's end to the next turn's intended start.
    pub think_time: Duration,
    /// Writes the later turns, which carry the replies before them.
    pub asker: Arc<Asker>,
}

/// What came of one request.
#[derive(Debug)]
pub(super) struct Reply {
    /// Which call it was.
    pub call: usize,
    /// The turn of a conversation, from 0.
    pub turn: usize,
    /// When it should have been sent.
    pub intended: Instant,
    /// What came back.
    pub exchange: Exchange,
}

/// Sends all `calls` at the pace of `load`; in an open loop each `offsets` after the start. Replies come back in the order of
/// the calls, the turns of a conversation one after the other. Their bodies stay in memory until then; the requests
/// of a round bound them.
pub(super) async fn drive(
    client: &Client,
    calls: Vec<Call>,
    load: &LoadPoint,
    offsets: Option<Vec<Duration>>,
) -> Vec<Reply> {
    let calls: Arc<[Call]> = calls.into();
    let mut replies = match (load, offsets) {
        (
            LoadPoint::Open { max_in_flight, .. }
            | LoadPoint::Ramp { max_in_flight, .. }
            | LoadPoint::Trace { max_in_flight, .. },
            Some(offsets),
        ) => open::run(client, &calls, offsets, *max_in_flight).await,
        _ => closed::run(client, &calls, load.concurrency().unwrap_or(1)).await,
    };
    replies.sort_unstable_by_key(|reply| (reply.call, reply.turn));
    replies
}

/// Sends `calls` by `concurrency` callers.
pub(super) async fn warm_up(client: &Client, calls: Vec<Call>, concurrency: usize) {
    closed::run(client, &calls.into(), concurrency).await;
}

/// All turns of one call. A turn whose reply is no good is left out of what later turns carry, so that every target is asked
/// equally often.
async fn converse(client: &Client, calls: &[Call], call: usize, intended: Instant) -> Vec<Reply> {
    let Call {
        first,
        turns,
        think_time,
        asker,
        ..
    } = &calls[call];
    let exchange = client.post(first).await;
    let mut replies = vec![Reply {
        call,
        turn: 0,
        intended,
        exchange,
    }];
    if turns.len() == 1 {
        return replies;
    }
    let mut earlier: Vec<Message> = Vec::new();
    for (turn, item) in turns.iter().enumerate().skip(1) {
        let before = &replies[turn - 1];
        remember(asker, &turns[turn - 1], &before.exchange, &mut earlier);
        let intended = before.exchange.ended + *think_time;
        let request = asker.request(item, &earlier);
        tokio::time::sleep_until(intended.into()).await;
        let exchange = client.post(&request).await;
        replies.push(Reply {
            call,
            turn,
            intended,
            exchange,
        });
    }
    replies
}

/// Adds a turn and its reply to the conversation.
fn remember(asker: &Asker, item: &Item, exchange: &Exchange, earlier: &mut Vec<Message>) {
    let reading = asker.clone().read(item, exchange);
    if let Ok(answer) = reading.outcome
        && let Content::Text(generation) = answer.content
    {
        earlier.extend(new_messages(item));
        earlier.push(Message {
            role: Role::Assistant,
            content: generation.text,
        });
    }
}
