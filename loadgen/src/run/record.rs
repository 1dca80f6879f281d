use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{Cold, Model, Target};
use crate::{
    checks::Check,
    client::Exchange,
    host::Noise,
    memory::Series,
    routes::{Answer, Asker, Content, Failure, Generation, Lacking, Reading},
    workload::{LoadPoint, Search, Slo, SloMetric, Workload},
};

/// Everything that was measured.
#[derive(Debug)]
pub struct Record {
    /// When the run began. Times of samples count from here.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Whether the user stopped it.
    pub interrupted: bool,
    /// In the order of the plan.
    pub targets: Vec<Target>,
    /// In the order of the plan, one for each part of a mix; fewer when interrupted.
    pub workloads: Vec<WorkloadRecord>,
    /// What was found when the targets were compared before the measurement, and audited after it.
    pub checks: Vec<Check>,
}

/// One workload at every target.
#[derive(Debug)]
pub struct WorkloadRecord {
    /// Which one.
    pub workload: Arc<Workload>,
    /// Per target.
    pub lanes: Vec<Lane>,
    /// Per load point.
    pub cells: Vec<Cell>,
    /// Per search for a highest rate.
    pub searches: Vec<SearchRecord>,
    /// Per target; empty where the workload asks for no cold starts.
    pub cold: Vec<Option<Cold>>,
    /// SHA-256 over the measured work, in order: equal hashes mean equal work.
    pub inputs_sha256: String,
    /// Per target, over all loads.
    pub memory: Vec<Option<Series>>,
    /// Per target, the models that it says were loaded afterwards; `None` when it does not say.
    pub loaded: Vec<Option<Vec<Model>>>,
}

/// One target's side of a workload.
#[derive(Debug)]
pub struct Lane {
    /// How it is asked, and what its replies must agree with.
    pub asker: Asker,
    /// Why it is not asked at all.
    pub lacking: Option<Lacking>,
}

/// One load point of one workload: `rounds[r][t]` is round r at target t; `None` where the target lacks the workload.
#[derive(Debug)]
pub struct Cell {
    /// At which pace.
    pub load: LoadPoint,
    /// Whole rounds only.
    pub rounds: Vec<Vec<Option<Slot>>>,
    /// Per target, why it could not keep up with an open loop: its latencies grow with the length of the measurement and say
    /// nothing. Always `None` in a closed loop.
    pub unstable: Vec<Option<String>>,
}

/// One target's share of one round.
#[derive(Debug)]
pub struct Slot {
    /// The target's turn in the round, from 0.
    pub order: usize,
    /// From the first request's intended start to the last one's end.
    pub wall: Duration,
    /// When the first request was to start, in nanoseconds since the run began.
    pub started_ns: u64,
    /// In the order of the work; the same index at another target was the same work.
    pub samples: Vec<Sample>,
    /// TCP connections that were opened while it was measured; warm-up has opened as many as a closed loop needs.
    pub new_connections: u64,
    /// What the machine was doing meanwhile, this client and the target's processes included.
    pub noise: Noise,
    /// Whether the model was in memory before it; `None` where the target does not say.
    pub resident: Option<bool>,
}

/// One measured request.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its place in the work of the round; the same place at another target was the same work.
    pub index: usize,
    /// The conversation within the round.
    pub session: u32,
    /// The turn of that conversation, from 0; 0 for single requests.
    pub turn: u32,
    /// When what happened.
    pub times: Times,
    /// The HTTP status, if a reply began.
    pub status: Option<u16>,
    /// Bytes of the reply's body.
    pub bytes: u64,
    /// Whether it had to be sent twice, because a kept connection had been closed.
    pub resent: bool,
    /// The checked reply, or why it does not count.
    pub outcome: Result<Answer, Failure>,
}

/// When what happened to one request, in nanoseconds since the run began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    /// When it should have been sent: latencies count from here, so that a client or server that is late pays for it.
    pub intended: u64,
    /// When it was handed to a connection.
    pub sent: u64,
    /// When the reply's head was here.
    pub first_byte: Option<u64>,
    /// When each piece of text (or thinking) was here; empty for whole replies and for failures before the first.
    pub chunks: Vec<u64>,
    /// When the last byte was here, or when it failed.
    pub end: u64,
}

/// A search for the highest rate that keeps a promise.
#[derive(Debug)]
pub struct SearchRecord {
    /// What was looked for.
    pub search: Search,
    /// Per target; `None` where it lacks the workload.
    pub outcomes: Vec<Option<SearchOutcome>>,
}

