//! Pulling: the manifest is read first and written last.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::download::{Phase, Source, Ticket, with};
use super::manifest::{self, Fetched};
use super::progress::Moved;
use super::reference::Repository;
use super::session::Session;
use super::transfer::Teller;
use super::{Error, Order, Progress, Request, Shared, hub};
use crate::store::{Config, Digest, Layer, Name, Store, StoreError};

/// Longest configuration of a model without layers.
const MAX_CONFIG_BYTES: u64 = 64 << 10;

/// Fetches a model.
///
/// # Errors
/// When it cannot be had whole and right. What came of it is kept for the next attempt.
pub(super) async fn pull(shared: Arc<Shared>, order: Order, teller: Teller) -> Result<(), Error> {
    let request = &order.request;
    let repository = request
        .reference
        .repository(&shared.options, request.insecure)?;
    let session = Arc::new(session(&shared, request, &repository));
    teller.tell(Progress::PullingManifest).await?;
    let fetched = match manifest::fetch(&session, &repository).await {
        Ok(fetched) => fetched,
        Err(error) => {
            let error = Error::Manifest(Box::new(error));
            // The hub makes manifests for GGUF files only.
            if request.reference.is_of_hub() && error.is_no_such_manifest() {
                return hub::pull(&shared, &session, &order, &repository, &teller, error).await;
            }
            return Err(error);
        }
    };
    let blobs = manifest::blobs(&fetched.manifest);
    order.check(blobs.iter().map(|layer| layer.digest))?;
    let sources: Vec<Source> = blobs
        .iter()
        .map(|layer| source(&session, &repository, layer))
        .collect();
    fetch_all(&shared, sources, &teller).await?;
    if fetched.manifest.layers.is_empty() {
        check_stub(&shared, &fetched.manifest.config).await?;
    }
    teller.tell(Progress::WritingManifest).await?;
    if commit(&shared, order.name, fetched).await? {
        teller.tell(Progress::RemovingUnused).await?;
    }
    teller.tell(Progress::Success).await
}

/// Requests on behalf of one transfer.
pub fn session(shared: &Arc<Shared>, request: &Request, repository: &Repository) -> Session {
    let token = shared.options.hub_token.as_deref();
    let token = token.filter(|_| request.reference.is_of_hub());
    Session::new(
        Arc::clone(shared),
        repository.base().clone(),
        request.credentials.clone(),
        token.map(|token| format!("Bearer {token}")),
    )
}

fn source(session: &Arc<Session>, repository: &Repository, layer: &Layer) -> Source {
    Source {
        session: Arc::clone(session),
        url: repository.blob(&layer.digest),
        digest: layer.digest,
        size: layer.size,
    }
}

/// Has all these blobs in the store.
///
/// # Errors
/// When one cannot be had, or the disk has no room.
pub async fn fetch_all(
    shared: &Arc<Shared>,
    sources: Vec<Source>,
    teller: &Teller,
) -> Result<(), Error> {
    check_room(shared, &sources).await?;
    let mut tickets = Vec::new();
    for source in sources {
        let (digest, size) = (source.digest, source.size);
        if with(
            &shared.store,
            move |store| Ok(store.is_whole(&digest, size)),
        )
        .await?
        {
            teller
                .tell(Progress::Pulling(Moved::whole(digest, size)))
                .await?;
            continue;
        }
        let ticket = fetch(shared, &source, teller).await?;
        // Its last bytes may still be checked while the next blob is fetched.
        tickets.push((source, ticket));
    }
    teller.tell(Progress::Verifying).await?;
    for (source, ticket) in tickets {
        let Err(error) = ticket.finished().await else {
            continue;
        };
        if ticket.is_first() {
            return Err(own(error));
        }
        drop(ticket);
        let ticket = fetch(shared, &source, teller).await?;
        ticket.finished().await.map_err(own)?;
    }
    Ok(())
}

/// Fetches one blob and tells how it goes, up to the moment when no more bytes will come.
///
/// A download that another pull had begun, perhaps from another registry, may fail for reasons that are not ours: then we
/// try ourselves.
async fn fetch(shared: &Arc<Shared>, source: &Source, teller: &Teller) -> Result<Ticket, Error> {
    loop {
        let ticket = shared.downloads.join(shared, source.clone());
        match follow(source, &ticket, teller).await? {
            Phase::Failed(error) if ticket.is_first() => return Err(own(error)),
            Phase::Failed(_) => {}
            _ => return Ok(ticket),
        }
    }
}

/// Tells how a download goes, up to the moment when no more bytes will come.
async fn follow(source: &Source, ticket: &Ticket, teller: &Teller) -> Result<Phase, Error> {
    let moved = || {
        Progress::Pulling(Moved {
            digest: source.digest,
            total: source.size,
            completed: ticket.completed(),
        })
    };
    let mut ticks = interval(source.session.limits().tick.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let fetched = ticket.fetched();
    tokio::pin!(fetched);
    let phase = loop {
        tokio::select! {
            phase = &mut fetched => break phase,
            _ = ticks.tick() => teller.mention(moved()),
        }
    };
    teller.tell(moved()).await?;
    Ok(phase)
}

/// The error itself if nobody else wants it.
fn own(error: Arc<Error>) -> Error {
    Arc::try_unwrap(error).unwrap_or_else(Error::Shared)
}

/// Refuses to begin what could not be finished.
async fn check_room(shared: &Arc<Shared>, sources: &[Source]) -> Result<(), Error> {
    let wanted: Vec<(Digest, u64)> = sources
        .iter()
        .map(|source| (source.digest, source.size))
        .collect();
    let (needed, free) = with(&shared.store, move |store: &Store| {
        let missing = |(digest, size): &(Digest, u64)| size - store.bytes_here(digest, *size);
        let needed = wanted.iter().map(missing).fold(0, u64::saturating_add);
        Ok((needed, store.free_bytes()?))
    })
    .await?;
    if needed > free {
        return Err(Error::NoRoom { needed, free });
    }
    Ok(())
}

/// Only a model that runs on another host is made of nothing but a configuration.
async fn check_stub(shared: &Arc<Shared>, config: &Layer) -> Result<(), Error> {
    let digest = config.digest;
    let bytes = with(&shared.store, move |store| {
        store.read_blob(&digest, MAX_CONFIG_BYTES)
    })
    .await?;
    match serde_json::from_slice::<Config>(&bytes) {
        Ok(config) if !config.remote_host.is_empty() => Ok(()),
        _ => Err(Error::Invalid(
            "the registry's manifest has no layers".to_owned(),
        )),
    }
}

/// Writes the manifest, and tells whether blobs became unneeded by it and were removed.
async fn commit(shared: &Arc<Shared>, name: Name, fetched: Fetched) -> Result<bool, Error> {
    let prunes = !shared.options.no_prune;
    let committed = with(&shared.store, move |store| {
        let replaced: Vec<Digest> = match store.entry(&name) {
            Ok(entry) => entry.manifest.digests().collect(),
            Err(StoreError::NotFound(_)) => Vec::new(),
            Err(error) => {
                tracing::warn!(model.name = %name, ?error, "replacing a manifest that cannot be read");
                Vec::new()
            }
        };
        let kept: Vec<Digest> = fetched.manifest.digests().collect();
        let unused = replaced.iter().any(|digest| !kept.contains(digest));
        store.commit_bytes(&name, &fetched.bytes, prunes)?;
        Ok(unused && prunes)
    });
    Ok(committed.await?)
}
