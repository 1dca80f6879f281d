use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{ProcessTree, Snapshot};

/// Ten times a second: one reading costs tens of microseconds per process.
const PERIOD: Duration = Duration::from_millis(100);

/// Reads several process trees on a thread of its own until [`Watch::finish`].
#[derive(Debug)]
pub struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<Vec<Option<Series>>>,
}

/// What one tree used while it was watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Every reading in time order, never empty: one at the start, ten a second, one at the end.
    pub snapshots: Vec<Snapshot>,
    /// Proportional set size before the work, bytes.
    pub pss_before_bytes: Option<u64>,
    /// Proportional set size after the work, bytes.
    pub pss_after_bytes: Option<u64>,
}

impl Watch {
    /// Starts to watch `trees`; `None` stands for a target that cannot be watched.
    pub fn start(trees: Vec<Option<ProcessTree>>) -> Self {
        // Nothing is ever sent: dropping the sender is the signal, which also covers a caller that unwinds.
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let started = Instant::now();
            let mut series: Vec<Option<Series>> =
                trees.iter().map(|tree| begin(tree.as_ref()?)).collect();
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                read_all(&trees, &mut series, started);
            }
            read_all(&trees, &mut series, started);
            for (tree, series) in trees.iter().zip(&mut series) {
                if let (Some(tree), Some(series)) = (tree, series) {
                    series.pss_after_bytes = tree.pss_bytes();
                }
            }
            series
        });
        Self { stop, thread }
    }

    /// Takes the last readings and returns them all, in the order of the trees.
    pub fn finish(self) -> Vec<Option<Series>> {
        drop(self.stop);
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
}

fn begin(tree: &ProcessTree) -> Option<Series> {
    let first = tree.observe(0)?;
    Some(Series {
        snapshots: vec![first],
        pss_before_bytes: tree.pss_bytes(),
        pss_after_bytes: None,
    })
}

fn read_all(trees: &[Option<ProcessTree>], series: &mut [Option<Series>], started: Instant) {
    for (tree, series) in trees.iter().zip(series) {
        let (Some(tree), Some(series)) = (tree, series) else {
            continue;
        };
        let at_ms = started.elapsed().as_millis() as u64;
        series.snapshots.extend(tree.observe(at_ms));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_peak_keeps_what_was_freed_before_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let watch = Watch::start(vec![None, Some(ProcessTree::behind(&url).unwrap())]);
        let block = vec![1_u8; 64 << 20];
        thread::sleep(3 * PERIOD);
        drop(std::hint::black_box(block));
        let [None, Some(series)] = &watch.finish()[..] else {
            panic!("one tree of two")
        };

        let first = series.snapshots.first().unwrap().rss_bytes;
        let last = series.snapshots.last().unwrap().rss_bytes;
        let peak = series.peak().rss_bytes;
        assert!(series.snapshots.len() >= 3);
        assert!(peak >= (64 << 20) && peak > last, "{first} {peak} {last}");
        assert!(series.pss_before_bytes.is_some() && series.pss_after_bytes.is_some());
    }
}
