use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The program that measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// `loadgen`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The machine that this tool ran on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The processor's name.
    pub cpu: Option<String>,
    /// Processors that this tool may use.
    pub cpus: Option<usize>,
    /// Memory of the machine.
    pub memory_bytes: Option<u64>,
    /// Version of the Linux kernel.
    pub kernel: Option<String>,
}

/// The settings that a reader needs to understand the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Texts, order, arrivals and bootstrap derive from it.
    pub seed: u64,
    /// How long targets were asked to keep models loaded, seconds.
    pub keep_alive_s: u64,
    /// Longest time a request might take, seconds.
    pub timeout_s: f64,
    /// Differences below this share do not matter: 0.03 is 3 %.
    pub margin: f64,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetReport {
    /// As named by the user.
    pub name: String,
    /// Its root, without password.
    pub url: String,
    /// What it says its version is.
    pub version: Option<String>,
    /// Which API it is spoken to in, such as `ollama`.
    pub api: String,
    /// The listening processes; empty when its memory was not watched.
    pub pids: Vec<i32>,
    /// Their command name.
    pub process: Option<String>,
    /// Why its memory is not reported.
    pub memory_unavailable: Option<String>,
    /// From the start of its process to its first reply; `null` for a server that ran already.
    #[serde(default)]
    pub start_to_ready_ms: Option<f64>,
    /// How it was started, as far as the operating system tells.
    pub environment: Option<Environment>,
}

/// How a local server was started. Values that may hold secrets are not read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// The command lines of its processes.
    pub command_lines: Vec<String>,
    /// Settings known to change speed, such as `OLLAMA_NUM_PARALLEL`.
    pub variables: BTreeMap<String, String>,
}
