//! The noise floor of this client on this machine: what it adds to a time that is known.
//!
//! A mock on the same machine writes into every piece when the request arrived and when the piece was sent; what lies between
//! those and this client's own stamps is the client, the loopback and the scheduler. No difference below it can be
//! measured. The result is kept per user and printed in reports as long as processor and kernel are the same.

mod measure;

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use measure::measure;

/// What was measured on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Where it holds.
    pub machine: Machine,
    /// RFC 3339.
    pub measured_at: String,
    /// By number of simultaneous streams, ascending.
    pub levels: Vec<Level>,
}

/// What must be the same for a calibration to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor.
    pub cpu: String,
    /// Processors that this tool may use.
    pub cpus: usize,
    /// Version of the kernel.
    pub kernel: String,
}

/// The noise with so many streams at once, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Simultaneous streams.
    pub streams: usize,
    /// Pieces that were timed.
    pub pieces: usize,
    /// Added to the time to the first text: way there and way back.
    pub latency: Noise,
    /// Added to the arrival of a later piece: way back.
    pub arrival: Noise,
}

/// A distribution in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

impl Machine {
    /// This machine, as far as it tells.
    pub fn here() -> Self {
        use procfs::Current;
        let cpu = procfs::CpuInfo::current().ok();
        let kernel = procfs::sys::kernel::Version::current().ok();
        Self {
            cpu: cpu
                .as_ref()
                .and_then(|cpu| cpu.model_name(0))
                .unwrap_or("unknown")
                .into(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.map_or("unknown".into(), |version| {
                format!("{}.{}.{}", version.major, version.minor, version.patch)
            }),
        }
    }
}

impl Calibration {
    /// The one that was stored for this machine, if any.
    pub fn stored() -> Option<Self> {
        let stored: Self = serde_json::from_slice(&fs::read(path()?).ok()?).ok()?;
        (stored.machine == Machine::here()).then_some(stored)
    }

    /// Keeps it for later runs of this user; returns where.
    ///
    /// # Errors
    /// When there is no folder for it, or it cannot be written.
    pub fn store(&self) -> io::Result<PathBuf> {
        let path =
            path().ok_or_else(|| io::Error::other("neither XDG_STATE_HOME nor HOME is set"))?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, serde_json::to_vec_pretty(self)?)?;
        Ok(path)
    }

    /// The noise with about `streams` at once: that of the next level, so that it is never understated; of the highest when
    /// there is none.
    pub fn level(&self, streams: usize) -> Option<&Level> {
        self.levels
            .iter()
            .find(|level| level.streams >= streams)
            .or(self.levels.last())
    }
}

/// Where a user's state belongs, by the XDG base directory specification.
fn path() -> Option<PathBuf> {
    let folder = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("loadgen/calibration.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_never_understated() {
        let level = |streams| Level {
            streams,
            pieces: 1,
            latency: Noise { p50: 0.1, p99: 1.0 },
            arrival: Noise { p50: 0.1, p99: 1.0 },
        };
        let calibration = Calibration {
            machine: Machine::here(),
            measured_at: String::new(),
            levels: [1, 16, 64].map(level).into(),
        };
        let of = |streams| calibration.level(streams).unwrap().streams;
        assert_eq!([of(1), of(2), of(16), of(17), of(500)], [1, 16, 16, 64, 64]);
    }
}
