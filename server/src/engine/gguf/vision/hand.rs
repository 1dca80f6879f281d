//! A thread that works through orders, one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

/// Dropped, it ends with what it is at; the orders behind that must find out themselves that nobody wants them.
pub(super) struct Hand<T> {
    orders: Option<Sender<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Hand<T> {
    /// A panic of `work` costs the order, not the thread.
    pub(super) fn new(name: &str, work: impl Fn(T) + Send + 'static) -> Self {
        let (orders, given) = channel();
        let run = move || {
            for order in given {
                // The panic itself is in the log.
                let _ = catch_unwind(AssertUnwindSafe(|| work(order)));
            }
        };
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(run)
            .expect("the system has room for one more thread");
        Self {
            orders: Some(orders),
            thread: Some(thread),
        }
    }

    /// Adds an order. Whoever gives them bounds how many there are.
    pub(super) fn give(&self, order: T) {
        let orders = self.orders.as_ref().expect("it is there until the drop");
        // The thread ends only after this.
        let _ = orders.send(order);
    }
}

impl<T> Drop for Hand<T> {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // Its panics are caught.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_worked_through_in_turn_and_a_panic_costs_one() {
        let (done, results) = channel();
        let hand = Hand::new("test", move |number: u32| {
            assert!(number != 2, "a scripted panic");
            done.send(number).unwrap();
        });
        (1..=3).for_each(|number| hand.give(number));
        drop(hand);
        assert_eq!(results.iter().collect::<Vec<_>>(), [1, 3]);
    }
}
