//! What about this machine would spoil a measurement, and what to do about it.
//!
//! `Facts` reads the machine, `examine` judges what was read: the one part needs a machine, the other a test.

use std::{collections::BTreeMap, fs, path::Path};

use procfs::{
    CpuPressure, Current, LoadAverage, Meminfo, MemoryPressure,
    process::{LimitValue, Process, all_processes},
};

use super::Reading;

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// This machine does not tell.
    Unknown,
    /// It costs precision.
    Concern,
    /// Measurements under it mislead.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// How it stands.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do; empty when nothing is to be done.
    pub remedy: &'static str,
}

/// The machine as read.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    cpus: usize,
    /// Of the first processor; virtual machines have none.
    governor: Option<String>,
    /// Whether the clock may rise above its nominal frequency.
    turbo: Option<bool>,
    swap_used_bytes: Option<u64>,
    swap_total_bytes: Option<u64>,
    huge_pages: Option<String>,
    load: Option<f64>,
    cpu_pressure: Option<f64>,
    memory_pressure: Option<f64>,
    steal: Option<f64>,
    open_files: Option<u64>,
    /// Names of variables that send requests through a proxy.
    proxies: Vec<&'static str>,
    /// Other load testers that run: name and process id.
    other_clients: Vec<(String, i32)>,
    /// `cpu.max` of the control group, when it limits.
    quota_cpus: Option<f64>,
}

/// Variables that make HTTP clients detour. This client ignores them; the servers' own clients and other tools do not.
const PROXY_VARIABLES: [&str; 6] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// Programs that load a server.
const CLIENTS: [&str; 12] = [
    "loadgen",
    "oha",
    "wrk",
    "wrk2",
    "vegeta",
    "k6",
    "hey",
    "ab",
    "guidellm",
    "aiperf",
    "locust",
    "bombardier",
];

/// Descriptors that a run with a thousand connections needs, with room for logs.
const OPEN_FILES_NEEDED: u64 = 4096;

impl Facts {
    /// Reads the machine. Takes as long as `watch`, over which stolen time is measured.
    pub async fn read(watch: std::time::Duration) -> Self {
        let before = Reading::now();
        tokio::time::sleep(watch).await;
        let noise = before.until(&Reading::now(), None);
        let memory = Meminfo::current().ok();
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            governor: trimmed("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            turbo: turbo(),
            swap_used_bytes: memory
                .as_ref()
                .map(|memory| memory.swap_total - memory.swap_free),
            swap_total_bytes: memory.as_ref().map(|memory| memory.swap_total),
            huge_pages: trimmed("/sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|modes| chosen(&modes)),
            load: LoadAverage::current().ok().map(|load| f64::from(load.one)),
            cpu_pressure: CpuPressure::current()
                .ok()
                .map(|pressure| f64::from(pressure.some.avg10) / 100.0),
            memory_pressure: MemoryPressure::current()
                .ok()
                .map(|pressure| f64::from(pressure.some.avg10) / 100.0),
            steal: noise.steal,
            open_files: open_files(),
            proxies: PROXY_VARIABLES
                .into_iter()
                .filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
                .collect(),
            other_clients: other_clients(),
            quota_cpus: trimmed("/sys/fs/cgroup/cpu.max").and_then(|quota| quota_cpus(&quota)),
        }
    }
}

/// Judges `facts`, the worst first.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![
        processors(facts),
        governor(facts),
        turbo_mode(facts),
        load(facts),
        cpu_pressure(facts),
        memory_pressure(facts),
        steal(facts),
        swap(facts),
        huge_pages(facts),
        open_file_limit(facts),
        proxies(facts),
        clients(facts),
    ];
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}

fn finding(subject: &'static str, level: Level, found: String, remedy: &'static str) -> Finding {
    Finding {
        subject,
        level,
        found,
        remedy: if level >= Level::Concern { remedy } else { "" },
    }
}

fn unknown(subject: &'static str) -> Finding {
    finding(
        subject,
        Level::Unknown,
        "this machine does not tell".into(),
        "",
    )
}

fn processors(facts: &Facts) -> Finding {
    let (level, found) = match facts.quota_cpus {
        Some(quota) if quota < facts.cpus as f64 => (
            Level::Concern,
            format!(
                "{} visible, but a control group allows {quota:.1}",
                facts.cpus
            ),
        ),
        _ if facts.cpus < 4 => (
            Level::Concern,
            format!("{}: client and server share them", facts.cpus),
        ),
        _ => (Level::Good, facts.cpus.to_string()),
    };
    finding(
        "processors",
        level,
        found,
        "run the client on another machine, or keep it on processors of its own (taskset -c)",
    )
}

fn governor(facts: &Facts) -> Finding {
    let Some(governor) = &facts.governor else {
        return unknown("frequency governor");
    };
    let level = if governor == "performance" {
        Level::Good
    } else {
        Level::Concern
    };
    finding(
        "frequency governor",
        level,
        governor.clone(),
        "cpupower frequency-set --governor performance",
    )
}

