//! The table of loaded models: who shares which, who waits, who goes.
//!
//! A *seat* is a claim on a table entry. Its holder then asks for the worker, and whoever asks first starts it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use futures::future::{BoxFuture, FutureExt, Shared, WeakShared};
use tokio::sync::{Notify, watch};

use super::Loaded;
use super::memory;
use super::plan::{Key, Plan};
use super::room::{self, Census, Idle, Verdict};
use crate::duration::KeepAlive;
use crate::engine::Spec;
use crate::inference::Error;
use crate::metrics::{Computing, MemoryParts};
use crate::store::{Model, Name};
use crate::worker::Worker;

/// All that is loaded or being loaded.
#[derive(Debug)]
pub struct Residents {
    table: Mutex<HashMap<Key, Resident>>,
    /// Told whenever an entry became idle or went away.
    changed: Notify,
    waiting: AtomicUsize,
    /// Whether everybody is sent away.
    dismissed: watch::Sender<bool>,
    bounds: Bounds,
}

/// What the table may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Models at a time.
    pub models: usize,
    /// Requests that wait for room.
    pub waiting: usize,
    /// Bytes of memory of all models together; `None` for what the system has.
    pub memory: Option<u64>,
    /// How long requests for one model wait while others keep theirs busy.
    pub patience: Duration,
}

/// A loaded model and its worker.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its name.
    pub name: Name,
    /// Size of its files.
    pub bytes: u64,
    /// Its worker.
    pub process_id: u32,
    /// Jobs that can advance together.
    pub slots: u32,
    /// What of its memory is for what.
    pub parts: MemoryParts,
    /// How it is computed with.
    pub computing: Computing,
}

#[derive(Debug)]
struct Resident {
    /// Tells this entry from a later one of the same model.
    id: u64,
    name: Name,
    model: Arc<Model>,
    spec: Spec,
    state: State,
    seats: usize,
    keep_alive: KeepAlive,
    /// Since when no seat is taken.
    idle_since: Instant,
    /// Bytes it takes, as estimated before it was loaded.
    need: u64,
    /// It takes no new seats and goes when the last one is free.
    leaving: bool,
}

type Load = BoxFuture<'static, Result<Worker, Error>>;

#[derive(Debug)]
enum State {
    /// Nobody has asked for the worker yet, or all who waited for it have left.
    Vacant,
    /// Being started by those who wait for it; ended when all have left.
    Loading(WeakShared<Load>),
    Ready(Worker),
}

/// A claim on an entry; while it lives, the entry stays.
#[derive(Debug)]
pub struct Seat {
    residents: Arc<Residents>,
    key: Key,
    id: u64,
}

