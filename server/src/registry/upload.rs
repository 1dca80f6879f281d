//! Sending one blob: as OCI registries take it, and as Ollama's registry does, which sends its parts on to a storage.
//!
//! ```text
//! HEAD  blobs/<digest>            200: it is there already
//! POST  blobs/uploads/            201: taken from another repository of the registry; 202: Location of the upload
//! PATCH <location>                202: Location of the next part; 307: PUT the part there instead
//! PUT   <location>?digest=<d>     201: it is there
//! ```
//!
//! The protocol is that of the OCI distribution specification; `X-Redirect-Uploads` and `etag` are Ollama's
//! (`server/upload.go` in its sources).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use md5::{Digest as _, Md5};
use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::{Body, Method, Response, StatusCode, Url};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::download::with;
use super::limits::{MAX_TRIES, READ_BYTES};
use super::progress::Moved;
use super::reference::Repository;
use super::session::{self, Ask, Session, checked};
use super::transfer::Teller;
use super::{Error, Progress, Shared, backoff};
use crate::store::{Layer, Name};

const REDIRECT_UPLOADS: HeaderName = HeaderName::from_static("x-redirect-uploads");
const UPLOAD_LOCATION: HeaderName = HeaderName::from_static("docker-upload-location");

/// A part's reply may take as long as its bytes do; [`Upload::guarded`] notices when they stop.
const PART_PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The sending of one blob.
pub struct Upload<'a> {
    /// What all transfers share.
    pub shared: &'a Arc<Shared>,
    /// Who sends.
    pub session: &'a Session,
    /// Where to.
    pub repository: &'a Repository,
    /// The registry's host, as names have it.
    pub host: &'a str,
    /// What.
    pub layer: &'a Layer,
}

/// An upload that the registry has begun.
struct Begun {
    file: Arc<File>,
    location: Url,
    /// How many bytes the registry has.
    offset: u64,
    /// The MD5 of each part so far; none once a part was sent in pieces.
    parts: Option<Vec<[u8; 16]>>,
    sent: Arc<AtomicU64>,
}

