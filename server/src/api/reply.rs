//! Replies: one JSON object, or a stream of them that ends exactly one way.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, future, stream};
use serde::Serialize;

use super::Error;
use super::answer::{Answer, Delta, Ending, Piece};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// How a family of clients wants to see an answer.
pub trait Dialect: Send + 'static {
    /// What goes over the wire for one event.
    type Record: Serialize + Send + 'static;

    /// A part of the answer, in a stream.
    fn delta(&self, delta: Delta) -> Self::Record;

    /// The end of the answer. `rest` is what has not been told: in a stream the tail, else all of it.
    fn ending(&self, rest: Delta, ending: Ending) -> Self::Record;
}

/// One JSON object.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("replies have string keys and finite numbers");
    (status, [(header::CONTENT_TYPE, JSON)], body).into_response()
}

/// For counts that are told only if there is something to tell.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over references"
)]
pub fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The whole answer as one object, or the error that ended it.
pub async fn whole(mut answer: Answer, dialect: impl Dialect) -> Response {
    let mut all = Delta::default();
    loop {
        match answer.next().await {
            Some(Ok(Piece::Delta(delta))) => all.append(delta),
            Some(Ok(Piece::Ending(tail, ending))) => {
                all.append(tail);
                return json(StatusCode::OK, &dialect.ending(all, ending));
            }
            Some(Err(error)) => return error.into_response(),
            None => unreachable!("an answer ends with an ending or an error"),
        }
    }
}

/// The answer as it comes, one object a line. As with Ollama the reply begins with the first of them, so that the status is
/// still free for whatever goes wrong before.
///
/// # Errors
/// What ended the answer before it began.
pub async fn stream(mut answer: Answer, dialect: impl Dialect) -> Result<Response, Error> {
    let first = answer.next().await.transpose()?;
    let rest = stream::unfold(answer, |mut answer| async {
        let piece = answer.next().await?;
        Some((piece, answer))
    });
    let pieces = stream::iter(first.map(Ok)).chain(rest);
    Ok(ndjson(pieces.map(move |piece| {
        piece.map(|piece| match piece {
            Piece::Delta(delta) => dialect.delta(delta),
            Piece::Ending(tail, ending) => dialect.ending(tail, ending),
        })
    })))
}

/// Records, one a line. The first error is the last line. Dropping the reply drops the stream.
pub fn ndjson<R: Serialize + Send + 'static>(
    records: impl Stream<Item = Result<R, Error>> + Send + 'static,
) -> Response {
    let lines = records
        .scan(false, |failed, record| {
            let ended = *failed;
            *failed = record.is_err();
            future::ready((!ended).then_some(record))
        })
        .map(|record| match record {
            Ok(record) => line(&record),
            Err(error) => {
                error.log();
                line(&error.body())
            }
        });
    (
        [(header::CONTENT_TYPE, NDJSON)],
        Body::from_stream(lines.map(Ok::<_, std::convert::Infallible>)),
    )
        .into_response()
}

fn line(record: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(record).expect("replies have string keys and finite numbers");
    line.push(b'\n');
    line.into()
}
