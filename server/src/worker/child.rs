//! The worker's side: `chaski worker`.
//!
//! The process locks itself in ([`crate::sandbox`]) as soon as it knows which model it is for. The main thread then loads the
//! model and runs the engine loop; a second thread reads the socket, hands over commands and answers pings, so that a long step
//! does not look like death. When the socket closes, the process ends at once.

use std::io::{self, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Signal, set_parent_process_death_signal};
use tracing::{error, info};

use super::ffi;
use super::frame::{self, Confinement, FrameError, FromWorker, Reader, ToWorker};
use super::make::Order;
use crate::convert;
use crate::engine::{self, Spec, fake};
use crate::inference::{Closed, Command, Error, Event, Inbox, JobId, Outbox, Step};
use crate::sandbox::{self, Rights};

/// Runs a worker on the socket that is this process's standard input.
#[must_use]
pub fn main() -> ExitCode {
    if let Err(error) = prepare() {
        error!(%error, "worker cannot prepare its process");
        return ExitCode::FAILURE;
    }
    match connect() {
        Ok(socket) => work(&socket),
        Err(error) => {
            error!(%error, "a worker is started by the server only: its standard input must be a socket");
            ExitCode::FAILURE
        }
    }
}

fn prepare() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    ffi::close_inherited_descriptors()?;
    sandbox::limits::always()
}

fn connect() -> io::Result<UnixStream> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Fails for anything but a connected Unix socket. Were the parent dead before the death signal was asked for, the
    // socket would be closed too, and the reader sees that.
    socket.peer_addr()?;
    Ok(socket)
}

fn work(socket: &UnixStream) -> ExitCode {
    let clone = || socket.try_clone().map_err(FrameError::Io);
    let (mut reader, writer) = match (clone(), clone()) {
        (Ok(reader), Ok(writer)) => (
            Reader::new(BufReader::new(reader)),
            Arc::new(Mutex::new(writer)),
        ),
        (Err(error), _) | (_, Err(error)) => {
            error!(%error, "worker cannot use its socket");
            return ExitCode::FAILURE;
        }
    };
    let (first, confinement) = match reader.read::<ToWorker>() {
        Ok(ToWorker::Load(spec, confinement)) => (First::Load(*spec), confinement),
        Ok(ToWorker::Make(order, confinement)) => (First::Make(*order), confinement),
        Ok(ToWorker::Try(confinement)) => (First::Try, confinement),
        Ok(message) => {
            error!(
                ?message,
                "the first message to a worker must name its model or its order"
            );
            return ExitCode::FAILURE;
        }
        Err(error) => {
            error!(%error, "worker heard nothing");
            return ExitCode::FAILURE;
        }
    };
    // Here, because nothing of the model has been opened and no second thread runs yet: what holds now holds for all of them.
    if let Err(refusal) = confine(&first, confinement, &writer) {
        error!(%refusal, "worker is not confined");
        let _ = send(&writer, &first.refused(&refusal));
        return ExitCode::FAILURE;
    }
    let progress = Arc::new(AtomicU64::new(0));
    // No bound here: the server never has more than its limit of jobs under way, and it is the side that is trusted.
    let (commands, inbox) = channel();
    let listener = Listener {
        writer: Arc::clone(&writer),
        commands,
        progress: Arc::clone(&progress),
    };
    std::thread::Builder::new()
        .name("listener".into())
        .spawn(move || listener.run(reader))
        .expect("the system has room for one more thread");

    let spec = match first {
        First::Load(spec) => spec,
        First::Make(order) => return make(&order, &writer, &inbox),
        First::Try => return ExitCode::SUCCESS,
    };
    let garbage_at = match &spec {
        Spec::Fake(fake::Spec {
            fault: Some(fake::Fault::GarbageStep(step)),
            ..
        }) => Some(*step),
        _ => None,
    };
    let mut outbox = FrameOutbox {
        writer: Arc::clone(&writer),
        progress,
        events: Vec::new(),
        steps: 0,
        garbage_at,
    };
    let ready_writer = Arc::clone(&writer);
    let mut ready = move |facts: engine::Facts| {
        info!(description = %facts.description, "model loaded");
        ffi::settle();
        // A server that is gone is noticed by the listener.
        let _ = send(&ready_writer, &FromWorker::Ready(facts));
    };
    match engine::serve(&spec, &Inbox::new(inbox), &mut outbox, &mut ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = send(&writer, &FromWorker::LoadFailed(error));
            ExitCode::FAILURE
        }
    }
}

/// What a worker is for.
enum First {
    Load(Spec),
    Make(Order),
    /// To see what of the sandbox this system has.
    Try,
}

impl First {
    /// The files that this takes.
    fn rights(&self) -> Rights {
        match self {
            Self::Load(spec) => Rights {
                read: spec.files(),
                write: Vec::new(),
                devices: spec.uses_devices(),
            },
            Self::Make(order) => order.rights(),
            Self::Try => Rights::default(),
        }
    }

