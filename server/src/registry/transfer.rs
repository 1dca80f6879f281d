//! A pull or push under way: what it tells, and how it ends.

use std::future::Future;
use std::pin::Pin;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::{Error, Progress};

/// Lines that may wait for a slow reader. How far a blob has come is then told less often; everything else waits.
const MAX_WAITING_LINES: usize = 64;

type Work = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A pull or push. It goes on while it is asked for its progress; dropped, it gives up.
pub struct Transfer {
    work: Option<Work>,
    ended: Option<Result<(), Error>>,
    told: mpsc::Receiver<Progress>,
    _permit: OwnedSemaphorePermit,
}

/// Through which the work tells how far it is.
pub struct Teller(mpsc::Sender<Progress>);

impl Transfer {
    pub(super) fn start<F>(permit: OwnedSemaphorePermit, work: impl FnOnce(Teller) -> F) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let (sender, told) = mpsc::channel(MAX_WAITING_LINES);
        Self {
            work: Some(Box::pin(work(Teller(sender)))),
            ended: None,
            told,
            _permit: permit,
        }
    }

    /// The next thing to be told; `None` after [`Progress::Success`], and after an error.
    pub async fn next(&mut self) -> Option<Result<Progress, Error>> {
        loop {
            let Some(work) = &mut self.work else {
                // What was told before the end comes before it.
                return match self.told.try_recv() {
                    Ok(progress) => Some(Ok(progress)),
                    Err(_) => self.ended.take()?.err().map(Err),
                };
            };
            tokio::select! {
                biased;
                Some(progress) = self.told.recv() => return Some(Ok(progress)),
                result = work => {
                    self.ended = Some(result);
                    self.work = None;
                }
            }
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Whatever it failed with.
    pub async fn finish(mut self) -> Result<(), Error> {
        while let Some(told) = self.next().await {
            told?;
        }
        Ok(())
    }
}

/// Does the work unless, or until, it is to stop.
pub async fn unless(
    mut stopping: watch::Receiver<bool>,
    work: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    tokio::select! {
        biased;
        // An error of `wait_for` means that nobody is left who could stop it, and `work` holds on to who could.
        Ok(_) = stopping.wait_for(|is_stopping| *is_stopping) => Err(Error::Stopping),
        result = work => result,
    }
}

impl Teller {
    /// Tells something that must not be missed.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub async fn tell(&self, progress: Progress) -> Result<(), Error> {
        self.0.send(progress).await.map_err(|_| Error::Canceled)
    }

    /// Tells something that the next line will tell better, if there is room.
    pub fn mention(&self, progress: Progress) {
        // Full: the reader is slow and hears the next one.
        let _ = self.0.try_send(progress);
    }
}
