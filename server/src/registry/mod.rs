//! Models from and to other machines: Ollama's registries, plain OCI registries, and the Hugging Face hub.
//!
//! A registry is a stranger. What it sends is bounded before it is read ([`Limits`]), every stored byte has the digest
//! that its manifest promised before it gets a name in the store, credentials go to the host they are for and nowhere
//! else ([`session`]), and a registry on the internet cannot make this machine ask around in its own network
//! ([`address`]).
//!
//! [`pull`] fetches a manifest, then the blobs that are missing ([`download`]: parallel ranges, resumable, shared by all who
//! want the same blob), then writes the manifest. [`push`] does the same in the other direction. [`hub`] makes a model of
//! a repository that holds an ONNX model instead of a manifest. The models of [`built_in`] need no registry, and those of the
//! [`catalogue`] have names of ours. All of them are
//! driven through a [`Transfer`]: dropped, it gives up, and what was fetched so far is kept for the next attempt. So it does
//! when the server is about to stop.
//!
//! This folder knows the store and HTTP as a client; it knows no route of ours.

mod address;
mod auth;
mod backoff;
mod built_in;
pub mod catalogue;
mod download;
mod error;
mod hub;
mod key;
mod limits;
mod manifest;
mod progress;
mod pull;
mod push;
mod reference;
mod session;
#[cfg(test)]
mod testing;
mod transfer;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

pub use self::address::{Place, place};
use self::catalogue::Recommended;
use self::download::Downloads;
pub use self::error::Error;
use self::key::KeyFile;
pub use self::key::PublicKey;
pub use self::limits::Limits;
pub use self::progress::Progress;
pub use self::reference::Reference;
pub use self::session::Credentials;
use self::session::Http;
pub use self::transfer::Transfer;
use crate::store::{Digest, Name, SeedModel, Store};

/// Pulls and pushes that may be under way at a time; further ones are refused.
const MAX_TRANSFERS: usize = 64;

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Options {
    /// The private key that registries know this machine by, in OpenSSH's format; made when it is first needed.
    pub key: PathBuf,
    /// What to call ourselves: the version of Ollama that registries are to take us for.
    pub version: String,
    /// Connections that fetch parts of one blob (`OLLAMA_MAX_TRANSFER_STREAMS`).
    pub streams: usize,
    /// Where the names of the Hugging Face hub lead to (`HF_ENDPOINT`).
    pub hub: String,
    /// Who is asking the hub, for repositories that are not open to everyone (`HF_TOKEN`).
    pub hub_token: Option<String>,
    /// Whether to leave blobs that no model needs any more (`OLLAMA_NOPRUNE`).
    pub no_prune: bool,
    /// Models that are here without a registry.
    pub built_in: &'static [SeedModel<'static>],
    /// Models of the hub that have names of ours.
    pub catalogue: &'static [Recommended],
    /// How patient to be.
    pub limits: Limits,
    /// What counts as this machine's own network.
    pub place: fn(std::net::IpAddr) -> Place,
}

/// A cheap handle to whatever speaks to registries.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    store: Store,
    http: Http,
    key: KeyFile,
    downloads: Downloads,
    transfers: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

/// What a pull or push is about.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which model, and how its registry is spoken to.
    pub reference: Reference,
    /// Speak plain HTTP with the registry.
    pub insecure: bool,
    /// For registries that ask for a user's name and password.
    pub credentials: Option<Credentials>,
}

/// What a pull fetches, and what that is to be.
struct Order {
    request: Request,
    /// What the store calls it.
    name: Name,
    /// Whose weights it must have.
    recommended: Option<&'static Recommended>,
}

impl Order {
    /// Refuses what is not what was chosen.
    fn check(&self, blobs: impl Iterator<Item = Digest>) -> Result<(), Error> {
        self.recommended.map_or(Ok(()), |model| model.check(blobs))
    }
}

impl Registry {
    /// A handle that fetches into, and sends from, this store. Nothing is asked of anyone yet.
    #[must_use]
    pub fn new(options: Options, store: Store) -> Self {
        Self {
            shared: Arc::new(Shared {
                http: Http::new(&options),
                key: KeyFile::new(options.key.clone()),
                downloads: Downloads::default(),
                transfers: Arc::new(Semaphore::new(MAX_TRANSFERS)),
                stopping: watch::Sender::new(false),
                store,
                options,
            }),
        }
    }

    /// Begins to fetch a model.
    ///
    /// # Errors
    /// When too many transfers are under way, or the registry may be spoken to only with TLS.
    pub fn pull(&self, mut request: Request) -> Result<Transfer, Error> {
        let permit = self.permit()?;
        let built_in = self.shared.options.built_in;
        if let Some(model) = built_in::find(built_in, &request.reference) {
            let store = self.shared.store.clone();
            return Ok(Transfer::start(permit, |teller| {
                built_in::pull(store, model, teller)
            }));
        }
        let name = request.reference.name.clone();
        let recommended = catalogue::find(self.shared.options.catalogue, &request.reference);
        match recommended {
            Some(model) => request.reference = model.source(),
            None => {
                catalogue::refuse_unknown(self.shared.options.catalogue, &request.reference)?;
            }
        }
        request
            .reference
            .base(&self.shared.options, request.insecure)?;
        let order = Order {
            request,
            name,
            recommended,
        };
        let stopping = self.shared.stopping.subscribe();
        Ok(Transfer::start(permit, |teller| {
            let pull = pull::pull(Arc::clone(&self.shared), order, teller);
            transfer::unless(stopping, pull)
        }))
    }

    /// Ends all pulls, now and from now on: what has come of them is kept for the next attempt. What is being sent has to be
    /// sent again from the beginning of a blob, and may come to its end.
    pub fn stop_pulls(&self) {
        self.shared.stopping.send_replace(true);
    }

    /// Begins to send a model.
    ///
    /// # Errors
    /// As for [`Registry::pull`].
    pub fn push(&self, request: Request) -> Result<Transfer, Error> {
        let permit = self.permit()?;
        request
            .reference
            .base(&self.shared.options, request.insecure)?;
        Ok(Transfer::start(permit, |teller| {
            push::push(Arc::clone(&self.shared), request, teller)
        }))
    }

    /// The key that registries know this machine by, made if there is none yet.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub async fn public_key(&self) -> Result<PublicKey, Error> {
        self.shared.key.public().await
    }

    fn permit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Error> {
        Arc::clone(&self.shared.transfers)
            .try_acquire_owned()
            .map_err(|_| Error::Busy)
    }
}