    /// How the server hears that none of it will be done.
    fn refused(&self, reason: &str) -> FromWorker {
        match self {
            Self::Make(_) => FromWorker::Made(Err(convert::Error::Failed(reason.into()))),
            Self::Load(_) | Self::Try => FromWorker::LoadFailed(Error::LoadFailed(reason.into())),
        }
    }
}

/// Locks this process in and tells the server what holds.
fn confine(
    first: &First,
    confinement: Confinement,
    writer: &Mutex<UnixStream>,
) -> Result<(), String> {
    if let Some(bytes) = confinement.memory {
        sandbox::limits::bound_memory(bytes)
            .map_err(|error| format!("its memory cannot be bounded: {error}"))?;
    }
    let enforced =
        sandbox::enter(confinement.mode, &first.rights()).map_err(|missing| missing.to_string())?;
    // A server that is gone is noticed by the listener.
    let _ = send(writer, &FromWorker::Confined(enforced));
    Ok(())
}

/// Makes a file and says how that ended. The inbox lives as long, so that the listener does.
fn make(
    order: &Order,
    writer: &Mutex<UnixStream>,
    _inbox: &std::sync::mpsc::Receiver<Command>,
) -> ExitCode {
    // A server that is gone is noticed by the listener.
    let result = order.carry_out(&mut |done| drop(send(writer, &FromWorker::Making(done))));
    let code = match &result {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    };
    let _ = send(writer, &FromWorker::Made(result));
    code
}

/// Reads the socket.
struct Listener {
    writer: Arc<Mutex<UnixStream>>,
    commands: Sender<Command>,
    progress: Arc<AtomicU64>,
}

impl Listener {
    fn run(self, mut reader: Reader<BufReader<UnixStream>>) {
        // However this thread ends, the process ends with it: nobody could reach the engine any more. It does not wait
        // for the engine, which may be in the middle of a long step.
        let _exit = ExitOnDrop;
        loop {
            let command = match reader.read::<ToWorker>() {
                Ok(ToWorker::Submit(id, job)) => Command::Submit(id, job),
                Ok(ToWorker::Cancel(id)) => Command::Cancel(id),
                Ok(ToWorker::Ping(ping)) => {
                    let progress = self.progress.load(Ordering::Relaxed);
                    if send(&self.writer, &FromWorker::Pong { ping, progress }).is_err() {
                        return;
                    }
                    continue;
                }
                Ok(ToWorker::Load(..) | ToWorker::Make(..) | ToWorker::Try(_)) => {
                    error!("a worker is told once what it is for");
                    return;
                }
                Err(FrameError::Closed) => return,
                Err(error) => {
                    error!(%error, "worker lost its server");
                    return;
                }
            };
            if self.commands.send(command).is_err() {
                return;
            }
        }
    }
}

struct ExitOnDrop;

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        std::process::exit(i32::from(std::thread::panicking()));
    }
}

/// Sends the events of a step as one frame.
struct FrameOutbox {
    writer: Arc<Mutex<UnixStream>>,
    progress: Arc<AtomicU64>,
    events: Vec<(JobId, Event)>,
    steps: u64,
    garbage_at: Option<u64>,
}

impl Outbox for FrameOutbox {
    fn push(&mut self, job: JobId, event: Event) {
        self.events.push((job, event));
    }

    fn step(&mut self, step: Step) -> Result<(), Closed> {
        self.progress.fetch_add(1, Ordering::Relaxed);
        self.steps += 1;
        if self.garbage_at == Some(self.steps) {
            let _ = lock(&self.writer).write_all(&[0xff; 64]);
        }
        let message = FromWorker::Step(step, std::mem::take(&mut self.events));
        match send(&self.writer, &message) {
            Ok(()) => Ok(()),
            Err(FrameError::TooLarge(bytes)) => self.refuse(message, bytes),
            Err(_) => Err(Closed),
        }
    }
}

impl FrameOutbox {
    /// Fails the jobs whose events together are too large for a frame.
    fn refuse(&self, message: FromWorker, bytes: usize) -> Result<(), Closed> {
        let FromWorker::Step(step, events) = message else {
            return Ok(());
        };
        let failed = || {
            Error::InvalidJob(format!(
                "the answer of {bytes} bytes is too large; ask for less at a time"
            ))
        };
        let events = events
            .into_iter()
            .map(|(job, event)| (job, event.into_failure(failed())))
            .collect();
        send(&self.writer, &FromWorker::Step(step, events)).map_err(|_| Closed)
    }
}

fn send(writer: &Mutex<UnixStream>, message: &FromWorker) -> Result<(), FrameError> {
    let frame = frame::encode(message)?;
    lock(writer).write_all(&frame)?;
    Ok(())
}

/// The socket, also after a panic elsewhere: the process is about to end then, and a whole frame may still help.
fn lock(writer: &Mutex<UnixStream>) -> std::sync::MutexGuard<'_, UnixStream> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}
