//! Starting a worker and watching over it until it ends.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{error, info, warn};

use super::Settings;
use super::connection::{Connection, Shared};
use super::frame::{self, AsyncReader, Confinement, FrameError, FromWorker, ToWorker};
use super::spawn::{self, Pages};
use crate::engine::{Facts, Spec, gguf};
use crate::inference::Error;
use crate::metrics::WorkerMetrics;
use crate::sandbox::{Enforced, Mode};

/// How long a worker may take to end by itself after its socket was closed.
const GRACE: Duration = Duration::from_secs(5);

type Reader = AsyncReader<BufReader<OwnedReadHalf>>;

/// See [`super::Worker::start`].
pub async fn start(spec: Spec, settings: Settings) -> Result<(Arc<Connection>, Facts), Error> {
    let failed = |error: io::Error| Error::NoProcess(error.to_string());
    let pages = match &spec {
        Spec::Gguf(gguf::Spec { model, .. })
        | Spec::GgufEncoder(gguf::EncoderSpec { model, .. }) => Pages::of(model),
        Spec::Onnx(_) | Spec::Fake(_) => Pages::Usual,
    };
    let spawned = spawn::spawn(pages).await.map_err(failed)?;
    let mut process = Process::new(spawned.child);
    spawned.socket.set_nonblocking(true).map_err(failed)?;
    let (read, mut write) = UnixStream::from_std(spawned.socket)
        .map_err(failed)?
        .into_split();
    let mut reader = AsyncReader::new(BufReader::new(read));

    let load = frame::encode(&ToWorker::Load(Box::new(spec), settings.confinement))
        .map_err(|error| Error::LoadFailed(error.to_string()))?;
    let answer = timeout(settings.load_timeout, async {
        write.write_all(&load).await?;
        match reader.read::<FromWorker>().await? {
            FromWorker::Confined(enforced) => {
                crate::metrics::worker_confined(enforced);
                if settings.confinement.mode != Mode::Off && !enforced.is_whole() {
                    warn!(model = %settings.label, ?enforced, "the worker's sandbox has gaps");
                }
                reader.read::<FromWorker>().await
            }
            other => Ok(other),
        }
    });
    let facts = match answer.await {
        Ok(Ok(FromWorker::Ready(facts))) => facts,
        Ok(Ok(FromWorker::LoadFailed(error))) => return Err(error),
        Ok(
            Ok(
                FromWorker::Step(..)
                | FromWorker::Pong { .. }
                | FromWorker::Confined(_)
                | FromWorker::Making(_)
                | FromWorker::Made(_),
            )
            | Err(_),
        ) => {
            let fate = process.end().await;
            warn!(model = %settings.label, %fate, "worker ended while loading its model");
            return Err(Error::LoadDied(format!(
                "the model's worker process ended while loading it ({fate})"
            )));
        }
        Err(_) => {
            let seconds = settings.load_timeout.as_secs();
            return Err(Error::LoadFailed(format!(
                "the model was not loaded within {seconds} seconds"
            )));
        }
    };

    let max_jobs = (facts.slots as usize).saturating_add(settings.max_waiting);
    let (connection, shared, queue) = Connection::new(process.id(), max_jobs, &settings);
    info!(model = %settings.label, pid = shared.process_id, "worker ready");
    let watch = Watch {
        settings,
        shared,
        frames: connection.weak_frames(),
        process,
    };
    tokio::spawn(watch.run(reader, write, queue));
    Ok((connection, facts))
}

/// Starts a process that only locks itself in, and returns what then holds in every worker of this system.
///
/// # Errors
/// In words, when no worker could be started or everything is required and something is missing.
pub async fn try_sandbox(mode: Mode) -> Result<Enforced, String> {
    let failed = |error: &dyn std::fmt::Display| format!("no worker can be started: {error}");
    let spawned = spawn::spawn(Pages::Usual)
        .await
        .map_err(|error| failed(&error))?;
    let mut process = Process::new(spawned.child);
    spawned
        .socket
        .set_nonblocking(true)
        .map_err(|error| failed(&error))?;
    let (read, mut write) = UnixStream::from_std(spawned.socket)
        .map_err(|error| failed(&error))?
        .into_split();
    let mut reader = AsyncReader::new(BufReader::new(read));
    let confinement = Confinement { mode, memory: None };
    let question = frame::encode(&ToWorker::Try(confinement)).expect("a question is a few bytes");
    let answer = timeout(GRACE, async {
        write.write_all(&question).await?;
        reader.read::<FromWorker>().await
    })
    .await;
    process.end().await;
    match answer {
        Ok(Ok(FromWorker::Confined(enforced))) => Ok(enforced),
        Ok(Ok(FromWorker::LoadFailed(error))) => Err(error.to_string()),
        Ok(Ok(other)) => Err(format!("a worker answered {other:?}")),
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err("a worker did not answer".into()),
    }
}

/// The supervising task's belongings.
struct Watch {
    settings: Settings,
    shared: Arc<Shared>,
    frames: mpsc::WeakSender<Vec<u8>>,
    process: Process,
}

/// Why a worker is over.
enum End {
    /// The last handle is gone.
    Released,
    /// It ended, or sent what it should not.
    Failed(String),
}

