//! A generation's events on their way to their reader, who may be slow.
//!
//! A worker does not wait for readers: they would hold up everybody else's step. So what they have not taken yet waits here, and a job
//! whose reader is gone in all but name ends, because it holds a slot that others wait for.

use std::any::Any;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::inference::generate::Event;

/// Events that may wait for a reader who takes some now and then; more than the tokens of any ordinary answer.
const MOST_WAITING: usize = 16_384;

/// Events that may wait for a reader for as long as it likes, behind all that the sockets' buffers hold: a terminal that somebody scrolls back
/// in, or a network that is away for a moment.
const PATIENT_WAITING: usize = 256;

/// How long a reader may take nothing while more than [`PATIENT_WAITING`] wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a generation's events go.
#[derive(Debug)]
pub struct Outlet {
    events: mpsc::Sender<Event>,
    delivered: usize,
    /// What had been taken when the reader was last seen to take something while more than [`PATIENT_WAITING`] waited, and when that was.
    progress: Option<(usize, Instant)>,
    /// What the generation needs for as long as it is computed, and not for as long as it is read.
    _needed: Box<dyn Any + Send + Sync>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delivery {
    /// It waits for the reader.
    Waits,
    /// Nobody will read it.
    Left,
    /// The reader is too slow, and is told so by the end of its channel.
    TooSlow,
}

/// An outlet and what its reader takes events from. What is `needed` is dropped with the outlet.
pub fn outlet(needed: Box<dyn Any + Send + Sync>) -> (Outlet, mpsc::Receiver<Event>) {
    let (events, reader) = mpsc::channel(MOST_WAITING);
    let outlet = Outlet {
        events,
        delivered: 0,
        progress: None,
        _needed: needed,
    };
    (outlet, reader)
}

impl Outlet {
    /// Hands on an event. After anything but [`Delivery::Waits`] the outlet is to be dropped.
    pub fn deliver(&mut self, event: Event, now: impl FnOnce() -> Instant) -> Delivery {
        match self.events.try_send(event) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return Delivery::Left,
            Err(mpsc::error::TrySendError::Full(_)) => return Delivery::TooSlow,
        }
        self.delivered += 1;
        let waiting = self.events.max_capacity() - self.events.capacity();
        if waiting <= PATIENT_WAITING {
            self.progress = None;
            return Delivery::Waits;
        }
        let (taken, now) = (self.delivered - waiting, now());
        match self.progress {
            Some((before, since)) if before == taken && now - since > PATIENCE => Delivery::TooSlow,
            Some((before, _)) if before == taken => Delivery::Waits,
            _ => {
                self.progress = Some((taken, now));
                Delivery::Waits
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Event {
        Event::Text(Default::default())
    }

    /// Delivers so many events at a time and says what became of the last.
    fn deliver(outlet: &mut Outlet, count: usize, now: Instant) -> Delivery {
        for _ in 1..count {
            assert_eq!(outlet.deliver(text(), || now), Delivery::Waits);
        }
        outlet.deliver(text(), || now)
    }

    #[test]
    fn an_ordinary_answer_waits_for_as_long_as_its_reader_likes() {
        let (mut outlet, reader) = outlet(Box::new(()));
        let begin = Instant::now();
        for hour in 0..PATIENT_WAITING {
            let now = begin + Duration::from_secs(3600) * u32::try_from(hour).unwrap();
            assert_eq!(deliver(&mut outlet, 1, now), Delivery::Waits);
        }
        assert_eq!(reader.len(), PATIENT_WAITING);
    }

    #[test]
    fn a_reader_who_takes_nothing_ends_a_long_one() {
        let (mut outlet, mut reader) = outlet(Box::new(()));
        let begin = Instant::now();
        assert_eq!(
            deliver(&mut outlet, PATIENT_WAITING + 1, begin),
            Delivery::Waits
        );
        assert_eq!(deliver(&mut outlet, 1, begin + PATIENCE), Delivery::Waits);
        // One event taken is a sign of life.
        reader.try_recv().unwrap();
        let alive = begin + PATIENCE * 2;
        assert_eq!(deliver(&mut outlet, 1, alive), Delivery::Waits);
        assert_eq!(deliver(&mut outlet, 1, alive + PATIENCE), Delivery::Waits);
        let late = alive + PATIENCE + Duration::from_millis(1);
        assert_eq!(deliver(&mut outlet, 1, late), Delivery::TooSlow);
    }

    #[test]
    fn one_who_catches_up_begins_anew() {
        let (mut outlet, mut reader) = outlet(Box::new(()));
        let begin = Instant::now();
        deliver(&mut outlet, PATIENT_WAITING + 10, begin);
        for _ in 0..20 {
            reader.try_recv().unwrap();
        }
        assert_eq!(
            deliver(&mut outlet, 1, begin + PATIENCE * 2),
            Delivery::Waits
        );
        assert_eq!(
            deliver(&mut outlet, 100, begin + PATIENCE * 3),
            Delivery::Waits
        );
    }

    #[test]
    fn more_than_the_most_is_too_much_for_anybody() {
        let (mut outlet, reader) = outlet(Box::new(()));
        let now = Instant::now();
        assert_eq!(deliver(&mut outlet, MOST_WAITING, now), Delivery::Waits);
        assert_eq!(deliver(&mut outlet, 1, now), Delivery::TooSlow);
        drop(reader);
        assert_eq!(deliver(&mut outlet, 1, now), Delivery::Left);
    }
}
