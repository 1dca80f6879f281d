use std::{
    collections::{BTreeMap, HashSet},
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use procfs::{
    ProcResult,
    net::{TcpState, tcp, tcp6},
    process::{FDTarget, Process, Stat, Status, all_processes},
};
use reqwest::Url;

use super::{Origin, Proportional, Snapshot};

/// The processes that listen on a target's port, and whatever they started.
#[derive(Debug, Clone)]
pub struct ProcessTree {
    roots: Vec<i32>,
    name: String,
    /// Where the roots are read anew, because processes come and go in a container.
    cgroup: Option<PathBuf>,
}

/// Why a target's memory cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unobservable {
    /// Not on this machine.
    #[error("remote")]
    Remote,
    /// The process that listens belongs to someone else, or lives in another namespace.
    #[error("the process behind port {0} is not readable")]
    Hidden(u16),
    /// What listens only forwards to the real server.
    #[error("port {0} belongs to the forwarder {1}")]
    Forwarder(u16, String),
    /// A control group without processes.
    #[error("no process is in the control group {0}")]
    Empty(String),
    /// `/proc` could not be read.
    #[error("/proc: {0}")]
    Proc(String),
}

/// Processes that listen on behalf of a container whose memory they do not show.
const FORWARDERS: [&str; 3] = ["docker-proxy", "rootlessport", "slirp4netns"];

impl ProcessTree {
    /// Finds who listens where `url` points: port, listening socket's inode, owner of that descriptor.
    ///
    /// # Errors
    /// [`Unobservable`] for a target elsewhere, or one whose process this user may not inspect.
    pub fn behind(url: &Url) -> Result<Self, Unobservable> {
        let port = url.port_or_known_default().ok_or(Unobservable::Remote)?;
        let is_here = is_loopback_host(url).ok_or(Unobservable::Remote)?;
        let listening = |address: SocketAddr| {
            address.port() == port && (address.ip().is_unspecified() || is_here(address.ip()))
        };
        let inodes: HashSet<u64> = [tcp(), tcp6()]
            .into_iter()
            // A kernel without IPv6 has no tcp6 table, which is no reason to ignore the other.
            .filter_map(ProcResult::ok)
            .flatten()
            .filter(|entry| entry.state == TcpState::Listen && listening(entry.local_address))
            .map(|entry| entry.inode)
            .collect();

        let mut roots = Vec::new();
        let mut name = String::new();
        let everyone = all_processes().map_err(|error| Unobservable::Proc(error.to_string()))?;
        for process in everyone.filter_map(ProcResult::ok) {
            if owns_one_of(&process, &inodes) {
                name = process.stat().map(|stat| stat.comm).unwrap_or_default();
                roots.push(process.pid());
            }
        }
        if roots.is_empty() {
            return Err(Unobservable::Hidden(port));
        }
        if FORWARDERS.contains(&name.as_str()) {
            return Err(Unobservable::Forwarder(port, name));
        }
        Ok(Self {
            roots,
            name,
            cgroup: None,
        })
    }

    /// The process of this id, which the user knows to be the server.
    ///
    /// # Errors
    /// [`Unobservable::Proc`] when there is none.
    pub fn of(pid: i32) -> Result<Self, Unobservable> {
        let stat = Process::new(pid).and_then(|process| process.stat());
        let stat = stat.map_err(|error| Unobservable::Proc(error.to_string()))?;
        Ok(Self {
            roots: vec![pid],
            name: stat.comm,
            cgroup: None,
        })
    }

    /// The processes of a control group (cgroup v2) and of those below it, such as a container's.
    ///
    /// # Errors
    /// [`Unobservable`] when there is no such group, or nobody in it.
    pub fn in_cgroup(path: &Path) -> Result<Self, Unobservable> {
        let roots = processes_in(path).map_err(|error| {
            Unobservable::Proc(format!("{}: {error}", path.join(PROCESSES).display()))
        })?;
        let first = roots.first().copied();
        let first = first.ok_or_else(|| Unobservable::Empty(path.display().to_string()))?;
        Ok(Self {
            cgroup: Some(path.to_owned()),
            roots,
            ..Self::of(first)?
        })
    }

    /// The listening processes.
    pub fn roots(&self) -> &[i32] {
        &self.roots
    }

