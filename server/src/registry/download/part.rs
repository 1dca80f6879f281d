//! One part of a blob: a range that is asked for until all of it has come.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use reqwest::header::{self, HeaderMap};
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::{Source, State, Stop};
use crate::registry::limits::{MAX_TRIES, WRITE_BYTES};
use crate::registry::session::{Ask, checked, refuse_encoding};
use crate::registry::{Error, backoff};
use crate::store::PartialBlob;

/// The fetching of one part.
pub struct Fetch<'a> {
    /// From where.
    pub source: &'a Source,
    /// Where to.
    pub blob: &'a Arc<PartialBlob>,
    /// Who is told.
    pub state: &'a State,
    /// Which part.
    pub n: usize,
}

/// Bytes that have come and are not on the disk yet.
struct Pending {
    bytes: Vec<u8>,
    /// How much of the part is written, and how much of that is recorded.
    written: u64,
    recorded: u64,
}

impl Fetch<'_> {
    /// Fetches what is missing of the part.
    ///
    /// # Errors
    /// When every attempt fails, or one does for good.
    pub async fn run(&self, mut stop: Stop) -> Result<(), Error> {
        let session = &self.source.session;
        let mut failures = 0;
        loop {
            let before = self.completed();
            let error = match self.attempt(&mut stop).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if !error.is_passing() {
                return Err(error);
            }
            // An attempt that brought a whole chunk was none in vain, however it ended.
            let came = self.completed() - before;
            failures = if came >= self.chunk_bytes() {
                1
            } else {
                failures + 1
            };
            if failures >= MAX_TRIES {
                return Err(Error::Retries(Box::new(error)));
            }
            let delay = backoff::delay(session.limits(), failures, &error);
            tracing::info!(digest = %self.source.digest, part = self.n, failures, ?delay, %error, "fetching a part again");
            tokio::select! {
                () = stop.told() => return Err(Error::Canceled),
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    fn chunk_bytes(&self) -> u64 {
        self.source.session.limits().chunk_bytes
    }

    fn completed(&self) -> u64 {
        self.blob.parts()[self.n].completed
    }

    /// One request. Whatever it brought is recorded, also when it fails.
    async fn attempt(&self, stop: &mut Stop) -> Result<(), Error> {
        let part = self.blob.parts()[self.n];
        let first = part.offset + part.completed;
        let last = part.offset + part.size - 1;
        let ask = Ask::get(self.source.url.clone())
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::RANGE, &format!("bytes={first}-{last}"));
        let answered = async { checked(self.source.session.send(&ask).await?).await };
        let response = tokio::select! {
            () = stop.told() => return Err(Error::Canceled),
            response = answered => response?,
        };
        let skip = self.begins_at(&response, first, last)?;
        let mut pending = Pending {
            bytes: Vec::with_capacity(WRITE_BYTES),
            written: part.completed,
            recorded: part.completed,
        };
        let received = self.receive(response, skip, &mut pending, stop).await;
        // The bytes that came before a failure are as good as any.
        let written = self.write(&mut pending, true).await;
        // What is told must not count what is not here.
        let surplus = u64::try_from(pending.bytes.len()).expect("a buffer's length fits 64 bits");
        self.state.completed.fetch_sub(surplus, Ordering::Relaxed);
        written.and(received)
    }

    /// How many bytes of the reply come before those that were asked for.
    fn begins_at(&self, response: &Response, first: u64, last: u64) -> Result<u64, Error> {
        refuse_encoding(response.headers())?;
        let size = self.source.size;
        let length = response.content_length();
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = content_range(response.headers());
                let expected = (first, last, size);
                let fits =
                    range.is_some_and(|(from, to, of)| (from, to, of.unwrap_or(size)) == expected);
                if fits && length.is_none_or(|length| length == last - first + 1) {
                    return Ok(0);
                }
                Err(self.wrong(&format!(
                    "another range than bytes {first}-{last} of {size}"
                )))
            }
            // The server knows no ranges and sends everything.
            StatusCode::OK if length.is_none_or(|length| length == size) => Ok(first),
            StatusCode::OK => Err(self.wrong(&format!("a length that is not {size}"))),
            status => Err(self.wrong(&format!("status {status}"))),
        }
    }

    fn wrong(&self, what: &str) -> Error {
        Error::Invalid(format!(
            "the registry answered for {} with {what}",
            self.source.digest
        ))
    }

    async fn receive(
        &self,
        mut response: Response,
        mut skip: u64,
        pending: &mut Pending,
        stop: &mut Stop,
    ) -> Result<(), Error> {
        let limits = self.source.session.limits();
        let size = self.blob.parts()[self.n].size;
        let is_whole_blob = response.status() == StatusCode::OK;
        let mut deadline = Instant::now() + limits.stall;
        let mut since = 0;
        loop {
            let left = size - pending.received();
            if left == 0 {
                return Ok(());
            }
            let piece = tokio::select! {
                biased;
                () = stop.told() => return Err(Error::Canceled),
                piece = timeout_at(deadline, response.chunk()) => piece,
            };
            let piece = piece.map_err(|_| Error::Stalled)?;
            let Some(mut piece) = piece.map_err(|error| self.broken(&error.to_string()))? else {
                return Err(self.broken("unexpected EOF"));
            };
            since += length(&piece);
            if since >= limits.stall_bytes {
                deadline = Instant::now() + limits.stall;
                since = 0;
            }
            let skipped = skip.min(length(&piece));
            skip -= skipped;
            let _ = piece.split_to(usize::try_from(skipped).expect("no longer than the piece"));
            if length(&piece) > left && !is_whole_blob {
                return Err(self.wrong("more than was asked for"));
            }
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            self.state
                .completed
                .fetch_add(length(&piece), Ordering::Relaxed);
            pending.bytes.extend_from_slice(&piece);
            if pending.bytes.len() >= WRITE_BYTES || length(&pending.bytes) >= self.chunk_bytes() {
                self.write(pending, false).await?;
            }
        }
    }

    /// Brings what has come to the disk, and records it if it is enough or `is_last`.
    async fn write(&self, pending: &mut Pending, is_last: bool) -> Result<(), Error> {
        let bytes = std::mem::take(&mut pending.bytes);
        let n = self.n;
        let from = pending.written;
        let to = from + length(&bytes);
        let records =
            to > pending.recorded && (is_last || to - pending.recorded >= self.chunk_bytes());
        let blob = Arc::clone(self.blob);
        let (mut bytes, result) = tokio::task::spawn_blocking(move || {
            let offset = blob.parts()[n].offset + from;
            let mut result = blob.write(offset, &bytes);
            if records && result.is_ok() {
                result = blob.record(n, to);
            }
            drop(blob);
            (bytes, result)
        })
        .await
        .expect("writing to the disk does not panic");
        if result.is_ok() {
            bytes.clear();
            pending.written = to;
            if records {
                pending.recorded = to;
            }
        }
        pending.bytes = bytes;
        Ok(result?)
    }

    fn broken(&self, cause: &str) -> Error {
        Error::Connection {
            request: format!("Get blob {}", self.source.digest.short()),
            cause: cause.to_owned(),
            is_connect: false,
        }
    }
}

impl Pending {
    fn received(&self) -> u64 {
        self.written + u64::try_from(self.bytes.len()).expect("a buffer's length fits 64 bits")
    }
}

fn length(piece: &(impl AsRef<[u8]> + ?Sized)) -> u64 {
    u64::try_from(piece.as_ref().len()).expect("a slice's length fits 64 bits")
}

/// `Content-Range: bytes 0-9/100`: first, last and, unless it is `*`, the whole length.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let size = match size {
        "*" => None,
        size => Some(size.parse().ok()?),
    };
    Some((first.parse().ok()?, last.parse().ok()?, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_writes_them() {
        let check = |text: &str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, text.parse().unwrap());
            assert_eq!(content_range(&headers), expected, "{text}");
        };
        check("bytes 0-9/100", Some((0, 9, Some(100))));
        check("bytes 10-19/*", Some((10, 19, None)));
        for wrong in [
            "",
            "bytes */100",
            "bytes 0-9",
            "items 0-9/100",
            "bytes 9/100",
            "bytes a-b/c",
        ] {
            check(wrong, None);
        }
    }
}
