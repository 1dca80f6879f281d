//! The model that another one is to be made of, pulled if it is not here.

use crate::api::{App, Error};
use crate::registry::{Progress, Request};
use crate::store::{Name, StoreError};

/// Has the model in the store, and tells how it comes there.
///
/// # Errors
/// When it is not here and cannot be pulled.
pub async fn fetch(app: &App, base: Name, tell: impl Fn(Progress)) -> Result<(), Error> {
    let name = base.clone();
    let found = app.with_store(move |store| store.entry(&name)).await;
    // What is wrong with a model that is here is for the making to tell.
    if !matches!(found, Err(StoreError::NotFound(_))) {
        return Ok(());
    }
    let request = Request {
        reference: base.into(),
        insecure: false,
        credentials: None,
    };
    let mut transfer = app.registry.pull(request)?;
    while let Some(told) = transfer.next().await {
        match told? {
            // It is the new model that succeeds in the end.
            Progress::Success => {}
            progress => tell(progress),
        }
    }
    Ok(())
}