impl Upload<'_> {
    /// Sends the blob if the registry does not have it, and tells how it goes.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn run(&self, teller: &Teller) -> Result<(), Error> {
        let (digest, size) = (self.layer.digest, self.layer.size);
        let head = Ask::new(Method::HEAD, self.repository.blob(&digest));
        match self.session.tell(&head).await {
            Ok(_) => {
                return teller
                    .tell(Progress::Pushing(Moved::whole(digest, size)))
                    .await;
            }
            Err(Error::NotFound) => {}
            Err(error) => return Err(error),
        }
        let sent = Arc::new(AtomicU64::new(0));
        let moved = || {
            Progress::Pushing(Moved {
                digest,
                total: size,
                completed: sent.load(Ordering::Relaxed),
            })
        };
        let mut ticks = interval(self.session.limits().tick.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sending = self.send(Arc::clone(&sent));
        tokio::pin!(sending);
        loop {
            tokio::select! {
                result = &mut sending => break result?,
                _ = ticks.tick() => teller.mention(moved()),
            }
        }
        teller
            .tell(Progress::Pushing(Moved::whole(digest, size)))
            .await
    }

    async fn send(&self, sent: Arc<AtomicU64>) -> Result<(), Error> {
        let mut failures = 0;
        let mut begun = None;
        loop {
            let before = begun.as_ref().map_or(0, |begun: &Begun| begun.offset);
            let error = match self.attempt(&mut begun, &sent).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if !error.is_passing() {
                return Err(error);
            }
            let after = begun.as_ref().map_or(0, |begun| begun.offset);
            failures = if after > before { 1 } else { failures + 1 };
            if failures >= MAX_TRIES {
                return Err(Error::Retries(Box::new(error)));
            }
            let delay = backoff::delay(self.session.limits(), failures, &error);
            tracing::info!(digest = %self.layer.digest, failures, ?delay, %error, "sending a blob again");
            sleep(delay).await;
            // What the registry kept need not be sent again; if it does not say, the upload begins anew.
            if let Some(former) = begun.take() {
                begun = self.resume(former).await;
            }
        }
    }

    async fn attempt(&self, begun: &mut Option<Begun>, sent: &Arc<AtomicU64>) -> Result<(), Error> {
        let begun = match begun {
            Some(begun) => begun,
            None => match self.begin(sent).await? {
                Some(new) => begun.insert(new),
                None => return Ok(()),
            },
        };
        let size = self.layer.size;
        let part_bytes = self.session.limits().part_bytes(size);
        while begun.offset < size {
            let length = part_bytes.min(size - begun.offset);
            self.send_part(begun, length).await?;
        }
        self.commit(begun).await
    }

    /// Begins an upload; `None` if the registry had the blob elsewhere.
    async fn begin(&self, sent: &Arc<AtomicU64>) -> Result<Option<Begun>, Error> {
        let digest = self.layer.digest;
        let mut url = self.repository.uploads();
        if let Some(from) = self.elsewhere() {
            url.query_pairs_mut()
                .append_pair("mount", &digest.to_string())
                .append_pair("from", &from);
        }
        let ask = Ask::new(Method::POST, url).body(0, Body::default);
        let response = self.session.tell(&ask).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(None);
        }
        let file = with(&self.shared.store, move |store| store.open_blob(&digest)).await?;
        Ok(Some(Begun {
            file: Arc::new(file),
            location: location(response.headers(), response.url())?,
            offset: 0,
            parts: Some(Vec::new()),
            sent: Arc::clone(sent),
        }))
    }

    /// The repository of the same registry that the layer was taken from.
    fn elsewhere(&self) -> Option<String> {
        let from: Name = self.layer.from.as_deref()?.parse().ok()?;
        let is_here = from.host().eq_ignore_ascii_case(self.host);
        is_here.then(|| format!("{}/{}", from.namespace(), from.model()))
    }

    async fn send_part(&self, begun: &mut Begun, length: u64) -> Result<(), Error> {
        let hash = Arc::new(Mutex::new(Md5::new()));
        let range = format!("{}-{}", begun.offset, begun.offset + length - 1);
        let patch = begun
            .part(Method::PATCH, begun.location.clone(), length, &hash)
            .header(REDIRECT_UPLOADS, "1")
            .header(header::CONTENT_RANGE, &range)
            .without_redirects();
        let response = self.guarded(begun, length, &patch).await?;
        let next = if response.status() == StatusCode::TEMPORARY_REDIRECT {
            self.send_on(begun, length, &hash, &response).await?
        } else {
            let response = checked(response).await?;
            location(response.headers(), response.url())?
        };
        begun.location = next;
        begun.offset += length;
        if let Some(parts) = &mut begun.parts {
            let hash = hash.lock().unwrap_or_else(PoisonError::into_inner);
            parts.push(hash.clone().finalize().into());
        }
        Ok(())
    }

    /// Sends a part to where the registry says, and returns where the upload goes on.
    async fn send_on(
        &self,
        begun: &Begun,
        length: u64,
        hash: &Arc<Mutex<Md5>>,
        response: &Response,
    ) -> Result<Url, Error> {
        let headers = response.headers();
        let to = headers
            .get(header::LOCATION)
            .ok_or_else(|| Error::Invalid("the registry redirects to nowhere".to_owned()))?;
        let to = session::resolve(to, response.url())?;
        let next = match headers.get(UPLOAD_LOCATION) {
            Some(next) => session::resolve(next, response.url())?,
            None => begun.location.clone(),
        };
        let put = begun
            .part(Method::PUT, to, length, hash)
            .without_redirects();
        checked(self.guarded(begun, length, &put).await?).await?;
        Ok(next)
    }

    /// Sends a request with a body, and gives up when its bytes stop flowing.
    async fn guarded(&self, begun: &Begun, length: u64, ask: &Ask) -> Result<Response, Error> {
        let limits = self.session.limits();
        let end = begun.offset + length;
        let sending = self.session.send(ask);
        tokio::pin!(sending);
        let mut seen = u64::MAX;
        loop {
            let sent = begun.sent.load(Ordering::Relaxed);
            let patience = if sent >= end {
                limits.settle
            } else {
                limits.stall
            };
            if sent == seen {
                return Err(Error::Stalled);
            }
            seen = sent;
            match timeout(patience, &mut sending).await {
                Ok(response) => return response,
                // A wait that began with bytes left to send is no measure of a registry that has them all by now.
                Err(_) if sent < end => {}
                Err(_) => return Err(Error::Stalled),
            }
        }
    }

    async fn commit(&self, begun: &Begun) -> Result<(), Error> {
        let mut url = begun.location.clone();
        url.query_pairs_mut()
            .append_pair("digest", &self.layer.digest.to_string());
        if let Some(parts) = begun.parts.as_ref().filter(|parts| !parts.is_empty()) {
            let all = parts
                .iter()
                .fold(Md5::new(), |hash, part| hash.chain_update(part));
            let hex: String = all
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            url.query_pairs_mut()
                .append_pair("etag", &format!("{hex}-{}", parts.len()));
        }
        let put = Ask::new(Method::PUT, url)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .patience(self.session.limits().settle)
            .body(0, Body::default);
        checked(self.session.send(&put).await?).await.map(drop)
    }

    /// Asks how much of an interrupted upload the registry has.
    async fn resume(&self, former: Begun) -> Option<Begun> {
        let response = self
            .session
            .tell(&Ask::get(former.location.clone()))
            .await
            .ok()?;
        let range = response.headers().get(header::RANGE)?.to_str().ok()?;
        let (_, last) = range.trim_start_matches("bytes=").split_once('-')?;
        let last: u64 = last.parse().ok()?;
        // "0-0" is what registries say of nothing; of one byte too, which is cheap to send again.
        let offset = if last == 0 { 0 } else { last + 1 };
        if offset > self.layer.size {
            return None;
        }
        let next = location(response.headers(), response.url()).unwrap_or(former.location);
        let is_between_parts = offset == former.offset;
        Some(Begun {
            location: next,
            offset,
            parts: former.parts.filter(|_| is_between_parts),
            ..former
        })
    }
}

