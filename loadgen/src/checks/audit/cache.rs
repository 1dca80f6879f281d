use super::{Replied, put};
use crate::{
    checks::{Check, Outcome},
    client::Client,
    routes::{Asker, Content},
    stats,
    workload::Item,
};

/// How often the same text is sent again, each time beside one that was never sent.
pub(super) const PAIRS: usize = 5;

/// Decoding the same text again may be this much faster than the fastest decoding of a new one.
const FASTER: f64 = 1.10;

/// A reply whose decoding would take less, in milliseconds, comes in one piece on a busy machine, computed or remembered.
const TELLING_MS: f64 = 50.0;

/// A vector or a label for a known text may come this much sooner before it is called remembered.
const SOONER: f64 = 5.0;

/// One reply.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Timing {
    /// To the first text; the whole reply where there is no stream.
    first_ms: f64,
    /// Tokens decoded after the first.
    decoded: usize,
    /// Tokens a second. Infinite when several tokens came at once; `None` for one token.
    decode_rate: Option<f64>,
}

/// Sends one piece of work again and again beside new ones, in alternation, and compares the times.
pub(super) async fn audit(scope: &str, client: &Client, asker: &Asker, unseen: &[Item]) -> Check {
    let (repeated, fresh) = (&unseen[0], &unseen[1..]);
    // Nobody may remember it yet: this first reply is not counted.
    let primed = put(client, asker, repeated).await;
    let (mut again, mut new) = (Vec::new(), Vec::new());
    for item in fresh {
        new.extend(put(client, asker, item).await.as_ref().map(Timing::of));
        again.extend(put(client, asker, repeated).await.as_ref().map(Timing::of));
    }
    let Some(primed) = primed.filter(|_| again.len() == fresh.len() && new.len() == fresh.len())
    else {
        return check(
            scope,
            Outcome::Unknown,
            "not every request was answered".into(),
        );
    };
    let (outcome, found) = match primed.answer.content {
        Content::Text(_) => judge_stream(&again, &new),
        Content::Vectors(_) | Content::Label(_) => judge_whole(&again, &new),
    };
    check(scope, outcome, found)
}

impl Timing {
    fn of(replied: &Replied) -> Self {
        let since_sent = |at: std::time::Instant| (at - replied.sent).as_secs_f64();
        let (Content::Text(generation), Some(first), Some(last)) = (
            &replied.answer.content,
            replied.chunks.first(),
            replied.chunks.last(),
        ) else {
            return Self {
                first_ms: since_sent(replied.ended) * 1e3,
                decoded: 0,
                decode_rate: None,
            };
        };
        let decoded = (generation.tokens as usize).saturating_sub(1);
        let seconds = (*last - *first).as_secs_f64();
        Self {
            first_ms: since_sent(*first) * 1e3,
            decoded,
            // Infinite when all came in one read.
            decode_rate: (decoded > 0).then(|| decoded as f64 / seconds),
        }
    }
}

fn check(scope: &str, outcome: Outcome, found: String) -> Check {
    Check {
        id: "no_reply_cache",
        title: "replies are computed, not remembered",
        outcome,
        detail: format!("{scope}: {found}"),
        value: None,
    }
}

/// A prompt may be remembered, which shortens the time to the first text and is told; a reply may not: decoding takes its
/// time however often a prompt was seen. Every repetition must be faster than every new text, so that noise accuses nobody.
fn judge_stream(again: &[Timing], new: &[Timing]) -> (Outcome, String) {
    let prompt = format!(
        "first text {:.1} times sooner for a known prompt",
        median(new, first) / median(again, first)
    );
    let slowest_again = extreme(again, f64::min);
    let fastest_new = extreme(new, f64::max);
    let (Some(slowest_again), Some(fastest_new)) = (slowest_again, fastest_new) else {
        return (
            Outcome::Unknown,
            format!("{prompt}; replies of one token show no decoding"),
        );
    };
    let longest = again.iter().map(|reply| reply.decoded).max().unwrap_or(0);
    if (longest as f64) < fastest_new * TELLING_MS / 1e3 {
        return (
            Outcome::Unknown,
            format!("{prompt}; replies of less than {TELLING_MS} ms show no decoding"),
        );
    }
    if slowest_again > FASTER * fastest_new {
        (
            Outcome::Fail,
            format!(
                "{prompt}; a known reply comes at {}, a new one at {fastest_new:.0} tokens/s: replies are remembered",
                if slowest_again.is_finite() {
                    format!("{slowest_again:.0}")
                } else {
                    "once, not at any".into()
                }
            ),
        )
    } else {
        (Outcome::Pass, prompt)
    }
}

