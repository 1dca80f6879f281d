use procfs::Current;
use serde::Serialize;

/// The machine that this tool ran on; for a local target also the server's.
#[derive(Debug, Serialize)]
pub struct Host {
    pub cpu: Option<String>,
    pub cpus: Option<usize>,
    pub memory_bytes: Option<u64>,
    pub kernel: Option<String>,
}

impl Host {
    /// This machine, as far as `/proc` tells.
    pub(super) fn here() -> Self {
        let cpu = procfs::CpuInfo::current().ok();
        Self {
            cpu: cpu
                .as_ref()
                .and_then(|cpu| cpu.model_name(0))
                .map(str::to_owned),
            cpus: std::thread::available_parallelism().ok().map(usize::from),
            memory_bytes: procfs::Meminfo::current()
                .ok()
                .map(|memory| memory.mem_total),
            kernel: procfs::sys::kernel::Version::current()
                .ok()
                .map(|version| format!("{}.{}.{}", version.major, version.minor, version.patch)),
        }
    }
}