    /// The command name of the listener, for the reader to recognise.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the tree as it is now. `None` once every root is gone.
    pub fn observe(&self, at_ms: u64) -> Option<Snapshot> {
        let mut snapshot = Snapshot {
            at_ms,
            rss_bytes: 0,
            anon_bytes: 0,
            file_bytes: 0,
            shmem_bytes: 0,
            processes: 0,
            cpu_ms: 0,
        };
        let mut cpu_ticks = 0;
        for process in self.members().values() {
            // A process may end between being found and being read.
            let (Ok(status), Ok(stat)) = (process.status(), process.stat()) else {
                continue;
            };
            snapshot.processes += 1;
            add(&mut snapshot, &status);
            cpu_ticks += ticks(&stat);
        }
        snapshot.cpu_ms = cpu_ticks * 1000 / procfs::ticks_per_second();
        (snapshot.processes > 0).then_some(snapshot)
    }

    /// Processor time that the whole tree has used so far, that of ended children included. `None` once every root is
    /// gone. In steps of the kernel's clock tick, mostly 10 ms.
    pub fn cpu_time(&self) -> Option<Duration> {
        let ticks: Vec<u64> = self
            .members()
            .values()
            .filter_map(|process| process.stat().ok())
            .map(|stat| ticks(&stat))
            .collect();
        let seconds = ticks.iter().sum::<u64>() as f64 / procfs::ticks_per_second() as f64;
        (!ticks.is_empty()).then(|| Duration::from_secs_f64(seconds))
    }

    /// The proportional set size of the whole tree. `None` when the kernel refuses to tell for any of them.
    pub fn proportional(&self) -> Option<Proportional> {
        let members = self.members();
        if members.is_empty() {
            return None;
        }
        let mut sum = Proportional::default();
        for process in members.values() {
            let rollup = process.smaps_rollup().ok()?;
            let sizes = &rollup.memory_map_rollup.0.first()?.extension.map;
            let size = |name| sizes.get(name).copied();
            sum.pss_bytes += size("Pss")?;
            // Kernels before 5.9 give only the sum.
            sum.anon_bytes += size("Pss_Anon").unwrap_or(0);
            sum.file_bytes += size("Pss_File").unwrap_or(0);
            sum.shmem_bytes += size("Pss_Shmem").unwrap_or(0);
            sum.swap_bytes += size("Swap").unwrap_or(0);
        }
        Some(sum)
    }

    /// How the processes that are alive now were started.
    pub fn origin(&self) -> Origin {
        Origin::of(self.members().into_values())
    }

    /// Roots and descendants alive now, by process id.
    fn members(&self) -> BTreeMap<i32, Process> {
        let mut members = BTreeMap::new();
        let mut pending = match &self.cgroup {
            // The group may have ended meanwhile: then nobody is in it.
            Some(path) => processes_in(path).unwrap_or_default(),
            None => self.roots.clone(),
        };
        while let Some(pid) = pending.pop() {
            if members.contains_key(&pid) {
                continue;
            }
            let Ok(process) = Process::new(pid) else {
                continue;
            };
            pending.extend(children(&process));
            members.insert(pid, process);
        }
        members
    }
}

/// The file of a control group that lists its processes.
const PROCESSES: &str = "cgroup.procs";

/// Groups below groups that are looked into.
const DEEPEST: usize = 8;

/// The process ids of a control group and of those below it.
fn processes_in(group: &Path) -> std::io::Result<Vec<i32>> {
    let listed = fs::read_to_string(group.join(PROCESSES))?;
    let mut found: Vec<i32> = listed
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    let mut pending = vec![(group.to_owned(), 0)];
    while let Some((folder, depth)) = pending.pop() {
        for entry in fs::read_dir(folder)?.filter_map(Result::ok) {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_folder || depth >= DEEPEST {
                continue;
            }
            let listed = fs::read_to_string(entry.path().join(PROCESSES)).unwrap_or_default();
            found.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()));
            pending.push((entry.path(), depth + 1));
        }
    }
    Ok(found)
}

/// Which local addresses serve the host of `url`; `None` when the host is not this machine's loopback.
fn is_loopback_host(url: &Url) -> Option<impl Fn(IpAddr) -> bool> {
    let host = url.host_str()?;
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if !(host == "localhost" || address.is_some_and(|address| address.is_loopback())) {
        return None;
    }
    Some(move |listener: IpAddr| {
        address.map_or(listener.is_loopback(), |wanted| wanted == listener)
    })
}

fn owns_one_of(process: &Process, inodes: &HashSet<u64>) -> bool {
    // Other users' descriptors are not readable; such a process is simply not ours to find.
    let Ok(descriptors) = process.fd() else {
        return false;
    };
    descriptors
        .filter_map(ProcResult::ok)
        .any(|descriptor| matches!(descriptor.target, FDTarget::Socket(inode) if inodes.contains(&inode)))
}