fn judge_whole(again: &[Timing], new: &[Timing]) -> (Outcome, String) {
    let factor = median(new, first) / median(again, first);
    let found = format!("{factor:.1} times sooner for a known text");
    let longest_again = again.iter().map(first).fold(0.0, f64::max);
    let shortest_new = new.iter().map(first).fold(f64::INFINITY, f64::min);
    // No measured text repeats, so that a memory of this kind changes no figure: it is told, not held against the target.
    if factor >= SOONER && longest_again < shortest_new {
        (
            Outcome::Warn,
            format!("{found}: replies are remembered; no measured text repeats"),
        )
    } else {
        (Outcome::Pass, found)
    }
}

fn first(timing: &Timing) -> f64 {
    timing.first_ms
}

fn median(timings: &[Timing], of: fn(&Timing) -> f64) -> f64 {
    let mut values: Vec<f64> = timings.iter().map(of).collect();
    stats::nearest_rank(&mut values, 0.5).unwrap_or(f64::NAN)
}

/// `None` unless every reply has a rate.
fn extreme(timings: &[Timing], choose: fn(f64, f64) -> f64) -> Option<f64> {
    let rates: Option<Vec<f64>> = timings.iter().map(|timing| timing.decode_rate).collect();
    rates?.into_iter().reduce(choose)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(first_ms: f64, rates: [f64; 5]) -> Vec<Timing> {
        rates
            .map(|rate| Timing {
                first_ms,
                decoded: 20,
                decode_rate: Some(rate),
            })
            .into()
    }

    #[test]
    fn a_prompt_cache_is_told_and_a_reply_cache_is_fatal() {
        let new = stream(100.0, [50.0, 51.0, 49.0, 50.0, 52.0]);
        let known_prompt = stream(10.0, [50.0, 53.0, 49.0, 51.0, 50.0]);
        let (outcome, found) = judge_stream(&known_prompt, &new);
        assert_eq!(outcome, Outcome::Pass);
        assert!(found.contains("10.0 times sooner"), "{found}");

        let remembered = stream(1.0, [900.0, 800.0, f64::INFINITY, 700.0, 990.0]);
        let (outcome, found) = judge_stream(&remembered, &new);
        assert_eq!(outcome, Outcome::Fail, "{found}");
        assert!(found.contains("700, a new one at 52 tokens/s"), "{found}");
        assert_eq!(
            judge_stream(&stream(1.0, [f64::INFINITY; 5]), &new).0,
            Outcome::Fail
        );
    }

    #[test]
    fn noise_accuses_nobody() {
        let noisy = stream(100.0, [30.0, 90.0, 45.0, 60.0, 52.0]);
        let other = stream(100.0, [60.0, 95.0, 66.0, 70.0, 91.0]);
        assert_eq!(judge_stream(&other, &noisy).0, Outcome::Pass);
        let at_once = stream(1.0, [f64::INFINITY; 5]);
        assert_eq!(judge_stream(&at_once, &at_once).0, Outcome::Unknown);
        // What one decodes in 40 ms may come in one piece.
        let quick = stream(1.0, [500.0; 5]);
        assert_eq!(judge_stream(&at_once, &quick).0, Outcome::Unknown);
        let one_token = vec![
            Timing {
                first_ms: 1.0,
                decoded: 0,
                decode_rate: None
            };
            5
        ];
        assert_eq!(judge_stream(&one_token, &one_token).0, Outcome::Unknown);
    }

    #[test]
    fn remembered_vectors_are_told() {
        let of = |each: f64| {
            vec![
                Timing {
                    first_ms: each,
                    decoded: 0,
                    decode_rate: None
                };
                5
            ]
        };
        assert_eq!(judge_whole(&of(1.0), &of(20.0)).0, Outcome::Warn);
        assert_eq!(judge_whole(&of(10.0), &of(20.0)).0, Outcome::Pass);
    }
}
