use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The memory of one target's process tree over one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryReport {
    /// Before the work.
    pub before: MemoryReading,
    /// When most was resident.
    pub peak: MemoryReading,
    /// Proportional set size before the work, with no model in memory where the target can be told to unload.
    pub pss_before_bytes: Option<u64>,
    /// Proportional set size after the work, the model still in memory.
    pub pss_after_bytes: Option<u64>,
    /// What the target says it has loaded; `null` when it does not say.
    pub loaded: Option<Vec<LoadedModel>>,
    /// Peak resident bytes over the bytes of all loaded models' files.
    pub ratio: Option<f64>,
    /// Seconds of processor time that the tree used in its own measured rounds.
    pub cpu_s: Option<f64>,
    /// That per 1,000 generated tokens.
    pub cpu_s_per_1000_output_tokens: Option<f64>,
    /// How resident memory grew under load, bytes per 1,000 requests: a leak shows here before it shows in a peak.
    pub growth_bytes_per_1000_requests: Option<f64>,
    /// Readings in time order. Long runs keep an evenly spread part of them, the peak always.
    pub readings: Vec<MemoryReading>,
    /// Readings that were taken.
    pub readings_taken: usize,
    /// What the target was doing when; in time order.
    pub phases: Vec<MemoryPhase>,
}

/// Resident memory of a process tree at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryReading {
    /// Since the run began.
    pub at_ms: u64,
    /// Resident in all.
    pub rss_bytes: u64,
    /// Of that, anonymous: heap, key-value caches, repacked weights.
    pub anon_bytes: u64,
    /// Of that, pages of files: code and memory-mapped weights, which the kernel may drop.
    pub file_bytes: u64,
    /// Of that, shared memory.
    pub shmem_bytes: u64,
    /// Processes in the tree.
    pub processes: usize,
}

/// A stretch of time in the life of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryPhase {
    /// `idle` (no model in memory), `loading`, `loaded`, `warm`, `load`, `after`, `audit`, `unloading` or `unloaded`.
    pub name: String,
    /// Since the run began.
    pub from_ms: u64,
    /// Since the run began.
    pub to_ms: u64,
    /// The most that was resident in it.
    pub peak_rss_bytes: Option<u64>,
    /// Proportional set size when it began: shared pages count by halves, thirds and so on.
    #[serde(default)]
    pub pss_bytes: Option<u64>,
    /// Resident when it ended.
    #[serde(default)]
    pub end_rss_bytes: Option<u64>,
    /// Of that, anonymous.
    #[serde(default)]
    pub end_anon_bytes: Option<u64>,
}

/// A model that a target says is in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadedModel {
    /// With its tag.
    pub name: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// What its files are.
    pub digest: String,
}
