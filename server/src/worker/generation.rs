//! A generation as the server's caller sees it.

use std::any::Any;

use tokio::sync::mpsc;

use super::connection::{Connection, Reply, Ticket};
use super::outlet::outlet;
use crate::inference::generate::{Event, Generate};
use crate::inference::{Error, Job};

/// A running generation. Dropping it cancels the job within one step of its engine.
#[derive(Debug)]
pub struct Generation {
    events: mpsc::Receiver<Event>,
    ticket: Option<Ticket>,
}

impl Generation {
    pub(super) fn start(
        connection: &Connection,
        job: Generate,
        needed: Box<dyn Any + Send + Sync>,
    ) -> Result<Self, Error> {
        let (outlet, events) = outlet(needed);
        let ticket = connection.submit(Job::Generate(job), Reply::Generate(outlet))?;
        Ok(Self {
            events,
            ticket: Some(ticket),
        })
    }

    /// The next event: `Text` any number of times, then exactly one `Finished` or `Failed`, then `None`.
    pub async fn next(&mut self) -> Option<Event> {
        let ticket = self.ticket.as_ref()?;
        let event = self.events.recv().await.unwrap_or_else(|| {
            // The channel closed without a last event: either the worker is over, or the reader was too slow.
            Event::Failed(ticket.why_over().unwrap_or(Error::SlowReader))
        });
        if matches!(event, Event::Finished(_) | Event::Failed(_)) {
            self.ticket = None;
        }
        Some(event)
    }
}