/// Children of every thread: reading these few lists is much cheaper than every process's parent id, ten times a second.
fn children(process: &Process) -> Vec<i32> {
    let Ok(tasks) = process.tasks() else {
        return Vec::new();
    };
    tasks
        .filter_map(ProcResult::ok)
        .filter_map(|task| task.children().ok())
        .flatten()
        .filter_map(|pid| i32::try_from(pid).ok())
        .collect()
}

fn add(snapshot: &mut Snapshot, status: &Status) {
    let bytes = |kibibytes: Option<u64>| kibibytes.unwrap_or(0) * 1024;
    snapshot.rss_bytes += bytes(status.vmrss);
    snapshot.anon_bytes += bytes(status.rssanon);
    snapshot.file_bytes += bytes(status.rssfile);
    snapshot.shmem_bytes += bytes(status.rssshmem);
}

/// Clock ticks of a process and of its children that have ended and been waited for.
fn ticks(stat: &Stat) -> u64 {
    let of_children = stat.cutime.saturating_add(stat.cstime);
    stat.utime + stat.stime + u64::try_from(of_children).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn behind(url: &str) -> Result<ProcessTree, Unobservable> {
        ProcessTree::behind(&url.parse().unwrap())
    }

    #[test]
    fn a_listener_of_this_process_is_found_on_every_name_of_the_loopback() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let tree = behind(&format!("http://{host}:{port}")).unwrap();
            assert_eq!(tree.roots(), [std::process::id() as i32]);
        }
    }

    #[test]
    fn a_control_group_is_its_processes_and_those_of_the_groups_below() {
        let group = tempfile::tempdir().unwrap();
        let check = |expected: Result<&[i32], &str>| {
            let found = ProcessTree::in_cgroup(group.path());
            match (found, expected) {
                (Ok(tree), Ok(pids)) => assert_eq!(tree.roots(), pids),
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
                (found, _) => panic!("{found:?}"),
            }
        };
        check(Err("cgroup.procs"));
        fs::write(group.path().join(PROCESSES), "").unwrap();
        check(Err("no process is in"));
        let own = std::process::id();
        let below = group.path().join("worker");
        fs::create_dir(&below).unwrap();
        fs::write(below.join(PROCESSES), format!("{own}\n")).unwrap();
        check(Ok(&[own as i32]));
        let tree = ProcessTree::in_cgroup(group.path()).unwrap();
        assert!(tree.observe(0).unwrap().rss_bytes > 1 << 20);
        fs::write(below.join(PROCESSES), "").unwrap();
        assert_eq!(tree.observe(0), None, "everybody has left");
    }

    #[test]
    fn a_snapshot_splits_what_is_resident() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tree = behind(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let snapshot = tree.observe(7).unwrap();
        assert_eq!(snapshot.at_ms, 7);
        assert!(snapshot.rss_bytes > 1 << 20);
        assert_eq!(
            snapshot.rss_bytes,
            snapshot.anon_bytes + snapshot.file_bytes + snapshot.shmem_bytes
        );
        let proportional = tree.proportional().unwrap();
        assert!(proportional.pss_bytes > 1 << 20, "{proportional:?}");
        assert!(proportional.pss_bytes <= tree.observe(0).unwrap().rss_bytes + (1 << 20));
        let parts = proportional.anon_bytes + proportional.file_bytes + proportional.shmem_bytes;
        assert!(
            parts.abs_diff(proportional.pss_bytes) < 64 << 10,
            "{proportional:?}"
        );
    }

    #[test]
    fn processor_time_counts_that_of_children_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tree = behind(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let before = tree.cpu_time().unwrap();
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let status = std::process::Command::new("sh")
            .args(["-c", busy])
            .status()
            .unwrap();
        assert!(status.success());
        let after = tree.cpu_time().unwrap();
        assert!(
            after - before >= Duration::from_millis(20),
            "{before:?} {after:?}"
        );
        let snapshot = tree.observe(0).unwrap();
        assert!(u128::from(snapshot.cpu_ms) >= after.as_millis());
    }

    #[test]
    fn a_target_elsewhere_or_unseen_has_no_memory() {
        assert_eq!(
            behind("http://192.0.2.1:11434").unwrap_err(),
            Unobservable::Remote
        );
        assert_eq!(
            behind("http://example.org").unwrap_err(),
            Unobservable::Remote
        );
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        assert_eq!(
            behind(&format!("http://127.0.0.1:{port}")).unwrap_err(),
            Unobservable::Hidden(port)
        );
    }
}
