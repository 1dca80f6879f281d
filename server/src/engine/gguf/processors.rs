//! How many threads to compute with.

use std::collections::HashSet;
use std::fs;
use std::thread::available_parallelism;

use rustix::thread::{CpuSet, sched_getaffinity};

/// The physical cores this process may use: of its CPU affinity, without the second hardware thread of a core (matrix
/// products gain nothing from it), and at most the cgroup's CPU quota. At least 1.
pub(super) fn usable() -> u32 {
    // The standard library heeds the affinity and the quotas of cgroup v1 and v2.
    let quota = available_parallelism().map_or(1, |threads| {
        u32::try_from(threads.get()).unwrap_or(u32::MAX)
    });
    cores().map_or(quota, |cores| quota.min(cores)).max(1)
}

/// Distinct cores among the processors of the affinity mask. `None` where the system does not tell.
fn cores() -> Option<u32> {
    let allowed = sched_getaffinity(None).ok()?;
    let siblings: HashSet<String> = (0..CpuSet::MAX_CPU)
        .filter(|&processor| allowed.is_set(processor))
        .map(|processor| {
            let path =
                format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list");
            fs::read_to_string(path).ok()
        })
        .collect::<Option<_>>()?;
    u32::try_from(siblings.len()).ok()
}

#[cfg(test)]
mod tests {
    use super::usable;

    #[test]
    fn at_least_one_and_no_more_than_the_system_offers() {
        let offered = std::thread::available_parallelism().unwrap().get();
        let usable = usable() as usize;
        assert!((1..=offered).contains(&usable), "{usable} of {offered}");
    }
}