/// What one target's search came to.
#[derive(Debug)]
pub struct SearchOutcome {
    /// In the order in which they were tried.
    pub steps: Vec<SearchStep>,
    /// The highest rate that kept the promise, per second; `None` when even the lowest did not.
    pub highest: Option<f64>,
    /// The lowest rate that did not; `None` when the limit of the search was reached.
    pub lowest_failing: Option<f64>,
}

/// One rate that was tried.
#[derive(Debug)]
pub struct SearchStep {
    /// Requests per second.
    pub rate: f64,
    /// What was measured.
    pub slot: Slot,
    /// Requests that took longer than promised, failures among them.
    pub over: usize,
    /// Why it counts as failing although too few took longer, if so.
    pub unstable: Option<String>,
    /// Whether the promise was kept with confidence.
    pub kept: bool,
}

impl Sample {
    /// What came of one request. Times count from `clock`.
    pub fn new(
        clock: Instant,
        place: Place,
        intended: Instant,
        exchange: &Exchange,
        reading: Reading,
    ) -> Self {
        let since = |at: Instant| {
            u64::try_from(at.saturating_duration_since(clock).as_nanos()).unwrap_or(u64::MAX)
        };
        Self {
            index: place.index,
            session: place.session,
            turn: place.turn,
            times: Times {
                intended: since(intended),
                sent: since(exchange.started),
                first_byte: exchange.head.map(since),
                chunks: reading.chunks.into_iter().map(since).collect(),
                end: since(exchange.ended),
            },
            status: exchange.status.map(|status| status.as_u16()),
            bytes: exchange
                .reads
                .iter()
                .map(|(_, bytes)| bytes.len() as u64)
                .sum(),
            resent: exchange.resent,
            outcome: reading.outcome,
        }
    }

    /// Forgets the numbers of vectors, which are checked by now and would fill the memory.
    pub(super) fn shed(&mut self) {
        if let Ok(answer) = &mut self.outcome
            && let Content::Vectors(vectors) = &mut answer.content
        {
            vectors.values = Vec::new();
        }
    }

    /// From the intended start to the last byte: what a user waits.
    pub fn response_time(&self) -> Duration {
        self.times.between(self.times.intended, self.times.end)
    }

    /// From the actual start to the last byte: what the server took.
    pub fn service_time(&self) -> Duration {
        self.times.between(self.times.sent, self.times.end)
    }

    /// How late it was sent: by this client, or because too many were in flight.
    pub fn dispatch_lag(&self) -> Duration {
        self.times.between(self.times.intended, self.times.sent)
    }

    /// From the intended start to the first piece of text.
    pub fn to_first_token(&self) -> Option<Duration> {
        let first = *self.times.chunks.first()?;
        Some(self.times.between(self.times.intended, first))
    }

    /// From the last piece of text to the last byte.
    pub fn tail(&self) -> Option<Duration> {
        let last = *self.times.chunks.last()?;
        Some(self.times.between(last, self.times.end))
    }

    /// Between consecutive pieces of text; zero for pieces that arrived in one read.
    pub fn gaps(&self) -> impl Iterator<Item = Duration> + '_ {
        self.times
            .chunks
            .windows(2)
            .map(|pair| Duration::from_nanos(pair[1] - pair[0]))
    }

    /// What was generated; `None` for a failed request or another kind of work.
    pub fn generation(&self) -> Option<&Generation> {
        match &self.outcome.as_ref().ok()?.content {
            Content::Text(generation) => Some(generation),
            Content::Vectors(_) | Content::Label(_) => None,
        }
    }

    /// Seconds per output token after the first: (t_last - t_first)/(n - 1). `None` for one token or one piece.
    ///
    /// The first token is the end of the prefill. When the model ended the text, its end token was counted by the
    /// server but no piece carries it, so it is not one of the n.
    pub fn seconds_per_token(&self) -> Option<f64> {
        let generation = self.generation()?;
        let chunks = &self.times.chunks;
        let silent_end = generation.ended_by_model && (chunks.len() as u64) < generation.tokens;
        let visible = generation.tokens - u64::from(silent_end);
        let time = self.times.between(*chunks.first()?, *chunks.last()?);
        (visible > 1 && !time.is_zero()).then(|| time.as_secs_f64() / (visible - 1) as f64)
    }

    /// The time that a promise of `metric` is about; `None` for a failed request, which keeps none. A text of one token has no
    /// time per token and keeps any promise about it.
    pub fn promised(&self, metric: SloMetric) -> Option<Duration> {
        self.outcome.as_ref().ok()?;
        Some(match metric {
            SloMetric::E2e => self.response_time(),
            SloMetric::Ttft => self
                .to_first_token()
                .unwrap_or_else(|| self.response_time()),
            SloMetric::Tpot => self
                .seconds_per_token()
                .map_or(Duration::ZERO, Duration::from_secs_f64),
        })
    }

    /// Whether it is a good reply within every time of `slo`.
    pub fn keeps(&self, slo: &Slo) -> bool {
        self.outcome.is_ok()
            && slo
                .promises()
                .all(|(metric, limit)| self.promised(metric).is_some_and(|time| time <= limit))
    }

    /// Tokens per second while decoding: the inverse of [`Self::seconds_per_token`].
    pub fn decode_tokens_per_second(&self) -> Option<f64> {
        self.seconds_per_token().map(f64::recip)
    }
}

