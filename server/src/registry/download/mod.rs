//! Blobs being fetched. Whoever wants the same blob waits for the same bytes.
//!
//! A download is a task of its own that lives while somebody holds a [`Ticket`]. When the last one is dropped it stops
//! within one piece, writes down how far it has come and leaves the rest to the next pull. [`part`] fetches one range.

mod part;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::{StreamExt, stream};
use reqwest::Url;
use tokio::sync::watch;

use super::session::Session;
use super::{Error, Shared};
use crate::store::{Digest, PartialBlob, Store, StoreError};

/// All blobs being fetched.
#[derive(Default)]
pub struct Downloads {
    running: Mutex<HashMap<Digest, Running>>,
}

/// A download, and what the next one of the same blob has to wait for.
struct Running {
    download: Weak<Download>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// What is to be fetched from where.
#[derive(Clone)]
pub struct Source {
    /// Who asks.
    pub session: Arc<Session>,
    /// Where the bytes are.
    pub url: Url,
    /// What they are.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
}

/// Somebody's interest in a download.
pub struct Ticket {
    download: Arc<Download>,
    /// Nobody else had asked for it, so that how it ends is about the source that was given.
    is_first: bool,
}

struct Download {
    state: Arc<State>,
    /// Closed when the last ticket is dropped, which tells the task to stop.
    _wanted: watch::Sender<()>,
}

/// What the task tells its ticket holders.
struct State {
    completed: AtomicU64,
    phase: watch::Sender<Phase>,
}

/// How far a download is.
#[derive(Clone, Debug)]
pub enum Phase {
    /// Bytes are coming.
    Fetching,
    /// All of them are here and are being checked.
    Checking,
    /// The blob is in the store.
    Done,
    /// It is not.
    Failed(Arc<Error>),
}

impl Downloads {
    /// Joins the download of that blob, or begins it.
    pub fn join(&self, shared: &Arc<Shared>, source: Source) -> Ticket {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let known = running.get(&source.digest);
        if let Some(download) = known.and_then(|known| known.download.upgrade())
            && !matches!(*download.state.phase.borrow(), Phase::Failed(_))
        {
            return Ticket {
                download,
                is_first: false,
            };
        }
        let turn = known.map_or_else(Arc::default, |known| Arc::clone(&known.turn));
        let (wanted, still_wanted) = watch::channel(());
        let state = Arc::new(State {
            completed: AtomicU64::new(0),
            phase: watch::Sender::new(Phase::Fetching),
        });
        let download = Arc::new(Download {
            state: Arc::clone(&state),
            _wanted: wanted,
        });
        let entry = Running {
            download: Arc::downgrade(&download),
            turn: Arc::clone(&turn),
        };
        running.insert(source.digest, entry);
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let digest = source.digest;
            let stop = Stop::new(still_wanted);
            let result = {
                // One that was given up may still be writing down how far it came.
                let _turn = turn.lock_owned().await;
                run(&shared, source, &state, stop).await
            };
            shared.downloads.forget(&digest, &state);
            state.phase.send_replace(match result {
                Ok(()) => Phase::Done,
                Err(error) => Phase::Failed(Arc::new(error)),
            });
        });
        Ticket {
            download,
            is_first: true,
        }
    }

    /// Takes a download off the list, unless another one of the same blob has taken its place.
    fn forget(&self, digest: &Digest, state: &Arc<State>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = running.get(digest).is_some_and(|known| {
            let download = known.download.upgrade();
            download.is_none_or(|download| Arc::ptr_eq(&download.state, state))
        });
        if is_own {
            running.remove(digest);
        }
    }
}

impl Ticket {
    /// Whether this one began the download.
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// Bytes that are here.
    pub fn completed(&self) -> u64 {
        self.download.state.completed.load(Ordering::Relaxed)
    }

    /// Returns once all bytes are here, or will not come.
    pub async fn fetched(&self) -> Phase {
        self.reached(|phase| !matches!(phase, Phase::Fetching))
            .await
    }

