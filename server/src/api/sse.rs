//! Replies as server-sent events: several may tell one part of an answer, several answers may share a stream, and every
//! stream ends exactly one way.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Peekable};
use futures::{Stream, StreamExt};
use serde::Serialize;

use super::Error;
use super::answer::{Delta, Ending, Piece};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// After so long without a word the narrator may say that it is still there.
const SILENCE: Duration = Duration::from_secs(10);

/// One server-sent event, as it goes over the wire.
#[derive(Debug)]
pub struct Sent(Vec<u8>);

/// How a family of clients wants to be told answers as they come. It is asked for an opening, then for deltas and one
/// ending per answer, then for a closing; or, from whatever point on, for one failure and nothing else.
pub trait Narrator: Send + 'static {
    /// Before anything else.
    fn opening(&mut self) -> Vec<Sent> {
        Vec::new()
    }

    /// A part of answer number `choice`.
    fn delta(&mut self, choice: usize, delta: Delta) -> Vec<Sent>;

    /// The end of answer number `choice`; `tail` is what has not been told of it.
    fn ending(&mut self, choice: usize, tail: Delta, ending: Ending) -> Vec<Sent>;

    /// All answers have ended.
    fn closing(&mut self) -> Vec<Sent>;

    /// One answer has failed, and with it the stream.
    fn failure(&mut self, error: &Error) -> Vec<Sent>;

    /// Nothing has happened for a while.
    fn silence(&mut self) -> Vec<Sent> {
        Vec::new()
    }
}

/// A part of answer number so-and-so, or why it failed.
pub type Numbered = (usize, Result<Piece, Error>);

impl Sent {
    /// An event without a name.
    pub fn data(value: &impl Serialize) -> Self {
        Self::of(None, value)
    }

    /// An event with a name.
    pub fn named(name: &str, value: &impl Serialize) -> Self {
        Self::of(Some(name), value)
    }

    /// A word that is no JSON.
    pub fn word(word: &str) -> Self {
        Self(format!("data: {word}\n\n").into_bytes())
    }

    fn of(name: Option<&str>, value: &impl Serialize) -> Self {
        let mut bytes = Vec::new();
        if let Some(name) = name {
            bytes.extend_from_slice(format!("event: {name}\n").as_bytes());
        }
        bytes.extend_from_slice(b"data: ");
        // JSON has no line feeds but those that its writer puts between values, and this one puts none.
        serde_json::to_writer(&mut bytes, value)
            .expect("replies have string keys and finite numbers");
        bytes.extend_from_slice(b"\n\n");
        Self(bytes)
    }
}

/// The answers as they come. Dropping the reply drops `pieces`. It begins with the first piece, so that the status is still
/// free for whatever goes wrong before, or when that takes long enough for somebody to take the silence for an end.
///
/// # Errors
/// What failed before the reply began.
pub async fn sse(
    pieces: impl Stream<Item = Numbered> + Send + Unpin + 'static,
    narrator: impl Narrator,
) -> Result<Response, Error> {
    let pieces = begun(pieces, SILENCE).await?;
    let told = narrate(pieces, narrator, SILENCE).map(Ok::<_, Infallible>);
    Ok((
        [
            (header::CONTENT_TYPE, EVENT_STREAM),
            (header::CACHE_CONTROL, NO_CACHE),
        ],
        Body::from_stream(told),
    )
        .into_response())
}

/// The same pieces, unless the first of them is a failure and comes while there is patience.
async fn begun<P: Stream<Item = Numbered> + Unpin>(
    pieces: P,
    patience: Duration,
) -> Result<Peekable<P>, Error> {
    let mut pieces = pieces.peekable();
    let failure = Pin::new(&mut pieces).next_if(has_failed);
    match tokio::time::timeout(patience, failure).await {
        Ok(Some((_, Err(error)))) => Err(error),
        _ => Ok(pieces),
    }
}

fn has_failed((_, piece): &Numbered) -> bool {
    piece.is_err()
}

/// A stream under way. `pieces` is dropped as soon as the stream's end is known, which cancels what still runs.
struct Telling<P, N> {
    pieces: Option<P>,
    narrator: N,
    silence: Duration,
    is_opened: bool,
}

/// The bytes of the stream. The narrator is asked for a word after every `silence`.
pub fn narrate<P, N>(pieces: P, narrator: N, silence: Duration) -> impl Stream<Item = Bytes>
where
    P: Stream<Item = Numbered> + Unpin,
    N: Narrator,
{
    let telling = Telling {
        pieces: Some(pieces),
        narrator,
        silence,
        is_opened: false,
    };
    stream::unfold(telling, |mut telling| async {
        loop {
            let sent = telling.next().await?;
            if !sent.is_empty() {
                let bytes: Vec<u8> = sent.into_iter().flat_map(|sent| sent.0).collect();
                return Some((bytes.into(), telling));
            }
        }
    })
}

