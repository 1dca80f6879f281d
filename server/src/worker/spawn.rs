//! Starting worker processes.
//!
//! A worker dies with its parent *thread* (that is how Linux defines the parent-death signal), so all of them are
//! started by one thread that lives as long as the server.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::sync::oneshot;

use super::output;
use crate::engine::gguf::KNOWS_GPUS;

/// A process that has just been started, and the server's end of its socket.
#[derive(Debug)]
pub struct Spawned {
    /// The process.
    pub child: Child,
    /// The server's end.
    pub socket: UnixStream,
}

/// Starts that wait for the spawning thread. A start takes about a millisecond, so few ever wait.
const WAITING_STARTS: usize = 64;

struct Request {
    pages: Pages,
    reply: oneshot::Sender<io::Result<Spawned>>,
}

/// The memory pages a worker asks the kernel for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pages {
    /// What the system gives everybody.
    Usual,
    /// Huge ones where possible: for weights that are read at every token (docs/decisions/0002-cpu-kernels.md).
    Huge,
}

/// Which graphics processors there are to be, in builds that know any: what users of llama.cpp and Ollama set.
const DEVICE_VARIABLES: &[&str] = &["CUDA_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES"];

/// Smallest weights that huge pages are asked for. Those of smaller ones are read in no time, and every buffer beside them
/// would take megabytes for kilobytes.
const HUGE_FROM_BYTES: u64 = 64 << 20;

impl Pages {
    /// Those for the weights in this file.
    #[must_use]
    pub fn of(weights: &Path) -> Self {
        // A file that is not there is the engine's to complain of.
        let bytes = std::fs::metadata(weights).map_or(0, |file| file.len());
        match bytes >= HUGE_FROM_BYTES {
            true => Self::Huge,
            false => Self::Usual,
        }
    }
}

/// Starts a worker process.
///
/// # Errors
/// When the system cannot make a socket or a process.
pub async fn spawn(pages: Pages) -> io::Result<Spawned> {
    static SPAWNER: OnceLock<SyncSender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = sync_channel::<Request>(WAITING_STARTS);
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for request in requests {
                    // Whoever asked may have left meanwhile; the process then ends with its socket.
                    let _ = request.reply.send(spawn_here(request.pages));
                }
            })
            .expect("the system has room for one more thread");
        sender
    });
    let (sender, started) = oneshot::channel();
    spawner
        .try_send(Request {
            pages,
            reply: sender,
        })
        .map_err(|_| io::Error::other("too many workers are being started"))?;
    let mut spawned = started
        .await
        .map_err(|_| io::Error::other("the spawning thread is gone"))??;
    if let Some(said) = spawned.child.stderr.take() {
        output::pass_on(said)?;
    }
    Ok(spawned)
}

fn spawn_here(pages: Pages) -> io::Result<Spawned> {
    let (ours, theirs): (OwnedFd, OwnedFd) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // The worker's end becomes its standard input: no descriptor number has to be agreed on, and every other
    // descriptor of the server is closed on exec. Of the environment nothing is inherited but which devices to compute on.
    let mut command = Command::new(executable()?);
    command.arg("worker").env_clear();
    // Or a failed assertion in llama.cpp has a debugger attached, for seconds, before the worker is seen to have died.
    command.env("GGML_NO_BACKTRACE", "1");
    for name in DEVICE_VARIABLES.iter().filter(|_| KNOWS_GPUS) {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    if pages == Pages::Huge {
        command.env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
    }
    let child = command
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok(Spawned {
        child,
        socket: UnixStream::from(ours),
    })
}

/// Names the executable that workers are started from; for programs that embed the server, as its tests do.
pub fn set_executable(path: PathBuf) {
    // The first caller wins; a second one names the same file.
    let _ = EXECUTABLE.set(path);
}

static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();

fn executable() -> io::Result<PathBuf> {
    match EXECUTABLE.get() {
        Some(path) => Ok(path.clone()),
        // Through /proc rather than by name: the same file even when it was replaced on disk by an upgrade.
        None => Ok(PathBuf::from("/proc/self/exe")),
    }
}
