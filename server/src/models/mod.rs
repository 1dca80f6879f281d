//! What is loaded: one worker per model, started on the first request that needs it and ended when it has been idle for
//! its keep-alive, when room is needed, or when it is told to.
//!
//! A [`Lease`] is the right to use a loaded model; while one lives the model stays. Many callers of one model share one
//! load, and its cost is borne by whoever of them still waits: when all have left, the load ends.
//!
//! Nothing here knows HTTP or JSON.

mod crashes;
mod memory;
mod plan;
mod residents;
mod room;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use self::crashes::Crashes;
pub use self::plan::LoadOptions;
use self::plan::{Key, Plan};
use self::residents::{Residents, Seat};
pub use self::room::gibibytes;
use crate::config::Config;
use crate::duration::KeepAlive;
use crate::engine::Facts;
pub use crate::engine::gguf::KNOWS_GPUS;
use crate::inference::encode::{Ask, Encoded};
use crate::inference::generate::{Admitted, Generate};
use crate::inference::{Error, Token};
use crate::metrics;
use crate::sandbox::limits;
use crate::store::{Model, Name, Store};
pub use crate::worker::Generation;
use crate::worker::{self, Confinement, Suspects, Worker};

/// A cheap handle on everything that is loaded.
#[derive(Clone, Debug)]
pub struct Models {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    store: Store,
    residents: Arc<Residents>,
    plans: Mutex<Vec<Plan>>,
    crashes: Crashes<Key>,
    suspects: Arc<Suspects>,
}

/// How many plans are remembered; a server that sees more plans anew.
const MAX_PLANS: usize = 64;

/// What a request needs.
#[derive(Clone, Debug)]
pub struct Want {
    /// The name the caller used, for lists and metrics.
    pub name: Name,
    /// The model.
    pub model: Arc<Model>,
    /// How it must be loaded. A model that is loaded otherwise is loaded anew once its requests are over.
    pub options: LoadOptions,
    /// How long it stays after this request. `None` is the server's default.
    pub keep_alive: Option<KeepAlive>,
}

/// A model as `/api/ps` lists it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The name of the last request for it.
    pub name: Name,
    /// The model.
    pub model: Arc<Model>,
    /// When it will be unloaded if no request comes. `None`: never, or not before its running requests end.
    pub expires_at: Option<SystemTime>,
    /// Whether it stays until it is unloaded by hand.
    pub forever: bool,
    /// Tokens of context of one sequence.
    pub context: u32,
    /// Resident memory of its worker in bytes.
    pub size_bytes: u64,
    /// What of it is for what.
    pub memory: metrics::MemoryParts,
    /// Tokens that its cache holds.
    pub cached_tokens: u32,
    /// What computes with it, for people.
    pub description: String,
    /// Sequences that can advance together.
    pub slots: u32,
    /// Jobs that advance.
    pub running: u32,
    /// Jobs that wait for a slot.
    pub queued: u32,
}

impl Models {
    /// Nothing loaded yet. Must be called inside a tokio runtime, where idle models are watched.
    #[must_use]
    pub fn new(config: Arc<Config>, store: Store) -> Self {
        let residents = Residents::new(residents::Bounds {
            models: config.max_loaded,
            waiting: config.max_queue,
            memory: config.memory_limit,
            patience: config.patience,
        });
        Self {
            shared: Arc::new(Shared {
                config,
                store,
                residents,
                plans: Mutex::default(),
                crashes: Crashes::default(),
                suspects: Arc::default(),
            }),
        }
    }

    /// Makes sure that a model is loaded, and keeps it loaded while the lease lives.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait already, [`Error::Unsupported`] for weights that no engine takes,
    /// [`Error::LoadFailed`], [`Error::LoadDied`], [`Error::LoadLoop`], [`Error::NoProcess`].
    pub async fn acquire(&self, want: Want) -> Result<Lease, Error> {
        let arrived = Instant::now();
        let keep_alive = want.keep_alive.unwrap_or(self.shared.config.keep_alive);
        let plan = self.plan(&want).await?;
        // Before any other model makes room for it.
        self.shared.crashes.admit(&plan.key, arrived)?;
        let seat = self
            .shared
            .residents
            .take_seat(&plan, &want.name, keep_alive)
            .await?;
        let worker = seat.worker(|| self.start(plan)).await;
        Ok(Lease {
            worker: worker.inspect_err(|_| self.forget_plan(&want))?,
            _seat: Arc::new(seat),
            waited: arrived.elapsed(),
        })
    }

    /// Everything that is loaded, the longest-lived first.
    #[must_use]
    pub fn loaded(&self) -> Vec<Loaded> {
        let mut loaded = self.shared.residents.loaded();
        // Never before latest before soonest; a busy model has not begun to expire.
        loaded.sort_by_key(|model| {
            std::cmp::Reverse((model.forever, model.expires_at.is_none(), model.expires_at))
        });
        loaded
    }

