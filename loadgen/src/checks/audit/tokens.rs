use super::put;
use crate::{
    checks::{Check, Outcome},
    client::Client,
    routes::{Asker, Content},
    workload::Item,
};

/// What one stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    /// Tokens that have a log-probability; `None` when none has.
    entries: Option<u64>,
    /// Records with text.
    pieces: usize,
    /// What the server says.
    claimed: u64,
    /// Whether the model ended the text, by a token of its own that no piece carries.
    ended_by_model: bool,
}

/// Asks for the log-probability of every token, of which there must be as many as the server counts.
pub(super) async fn audit(scope: &str, client: &Client, asker: &Asker, item: &Item) -> Check {
    let mut asker = asker.clone();
    asker.logprobs = true;
    let (outcome, found) = match put(client, &asker, item).await {
        None => (Outcome::Unknown, "not answered".into()),
        Some(replied) => match replied.answer.content {
            Content::Text(generation) => judge(Counts {
                entries: generation.logprobs.filter(|entries| *entries > 0),
                pieces: replied.chunks.len(),
                claimed: generation.tokens,
                ended_by_model: generation.ended_by_model,
            }),
            Content::Vectors(_) | Content::Label(_) => (Outcome::Unknown, "not a text".into()),
        },
    };
    Check {
        id: "token_count",
        title: "as many tokens as the server counts",
        outcome,
        detail: format!("{scope}: {found}"),
        value: None,
    }
}

fn judge(counts: Counts) -> (Outcome, String) {
    let Counts {
        pieces, claimed, ..
    } = counts;
    let Some(entries) = counts.entries else {
        return (
            Outcome::Unknown,
            format!("gives no log-probabilities; it counts {claimed} tokens in {pieces} pieces"),
        );
    };
    let silent_end = counts.ended_by_model && entries + 1 == claimed;
    let found = format!("{entries} log-probabilities, {claimed} tokens counted, {pieces} pieces");
    if entries == claimed || silent_end {
        (Outcome::Pass, found)
    } else {
        (
            Outcome::Fail,
            format!("{found}: its token counts cannot be trusted"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_count_must_agree() {
        let check = |entries, claimed, ended_by_model, expected| {
            let counts = Counts {
                entries,
                pieces: 2,
                claimed,
                ended_by_model,
            };
            assert_eq!(judge(counts).0, expected, "{counts:?}");
        };
        check(Some(2), 2, false, Outcome::Pass);
        check(Some(2), 3, true, Outcome::Pass);
        check(Some(2), 3, false, Outcome::Fail);
        check(Some(1), 4, true, Outcome::Fail);
        check(Some(5), 4, false, Outcome::Fail);
        check(None, 4, false, Outcome::Unknown);
    }
}
