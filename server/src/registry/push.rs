//! Pushing: every blob is there before the manifest that names it.

use std::sync::Arc;

use reqwest::{Body, Method, header};

use super::download::with;
use super::session::Ask;
use super::transfer::Teller;
use super::upload::Upload;
use super::{Error, Progress, Request, Shared, manifest, pull};
use crate::store::{Manifest, StoreError};

/// Sends a model.
///
/// # Errors
/// When there is no such model, or the registry does not take it.
pub async fn push(shared: Arc<Shared>, request: Request, teller: Teller) -> Result<(), Error> {
    teller.tell(Progress::RetrievingManifest).await?;
    let name = request.reference.name.clone();
    let bytes = match with(&shared.store, move |store| store.manifest_bytes(&name)).await {
        Ok(bytes) => bytes,
        Err(error) => {
            teller.tell(Progress::NoManifest).await?;
            return Err(error.into());
        }
    };
    let sent = Manifest::parse(&bytes)
        .map_err(|error| Error::Store(StoreError::BrokenModel(error.to_string())))?;
    let repository = request
        .reference
        .repository(&shared.options, request.insecure)?;
    let session = Arc::new(pull::session(&shared, &request, &repository));
    for layer in manifest::blobs(&sent) {
        let upload = Upload {
            shared: &shared,
            session: &session,
            repository: &repository,
            host: request.reference.name.host(),
            layer: &layer,
        };
        upload.run(&teller).await?;
    }
    teller.tell(Progress::PushingManifest).await?;
    let length = u64::try_from(bytes.len()).expect("a manifest's length fits 64 bits");
    let ask = Ask::new(Method::PUT, repository.manifest())
        .header(header::CONTENT_TYPE, manifest::media_type())
        .body(length, move || Body::from(bytes.clone()));
    session.tell(&ask).await?;
    teller.tell(Progress::Success).await
}
