//! The lock that whatever changes the set of models or blobs holds.
//!
//! `flock` belongs to an open file, and every holder opens the file anew, so one mechanism keeps out other threads and
//! other processes alike; the kernel releases it when a process dies. Ollama does not know the lock. It is held for
//! renames, small writes and preflights, never while a body is received.

use std::fs::{File, OpenOptions};
use std::io;

use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;

use super::{Store, StoreError};

const LOCK_FILE: &str = ".chaski.lock";

/// Proof that the lock is held, asked for by whatever must not run without it.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Store {
    /// Waits for the lock. Asking again before the first is dropped never returns.
    pub(super) fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.root().join(LOCK_FILE);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(StoreError::io("opening the lock of the models folder"))?;
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            .map_err(io::Error::from)
            .map_err(StoreError::io("locking the models folder"))?;
        Ok(Lock(file))
    }
}

impl Drop for Lock {
    /// Unlocks by name: a child forked meanwhile may still hold a copy of the descriptor.
    fn drop(&mut self) {
        if let Err(error) = flock(&self.0, FlockOperation::Unlock) {
            tracing::warn!(%error, "the lock of the models folder is released only when the process ends");
        }
    }
}
