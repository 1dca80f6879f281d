use procfs::Current;

use crate::report::model::Host;

/// This machine, as far as `/proc` tells.
pub(super) fn here() -> Host {
    let cpu = procfs::CpuInfo::current().ok();
    Host {
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
