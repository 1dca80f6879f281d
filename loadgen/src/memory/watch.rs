use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::oneshot;

use super::{ProcessTree, Proportional, Snapshot};
use crate::stats::{self, Line};

/// Ten times a second: one reading costs tens of microseconds per process.
const PERIOD: Duration = Duration::from_millis(100);

/// Reads several process trees on a thread of its own until [`Watch::finish`].
#[derive(Debug)]
pub struct Watch {
    phases: Sender<(Phase, oneshot::Sender<()>)>,
    thread: JoinHandle<Vec<Option<Series>>>,
}

/// What the targets are being used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before the first request: no model of this workload is in memory.
    Idle,
    /// The first request is on its way, at one target after the other.
    Loading,
    /// It has been answered.
    Loaded,
    /// Warmed up: what is allocated on first use is there.
    Warm,
    /// Measured rounds, those of the other targets included.
    Load,
    /// Idle again, the model still in memory.
    After,
    /// Asked by the checks that follow a measurement.
    Audit,
    /// The model is being unloaded.
    Unloading,
    /// It has been.
    Unloaded,
    /// Nobody looks any more: where the last phase ends.
    Over,
}

impl Phase {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Loading => "loading",
            Self::Loaded => "loaded",
            Self::Warm => "warm",
            Self::Load => "load",
            Self::After => "after",
            Self::Audit => "audit",
            Self::Unloading => "unloading",
            Self::Unloaded => "unloaded",
            Self::Over => "over",
        }
    }

    /// What it is at a target that cannot be told to unload its model.
    fn always_loaded(self) -> Self {
        match self {
            Self::Idle | Self::Loading => Self::Loaded,
            Self::Unloading | Self::Unloaded => Self::After,
            other => other,
        }
    }
}

/// The beginning of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Edge {
    /// What begins.
    pub phase: Phase,
    /// When, on the clock of the snapshots.
    pub at_ms: u64,
    /// The proportional set size at that instant.
    pub proportional: Option<Proportional>,
}

/// What one tree used while it was watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Every reading in time order, never empty: one at the start, ten a second, one at the end.
    pub snapshots: Vec<Snapshot>,
    /// The phases in time order, the first from the start; the last one, [`Phase::Over`], begins where the watch ended.
    pub edges: Vec<Edge>,
}

/// A phase with its ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// What it is.
    pub phase: Phase,
    /// When it began, on the clock of the snapshots.
    pub from_ms: u64,
    /// When the next one began.
    pub to_ms: u64,
    /// The proportional set size when it began.
    pub proportional: Option<Proportional>,
}

impl Watch {
    /// Starts to watch `trees`, whose first phase is `phase`; `None` stands for a target that cannot be watched. Times
    /// count from `clock`.
    pub fn start(trees: Vec<Option<ProcessTree>>, phase: Phase, clock: Instant) -> Self {
        let (phases, marks) = mpsc::channel::<(Phase, oneshot::Sender<()>)>();
        let thread = thread::spawn(move || {
            let now = || clock.elapsed().as_millis() as u64;
            let mut series: Vec<Option<Series>> = trees
                .iter()
                .map(|tree| {
                    let snapshots = vec![tree.as_ref()?.observe(now())?];
                    Some(Series {
                        snapshots,
                        edges: Vec::new(),
                    })
                })
                .collect();
            mark(&trees, &mut series, phase, now());
            loop {
                match marks.recv_timeout(PERIOD) {
                    Ok((phase, done)) => {
                        read(&trees, &mut series, now());
                        mark(&trees, &mut series, phase, now());
                        // Who asked may have been cancelled meanwhile.
                        let _ = done.send(());
                    }
                    Err(RecvTimeoutError::Timeout) => read(&trees, &mut series, now()),
                    // Also when the run unwinds.
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            read(&trees, &mut series, now());
            mark(&trees, &mut series, Phase::Over, now());
            series
        });
        Self { phases, thread }
    }

    /// Begins `phase`. Returns when the edge has been read, so that reading it disturbs no measurement.
    pub async fn phase(&self, phase: Phase) {
        let (done, marked) = oneshot::channel();
        if self.phases.send((phase, done)).is_ok() {
            let _ = marked.await;
        }
    }

    /// Takes the last readings and returns them all, in the order of the trees.
    pub fn finish(self) -> Vec<Option<Series>> {
        drop(self.phases);
        self.thread
            .join()
            .expect("the watching thread only reads /proc and tolerates what is missing there")
    }
}

impl Series {
    /// The reading with the most resident memory.
    pub fn peak(&self) -> &Snapshot {
        self.snapshots
            .iter()
            .max_by_key(|snapshot| snapshot.rss_bytes)
            .expect("a series starts with a reading")
    }

    /// The reading with the most resident memory from `from_ms` to `to_ms`, such as one round; `None` when there is none.
    pub fn peak_between(&self, from_ms: u64, to_ms: u64) -> Option<&Snapshot> {
        self.snapshots
            .iter()
            .filter(|snapshot| (from_ms..=to_ms).contains(&snapshot.at_ms))
            .max_by_key(|snapshot| snapshot.rss_bytes)
    }

    /// The last reading from `from_ms` to `to_ms`; `None` when there is none.
    pub fn last_between(&self, from_ms: u64, to_ms: u64) -> Option<&Snapshot> {
        self.snapshots
            .iter()
            .rfind(|snapshot| (from_ms..=to_ms).contains(&snapshot.at_ms))
    }

    /// Each phase with its beginning and its end.
    pub fn phases(&self) -> impl Iterator<Item = Span> {
        self.edges.windows(2).map(|pair| Span {
            phase: pair[0].phase,
            from_ms: pair[0].at_ms,
            to_ms: pair[1].at_ms,
            proportional: pair[0].proportional,
        })
    }

    /// The same for a target whose model is always in memory: nothing loads it and nothing unloads it.
    pub fn always_loaded(mut self) -> Self {
        for edge in &mut self.edges {
            edge.phase = edge.phase.always_loaded();
        }
        self.edges.dedup_by_key(|edge| edge.phase);
        self
    }

    /// How resident memory grew in `phase`: bytes per second with its standard error. A leak shows here long before it
    /// shows in a peak. `None` when the phase had fewer than three readings.
    pub fn growth(&self, phase: Phase) -> Option<Line> {
        let spans: Vec<(u64, u64)> = self
            .phases()
            .filter(|span| span.phase == phase)
            .map(|span| (span.from_ms, span.to_ms))
            .collect();
        let inside = self.snapshots.iter().filter(|snapshot| {
            spans
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&snapshot.at_ms))
        });
        let points: Vec<(f64, f64)> = inside
            .map(|snapshot| (snapshot.at_ms as f64 / 1e3, snapshot.rss_bytes as f64))
            .collect();
        (points.len() > 2)
            .then(|| stats::least_squares(points.into_iter()))
            .flatten()
    }