    /// Returns once the blob is in the store.
    ///
    /// # Errors
    /// When it could not be fetched.
    pub async fn finished(&self) -> Result<(), Arc<Error>> {
        match self
            .reached(|phase| matches!(phase, Phase::Done | Phase::Failed(_)))
            .await
        {
            Phase::Failed(error) => Err(error),
            _ => Ok(()),
        }
    }

    async fn reached(&self, condition: impl FnMut(&Phase) -> bool) -> Phase {
        let mut phases = self.download.state.phase.subscribe();
        let phase = phases.wait_for(condition).await;
        phase.expect("the ticket keeps the sender").clone()
    }
}

/// When a part is to stop: nobody wants the blob any more, or another part has failed for good.
#[derive(Clone)]
struct Stop {
    wanted: watch::Receiver<()>,
    failed: watch::Receiver<bool>,
    fail: Arc<watch::Sender<bool>>,
}

impl Stop {
    fn new(wanted: watch::Receiver<()>) -> Self {
        let (fail, failed) = watch::channel(false);
        Self {
            wanted,
            failed,
            fail: Arc::new(fail),
        }
    }

    /// Returns when it is time.
    async fn told(&mut self) {
        tokio::select! {
            // Nothing is ever sent: it changes by being closed.
            _ = self.wanted.changed() => {}
            _ = self.failed.wait_for(|failed| *failed) => {}
        }
    }

    /// Stops all other parts.
    fn tell(&self) {
        self.fail.send_replace(true);
    }
}

async fn run(
    shared: &Arc<Shared>,
    source: Source,
    state: &Arc<State>,
    stop: Stop,
) -> Result<(), Error> {
    let (digest, size) = (source.digest, source.size);
    let part_bytes = shared.options.limits.part_bytes(size);
    let Some(blob) = with(&shared.store, move |store| {
        open(store, digest, size, part_bytes)
    })
    .await?
    else {
        state.completed.store(size, Ordering::Relaxed);
        return Ok(());
    };
    let blob = Arc::new(blob);
    let unfinished: Vec<usize> = {
        let parts = blob.parts();
        let here = parts.iter().map(|part| part.completed).sum();
        state.completed.store(here, Ordering::Relaxed);
        (0..parts.len())
            .filter(|n| !parts[*n].is_complete())
            .collect()
    };
    tracing::info!(%digest, size, parts = unfinished.len(), "fetching a blob");
    let results: Vec<Result<(), Error>> = stream::iter(unfinished)
        .map(|n| {
            let part = part::Fetch {
                source: &source,
                blob: &blob,
                state,
                n,
            };
            let stop = stop.clone();
            async move {
                let result = part.run(stop.clone()).await;
                if result.is_err() {
                    stop.tell();
                }
                result
            }
        })
        .buffer_unordered(shared.options.streams.max(1))
        .collect()
        .await;
    // The first one failed by itself; the others were told to stop because of it.
    let errors = results.into_iter().filter_map(Result::err);
    let by_itself = |error: &Error| !matches!(error, Error::Canceled);
    if let Some(error) = errors.max_by_key(by_itself) {
        return Err(error);
    }
    state.phase.send_replace(Phase::Checking);
    let blob = Arc::into_inner(blob).expect("all parts have ended");
    with(&shared.store, move |_| blob.finish()).await?;
    Ok(())
}

/// Opens what is here of the blob; `None` if that is all of it.
fn open(
    store: &Store,
    digest: Digest,
    size: u64,
    part_bytes: u64,
) -> Result<Option<PartialBlob>, StoreError> {
    if store.is_whole(&digest, size) {
        return Ok(None);
    }
    store.partial_blob(digest, size, part_bytes).map(Some)
}

/// Does something with the store where waiting for the disk holds up nobody else.
pub async fn with<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = store.clone();
    match tokio::task::spawn_blocking(move || work(&store)).await {
        Ok(result) => result,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