/// Where in a round a request belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its place in the work.
    pub index: usize,
    /// The conversation.
    pub session: u32,
    /// The turn, from 0.
    pub turn: u32,
}

impl Times {
    fn between(&self, from: u64, to: u64) -> Duration {
        Duration::from_nanos(to.saturating_sub(from))
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A request for text with these times in milliseconds.
    pub(crate) fn text(
        [intended, sent, end]: [u64; 3],
        chunks: &[u64],
        tokens: u64,
        ended_by_model: bool,
    ) -> Sample {
        let ns = |ms: u64| ms * 1_000_000;
        Sample {
            index: 0,
            session: 0,
            turn: 0,
            times: Times {
                intended: ns(intended),
                sent: ns(sent),
                first_byte: Some(ns(sent)),
                chunks: chunks.iter().copied().map(ns).collect(),
                end: ns(end),
            },
            status: Some(200),
            bytes: 1,
            resent: false,
            outcome: Ok(Answer {
                input_tokens: Some(1),
                cached_tokens: None,
                content: Content::Text(Generation {
                    text: "x".into(),
                    tokens,
                    ended_by_model,
                    claimed_tokens_per_second: None,
                    load: Duration::ZERO,
                    logprobs: None,
                }),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::text, *};

    #[test]
    fn waiting_counts_from_the_intended_start_and_service_from_the_actual_one() {
        let sample = text([100, 150, 200], &[160, 190], 2, false);
        assert_eq!(sample.response_time(), Duration::from_millis(100));
        assert_eq!(sample.service_time(), Duration::from_millis(50));
        assert_eq!(sample.dispatch_lag(), Duration::from_millis(50));
        assert_eq!(sample.to_first_token(), Some(Duration::from_millis(60)));
        assert_eq!(sample.tail(), Some(Duration::from_millis(10)));
        let gaps: Vec<Duration> = sample.gaps().collect();
        assert_eq!(gaps, [Duration::from_millis(30)]);
    }

    #[test]
    fn a_good_reply_keeps_every_time_of_the_slo_and_a_failed_one_none() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let sample = text([0, 10, 100], &[40, 60, 80], 3, false);
        let check = |slo: Slo, expected| assert_eq!(sample.keeps(&slo), expected, "{slo:?}");
        let none = Slo::default();
        check(
            Slo {
                ttft: ms(40),
                tpot: ms(20),
                e2e: ms(100),
            },
            true,
        );
        check(
            Slo {
                ttft: ms(39),
                ..none
            },
            false,
        );
        check(
            Slo {
                tpot: ms(19),
                ..none
            },
            false,
        );
        check(
            Slo {
                e2e: ms(99),
                ..none
            },
            false,
        );
        let failed = Sample {
            outcome: Err(Failure::Empty),
            ..sample.clone()
        };
        assert!(!failed.keeps(&none));
    }

    #[test]
    fn the_models_silent_end_token_does_not_count_as_speed() {
        let rate = |chunks: &[u64], tokens, ended| {
            text([0, 0, 50], chunks, tokens, ended).decode_tokens_per_second()
        };
        assert_eq!(rate(&[20, 30, 45], 3, false), Some(2.0 / 0.025));
        assert_eq!(
            rate(&[10, 20], 3, true),
            Some(100.0),
            "one gap of 10 ms, one token"
        );
        assert_eq!(rate(&[10], 1, true), None, "one piece has no rate");
    }
}
