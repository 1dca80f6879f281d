use std::time::{Duration, Instant};

use procfs::{CpuPressure, Current, CurrentSI, KernelStats, LoadAverage, MemoryPressure};

/// The machine's counters at one instant.
#[derive(Debug, Clone)]
pub struct Reading {
    at: Instant,
    counters: Option<Counters>,
    cpu_stalled: Option<Duration>,
    memory_stalled: Option<Duration>,
    client: Option<Duration>,
    mhz: Option<f64>,
    load: Option<f64>,
}

/// Processor time of the whole machine since it started.
#[derive(Debug, Clone, Copy)]
struct Counters {
    busy: Duration,
    idle: Duration,
    stolen: Duration,
}

/// What the machine did between two readings. What the kernel does not tell is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Noise {
    /// Share of the time in which some task waited for a processor. A server that uses every processor causes this itself.
    pub cpu_stalled: Option<f64>,
    /// Share of the time in which some task waited for memory.
    pub memory_stalled: Option<f64>,
    /// Share of the processors' time that a hypervisor gave to others.
    pub steal: Option<f64>,
    /// Share of the processors' time that went neither to the target nor to this client.
    pub others: Option<f64>,
    /// Mean clock frequency at the end.
    pub mhz: Option<f64>,
    /// Runnable tasks, averaged over a minute, at the end.
    pub load: Option<f64>,
    /// Processor time of this client.
    pub client_cpu: Option<Duration>,
    /// Processor time of the target's processes; given by the caller.
    pub server_cpu: Option<Duration>,
    /// Time between the readings.
    pub wall: Duration,
}

/// Time taken by others of which a round is flagged: a tenth of the machine.
const OTHERS_SHARE: f64 = 0.10;
/// Stall of memory of which a round is flagged.
const MEMORY_STALL_SHARE: f64 = 0.10;
/// Time taken by a hypervisor of which a round is flagged.
const STEAL_SHARE: f64 = 0.02;

impl Reading {
    /// Reads the counters now.
    pub fn now() -> Self {
        Self {
            at: Instant::now(),
            counters: counters(),
            cpu_stalled: CpuPressure::current()
                .ok()
                .map(|pressure| Duration::from_micros(pressure.some.total)),
            memory_stalled: MemoryPressure::current()
                .ok()
                .map(|pressure| Duration::from_micros(pressure.some.total)),
            client: client_cpu(),
            mhz: mean_mhz(),
            load: LoadAverage::current().ok().map(|load| f64::from(load.one)),
        }
    }

    /// What happened from `self` until `end`. `server_cpu` is what the target's processes used meanwhile.
    pub fn until(&self, end: &Self, server_cpu: Option<Duration>) -> Noise {
        let wall = end.at.saturating_duration_since(self.at);
        let share_of_wall = |from: Option<Duration>, to: Option<Duration>| {
            (!wall.is_zero())
                .then(|| Some(to?.saturating_sub(from?).as_secs_f64() / wall.as_secs_f64()))
                .flatten()
                // The kernel adds to these counters every two seconds, so that a short time may get more than its share.
                .map(|share: f64| share.min(1.0))
        };
        let client_cpu = end
            .client
            .zip(self.client)
            .map(|(end, start)| end.saturating_sub(start));
        let spent = end
            .counters
            .zip(self.counters)
            .map(|(end, start)| end.minus(start));
        let share_of_processors = |time: Duration, spent: Counters| {
            let all = (spent.busy + spent.idle + spent.stolen).as_secs_f64();
            (all > 0.0).then(|| (time.as_secs_f64() / all).clamp(0.0, 1.0))
        };
        Noise {
            cpu_stalled: share_of_wall(self.cpu_stalled, end.cpu_stalled),
            memory_stalled: share_of_wall(self.memory_stalled, end.memory_stalled),
            steal: spent.and_then(|spent| share_of_processors(spent.stolen, spent)),
            others: spent
                .zip(client_cpu)
                .zip(server_cpu)
                .and_then(|((spent, client), server)| {
                    share_of_processors(spent.busy.saturating_sub(client + server), spent)
                }),
            mhz: end.mhz,
            load: end.load,
            client_cpu,
            server_cpu,
            wall,
        }
    }
}

impl Noise {
    /// Whether the round is flagged: it is kept, but the reader is told.
    pub fn is_noisy(&self) -> bool {
        let above = |share: Option<f64>, limit| share.is_some_and(|share| share > limit);
        above(self.others, OTHERS_SHARE)
            || above(self.memory_stalled, MEMORY_STALL_SHARE)
            || above(self.steal, STEAL_SHARE)
    }

