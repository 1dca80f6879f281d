//! Making a file in a process of its own: quantising through llama.cpp, and conversions of files from strangers.
//!
//! The process is a worker that loads nothing: it gets one [`Order`], tells how far it is, and ends. It dies when its
//! caller leaves, like any worker.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tracing::{info, warn};

use super::frame::{self, AsyncReader, Confinement, FromWorker, ToWorker};
use super::spawn::{self, Pages};
use super::supervise::Process;
use crate::convert::{self, Done, Error, Task, made};
use crate::engine::gguf::Quantize;
use crate::engine::onnx::Storing;
use crate::sandbox::{Mode, Rights, limits};

/// Longest silence of a process that makes a file: the largest tensors take minutes on a slow processor.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// A file to be made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Order {
    /// What of.
    pub work: Work,
    /// An empty file that is overwritten.
    pub output: PathBuf,
}

/// What a file is made of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Work {
    /// A GGUF file with numbers of fewer bits.
    Quantize(Quantize),
    /// Files of another form.
    Convert(Task),
    /// The 8-bit encoder of a graph.
    Store(Storing),
}

/// Starts a process, lets it carry out the order, and returns when the file is whole, with what there is to tell of it.
///
/// Dropping the future ends the process.
///
/// # Errors
/// [`Error`], also when the process dies or falls silent.
pub async fn make(
    order: Order,
    mode: Mode,
    told: &mut (dyn FnMut(Done) + Send),
) -> Result<Option<String>, Error> {
    let failed = |error: std::io::Error| {
        Error::Failed(format!(
            "the process for this work could not be started: {error}"
        ))
    };
    let spawned = spawn::spawn(Pages::Usual).await.map_err(failed)?;
    let mut process = Process::new(spawned.child);
    spawned.socket.set_nonblocking(true).map_err(failed)?;
    let (read, mut write) = UnixStream::from_std(spawned.socket)
        .map_err(failed)?
        .into_split();
    let mut reader = AsyncReader::new(BufReader::new(read));
    // Conversions go through their files piece by piece, but for a tensor at a time in numbers of twice the size.
    let read = order.rights().read;
    let sizes = read.iter().filter_map(|path| path.metadata().ok());
    let confinement = Confinement {
        mode,
        memory: Some(limits::memory(sizes.map(|file| file.len()).sum())),
    };
    let frame = frame::encode(&ToWorker::Make(Box::new(order), confinement))
        .map_err(|error| Error::Failed(error.to_string()))?;
    write.write_all(&frame).await.map_err(failed)?;
    loop {
        match timeout(SILENCE, reader.read::<FromWorker>()).await {
            Ok(Ok(FromWorker::Confined(_))) => {}
            Ok(Ok(FromWorker::Making(done))) => told(done),
            Ok(Ok(FromWorker::Made(result))) => {
                let fate = process.end().await;
                info!(?result, %fate, "a file was made");
                return result;
            }
            Ok(Ok(_) | Err(_)) => {
                let fate = process.end().await;
                warn!(%fate, "the process that made a file ended early");
                let text = format!("the process for this work ended early ({fate})");
                return Err(Error::Failed(text));
            }
            Err(_) => {
                let minutes = SILENCE.as_secs() / 60;
                let text = format!("nothing was heard of this work for {minutes} minutes");
                return Err(Error::Failed(text));
            }
        }
    }
}

impl Order {
    /// The files that this takes.
    pub(super) fn rights(&self) -> Rights {
        let read = match &self.work {
            Work::Quantize(quantize) => vec![quantize.model.clone()],
            Work::Convert(Task::Merge { parts }) => parts.clone(),
            Work::Convert(Task::Model { files, .. }) => files.values().cloned().collect(),
            Work::Convert(Task::Adapter { files, base }) => {
                files.values().chain([base]).cloned().collect()
            }
            Work::Store(Storing(spec)) => spec.read_files(),
        };
        Rights {
            read,
            write: vec![self.output.clone()],
            devices: false,
        }
    }

    /// Does the work, in the process that is there for it.
    pub(super) fn carry_out(
        &self,
        told: &mut (dyn FnMut(Done) + Send),
    ) -> Result<Option<String>, Error> {
        match &self.work {
            Work::Quantize(quantize) => quantize.run(&self.output, told)?,
            Work::Convert(task) => convert::run(task, &self.output, told)?,
            Work::Store(storing) => return storing.run(&self.output).map(Some),
        }
        made::check(&self.output).map(|()| None)
    }
}
