//! One child process per loaded model, and everything that stands between the server and it.
//!
//! [`Worker`] is the server's side: it starts the process, hands it jobs, routes events back, and notices death, hang
//! and garbage. [`child`] is the other side: the same executable started as `chaski worker`, which loads one model and
//! works on it until its socket closes. Between them, [`frame`]s over a socketpair that has no name and no port.
//!
//! Nothing here knows HTTP, JSON or the store, and the server's side names no engine library.

pub mod child;
mod connection;
mod deaths;
mod ffi;
pub mod frame;
mod generation;
pub mod make;
mod outlet;
mod output;
mod spawn;
mod supervise;
mod suspects;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use self::connection::{Connection, Reply};
pub use self::deaths::{Deaths, Patience};
pub use self::ffi::settle;
pub use self::frame::Confinement;
pub use self::generation::Generation;
pub use self::spawn::set_executable;
pub use self::supervise::try_sandbox;
pub use self::suspects::Suspects;
use crate::engine::{Facts, Spec};
use crate::inference::encode::{Ask, Encoded};
use crate::inference::generate::{self, Admitted, Generate};
use crate::inference::{Error, Job, Token};

/// How a worker is started and watched.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The model's name in logs and metrics.
    pub label: String,
    /// Most jobs that wait while as many run as the model advances together. One more is refused with [`Error::Busy`].
    pub max_waiting: usize,
    /// Longest time from start to readiness.
    pub load_timeout: Duration,
    /// How often the worker is asked whether it lives.
    pub ping_every: Duration,
    /// Longest silence after such a question: the process is then stopped or stuck in its input.
    pub pong_timeout: Duration,
    /// Longest time without progress while jobs are under way: the engine hangs.
    pub progress_timeout: Duration,
    /// How the process is held.
    pub confinement: Confinement,
    /// What other workers have died of, perhaps.
    pub suspects: Arc<Suspects>,
}

impl Settings {
    /// The defaults for a model: patient enough for a 2,048-token step of a large model on a slow processor.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            max_waiting: 512,
            load_timeout: Duration::from_secs(300),
            ping_every: Duration::from_secs(1),
            pong_timeout: Duration::from_secs(15),
            progress_timeout: Duration::from_secs(180),
            confinement: Confinement::default(),
            suspects: Arc::default(),
        }
    }
}

/// A loaded model in its process. Cheap to clone; the process ends when the last clone is gone and the last
/// [`Generation`] is over, whether it has been read or not.
#[derive(Clone, Debug)]
pub struct Worker {
    connection: Arc<Connection>,
    facts: Arc<Facts>,
}

impl Worker {
    /// Starts a process, lets it load the model, and returns when it is ready for jobs.
    ///
    /// Dropping the future ends the process.
    ///
    /// # Errors
    /// [`Error::LoadFailed`] with the engine's reason, [`Error::LoadDied`] with what happened to the process, [`Error::NoProcess`]
    /// if there is none.
    pub async fn start(spec: Spec, settings: Settings) -> Result<Self, Error> {
        let (connection, facts) = supervise::start(spec, settings).await?;
        Ok(Self {
            connection,
            facts: Arc::new(facts),
        })
    }

    /// What the engine said about the model.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The worker's process id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.connection.process_id()
    }

    /// Whether the process is gone, or was let go; every job then fails with [`Error::WorkerLost`] or [`Error::ShuttingDown`].
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.connection.is_lost()
    }

    /// Returns once the process is gone.
    pub async fn lost(&self) {
        self.connection.lost().await;
    }

    /// Ends every job with [`Error::ShuttingDown`], and takes no more.
    pub fn dismiss(&self) {
        self.connection.dismiss();
    }

    /// Jobs under way: waiting or running.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.connection.jobs()
    }

    /// Jobs that advance.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.connection.running()
    }

    /// Tokens that its cache holds.
    #[must_use]
    pub fn cached_tokens(&self) -> u32 {
        self.connection.cached_tokens()
    }

    /// Jobs that wait for a slot.
    #[must_use]
    pub fn queued(&self) -> u32 {
        let jobs = u32::try_from(self.jobs()).unwrap_or(u32::MAX);
        jobs.saturating_sub(self.running())
    }

    /// Starts a generation and waits until it is admitted; its text then comes from the [`Generation`].
    ///
    /// # Errors
    /// Whatever refused or ended the job before its first event.
    pub async fn generate(&self, job: Generate) -> Result<(Admitted, Generation), Error> {
        self.generate_with(job, self.clone()).await
    }

    /// The same for one that needs something, such as the model's place in memory, until it is over. It does not have to be read by then: who
    /// reads slowly keeps nobody from it.
    ///
    /// # Errors
    /// Whatever refused or ended the job before its first event.
    pub async fn generate_with(
        &self,
        job: Generate,
        needed: impl Any + Send + Sync,
    ) -> Result<(Admitted, Generation), Error> {
        let mut generation = Generation::start(&self.connection, job, Box::new(needed))?;
        match generation.next().await {
            Some(generate::Event::Admitted(admitted)) => Ok((admitted, generation)),
            Some(generate::Event::Failed(error)) => Err(error),
            Some(generate::Event::Text(_) | generate::Event::Finished(_)) | None => Err(
                Error::Engine("a generation began without being admitted".into()),
            ),
        }
    }

    /// Turns texts into vectors, scores, or labelled parts.
    ///
    /// # Errors
    /// Whatever refused or ended the job.
    pub async fn encode<J: Ask>(&self, job: J) -> Result<Encoded<J::Result>, Error> {
        J::answer(self.ask(Job::Encode(job.into()), Reply::Encode).await?)
    }

    /// Turns a text into tokens.
    ///
    /// # Errors
    /// Whatever refused or ended the job.
    pub async fn tokenize(
        &self,
        text: String,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<Token>, Error> {
        self.ask(
            Job::Tokenize {
                text,
                add_special,
                parse_special,
            },
            Reply::Tokens,
        )
        .await?
    }

    /// Turns tokens into text.
    ///
    /// # Errors
    /// Whatever refused or ended the job.
    pub async fn detokenize(&self, tokens: Vec<Token>) -> Result<String, Error> {
        self.ask(Job::Detokenize { tokens }, Reply::Text).await?
    }

    /// Turns tokens into the bytes that each of them stands for.
    ///
    /// # Errors
    /// Whatever refused or ended the job.
    pub async fn pieces(&self, tokens: Vec<Token>) -> Result<Vec<Vec<u8>>, Error> {
        self.ask(Job::Pieces { tokens }, Reply::Pieces).await?
    }

    /// Submits a job that has one event, and waits for it. Dropping the future cancels the job.
    async fn ask<T>(
        &self,
        job: Job,
        reply: impl FnOnce(oneshot::Sender<T>) -> Reply,
    ) -> Result<T, Error> {
        let (sender, receiver) = oneshot::channel();
        let _ticket = self.connection.submit(job, reply(sender))?;
        // Only a worker that is over drops what it has to answer.
        receiver
            .await
            .map_err(|_| self.connection.why_over().unwrap_or(Error::WorkerLost))
    }
}
