//! A generation as the server's caller sees it.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::connection::{Connection, Reply, Ticket};
use crate::inference::generate::{Event, Generate};
use crate::inference::{Error, Job};

/// Events that may wait for a slow reader; more than the tokens of any ordinary answer. At the bound the job ends with
/// [`Error::SlowReader`].
const MAX_WAITING_EVENTS: usize = 65_536;

/// A running generation. Dropping it cancels the job within one step of its engine.
#[derive(Debug)]
pub struct Generation {
    events: mpsc::Receiver<Event>,
    connection: Arc<Connection>,
    ticket: Option<Ticket>,
}

impl Generation {
    pub(super) fn start(connection: &Arc<Connection>, job: Generate) -> Result<Self, Error> {
        let (sender, events) = mpsc::channel(MAX_WAITING_EVENTS);
        let ticket = connection.submit(Job::Generate(job), Reply::Generate(sender))?;
        Ok(Self {
            events,
            connection: Arc::clone(connection),
            ticket: Some(ticket),
        })
    }

    /// The next event: `Text` any number of times, then exactly one `Finished` or `Failed`, then `None`.
    pub async fn next(&mut self) -> Option<Event> {
        self.ticket.as_ref()?;
        let event = self.events.recv().await.unwrap_or_else(|| {
            // The channel closed without a last event: either the worker is over, or the bound was reached.
            Event::Failed(self.connection.why_over().unwrap_or(Error::SlowReader))
        });
        if matches!(event, Event::Finished(_) | Event::Failed(_)) {
            self.ticket = None;
        }
        Some(event)
    }
}
