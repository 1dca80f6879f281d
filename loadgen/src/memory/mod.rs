//! How much memory and processor time the process behind a port uses, together with its children.
//!
//! A local server is found by its port; a remote one gives no figure rather than a guess. Cheap counters
//! (`/proc/PID/status`, `/proc/PID/stat`) are read ten times a second; the proportional set size walks page tables
//! (milliseconds per gigabyte), so it is read only at the edges between phases. Knows nothing of requests or models.

mod origin;
mod tree;
mod watch;

use serde::Serialize;

pub use origin::Origin;
pub use tree::{ProcessTree, Unobservable};
pub use watch::{Phase, Series, Watch};

/// The memory of a process tree at one instant, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// Milliseconds since the clock that the watch was given.
    pub at_ms: u64,
    /// Resident in all.
    pub rss_bytes: u64,
    /// Of that, anonymous: heap, KV caches, repacked weights.
    pub anon_bytes: u64,
    /// Of that, pages of files: code and memory-mapped weights, which the kernel may drop.
    pub file_bytes: u64,
    /// Of that, shared memory.
    pub shmem_bytes: u64,
    /// Processes in the tree.
    pub processes: usize,
    /// Processor time used so far, that of ended children included, in milliseconds.
    pub cpu_ms: u64,
}

/// The proportional set size of a process tree: pages that n processes share count 1/n each. In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Proportional {
    /// In all.
    pub pss_bytes: u64,
    /// Of that, anonymous.
    pub anon_bytes: u64,
    /// Of that, pages of files.
    pub file_bytes: u64,
    /// Of that, shared memory.
    pub shmem_bytes: u64,
    /// Swapped out, and so in no figure of resident memory.
    pub swap_bytes: u64,
}