    /// Requests that wait for room, or for a model to be loaded otherwise.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.residents.waiting()
    }

    /// The process id of a loaded model's worker.
    #[must_use]
    pub fn process_of(&self, name: &Name) -> Option<u32> {
        let loaded = self.shared.residents.processes().into_iter();
        loaded
            .filter(|running| running.name == *name)
            .map(|running| running.process_id)
            .next()
    }

    /// Unloads a model once its running requests are over. False if it is not loaded.
    #[must_use]
    pub fn unload(&self, model: &Model) -> bool {
        // Every way of loading it, not only the first that is found.
        let unloaded = plan::keys(model).filter(|key| self.shared.residents.unload(key));
        unloaded.count() > 0
    }

    /// To be called when a model was deleted from the store. It is unloaded once its running requests are over, unless others,
    /// those that are left in the store, have the same weights: then what is loaded goes by another's name. Says whether it was unloaded.
    pub fn forget(&self, deleted: &Model, others: &[Arc<Model>]) -> bool {
        let heir = others.iter().find(|other| plan::share(deleted, other));
        match heir {
            Some(heir) => {
                self.shared.residents.rename(&deleted.name, &heir.name);
                false
            }
            None => self.unload(deleted),
        }
    }

    /// Ends every request with [`Error::ShuttingDown`], also those that wait for a model, and loads nothing any more.
    pub fn dismiss(&self) {
        self.shared.residents.dismiss();
    }

    /// Records memory and process metrics; to be called for a scrape. Reads `/proc`, which may take milliseconds.
    pub fn record_memory(&self) {
        memory::record(&self.shared.residents);
    }

    /// Planning reads the head of the model's file, and looks for libraries: once for each model, and way of loading it.
    async fn plan(&self, want: &Want) -> Result<Plan, Error> {
        if let Some(plan) = self.plans().iter().find(|plan| plan.suits(want)) {
            return Ok(plan.clone());
        }
        let (shared, wanted) = (Arc::clone(&self.shared), want.clone());
        let plan =
            tokio::task::spawn_blocking(move || plan::plan(&wanted, &shared.config, &shared.store))
                .await
                .map_err(|error| Error::LoadFailed(error.to_string()))??;
        let mut plans = self.plans();
        if plans.len() >= MAX_PLANS {
            plans.clear();
        }
        plans.push(plan.clone());
        Ok(plan)
    }

    /// What a plan names may have been moved or deleted since, such as a library: after a failure it is looked for anew.
    fn forget_plan(&self, want: &Want) {
        self.plans().retain(|plan| !plan.suits(want));
    }

    /// The list is whole between any two statements, so a panic elsewhere does not spoil it.
    fn plans(&self) -> MutexGuard<'_, Vec<Plan>> {
        let plans = self.shared.plans.lock();
        plans.unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, plan: Plan) -> impl Future<Output = Result<Worker, Error>> + Send + 'static {
        let config = &self.shared.config;
        let settings = worker::Settings {
            max_waiting: config.max_queue,
            load_timeout: config.load_timeout,
            progress_timeout: config.hang_timeout,
            confinement: Confinement {
                mode: config.sandbox,
                memory: Some(limits::memory(
                    plan.need.total().saturating_add(plan.model.size),
                )),
            },
            suspects: Arc::clone(&self.shared.suspects),
            ..worker::Settings::new(plan.label.clone())
        };
        let shared = Arc::clone(&self.shared);
        async move {
            let began = Instant::now();
            let started = Worker::start(plan.spec, settings).await;
            shared.crashes.record(plan.key, &started, Instant::now());
            let worker = started?;
            metrics::model_loaded(&plan.label, began.elapsed());
            Ok(worker)
        }
    }
}

/// Bytes of memory that a model would take if it were loaded as a request without options loads it.
///
/// # Errors
/// As [`Models::acquire`] refuses a model.
pub fn memory_needed(
    name: &Name,
    model: &Arc<Model>,
    config: &Config,
    store: &Store,
) -> Result<u64, Error> {
    let want = Want {
        name: name.clone(),
        model: Arc::clone(model),
        options: LoadOptions::default(),
        keep_alive: None,
    };
    Ok(plan::plan(&want, config, store)?.need.total())
}

/// Bytes of memory that models may take on this machine now, if none is loaded.
#[must_use]
pub fn memory_available(config: &Config) -> u64 {
    config
        .memory_limit
        .unwrap_or(u64::MAX)
        .min(room::available())
}

/// The right to use a loaded model. Cheap to clone; the model counts as busy while one is left.
#[derive(Clone, Debug)]
pub struct Lease {
    worker: Worker,
    _seat: Arc<Seat>,
    waited: Duration,
}

impl Lease {
    /// What the engine said about the model.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        self.worker.facts()
    }

    /// Time from asking for the model to having it.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Starts a generation and waits until it is admitted. It keeps the model loaded until it is over.
    ///
    /// # Errors
    /// See [`Worker::generate`].
    pub async fn generate(&self, job: Generate) -> Result<(Admitted, Generation), Error> {
        self.worker.generate_with(job, self.clone()).await
    }

    /// Turns texts into vectors, scores, or labelled parts.
    ///
    /// # Errors
    /// See [`Worker::encode`].
    pub async fn encode<J: Ask>(&self, job: J) -> Result<Encoded<J::Result>, Error> {
        self.worker.encode(job).await
    }

    /// Turns a text into tokens.
    ///
    /// # Errors
    /// See [`Worker::tokenize`].
    pub async fn tokenize(
        &self,
        text: String,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, Error> {
        self.worker.tokenize(text, add_special, parse_special).await
    }

    /// Turns tokens into text.
    ///
    /// # Errors
    /// See [`Worker::detokenize`].
    pub async fn detokenize(&self, tokens: Vec<Token>) -> Result<String, Error> {
        self.worker.detokenize(tokens).await
    }

    /// Turns tokens into the bytes that each of them stands for.
    ///
    /// # Errors
    /// See [`Worker::pieces`].
    pub async fn pieces(&self, tokens: Vec<Token>) -> Result<Vec<Vec<u8>>, Error> {
        self.worker.pieces(tokens).await
    }
}
