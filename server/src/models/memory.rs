//! Memory of the server and its workers, from `/proc`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use procfs::process::{Limit, LimitValue, Process, Stat};

use super::residents::Residents;
use super::room;
use crate::metrics::{self, Computing, LoadedModel, Memory, MemoryParts};
use crate::worker::Worker;

/// Resident memory of a process in bytes; 0 if it is gone.
pub fn resident(process_id: u32) -> u64 {
    let statm = i32::try_from(process_id)
        .ok()
        .and_then(|pid| Process::new(pid).ok()?.statm().ok());
    statm.map_or(0, |statm| statm.resident * procfs::page_size())
}

/// What a worker's memory is for.
pub fn parts(worker: &Worker) -> MemoryParts {
    let memory = worker.facts().memory;
    MemoryParts {
        weights: memory.weights,
        cache: memory.cache_per_token * u64::from(worker.cached_tokens()),
        cache_reserved: memory.cache_reserved,
        compute: memory.compute,
        on_devices: memory.on_devices,
    }
}

/// How a worker computes.
pub fn computing(worker: &Worker) -> Computing {
    let facts = worker.facts();
    Computing {
        threads: facts.threads,
        own_kernels: facts.computing.own_kernels,
        flash_attention: facts.computing.flash_attention,
        cache_bits: facts.computing.cache_bits,
    }
}

/// Records what is only known at a scrape.
pub fn record(residents: &Residents) {
    let processes: Vec<_> = residents
        .processes()
        .into_iter()
        .filter_map(|running| {
            let process = Process::new(i32::try_from(running.process_id).ok()?).ok()?;
            Some((running, memory(&process)))
        })
        .collect();
    let names: Vec<String> = processes
        .iter()
        .map(|(running, _)| running.name.to_string())
        .collect();
    let loaded: Vec<_> = processes
        .iter()
        .zip(&names)
        .map(|((running, memory), model)| LoadedModel {
            model,
            bytes: running.bytes,
            memory: *memory,
            slots: running.slots,
            parts: running.parts,
            computing: running.computing,
        })
        .collect();
    let unloaded = {
        // What the last scrape reported and is no longer there must be reported as zero once more.
        let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = reported
            .iter()
            .filter(|model| !names.contains(model))
            .cloned()
            .collect::<Vec<_>>();
        reported.clone_from(&names);
        gone
    };
    let room = metrics::Room {
        available: room::available(),
        waiting: residents.waiting(),
    };
    metrics::scrape(&server(), &room, &loaded, &unloaded);
}

static REPORTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn server() -> metrics::Process {
    let Ok(process) = Process::myself() else {
        return metrics::Process::default();
    };
    let stat = process.stat().ok();
    metrics::Process {
        memory: memory(&process),
        open_fds: process.fd_count().unwrap_or(0) as u64,
        max_fds: process
            .limits()
            .map_or(0, |limits| soft_limit(limits.max_open_files)),
        started: stat.as_ref().map_or(0.0, started),
        threads: stat
            .as_ref()
            .map_or(0, |stat| stat.num_threads.unsigned_abs()),
        processor_time: stat.map_or(Duration::ZERO, |stat| {
            let ticks = stat.utime + stat.stime;
            Duration::from_millis(ticks * 1000 / procfs::ticks_per_second())
        }),
    }
}

/// The limit that the kernel holds a process to; the largest number there is where there is none.
fn soft_limit(limit: Limit) -> u64 {
    match limit.soft_limit {
        LimitValue::Value(limit) => limit,
        LimitValue::Unlimited => u64::MAX,
    }
}

/// When a process started, in seconds since 1970: the kernel counts from the machine's start.
fn started(stat: &Stat) -> f64 {
    let booted = procfs::boot_time_secs().unwrap_or(0);
    #[expect(
        clippy::cast_precision_loss,
        reason = "ticks and seconds are exact far beyond a machine's life"
    )]
    let seconds = booted as f64 + stat.starttime as f64 / procfs::ticks_per_second() as f64;
    seconds
}

fn memory(process: &Process) -> Memory {
    const KIB: u64 = 1024;
    let status = process.status().ok();
    let of = |field: fn(&procfs::process::Status) -> Option<u64>| {
        status.as_ref().and_then(field).unwrap_or(0) * KIB
    };
    let rollup = process.smaps_rollup().ok();
    let proportional = rollup.and_then(|rollup| {
        rollup
            .memory_map_rollup
            .into_iter()
            .find_map(|map| map.extension.map.get("Pss").copied())
    });
    Memory {
        resident: of(|status| status.vmrss),
        peak: of(|status| status.vmhwm),
        anonymous: of(|status| status.rssanon),
        proportional: proportional.unwrap_or(0),
    }
}