    /// The proportional set size before the first phase.
    pub fn pss_before_bytes(&self) -> Option<u64> {
        Some(self.edges.first()?.proportional?.pss_bytes)
    }

    /// The proportional set size after the load, the model still in memory.
    pub fn pss_after_bytes(&self) -> Option<u64> {
        let is_after = |edge: &&Edge| matches!(edge.phase, Phase::After | Phase::Over);
        Some(self.edges.iter().find(is_after)?.proportional?.pss_bytes)
    }
}

fn read(trees: &[Option<ProcessTree>], series: &mut [Option<Series>], at_ms: u64) {
    for (tree, series) in trees.iter().zip(series) {
        if let (Some(tree), Some(series)) = (tree, series) {
            series.snapshots.extend(tree.observe(at_ms));
        }
    }
}

fn mark(trees: &[Option<ProcessTree>], series: &mut [Option<Series>], phase: Phase, at_ms: u64) {
    for (tree, series) in trees.iter().zip(series) {
        if let (Some(tree), Some(series)) = (tree, series) {
            series.edges.push(Edge {
                phase,
                at_ms,
                proportional: tree.proportional(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_peak_keeps_what_was_freed_before_the_end_and_belongs_to_its_phase() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let watch = Watch::start(
            vec![None, Some(ProcessTree::behind(&url).unwrap())],
            Phase::Idle,
            Instant::now(),
        );
        watch.phase(Phase::Load).await;
        let block = vec![1_u8; 64 << 20];
        // The watch reads at the beginning of a phase, so that no test has to wait for its period.
        watch.phase(Phase::Load).await;
        drop(std::hint::black_box(block));
        let [None, Some(series)] = &watch.finish()[..] else {
            panic!("one tree of two")
        };

        let last = series.snapshots.last().unwrap().rss_bytes;
        let peak = series.peak();
        assert!(
            peak.rss_bytes >= (64 << 20) && peak.rss_bytes > last,
            "{series:?}"
        );
        let phases: Vec<Phase> = series.phases().map(|span| span.phase).collect();
        assert_eq!(phases, [Phase::Idle, Phase::Load, Phase::Load]);
        let from = series.phases().nth(1).unwrap().from_ms;
        let to = series.phases().nth(2).unwrap().to_ms;
        assert_eq!(series.peak_between(from, to), Some(peak));
        assert!(series.pss_before_bytes().is_some() && series.pss_after_bytes().is_some());
    }

    #[test]
    fn a_target_that_cannot_unload_has_no_phase_without_its_model() {
        let edge = |(at_ms, phase)| Edge {
            phase,
            at_ms,
            proportional: None,
        };
        let all = [
            Phase::Idle,
            Phase::Loading,
            Phase::Loaded,
            Phase::Load,
            Phase::After,
            Phase::Unloaded,
            Phase::Over,
        ];
        let series = Series {
            snapshots: Vec::new(),
            edges: (0..).step_by(10).zip(all).map(edge).collect(),
        };
        let left: Vec<(Phase, u64, u64)> = series
            .always_loaded()
            .phases()
            .map(|span| (span.phase, span.from_ms, span.to_ms))
            .collect();
        assert_eq!(
            left,
            [
                (Phase::Loaded, 0, 30),
                (Phase::Load, 30, 40),
                (Phase::After, 40, 60)
            ]
        );
    }

    #[test]
    fn a_leak_is_a_slope() {
        let snapshot = |at_ms: u64| Snapshot {
            at_ms,
            rss_bytes: 1_000_000 + at_ms * 50,
            anon_bytes: 0,
            file_bytes: 0,
            shmem_bytes: 0,
            processes: 1,
            cpu_ms: 0,
        };
        let edge = |phase, at_ms| Edge {
            phase,
            at_ms,
            proportional: None,
        };
        let series = Series {
            snapshots: (0..20).map(|index| snapshot(index * 100)).collect(),
            edges: vec![edge(Phase::Load, 0), edge(Phase::After, 1900)],
        };
        assert!((series.growth(Phase::Load).unwrap().slope - 50_000.0).abs() < 1e-6);
        assert_eq!(series.growth(Phase::Idle), None);
    }
}