fn turbo_mode(facts: &Facts) -> Finding {
    match facts.turbo {
        None => unknown("turbo"),
        Some(false) => finding("turbo", Level::Good, "off".into(), ""),
        Some(true) => finding(
            "turbo",
            Level::Concern,
            "on: the clock depends on the temperature".into(),
            "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo (or 0 > .../cpufreq/boost), or trust the alternating rounds",
        ),
    }
}

fn load(facts: &Facts) -> Finding {
    let Some(load) = facts.load else {
        return unknown("load");
    };
    let per_cpu = load / facts.cpus.max(1) as f64;
    let level = match per_cpu {
        share if share > 0.5 => Level::Problem,
        share if share > 0.15 => Level::Concern,
        _ => Level::Good,
    };
    finding(
        "load",
        level,
        format!("{load:.2} on {} processors", facts.cpus),
        "end what else runs (top shows it); wait a minute",
    )
}

fn cpu_pressure(facts: &Facts) -> Finding {
    pressure(
        "processor pressure",
        facts.cpu_pressure,
        "end what else runs (top shows it)",
    )
}

fn memory_pressure(facts: &Facts) -> Finding {
    pressure(
        "memory pressure",
        facts.memory_pressure,
        "free memory: unload other models, end what else runs",
    )
}

fn pressure(subject: &'static str, share: Option<f64>, remedy: &'static str) -> Finding {
    let Some(share) = share else {
        return unknown(subject);
    };
    let level = match share {
        share if share > 0.20 => Level::Problem,
        share if share > 0.05 => Level::Concern,
        _ => Level::Good,
    };
    finding(
        subject,
        level,
        format!("something waited {:.0} % of the last 10 s", share * 100.0),
        remedy,
    )
}

fn steal(facts: &Facts) -> Finding {
    let Some(share) = facts.steal else {
        return unknown("stolen time");
    };
    let level = match share {
        share if share > 0.05 => Level::Problem,
        share if share > 0.005 => Level::Concern,
        _ => Level::Good,
    };
    finding(
        "stolen time",
        level,
        format!("{:.1} % went to other machines on this host", share * 100.0),
        "use a machine with processors of its own, or many rounds",
    )
}

fn swap(facts: &Facts) -> Finding {
    let (Some(used), Some(total)) = (facts.swap_used_bytes, facts.swap_total_bytes) else {
        return unknown("swap");
    };
    let mebibytes = used >> 20;
    let level = match (total, mebibytes) {
        (0, _) => Level::Good,
        (_, 0..64) => Level::Good,
        _ => Level::Concern,
    };
    finding(
        "swap",
        level,
        if total == 0 {
            "none".into()
        } else {
            format!("{mebibytes} MiB in use")
        },
        "swapoff -a && swapon -a, or swapoff -a while measuring: swapped pages are missing from RSS",
    )
}

