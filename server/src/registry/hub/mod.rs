//! ONNX models of the Hugging Face hub, whose own registry makes manifests of GGUF files only.
//!
//! A repository's files are listed through the hub's API (`/api/models/{id}/revision/{revision}?blobs=true`), those that
//! make the model are chosen ([`choose`]) and fetched from `/{id}/resolve/{commit}/{file}`, and a model is made of them as
//! `chaski create` would make it of the same folder. Weights are in Git LFS and have a SHA-256, against which they are
//! checked; the few small files beside them have none, only a length.

mod choose;

use std::sync::Arc;

use reqwest::Url;
use serde::Deserialize;

use self::choose::{Chosen, choose};
use super::download::{Source, with};
use super::limits::MAX_LISTING_BYTES;
use super::reference::Repository;
use super::session::{Ask, Session};
use super::transfer::Teller;
use super::{Error, Order, Progress, Shared, pull};
use crate::store::{self, CreateModel, Digest, RelativeName};

/// A tokenizer's vocabulary in JSON may be kept outside of LFS.
const MAX_SMALL_FILE_BYTES: u64 = 64 << 20;

/// What the hub tells about a repository.
#[derive(Deserialize)]
struct Listing {
    /// The commit, so that all files are of the same one.
    sha: String,
    siblings: Vec<Sibling>,
}

/// A file of a repository.
#[derive(Clone, Deserialize)]
struct Sibling {
    #[serde(rename = "rfilename")]
    name: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Clone, Copy, Deserialize)]
struct Lfs {
    sha256: HexDigest,
    size: u64,
}

/// The hub writes digests without `sha256:`.
#[derive(Clone, Copy)]
struct HexDigest(Digest);

impl<'de> Deserialize<'de> for HexDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        format!("sha256:{}", String::deserialize(deserializer)?)
            .parse()
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// Makes a model of a repository that holds an ONNX model. If it holds none, `refused` stands: what the registry said.
///
/// # Errors
/// When a file cannot be had, or the files make no model.
pub(super) async fn pull(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    order: &Order,
    repository: &Repository,
    teller: &Teller,
    refused: Error,
) -> Result<(), Error> {
    let name = &order.request.reference.name;
    let id = format!("{}/{}", name.namespace(), name.model());
    let Ok(listing) = list(session, repository, &id).await else {
        return Err(refused);
    };
    let Some(chosen) = choose(&listing.siblings, name.tag())? else {
        return Err(refused);
    };
    let place = |file: &RelativeName| {
        let path = format!("{id}/resolve/{}/{file}", listing.sha);
        join(repository.base(), &path)
    };
    order.check(chosen.iter().filter_map(|file| file.digest))?;
    let mut create = CreateModel::new(order.name.clone());
    let mut sources = Vec::new();
    for Chosen { name, size, digest } in chosen {
        match digest {
            Some(digest) => {
                sources.push(Source {
                    session: Arc::clone(session),
                    url: place(&name),
                    digest,
                    size,
                });
                create.files.insert(name, digest);
            }
            None => {
                let digest = fetch_small(shared, session, place(&name), size).await?;
                create.files.insert(name, digest);
            }
        }
    }
    pull::fetch_all(shared, sources, teller).await?;
    make(shared, create, teller).await
}

async fn list(session: &Session, repository: &Repository, id: &str) -> Result<Listing, Error> {
    let mut url = join(repository.base(), &format!("api/models/{id}/revision/main"));
    url.query_pairs_mut().append_pair("blobs", "true");
    let bytes = session.fetch(&Ask::get(url), MAX_LISTING_BYTES).await?;
    let listing: Listing = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Invalid(format!("the hub's list of files: {error}")))?;
    // It becomes part of a path.
    if listing.sha.is_empty() || !listing.sha.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Error::Invalid(
            "the hub's list of files names no commit".to_owned(),
        ));
    }
    Ok(listing)
}

async fn fetch_small(
    shared: &Arc<Shared>,
    session: &Session,
    url: Url,
    size: u64,
) -> Result<Digest, Error> {
    let limit = size.min(MAX_SMALL_FILE_BYTES);
    let limit = usize::try_from(limit).expect("the bound is small");
    let bytes = session.fetch(&Ask::get(url), limit).await?;
    if bytes.len() != limit {
        let text = format!("a file is {} bytes long, not {size}", bytes.len());
        return Err(Error::Invalid(text));
    }
    let imported = with(&shared.store, move |store| store.import(&bytes[..], None));
    Ok(imported.await?.digest)
}

async fn make(shared: &Arc<Shared>, create: CreateModel, teller: &Teller) -> Result<(), Error> {
    let told = with(&shared.store, move |store| {
        let mut told = Vec::new();
        store.create(&create, &mut |progress| told.push(progress))?;
        Ok(told)
    });
    for progress in told.await? {
        teller
            .tell(match progress {
                store::Progress::WritingManifest => Progress::WritingManifest,
                store::Progress::Success => Progress::Success,
                other => Progress::Creating(other.to_string()),
            })
            .await?;
    }
    Ok(())
}

fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let prefix = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{prefix}/{path}"));
    url
}
