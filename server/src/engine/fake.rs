//! Scripted words, delays and faults: what the tests of frames, scheduler and supervisor run on.

use serde::{Deserialize, Serialize};

use super::Facts;
use crate::inference::{Error, Inbox, Outbox};

/// What the fake does.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Spec {
    /// Its answer, one word a token, to every prompt; then it ends. Empty: it echoes the prompt.
    pub words: Vec<String>,
    /// Sequences that advance together; 0 is 1.
    pub slots: u32,
    /// Tokens one sequence can hold; 0 is 4,096.
    pub context: u32,
    /// Time of every engine call in microseconds.
    pub step_us: u64,
    /// Time of loading in microseconds.
    pub load_us: u64,
    /// What goes wrong, and when.
    pub fault: Option<Fault>,
}

/// Something that goes wrong in a worker.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Fault {
    /// Loading fails with an error.
    FailLoad,
    /// The process aborts while loading.
    AbortLoad,
    /// The engine reports an error at this step (from 1).
    FailStep(u64),
    /// The process aborts at this step.
    AbortStep(u64),
    /// The engine never returns from this step.
    HangStep(u64),
    /// The loop panics at this step.
    PanicStep(u64),
    /// The worker writes bytes that are no frame at this step.
    GarbageStep(u64),
}

/// Loads the script and runs the generation loop on it.
///
/// # Errors
/// See [`super::serve`].
pub fn serve(
    spec: &Spec,
    inbox: &Inbox,
    outbox: &mut dyn Outbox,
    ready: &mut dyn FnMut(Facts),
) -> Result<(), Error> {
    let _ = (spec, inbox, outbox, ready);
    Err(Error::LoadFailed("not scripted".into()))
}
