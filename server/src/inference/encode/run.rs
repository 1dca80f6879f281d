//! The encoding loop.

use super::Encoder;
use crate::inference::{Inbox, Outbox};

/// Encodes what the inbox brings until it closes.
pub fn run(encoder: &mut dyn Encoder, inbox: &Inbox, outbox: &mut dyn Outbox) {
    let _ = (encoder, inbox, outbox);
}