impl Begun {
    /// A request that carries the next `length` bytes, which are hashed on their way.
    fn part(&self, method: Method, url: Url, length: u64, hash: &Arc<Mutex<Md5>>) -> Ask {
        let (file, sent, hash) = (
            Arc::clone(&self.file),
            Arc::clone(&self.sent),
            Arc::clone(hash),
        );
        let (offset, end) = (self.offset, self.offset + length);
        let body = move || {
            // Made anew for each attempt, of which the former ones do not count.
            sent.store(offset, Ordering::Relaxed);
            *hash.lock().unwrap_or_else(PoisonError::into_inner) = Md5::new();
            let (file, sent, hash) = (Arc::clone(&file), Arc::clone(&sent), Arc::clone(&hash));
            Body::wrap_stream(stream::try_unfold(offset, move |at| {
                let (file, sent, hash) = (Arc::clone(&file), Arc::clone(&sent), Arc::clone(&hash));
                async move {
                    if at == end {
                        return Ok(None);
                    }
                    let piece = read(file, at, end).await?;
                    let next = at + u64::try_from(piece.len()).expect("a piece is short");
                    hash.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .update(&piece);
                    sent.store(next, Ordering::Relaxed);
                    Ok::<_, std::io::Error>(Some((piece, next)))
                }
            }))
        };
        Ask::new(method, url)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .patience(PART_PATIENCE)
            .body(length, body)
    }
}

/// The next piece of a file.
async fn read(file: Arc<File>, at: u64, end: u64) -> std::io::Result<Bytes> {
    let length = usize::try_from(end - at).map_or(READ_BYTES, |left| left.min(READ_BYTES));
    let reading = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; length];
        file.read_exact_at(&mut piece, at)?;
        Ok(Bytes::from(piece))
    });
    reading.await.expect("reading a file does not panic")
}

/// Where an upload goes on.
fn location(headers: &HeaderMap, from: &Url) -> Result<Url, Error> {
    let location = headers
        .get(UPLOAD_LOCATION)
        .or_else(|| headers.get(header::LOCATION))
        .ok_or_else(|| Error::Invalid("the registry does not say where to upload".to_owned()))?;
    session::resolve(location, from)
}