impl Residents {
    /// An empty table, and the task that empties it again.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        let residents = Arc::new(Self {
            table: Mutex::default(),
            changed: Notify::new(),
            waiting: AtomicUsize::new(0),
            dismissed: watch::Sender::new(false),
            bounds,
        });
        tokio::spawn(expire(Arc::downgrade(&residents)));
        residents
    }

    /// Takes a seat at the entry for `plan`, waiting for room or for an entry that was loaded otherwise to become free.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait already, [`Error::LoadFailed`] for a model that memory has no room for,
    /// [`Error::ShuttingDown`].
    pub async fn take_seat(
        self: &Arc<Self>,
        plan: &Plan,
        name: &Name,
        keep_alive: KeepAlive,
    ) -> Result<Seat, Error> {
        tokio::select! {
            seat = self.wait_for_seat(plan, name, keep_alive) => seat,
            () = self.dismissal() => Err(Error::ShuttingDown),
        }
    }

    async fn wait_for_seat(
        self: &Arc<Self>,
        plan: &Plan,
        name: &Name,
        keep_alive: KeepAlive,
    ) -> Result<Seat, Error> {
        let mut waiter = None;
        loop {
            // Enabled before the table is looked at, so that no change in between is missed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(id) = self.try_take(plan, name, keep_alive)? {
                return Ok(Seat {
                    residents: Arc::clone(self),
                    key: plan.key,
                    id,
                });
            }
            if waiter.is_none() {
                waiter = Some(self.wait_in_line()?);
            }
            // A model that is never idle keeps the others out: after a while it takes no new requests until they had
            // their turn.
            if tokio::time::timeout(self.bounds.patience, changed)
                .await
                .is_err()
            {
                self.ask_to_leave(&plan.key);
            }
        }
    }

    /// Everything that is loaded.
    pub fn loaded(&self) -> Vec<Loaded> {
        let now = (Instant::now(), SystemTime::now());
        self.table()
            .values()
            .filter_map(|resident| resident.describe(now))
            .collect()
    }

    /// Every loaded model.
    pub fn processes(&self) -> Vec<Running> {
        let describe = |resident: &Resident| match &resident.state {
            State::Ready(worker) if !worker.is_lost() => Some(Running {
                name: resident.name.clone(),
                bytes: resident.model.size,
                process_id: worker.process_id(),
                slots: worker.facts().slots,
                parts: memory::parts(worker),
                computing: memory::computing(worker),
            }),
            _ => None,
        };
        self.table().values().filter_map(describe).collect()
    }

    /// Lets an entry go once its seats are free. False if there is none.
    pub fn unload(&self, key: &Key) -> bool {
        let mut table = self.table();
        let Some(resident) = table.get_mut(key) else {
            return false;
        };
        resident.leaving = true;
        if resident.seats == 0 {
            table.remove(key);
            self.changed.notify_waiters();
        }
        true
    }

    /// Has every loaded model of this name go by the other one from now on.
    pub fn rename(&self, from: &Name, to: &Name) {
        let mut table = self.table();
        for resident in table.values_mut().filter(|it| it.name == *from) {
            resident.name = to.clone();
        }
    }

    /// Ends what everybody waits for with [`Error::ShuttingDown`]; nothing is loaded any more.
    pub fn dismiss(&self) {
        // First, so that nobody who comes between this and that starts another worker.
        self.dismissed.send_replace(true);
        let workers: Vec<Worker> = (self.table().values())
            .filter_map(|resident| match &resident.state {
                State::Ready(worker) => Some(worker.clone()),
                State::Vacant | State::Loading(_) => None,
            })
            .collect();
        // Not while the table is locked: a job that ends gives its seat back.
        for worker in workers {
            worker.dismiss();
        }
    }

    /// Returns once everybody is sent away.
    async fn dismissal(&self) {
        let mut dismissed = self.dismissed.subscribe();
        // The sender lives in `self`, so this cannot fail.
        let _ = dismissed.wait_for(|dismissed| *dismissed).await;
    }

    fn try_take(
        &self,
        plan: &Plan,
        name: &Name,
        keep_alive: KeepAlive,
    ) -> Result<Option<u64>, Error> {
        let mut table = self.table();
        if let Some(resident) = table.get_mut(&plan.key) {
            if resident.spec == plan.spec && !resident.leaving {
                resident.seats += 1;
                resident.name = name.clone();
                resident.keep_alive = keep_alive;
                return Ok(Some(resident.id));
            }
            // Loaded otherwise: it makes room as soon as its requests are over, and takes no new ones until then.
            resident.leaving = true;
            if resident.seats > 0 {
                return Ok(None);
            }
            table.remove(&plan.key);
        }
        let census = self.census(&table);
        let available = census.available;
        match room::decide(plan.need.total(), self.bounds.models, census) {
            Verdict::Enter(leaving) => leaving.iter().for_each(|key| drop(table.remove(key))),
            Verdict::Wait => return Ok(None),
            Verdict::Never => return Err(too_large(plan, available)),
        }
        let id = next_id();
        let resident = Resident {
            id,
            name: name.clone(),
            model: Arc::clone(&plan.model),
            spec: plan.spec.clone(),
            state: State::Vacant,
            seats: 1,
            keep_alive,
            idle_since: Instant::now(),
            need: plan.need.total(),
            leaving: false,
        };
        table.insert(plan.key, resident);
        Ok(Some(id))
    }

    /// Who is there and what is left. Reads `/proc`, some tens of microseconds for each model.
    fn census(&self, table: &HashMap<Key, Resident>) -> Census<Key> {
        let held = |resident: &Resident| match &resident.state {
            State::Ready(worker) => memory::resident(worker.process_id()),
            State::Vacant | State::Loading(_) => 0,
        };
        let loading = table
            .values()
            .filter(|resident| !matches!(resident.state, State::Ready(_)));
        let promised = loading.map(|resident| resident.need).sum();
        let limit = self.bounds.memory.map_or(u64::MAX, |limit| {
            limit.saturating_sub(table.values().map(held).sum())
        });
        let idle = table.iter().filter(|(_, resident)| resident.seats == 0);
        Census {
            available: room::available().min(limit),
            promised,
            models: table.len(),
            idle: idle
                .map(|(key, resident)| Idle {
                    key: *key,
                    since: resident.idle_since,
                    bytes: held(resident),
                })
                .collect(),
        }
    }

    /// Lets the model that has been used longest make room, if nothing else does already.
    fn ask_to_leave(&self, wanted: &Key) {
        let mut table = self.table();
        if table.values().any(|resident| resident.leaving) {
            return;
        }
        let others = table.iter_mut().filter(|(key, _)| *key != wanted);
        if let Some((_, resident)) = others.min_by_key(|(_, resident)| resident.id) {
            resident.leaving = true;
        }
    }

    /// Requests that wait for room.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn wait_in_line(&self) -> Result<Waiter<'_>, Error> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.bounds.waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::Busy);
        }
        Ok(Waiter(&self.waiting))
    }

    /// Removes what has been idle for its keep-alive, and says when to look again.
    fn expire(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut table = self.table();
        let before = table.len();
        table.retain(|_, resident| resident.expires().is_none_or(|expires| expires > now));
        if table.len() < before {
            self.changed.notify_waiters();
        }
        table.values().filter_map(Resident::expires).min()
    }

    /// The table is whole between any two statements that hold it, so a panic elsewhere leaves it usable.
    fn table(&self) -> MutexGuard<'_, HashMap<Key, Resident>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resident {
    /// When it goes if no request comes.
    fn expires(&self) -> Option<Instant> {
        match self.keep_alive {
            KeepAlive::For(duration) if self.seats == 0 => self.idle_since.checked_add(duration),
            _ => None,
        }
    }

    fn describe(&self, (now, clock): (Instant, SystemTime)) -> Option<Loaded> {
        let State::Ready(worker) = &self.state else {
            return None;
        };
        if worker.is_lost() {
            return None;
        }
        Some(Loaded {
            name: self.name.clone(),
            model: Arc::clone(&self.model),
            expires_at: self
                .expires()
                .and_then(|at| clock.checked_add(at.saturating_duration_since(now))),
            forever: self.keep_alive == KeepAlive::Forever,
            context: worker.facts().context,
            size_bytes: memory::resident(worker.process_id()),
            memory: memory::parts(worker),
            cached_tokens: worker.cached_tokens(),
            description: worker.facts().description.clone(),
            slots: worker.facts().slots,
            running: worker.running(),
            queued: worker.queued(),
        })
    }
}