    /// What [`Noise::is_noisy`] allows, in words.
    pub fn limits() -> String {
        format!(
            "others <= {:.0} %, memory stall <= {:.0} %, steal <= {:.0} %",
            OTHERS_SHARE * 100.0,
            MEMORY_STALL_SHARE * 100.0,
            STEAL_SHARE * 100.0
        )
    }
}

impl Counters {
    fn minus(self, earlier: Self) -> Self {
        Self {
            busy: self.busy.saturating_sub(earlier.busy),
            idle: self.idle.saturating_sub(earlier.idle),
            stolen: self.stolen.saturating_sub(earlier.stolen),
        }
    }
}

fn counters() -> Option<Counters> {
    let all = KernelStats::current().ok()?.total;
    let optional = Option::<Duration>::unwrap_or_default;
    Some(Counters {
        // Time of guests is part of user time.
        busy: all.user_duration()
            + all.nice_duration()
            + all.system_duration()
            + optional(all.irq_duration())
            + optional(all.softirq_duration()),
        idle: all.idle_duration() + optional(all.iowait_duration()),
        stolen: optional(all.steal_duration()),
    })
}

/// Processor time that this process has used.
pub fn client_cpu() -> Option<Duration> {
    let stat = procfs::process::Process::myself().ok()?.stat().ok()?;
    Some(ticks(stat.utime + stat.stime))
}

/// The kernel's clock ticks as time.
pub fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / procfs::ticks_per_second() as f64)
}

/// The current frequency where the kernel tells it (`cpufreq`), else the one in `/proc/cpuinfo`, which virtual machines
/// hold constant.
fn mean_mhz() -> Option<f64> {
    let scaled: Vec<f64> = (0..)
        .map_while(|cpu| {
            let path = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq");
            let kilohertz: f64 = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
            Some(kilohertz / 1e3)
        })
        .collect();
    if !scaled.is_empty() {
        return crate::stats::mean(&scaled);
    }
    let information = procfs::CpuInfo::current().ok()?;
    let listed: Vec<f64> = (0..information.num_cores())
        .filter_map(|core| information.get_field(core, "cpu MHz")?.parse().ok())
        .collect();
    crate::stats::mean(&listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: Instant, busy_s: u64, idle_s: u64, stolen_s: u64) -> Reading {
        Reading {
            at,
            counters: Some(Counters {
                busy: Duration::from_secs(busy_s),
                idle: Duration::from_secs(idle_s),
                stolen: Duration::from_secs(stolen_s),
            }),
            cpu_stalled: None,
            memory_stalled: Some(Duration::from_secs(busy_s / 10)),
            client: Some(Duration::from_secs(busy_s / 10)),
            mhz: Some(2600.0),
            load: Some(1.0),
        }
    }

    #[test]
    fn what_neither_server_nor_client_used_went_to_others() {
        let start = Instant::now();
        let before = reading(start, 0, 0, 0);
        let after = reading(start + Duration::from_secs(50), 80, 15, 5);
        let noise = before.until(&after, Some(Duration::from_secs(52)));
        assert_eq!(noise.wall, Duration::from_secs(50));
        assert_eq!(noise.client_cpu, Some(Duration::from_secs(8)));
        assert_eq!(noise.others, Some(0.20));
        assert_eq!(noise.steal, Some(0.05));
        assert_eq!(noise.memory_stalled, Some(8.0 / 50.0));
        assert_eq!(noise.cpu_stalled, None);
        assert!(noise.is_noisy());
        assert_eq!(
            before.until(&after, None).others,
            None,
            "a remote server's time is not known"
        );
        assert!(!Noise::default().is_noisy());
    }

    #[test]
    fn this_machine_can_be_read() {
        let before = Reading::now();
        let mut sum = 0_u64;
        while before.until(&Reading::now(), None).client_cpu.unwrap() < Duration::from_millis(20) {
            sum = std::hint::black_box((0..100_000).sum());
        }
        assert!(sum > 0);
        let noise = before.until(&Reading::now(), Some(Duration::ZERO));
        // How long that took is no matter: other tests' threads add to the process's time, which is counted in steps of 10 ms.
        assert!(noise.wall > Duration::ZERO, "{noise:?}");
        assert!(
            noise
                .steal
                .is_some_and(|share| (0.0..=1.0).contains(&share)),
            "{noise:?}"
        );
        assert!(noise.load.is_some(), "{noise:?}");
    }
}
