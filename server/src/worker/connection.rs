//! The server's end of a worker's socket: who waits for what.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::Settings;
use super::frame::{self, FrameError, ToWorker};
use super::outlet::{Delivery, Outlet};
use super::suspects::{Suspects, Trace};
use crate::inference::encode;
use crate::inference::{Error, Event, Job, JobId, Step, Token};

/// Where the events of a job go.
#[derive(Debug)]
pub enum Reply {
    /// A generation's events, several.
    Generate(Outlet),
    /// The one event of an encoding.
    Encode(oneshot::Sender<encode::Event>),
    /// The one event of a `Tokenize`.
    Tokens(oneshot::Sender<Result<Vec<Token>, Error>>),
    /// The one event of a `Detokenize`.
    Text(oneshot::Sender<Result<String, Error>>),
    /// The one event of a `Pieces`.
    Pieces(oneshot::Sender<Result<Vec<Vec<u8>>, Error>>),
}

/// A handle on a worker. When the last one is dropped the frame queue closes, and with it the process.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    frames: mpsc::Sender<Vec<u8>>,
}

/// What handles and the supervising task share.
#[derive(Debug)]
pub struct Shared {
    /// The worker's process id.
    pub process_id: u32,
    /// Wakes the supervisor to end a process that takes no commands.
    pub broken: Notify,
    max_jobs: usize,
    /// The model's name.
    label: String,
    suspects: Arc<Suspects>,
    /// Jobs that held a slot after the worker's last step.
    running: AtomicU32,
    /// Tokens that the worker's cache held then.
    cached_tokens: AtomicU32,
    table: Mutex<Table>,
    lost: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Table {
    jobs: HashMap<JobId, Pending>,
    last_id: JobId,
    /// Why no jobs are taken any more.
    over: Option<Error>,
}

/// A job under way.
#[derive(Debug)]
struct Pending {
    reply: Reply,
    trace: Trace,
}

/// A submitted job. Dropping it cancels the job unless its last event has arrived.
#[derive(Debug)]
pub struct Ticket {
    shared: Arc<Shared>,
    // A last event may wait for its reader for long; that is no reason to keep the worker.
    frames: mpsc::WeakSender<Vec<u8>>,
    id: JobId,
}

/// The worker sent an event that its job cannot have.
#[derive(Debug)]
pub struct Nonsense;

impl Connection {
    /// A connection that submits at most `max_jobs` at a time, and the queue of frames to write to its socket.
    pub fn new(
        process_id: u32,
        max_jobs: usize,
        settings: &Settings,
    ) -> (Arc<Self>, Arc<Shared>, mpsc::Receiver<Vec<u8>>) {
        // Room for every job's submission and cancellation, and a few pings. Only a worker that has stopped reading
        // lets it fill up.
        let (frames, queue) = mpsc::channel(2 * max_jobs + 16);
        let shared = Arc::new(Shared {
            process_id,
            broken: Notify::new(),
            max_jobs,
            label: settings.label.clone(),
            suspects: Arc::clone(&settings.suspects),
            running: AtomicU32::new(0),
            cached_tokens: AtomicU32::new(0),
            table: Mutex::default(),
            lost: watch::Sender::new(false),
        });
        (
            Arc::new(Self {
                shared: Arc::clone(&shared),
                frames,
            }),
            shared,
            queue,
        )
    }

    /// A sender for the supervisor that does not keep the worker alive.
    pub fn weak_frames(&self) -> mpsc::WeakSender<Vec<u8>> {
        self.frames.downgrade()
    }

    pub fn process_id(&self) -> u32 {
        self.shared.process_id
    }

    pub fn is_lost(&self) -> bool {
        self.shared.table().over.is_some()
    }

    /// See [`Shared::why_over`].
    pub fn why_over(&self) -> Option<Error> {
        self.shared.why_over()
    }

    /// Ends all jobs and takes no more: the server is shutting down.
    pub fn dismiss(&self) {
        drop(self.shared.close(Error::ShuttingDown));
    }

    pub async fn lost(&self) {
        // The sender lives in `shared`, so this cannot fail.
        let _ = self.shared.lost.subscribe().wait_for(|lost| *lost).await;
    }

    pub fn jobs(&self) -> usize {
        self.shared.table().jobs.len()
    }

    /// Jobs that hold a slot.
    pub fn running(&self) -> u32 {
        self.shared.running.load(Ordering::Relaxed)
    }

    /// Tokens that the worker's cache holds.
    pub fn cached_tokens(&self) -> u32 {
        self.shared.cached_tokens.load(Ordering::Relaxed)
    }

