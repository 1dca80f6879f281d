//! How much memory the process behind a port uses, together with its children.
//!
//! A local server is found by its port; a remote one gives no figure rather than a guess. Cheap counters
//! (`/proc/PID/status`) are read ten times a second; the proportional set size walks page tables (milliseconds per
//! gigabyte), so it is read only before and after the work. Knows nothing of requests or models.

mod tree;
mod watch;

use serde::Serialize;

pub use tree::{ProcessTree, Unobservable};
pub use watch::{Series, Watch};

/// The memory of a process tree at one instant, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// Milliseconds since the watch began.
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
}