impl Seat {
    /// The entry's worker. Whoever asks first starts it, and those who ask meanwhile wait for the same start; a worker
    /// that was lost is started anew.
    ///
    /// # Errors
    /// Whatever kept it from starting; the next request tries again.
    pub async fn worker<F>(&self, start: impl FnOnce() -> F) -> Result<Worker, Error>
    where
        F: Future<Output = Result<Worker, Error>> + Send + 'static,
    {
        let load = match self.join(start) {
            Ok(worker) => return Ok(worker),
            Err(load) => load,
        };
        let result = tokio::select! {
            // Who is sent away does not hear how the load went.
            biased;
            () = self.residents.dismissal() => Err(Error::ShuttingDown),
            result = load => result,
        };
        let mut table = self.residents.table();
        if let Some(resident) = table
            .get_mut(&self.key)
            .filter(|resident| resident.id == self.id)
        {
            match &result {
                Ok(worker) => resident.state = State::Ready(worker.clone()),
                Err(_) => resident.state = State::Vacant,
            }
        }
        result
    }

    fn join<F>(&self, start: impl FnOnce() -> F) -> Result<Worker, Shared<Load>>
    where
        F: Future<Output = Result<Worker, Error>> + Send + 'static,
    {
        let mut table = self.residents.table();
        let resident = table
            .get_mut(&self.key)
            .expect("an entry stays while a seat is taken");
        match &resident.state {
            State::Ready(worker) if !worker.is_lost() => return Ok(worker.clone()),
            State::Loading(load) => {
                if let Some(load) = load.upgrade() {
                    return Err(load);
                }
            }
            State::Vacant | State::Ready(_) => {}
        }
        let load = start().boxed().shared();
        resident.state = State::Loading(load.downgrade().expect("it has not been polled"));
        Err(load)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.residents.table();
        let Some(resident) = table
            .get_mut(&self.key)
            .filter(|resident| resident.id == self.id)
        else {
            return;
        };
        resident.seats -= 1;
        if resident.seats > 0 {
            return;
        }
        resident.idle_since = Instant::now();
        // Nothing worth keeping, or nothing that may be kept.
        let ready = matches!(&resident.state, State::Ready(worker) if !worker.is_lost());
        let at_once = resident.keep_alive == KeepAlive::For(Duration::ZERO);
        if resident.leaving || at_once || !ready {
            table.remove(&self.key);
        }
        self.residents.changed.notify_waiters();
    }
}

struct Waiter<'a>(&'a AtomicUsize);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ends models that have been idle for long enough, as long as anybody else uses the table.
async fn expire(residents: Weak<Residents>) {
    loop {
        let Some(table) = residents.upgrade() else {
            return;
        };
        let changed = table.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let next = table.expire();
        // An hour is short enough to notice that the table is gone.
        let wait = next.map_or(Duration::from_secs(3600), |at| {
            at.saturating_duration_since(Instant::now())
        });
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Ollama's words.
fn too_large(plan: &Plan, available: u64) -> Error {
    let (needed, available) = (plan.need.total(), room::gibibytes(available));
    tracing::warn!(model = %plan.label, need = ?plan.need, available, "no room in memory");
    Error::LoadFailed(format!(
        "model requires more system memory ({}) than is available ({available})",
        room::gibibytes(needed)
    ))
}

fn next_id() -> u64 {
    static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}