fn huge_pages(facts: &Facts) -> Finding {
    match facts.huge_pages.as_deref() {
        None => unknown("transparent huge pages"),
        Some("always") => finding(
            "transparent huge pages",
            Level::Concern,
            "always: RSS grows in steps of 2 MiB, and background merging costs time".into(),
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        Some(mode) => finding("transparent huge pages", Level::Good, mode.into(), ""),
    }
}

fn open_file_limit(facts: &Facts) -> Finding {
    let Some(limit) = facts.open_files else {
        return unknown("open files");
    };
    let level = if limit < OPEN_FILES_NEEDED {
        Level::Concern
    } else {
        Level::Good
    };
    finding(
        "open files",
        level,
        format!("at most {limit}"),
        "ulimit -n 65536, for client and server",
    )
}

fn proxies(facts: &Facts) -> Finding {
    if facts.proxies.is_empty() {
        return finding("proxy variables", Level::Good, "none".into(), "");
    }
    finding(
        "proxy variables",
        Level::Concern,
        facts.proxies.join(", "),
        "unset them for the servers: this client ignores them, pulls and health checks may not",
    )
}

fn clients(facts: &Facts) -> Finding {
    if facts.other_clients.is_empty() {
        return finding("other load testers", Level::Good, "none".into(), "");
    }
    let names: Vec<String> = facts
        .other_clients
        .iter()
        .map(|(name, pid)| format!("{name} (pid {pid})"))
        .collect();
    finding(
        "other load testers",
        Level::Problem,
        names.join(", "),
        "wait for them, or end them",
    )
}

fn trimmed(path: impl AsRef<Path>) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The word in brackets: `always [madvise] never`.
fn chosen(modes: &str) -> Option<String> {
    let (_, rest) = modes.split_once('[')?;
    let (mode, _) = rest.split_once(']')?;
    Some(mode.into())
}

/// Processors that `cpu.max` allows; `None` for `max`.
fn quota_cpus(quota: &str) -> Option<f64> {
    let (allowed, period) = quota.split_once(' ')?;
    Some(allowed.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

fn turbo() -> Option<bool> {
    let intel = trimmed("/sys/devices/system/cpu/intel_pstate/no_turbo").map(|off| off == "0");
    intel.or_else(|| trimmed("/sys/devices/system/cpu/cpufreq/boost").map(|on| on == "1"))
}

fn open_files() -> Option<u64> {
    let limits = Process::myself().ok()?.limits().ok()?;
    Some(match limits.max_open_files.soft_limit {
        LimitValue::Unlimited => u64::MAX,
        LimitValue::Value(limit) => limit,
    })
}

/// Load testers beside this process and its parents, by command name.
fn other_clients() -> Vec<(String, i32)> {
    let Ok(processes) = all_processes() else {
        return Vec::new();
    };
    let known: BTreeMap<i32, (String, i32)> = processes
        .filter_map(Result::ok)
        .filter_map(|process| process.stat().ok())
        .map(|stat| (stat.pid, (stat.comm, stat.ppid)))
        .collect();
    let mut own = Vec::new();
    let mut pid = i32::try_from(std::process::id()).unwrap_or(0);
    while let Some((_, parent)) = known.get(&pid) {
        own.push(pid);
        pid = *parent;
    }
    known
        .iter()
        .filter(|(pid, (name, _))| CLIENTS.contains(&name.as_str()) && !own.contains(pid))
        .map(|(pid, (name, _))| (name.clone(), *pid))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Facts {
        Facts {
            cpus: 8,
            governor: Some("performance".into()),
            turbo: Some(false),
            swap_used_bytes: Some(0),
            swap_total_bytes: Some(0),
            huge_pages: Some("madvise".into()),
            load: Some(0.1),
            cpu_pressure: Some(0.0),
            memory_pressure: Some(0.0),
            steal: Some(0.0),
            open_files: Some(65536),
            ..Facts::default()
        }
    }

    #[test]
    fn a_quiet_machine_has_nothing_to_mend() {
        let findings = examine(&quiet());
        assert!(
            findings
                .iter()
                .all(|finding| finding.level == Level::Good && finding.remedy.is_empty()),
            "{findings:?}"
        );
    }

    #[test]
    fn every_trouble_is_found_and_has_a_remedy() {
        let check = |change: fn(&mut Facts), subject: &str, level: Level| {
            let mut facts = quiet();
            change(&mut facts);
            let findings = examine(&facts);
            assert_eq!(
                (findings[0].subject, findings[0].level),
                (subject, level),
                "{findings:?}"
            );
            assert_eq!(findings[0].remedy.is_empty(), level < Level::Concern);
            assert!(
                findings[1..]
                    .iter()
                    .all(|finding| finding.level == Level::Good)
            );
        };
        check(|facts| facts.cpus = 2, "processors", Level::Concern);
        check(
            |facts| facts.quota_cpus = Some(1.5),
            "processors",
            Level::Concern,
        );
        check(
            |facts| facts.governor = Some("powersave".into()),
            "frequency governor",
            Level::Concern,
        );
        check(
            |facts| facts.governor = None,
            "frequency governor",
            Level::Unknown,
        );
        check(|facts| facts.turbo = Some(true), "turbo", Level::Concern);
        check(|facts| facts.load = Some(6.0), "load", Level::Problem);
        check(|facts| facts.load = Some(2.0), "load", Level::Concern);
        check(
            |facts| facts.cpu_pressure = Some(0.5),
            "processor pressure",
            Level::Problem,
        );
        check(
            |facts| facts.memory_pressure = Some(0.1),
            "memory pressure",
            Level::Concern,
        );
        check(
            |facts| facts.steal = Some(0.1),
            "stolen time",
            Level::Problem,
        );
        check(
            |facts| {
                facts.swap_total_bytes = Some(1 << 30);
                facts.swap_used_bytes = Some(1 << 29);
            },
            "swap",
            Level::Concern,
        );
        check(
            |facts| facts.huge_pages = Some("always".into()),
            "transparent huge pages",
            Level::Concern,
        );
        check(
            |facts| facts.open_files = Some(1024),
            "open files",
            Level::Concern,
        );
        check(
            |facts| facts.proxies = vec!["http_proxy"],
            "proxy variables",
            Level::Concern,
        );
        check(
            |facts| facts.other_clients = vec![("oha".into(), 7)],
            "other load testers",
            Level::Problem,
        );
    }

    #[test]
    fn kernel_files_are_read_as_they_are_written() {
        assert_eq!(chosen("always [madvise] never").as_deref(), Some("madvise"));
        assert_eq!(chosen("nothing"), None);
        assert_eq!(quota_cpus("150000 100000"), Some(1.5));
        assert_eq!(quota_cpus("max 100000"), None);
    }
}
