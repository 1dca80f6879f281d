use crate::{
    report::{duration, percent},
    run::Slot,
    stats::{self, PairedRounds, Recorder},
};

/// Targets are letters in the strip of rounds, as in AB, BA.
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// Letters of the strip that are kept.
const STRIP: usize = 24;

/// What the targets have shown so far at the present load.
#[derive(Debug)]
pub(super) struct Tally {
    title: String,
    targets: Vec<Seen>,
    strip: String,
    ratio: Option<String>,
}

/// What one target has shown.
#[derive(Debug, Default)]
struct Seen {
    recorder: Recorder,
    failed: u64,
    /// End to end, seconds, round by round.
    rounds: Vec<Vec<f64>>,
    /// The share of a round that is not yet whole.
    pending: Option<Vec<f64>>,
}

impl Tally {
    pub(super) fn new(targets: usize) -> Self {
        Self {
            title: String::new(),
            targets: (0..targets).map(|_| Seen::default()).collect(),
            strip: String::new(),
            ratio: None,
        }
    }

    /// Takes a target's share of a round; `title` is workload and load, and a new one starts anew.
    pub(super) fn add(&mut self, title: &str, target: usize, slot: &Slot) {
        if self.title != title {
            *self = Self {
                title: title.into(),
                ..Self::new(self.targets.len())
            };
        }
        let seen = &mut self.targets[target];
        let mut values = Vec::with_capacity(slot.samples.len());
        for sample in &slot.samples {
            if sample.outcome.is_ok() {
                seen.recorder.record(sample.response_time());
                values.push(sample.response_time().as_secs_f64());
            } else {
                seen.recorder.record_failure();
                seen.failed += 1;
                values.push(f64::INFINITY);
            }
        }
        seen.pending = Some(values);
        self.strip.extend(LETTERS.chars().nth(target));
        let surplus = self.strip.len().saturating_sub(STRIP);
        self.strip.drain(..surplus);
    }

    /// All shares of a round are in: the ratio of the first target to the last is taken anew.
    pub(super) fn end_round(&mut self, seed: u64) {
        for seen in &mut self.targets {
            seen.rounds.extend(seen.pending.take());
        }
        let [first, .., last] = self.targets.as_slice() else {
            return;
        };
        // A target that lacks the workload leaves nothing to compare.
        if first.rounds.is_empty() || last.rounds.is_empty() {
            return;
        }
        let rounds = PairedRounds {
            candidate: &first.rounds,
            baseline: &last.rounds,
        };
        self.ratio = Some(match stats::ratio(rounds, 0.95, seed) {
            Ok(ratio) => {
                let width = (ratio.interval.high / ratio.interval.low).sqrt() - 1.0;
                format!("{:.2} \u{b1}{}", ratio.estimate, percent(width))
            }
            Err(reason) => format!("n/a, {reason}"),
        });
    }

    /// Whose turns the last rounds were: `ABBAABBA`.
    pub(super) fn strip(&self) -> &str {
        &self.strip
    }

    /// The ratio of P95s with the half-width of its interval; `None` with one target.
    pub(super) fn ratio(&self) -> Option<&str> {
        self.ratio.as_deref()
    }

    /// Median and P95 of a target with their n.
    pub(super) fn summary(&self, target: usize) -> String {
        let seen = &self.targets[target];
        let quantile = |quantile| match seen.recorder.quantile_ms(quantile) {
            Some(time) if time.is_finite() => duration(time),
            Some(_) => "failed".into(),
            None => "n/a".into(),
        };
        let failed = if seen.failed > 0 {
            format!(", {} failed", seen.failed)
        } else {
            String::new()
        };
        format!(
            "P50 {}, P95 {} (n = {}{failed})",
            quantile(0.5),
            quantile(0.95),
            seen.recorder.count()
        )
    }

    /// Every target and the ratio on one line.
    pub(super) fn line(&self, names: &[String]) -> String {
        let mut parts: Vec<String> = names
            .iter()
            .enumerate()
            .filter(|(target, _)| self.targets[*target].recorder.count() > 0)
            .map(|(target, name)| format!("{name} {}", self.summary(target)))
            .collect();
        parts.extend(
            self.ratio
                .as_ref()
                .map(|ratio| format!("ratio of P95 {ratio}")),
        );
        parts.join("  ")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::run::testing::text;

    fn slot(end_ms: u64) -> Slot {
        Slot {
            order: 0,
            wall: Duration::from_millis(end_ms),
            started_ns: 0,
            samples: (0..20)
                .map(|_| text([0, 0, end_ms], &[1], 1, false))
                .collect(),
            new_connections: 0,
            noise: crate::host::Noise::default(),
            resident: None,
        }
    }

    #[test]
    fn a_ratio_is_told_as_soon_as_it_can_be_and_a_new_load_starts_anew() {
        let names = ["a".to_owned(), "b".to_owned()];
        let mut tally = Tally::new(2);
        for round in 0..6 {
            tally.add("load", 0, &slot(50));
            tally.add("load", 1, &slot(100));
            tally.end_round(1);
            if round == 0 {
                assert_eq!(tally.ratio(), Some("n/a, needs 6 rounds"));
            }
        }
        assert_eq!(tally.strip(), "ABABABABABAB");
        assert!(
            tally.ratio().unwrap().starts_with("0.50 \u{b1}"),
            "{tally:?}"
        );
        let line = tally.line(&names);
        assert!(
            line.starts_with("a P50 50.0 ms, P95 50.0 ms (n = 120)"),
            "{line}"
        );

        tally.add("other", 1, &slot(10));
        assert_eq!(tally.ratio(), None);
        assert_eq!(tally.line(&names), "b P50 10.0 ms, P95 10.0 ms (n = 20)");
    }
}