impl Watch {
    async fn run(mut self, reader: Reader, write: OwnedWriteHalf, queue: mpsc::Receiver<Vec<u8>>) {
        let (pongs, answers) = mpsc::channel(PONGS);
        let end = tokio::select! {
            end = self.receive(reader, pongs) => end,
            end = transmit(write, queue) => end,
            end = self.examine(answers) => end,
            () = self.shared.broken.notified() => End::Failed("it takes no commands".into()),
        };
        // Before the process is waited for: callers hear within moments, whatever the kernel still has to tear down.
        let jobs = self.shared.lose();
        let model = &self.settings.label;
        match end {
            End::Released => {
                let fate = self.process.end_gently().await;
                info!(model, %fate, "worker released");
            }
            End::Failed(reason) => {
                crate::metrics::worker_lost(model);
                let fate = self.process.end().await;
                error!(model, reason, %fate, jobs, "worker lost");
            }
        }
    }

    /// Reads the worker's messages and passes their events on.
    async fn receive(&self, mut reader: Reader, pongs: mpsc::Sender<(u64, u64)>) -> End {
        let mut metrics = WorkerMetrics::new(&self.settings.label);
        loop {
            match reader.read::<FromWorker>().await {
                Ok(FromWorker::Step(step, events)) => {
                    metrics.step(&step);
                    self.shared.step(&step);
                    for (id, event) in events {
                        if self.shared.deliver(id, event, &self.frames).is_err() {
                            return End::Failed(
                                "it answered a job with an event of another kind".into(),
                            );
                        }
                    }
                }
                // The bound is never reached by a worker that answers each ping once; more answers are dropped.
                Ok(FromWorker::Pong { ping, progress }) => drop(pongs.try_send((ping, progress))),
                Ok(
                    FromWorker::Ready(_)
                    | FromWorker::Confined(_)
                    | FromWorker::LoadFailed(_)
                    | FromWorker::Making(_)
                    | FromWorker::Made(_),
                ) => {
                    return End::Failed("it spoke of loading a second time".into());
                }
                Err(FrameError::Closed) => return End::Failed("its process ended".into()),
                Err(error) => return End::Failed(error.to_string()),
            }
        }
    }

    /// Asks at intervals whether the worker lives and gets on, and returns when it does not.
    async fn examine(&self, mut pongs: mpsc::Receiver<(u64, u64)>) -> End {
        let mut ticks = interval(self.settings.ping_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let mut advanced = Instant::now();
        let mut last_progress = None;
        let mut ping = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if heard.elapsed() > self.settings.pong_timeout {
                        return End::Failed("it does not answer".into());
                    }
                    if !self.shared.is_busy() {
                        advanced = Instant::now();
                    } else if advanced.elapsed() > self.settings.progress_timeout {
                        return End::Failed("its engine makes no progress".into());
                    }
                    ping += 1;
                    let frame = frame::encode(&ToWorker::Ping(ping)).expect("a ping is a few bytes");
                    // A full queue shows as silence, and a closed one ends the task elsewhere.
                    if let Some(frames) = self.frames.upgrade() {
                        let _ = frames.try_send(frame);
                    }
                }
                Some((_, progress)) = pongs.recv() => {
                    heard = Instant::now();
                    if last_progress != Some(progress) {
                        last_progress = Some(progress);
                        advanced = heard;
                    }
                }
            }
        }
    }
}

/// Answers to pings that wait to be looked at.
const PONGS: usize = 4;

/// Writes the queued frames until the last handle is gone.
async fn transmit(mut write: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) -> End {
    while let Some(frame) = queue.recv().await {
        if let Err(error) = write.write_all(&frame).await {
            return End::Failed(format!("its socket failed: {error}"));
        }
    }
    End::Released
}

/// A child process that is always waited for, so that no zombie stays.
pub(super) struct Process(Option<Child>);

impl Process {
    /// Takes charge of a process that was just started.
    pub(super) fn new(child: Child) -> Self {
        Self(Some(child))
    }

    fn id(&self) -> u32 {
        self.0.as_ref().expect("present until it is ended").id()
    }

    /// Kills the process and says how it ended.
    pub(super) async fn end(&mut self) -> String {
        let Some(mut child) = self.0.take() else {
            return "already ended".into();
        };
        describe(tokio::task::spawn_blocking(move || kill_and_wait(&mut child)).await)
    }

    /// Gives the process, whose socket is closed by now, a moment to end by itself.
    async fn end_gently(&mut self) -> String {
        let deadline = Instant::now() + GRACE;
        while let Some(child) = self.0.as_mut() {
            match child.try_wait() {
                Ok(None) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await
                }
                Ok(Some(status)) => {
                    self.0 = None;
                    return status.to_string();
                }
                Ok(None) | Err(_) => return self.end().await,
            }
        }
        "already ended".into()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // No runtime may be there any more; killing and waiting is a matter of milliseconds.
            std::thread::spawn(move || kill_and_wait(&mut child));
        }
    }
}

fn kill_and_wait(child: &mut Child) -> io::Result<ExitStatus> {
    // If it ended by itself a moment ago, its own status is what `wait` reports.
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    child.kill()?;
    child.wait()
}

fn describe(status: Result<io::Result<ExitStatus>, tokio::task::JoinError>) -> String {
    match status {
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(error)) => format!("unknown: {error}"),
        Err(error) => format!("unknown: {error}"),
    }
}
