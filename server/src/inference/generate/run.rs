//! The generation loop.

use super::Engine;
use crate::inference::{Inbox, Outbox};

/// Generates what the inbox asks for until it closes.
pub fn run(engine: &mut dyn Engine, inbox: &Inbox, outbox: &mut dyn Outbox) {
    let _ = (engine, inbox, outbox);
}