    /// Sends a job on its way.
    ///
    /// # Errors
    /// [`Error::Busy`] at the limit of jobs, [`Error::InvalidJob`] for one too large to send, [`Error::WorkerLost`],
    /// [`Error::Suspect`] for what workers may have died of.
    pub fn submit(&self, job: Job, reply: Reply) -> Result<Ticket, Error> {
        let trace = self.shared.suspects.trace(&self.shared.label, &job);
        self.shared.suspects.admit(trace, Instant::now())?;
        let id = self.shared.reserve()?;
        let frame = frame::encode(&ToWorker::Submit(id, job)).map_err(|error| match error {
            FrameError::TooLarge(bytes) => {
                Error::InvalidJob(format!("the request of {bytes} bytes is too large"))
            }
            error => Error::InvalidJob(error.to_string()),
        })?;
        self.shared.insert(id, Pending { reply, trace })?;
        // From here on the ticket takes the job out of the table again, whatever happens.
        let ticket = Ticket {
            shared: Arc::clone(&self.shared),
            frames: self.frames.downgrade(),
            id,
        };
        match self.frames.try_send(frame) {
            Ok(()) => Ok(ticket),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Error::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Error::WorkerLost),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The worker hears of it unless nobody keeps it any more, be it that this job was the last who did.
        let frames = self.frames.upgrade();
        if let (true, Some(frames)) = (self.shared.forget(self.id), frames) {
            cancel(&frames, &self.shared, self.id);
        }
    }
}

impl Ticket {
    /// See [`Shared::why_over`].
    pub fn why_over(&self) -> Option<Error> {
        self.shared.why_over()
    }
}

impl Shared {
    /// Why jobs end without a last event of their own: the process is gone, or its callers were sent away.
    fn why_over(&self) -> Option<Error> {
        self.table().over.clone()
    }

    /// Notes what a step left.
    pub fn step(&self, step: &Step) {
        self.running.store(step.running, Ordering::Relaxed);
        (self.cached_tokens).store(step.cached_tokens, Ordering::Relaxed);
    }

    /// Passes an event on to whoever waits for it.
    ///
    /// # Errors
    /// [`Nonsense`] if the job is of another kind than the event.
    pub fn deliver(
        &self,
        id: JobId,
        event: Event,
        frames: &mpsc::WeakSender<Vec<u8>>,
    ) -> Result<(), Nonsense> {
        let mut table = self.table();
        // A job that was cancelled meanwhile is no longer there, and its last events are of no interest.
        let Some(Pending { reply, trace }) = table.jobs.remove(&id) else {
            return Ok(());
        };
        let over = event.is_last();
        if over {
            self.suspects.answered(trace);
        }
        match (reply, event) {
            (Reply::Generate(mut outlet), Event::Generate(event)) => {
                let delivery = outlet.deliver(event, Instant::now);
                if delivery == Delivery::Waits && !over {
                    let reply = Reply::Generate(outlet);
                    table.jobs.insert(id, Pending { reply, trace });
                    return Ok(());
                }
                // What it holds on to may want this table when it is let go.
                drop(table);
                drop(outlet);
                if let (Delivery::TooSlow, Some(frames)) = (delivery, frames.upgrade()) {
                    cancel(&frames, self, id);
                }
            }
            // The receivers may have left a moment ago.
            (Reply::Encode(sender), Event::Encode(event)) => drop(sender.send(event)),
            (Reply::Tokens(sender), Event::Tokenized(result)) => drop(sender.send(result)),
            (Reply::Text(sender), Event::Detokenized(result)) => drop(sender.send(result)),
            (Reply::Pieces(sender), Event::Pieces(result)) => drop(sender.send(result)),
            (reply, _) => {
                drop(table);
                drop(reply);
                return Err(Nonsense);
            }
        }
        Ok(())
    }

    /// Whether any job is under way.
    pub fn is_busy(&self) -> bool {
        !self.table().jobs.is_empty()
    }

    /// Tells everybody that the process is gone: their channels close, and no job is taken any more. Returns how many
    /// jobs that cost.
    pub fn lose(&self) -> usize {
        let jobs = self.close(Error::WorkerLost);
        let under_way = jobs.values().map(|job| job.trace).collect();
        self.suspects.died(under_way, Instant::now());
        jobs.len()
    }

    /// Takes no more jobs, for this reason unless there was one before, and gives those that were under way.
    fn close(&self, reason: Error) -> HashMap<JobId, Pending> {
        let jobs = {
            let mut table = self.table();
            table.over.get_or_insert(reason);
            std::mem::take(&mut table.jobs)
        };
        self.lost.send_replace(true);
        jobs
    }

    fn reserve(&self) -> Result<JobId, Error> {
        let mut table = self.table();
        if let Some(reason) = &table.over {
            return Err(reason.clone());
        }
        if table.jobs.len() >= self.max_jobs {
            return Err(Error::Busy);
        }
        table.last_id += 1;
        Ok(table.last_id)
    }

    fn insert(&self, id: JobId, job: Pending) -> Result<(), Error> {
        let mut table = self.table();
        if let Some(reason) = &table.over {
            return Err(reason.clone());
        }
        table.jobs.insert(id, job);
        Ok(())
    }

    fn forget(&self, id: JobId) -> bool {
        // What it holds on to is let go when the table is free again.
        let job = self.table().jobs.remove(&id);
        job.is_some()
    }

    /// The table is whole between any two statements that hold it, so a panic elsewhere leaves it usable.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cancel(frames: &mpsc::Sender<Vec<u8>>, shared: &Shared, id: JobId) {
    let frame = frame::encode(&ToWorker::Cancel(id)).expect("a cancellation is a few bytes");
    if let Err(mpsc::error::TrySendError::Full(_)) = frames.try_send(frame) {
        shared.broken.notify_one();
    }
}
