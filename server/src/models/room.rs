//! Whether another model fits into memory, and who has to leave for it.
//!
//! What a model will take is estimated before it is loaded ([`Need`]); what there is, is read from the system at that
//! moment, as the smallest of what the machine, the control groups of this process and the operator allow. The
//! decision itself ([`decide`]) is pure.

use std::path::{Path, PathBuf};
use std::time::Instant;

use procfs::process::Process;
use procfs::{Current, Meminfo};

/// Bytes that a model will take once it is loaded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Need {
    /// Weights in memory of their own; 0 for a mapped file, whose pages the system may drop.
    pub weights: u64,
    /// Key-value caches of all sequences.
    pub cache: u64,
    /// Buffers of the computation and the process itself.
    pub overhead: u64,
}

impl Need {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.weights
            .saturating_add(self.cache)
            .saturating_add(self.overhead)
    }
}

/// A model that is loaded and not in use.
#[derive(Clone, Copy, Debug)]
pub struct Idle<K> {
    /// Which.
    pub key: K,
    /// Since when.
    pub since: Instant,
    /// Bytes that come back when it leaves.
    pub bytes: u64,
}

/// What the table holds when somebody asks for room.
#[derive(Debug)]
pub struct Census<K> {
    /// Bytes that can be taken now.
    pub available: u64,
    /// Bytes that models which are being loaded will still take.
    pub promised: u64,
    /// Models in the table, whatever they do.
    pub models: usize,
    /// Those that may be asked to leave.
    pub idle: Vec<Idle<K>>,
}

/// The answer to somebody who asks for room.
#[derive(Debug, Eq, PartialEq)]
pub enum Verdict<K> {
    /// There is room once these have left.
    Enter(Vec<K>),
    /// There may be room when those in use are free.
    Wait,
    /// There will be no room, however many leave.
    Never,
}

/// Finds room for `need` bytes among at most `max_models`, asking the longest idle to leave first and no more than it takes.
pub fn decide<K>(need: u64, max_models: usize, census: Census<K>) -> Verdict<K> {
    let Census {
        available,
        promised,
        mut models,
        mut idle,
    } = census;
    let all_are_idle = models == idle.len();
    let mut free = available.saturating_sub(promised);
    let mut leave = Vec::new();
    idle.sort_by_key(|model| std::cmp::Reverse(model.since));
    while models >= max_models || free < need {
        let Some(longest) = idle.pop() else {
            return if all_are_idle {
                Verdict::Never
            } else {
                Verdict::Wait
            };
        };
        models -= 1;
        free = free.saturating_add(longest.bytes);
        leave.push(longest.key);
    }
    Verdict::Enter(leave)
}

/// Bytes this process and its children may take on top of what is taken, as far as the system tells.
pub fn available() -> u64 {
    let machine = Meminfo::current()
        .ok()
        .and_then(|memory| memory.mem_available)
        .unwrap_or(u64::MAX);
    control_groups()
        .into_iter()
        .filter_map(|group| left_in(&group))
        .fold(machine, u64::min)
}

/// The folders of the control groups that bound the memory of this process, inner before outer.
fn control_groups() -> Vec<PathBuf> {
    let groups = Process::myself().and_then(|process| process.cgroups());
    let groups = groups.map_or_else(|_| Vec::new(), |groups| groups.0);
    let mut folders = Vec::new();
    for group in groups {
        let root = match group.hierarchy {
            0 => Path::new("/sys/fs/cgroup"),
            _ if group.controllers.iter().any(|name| name == "memory") => {
                Path::new("/sys/fs/cgroup/memory")
            }
            _ => continue,
        };
        // In a container the path may be the machine's, and the container's own group at the root.
        let inner = root.join(group.pathname.trim_start_matches('/'));
        let within = inner.ancestors().take_while(|it| it.starts_with(root));
        folders.extend(within.map(Path::to_owned));
    }
    folders
}

/// What a control group's files are called.
struct Files {
    limit: &'static str,
    used: &'static str,
    /// The line of `memory.stat` with the pages of files that nobody has used lately.
    cached: &'static str,
}

/// <https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files>
const VERSION_2: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    cached: "inactive_file ",
};

/// <https://docs.kernel.org/admin-guide/cgroup-v1/memory.html>, where no limit is a number larger than any memory.
const VERSION_1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: "total_inactive_file ",
};

/// What a control group has left; `None` if it has no limit. Cached file pages count as free: the kernel drops them first.
fn left_in(group: &Path) -> Option<u64> {
    let left = |version: &Files| left_by(group, version);
    left(&VERSION_2).or_else(|| left(&VERSION_1))
}