impl<P: Stream<Item = Numbered> + Unpin, N: Narrator> Telling<P, N> {
    /// What is to be sent next, perhaps nothing. None: the stream is over.
    async fn next(&mut self) -> Option<Vec<Sent>> {
        let pieces = self.pieces.as_mut()?;
        if !self.is_opened {
            self.is_opened = true;
            return Some(self.narrator.opening());
        }
        let Ok(piece) = tokio::time::timeout(self.silence, pieces.next()).await else {
            return Some(self.narrator.silence());
        };
        Some(match piece {
            Some((choice, Ok(Piece::Delta(delta)))) => self.narrator.delta(choice, delta),
            Some((choice, Ok(Piece::Ending(tail, ending)))) => {
                self.narrator.ending(choice, tail, ending)
            }
            Some((_, Err(error))) => {
                self.pieces = None;
                error.log();
                self.narrator.failure(&error)
            }
            None => {
                self.pieces = None;
                self.narrator.closing()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;
    use serde_json::json;

    use super::*;
    use crate::api::testing::{Script, told};
    use crate::inference::generate::Finish;

    /// Tells what it is asked for.
    struct Plain;

    impl Narrator for Plain {
        fn opening(&mut self) -> Vec<Sent> {
            vec![Sent::named("opening", &json!({}))]
        }

        fn delta(&mut self, choice: usize, delta: Delta) -> Vec<Sent> {
            vec![Sent::data(&json!([choice, delta.content]))]
        }

        fn ending(&mut self, choice: usize, _: Delta, _: Ending) -> Vec<Sent> {
            vec![Sent::data(&json!([choice, null]))]
        }

        fn closing(&mut self) -> Vec<Sent> {
            vec![Sent::word("closed"), Sent::word("[DONE]")]
        }

        fn failure(&mut self, error: &Error) -> Vec<Sent> {
            vec![Sent::data(&error.to_string())]
        }

        fn silence(&mut self) -> Vec<Sent> {
            vec![Sent::word("still here")]
        }
    }

    #[test]
    fn answers_share_a_stream_that_is_closed_once() {
        let scripts = [
            Script::of(&[("", "a", 0), ("", "b", 0)], Some(Finish::Stop)),
            Script::of(&[("", "x", 0)], Some(Finish::Length)),
        ];
        let data: Vec<_> = told(&scripts, Plain)
            .into_iter()
            .map(|read| read.data)
            .collect();
        let expected = json!([
            {},
            [0, "a"],
            [1, "x"],
            [0, "b"],
            [1, null],
            [0, null],
            "closed",
            "[DONE]"
        ]);
        assert_eq!(json!(data), expected);
    }

    #[test]
    fn one_failure_ends_the_stream() {
        let scripts = [
            Script::of(&[("", "a", 0)], None),
            Script::of(&[("", "x", 0), ("", "y", 0)], Some(Finish::Stop)),
        ];
        let read = told(&scripts, Plain);
        let last = read.last().unwrap().data.as_str().unwrap();
        assert!(last.starts_with("the model's worker process"), "{last}");
        assert_eq!(read.len(), 4, "{read:?}");
    }

    #[tokio::test]
    async fn what_fails_before_it_begins_is_no_stream() {
        let begin = async |pieces: Vec<Numbered>| sse(stream::iter(pieces), Plain).await;
        let failed = || (0, Err(Error::Failed("no".into())));
        assert!(begin(vec![failed()]).await.is_err());
        let begun = (1, Ok(Piece::Delta(Delta::default())));
        assert!(begin(vec![begun, failed()]).await.is_ok());
        assert!(begin(vec![]).await.is_ok());
    }

    #[tokio::test]
    async fn a_reply_that_takes_long_begins_before_its_first_piece() {
        let pending = begun(stream::pending(), Duration::ZERO).await.unwrap();
        let mut told = Box::pin(narrate(pending, Plain, Duration::ZERO));
        assert!(told.next().await.unwrap().starts_with(b"event: opening"));
    }

    #[tokio::test]
    async fn a_silent_stream_says_that_it_is_still_there() {
        let pending = stream::pending::<Numbered>();
        let mut told = Box::pin(narrate(pending, Plain, Duration::ZERO));
        assert!(told.next().await.unwrap().starts_with(b"event: opening"));
        for _ in 0..2 {
            assert_eq!(told.next().await.unwrap(), "data: still here\n\n");
        }
    }

    #[tokio::test]
    async fn a_failure_lets_go_of_what_still_runs() {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let pieces = stream::iter([(0, Err(Error::Failed("no".into())))])
            .chain(stream::pending())
            .inspect(move |_| drop(Arc::clone(&held)));
        let mut told = Box::pin(narrate(pieces.boxed(), Plain, SILENCE));
        assert_eq!(Arc::strong_count(&alive), 2);
        told.next().await.unwrap();
        assert_eq!(told.next().await.unwrap(), "data: \"no\"\n\n");
        assert_eq!(Arc::strong_count(&alive), 1);
        assert_eq!(told.next().now_or_never(), Some(None));
    }
}
