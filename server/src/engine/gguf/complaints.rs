//! What llama.cpp complains of while it loads. Its API returns a null pointer; the reason is only in its log.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

/// Most complaints kept of one attempt; a broken file can produce one per tensor.
const COMPLAINTS: usize = 8;

/// A warning that says nothing here: it takes the room that all sequences share for the length of one.
const FALSE_ALARM: &str = "possible training context overflow";

/// Runs `attempt` and returns, beside its result, the errors that were logged meanwhile on this thread, oldest first.
/// All events still reach the subscriber that was there before.
pub(super) fn heard<T>(attempt: impl FnOnce() -> T) -> (T, Vec<String>) {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let listener = Listener {
        errors: Arc::clone(&errors),
        outer: tracing::dispatcher::get_default(Dispatch::clone),
    };
    let result = tracing::subscriber::with_default(Registry::default().with(listener), attempt);
    let errors = std::mem::take(&mut *errors.lock().unwrap_or_else(PoisonError::into_inner));
    (result, errors)
}

struct Listener {
    errors: Arc<Mutex<Vec<String>>>,
    outer: Dispatch,
}

impl<S: Subscriber> Layer<S> for Listener {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() == Level::ERROR || self.outer.enabled(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if message.0.contains(FALSE_ALARM) {
            return;
        }
        if self.outer.enabled(event.metadata()) {
            self.outer.event(event);
        }
        if *event.metadata().level() == Level::ERROR {
            let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
            if errors.len() < COMPLAINTS {
                errors.push(message.0);
            }
        }
    }
}

struct Message(String);

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.trim().clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::heard;

    #[test]
    fn errors_are_heard_and_lesser_events_are_not() {
        let (result, errors) = heard(|| {
            tracing::info!("reading");
            tracing::error!("unknown architecture: '{}'", "x");
            7
        });
        assert_eq!(result, 7);
        assert_eq!(errors, ["unknown architecture: 'x'"]);
    }
}
