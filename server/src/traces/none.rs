//! What a build without traces has instead.

use crate::inference::generate::Usage;

/// The caller's part of a trace.
#[derive(Clone, Debug)]
pub struct Caller;

impl Caller {
    /// Whatever the headers say.
    #[must_use]
    pub fn of(_traceparent: Option<&str>, _tracestate: Option<&str>) -> Self {
        Self
    }

    /// Just that work.
    pub async fn waits_for<W: Future>(self, work: W) -> W::Output {
        work.await
    }
}

/// A request under way.
#[derive(Debug)]
pub struct Trace;

impl Trace {
    /// One that arrived now.
    #[must_use]
    pub fn start() -> Self {
        Self
    }

    /// One that arrived together with it.
    #[must_use]
    pub fn again(&self) -> Self {
        Self
    }

    /// Its model is ready.
    pub fn granted(&mut self) {}

    /// Its answer is complete.
    pub fn generated(&mut self, _usage: &Usage) {}

    /// Its vectors or labels are complete.
    pub fn encoded(&mut self, _prompt_tokens: u32, _queue_ns: u64) {}

    /// It has ended.
    pub fn end(&self, _model: &str, _operation: &'static str, _error: Option<&'static str>) {}
}

/// Tells nobody.
///
/// # Errors
/// Never.
pub fn start(_variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    Ok(())
}

/// Nothing to wait for.
pub fn stop() {}