fn left_by(group: &Path, files: &Files) -> Option<u64> {
    let read = |file: &str| std::fs::read_to_string(group.join(file)).ok();
    let limit: u64 = read(files.limit)?.trim().parse().ok()?;
    let used: u64 = read(files.used)?.trim().parse().ok()?;
    let cached: u64 = read("memory.stat")?
        .lines()
        .find_map(|line| line.strip_prefix(files.cached))?
        .trim()
        .parse()
        .ok()?;
    Some(limit.saturating_sub(used.saturating_sub(cached)))
}

/// Bytes as Ollama prints them in this place.
pub fn gibibytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.into_iter().find(|(_, size)| bytes >= *size);
    match unit {
        Some((name, size)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(size);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_control_group_has_left_is_read_in_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        let left = |files: &[(&str, &str)]| {
            let group = tempfile::tempdir_in(&folder).unwrap();
            for (name, text) in files {
                std::fs::write(group.path().join(name), text).unwrap();
            }
            left_in(group.path())
        };
        let stat = "cache 9\ninactive_file 300\ntotal_inactive_file 200\n";
        let version_2 = |limit| {
            left(&[
                ("memory.max", limit),
                ("memory.current", "700\n"),
                ("memory.stat", stat),
            ])
        };
        assert_eq!(version_2("1000\n"), Some(600));
        assert_eq!(version_2("100\n"), Some(0));
        assert_eq!(version_2("max\n"), None);
        let version_1 = [
            ("memory.limit_in_bytes", "1000\n"),
            ("memory.usage_in_bytes", "700\n"),
            ("memory.stat", stat),
        ];
        assert_eq!(left(&version_1), Some(500));
        assert_eq!(left(&version_1[..2]), None);
        assert_eq!(left(&[]), None);
    }

    fn idle(ages_and_bytes: &[(u64, u64)]) -> Vec<Idle<usize>> {
        let now = Instant::now() + Duration::from_secs(1_000_000);
        let model = |(key, (age, bytes)): (usize, &(u64, u64))| Idle {
            key,
            since: now - Duration::from_secs(*age),
            bytes: *bytes,
        };
        ages_and_bytes.iter().enumerate().map(model).collect()
    }

    #[test]
    fn the_longest_idle_leave_first_and_no_more_than_needed() {
        let check = |need, available, busy, idle_models: &[(u64, u64)], expected| {
            let census = Census {
                available,
                promised: 0,
                models: busy + idle_models.len(),
                idle: idle(idle_models),
            };
            assert_eq!(decide(need, 3, census), expected);
        };
        check(10, 100, 0, &[], Verdict::Enter(vec![]));
        check(10, 5, 0, &[], Verdict::Never);
        check(10, 5, 1, &[], Verdict::Wait);
        check(10, 100, 3, &[], Verdict::Wait);
        check(
            10,
            100,
            0,
            &[(1, 9), (5, 9), (2, 9)],
            Verdict::Enter(vec![1]),
        );
        check(
            30,
            12,
            0,
            &[(1, 9), (5, 9), (2, 9)],
            Verdict::Enter(vec![1, 2]),
        );
        check(99, 12, 0, &[(1, 9), (5, 9), (2, 9)], Verdict::Never);
        check(99, 12, 1, &[(1, 9)], Verdict::Wait);
    }

    #[test]
    fn memory_that_is_promised_is_not_given_twice() {
        let census = |promised| Census {
            available: 20,
            promised,
            models: 1,
            idle: idle(&[]),
        };
        assert_eq!(decide(15, 3, census(5)), Verdict::Enter(vec![]));
        assert_eq!(decide(15, 3, census(6)), Verdict::Wait);
    }

    proptest! {
        #[test]
        fn whoever_enters_fits(
            need in 0_u64..200,
            available in 0_u64..200,
            promised in 0_u64..200,
            busy in 0_usize..4,
            models in prop::collection::vec((0_u64..100, 0_u64..50), 0..6),
        ) {
            let census = Census { available, promised, models: busy + models.len(), idle: idle(&models) };
            if let Verdict::Enter(leaving) = decide(need, 4, census) {
                let back: u64 = leaving.iter().map(|key| models[*key].1).sum();
                prop_assert!(need <= available.saturating_sub(promised) + back);
                prop_assert!(busy + models.len() - leaving.len() < 4);
            }
        }
    }

    #[test]
    fn the_system_tells_how_much_there_is() {
        let available = available();
        let total = Meminfo::current().unwrap().mem_total;
        assert!((1..=total).contains(&available), "{available} of {total}");
    }

    #[test]
    fn bytes_are_printed_with_one_digit() {
        let check = |bytes, expected: &str| assert_eq!(gibibytes(bytes), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1536, "1.5 KiB");
        check((5 << 30) + (1 << 29), "5.5 GiB");
        check(u64::MAX, "17179869183.9 GiB");
    }
}
