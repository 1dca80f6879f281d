//! Model names in requests. Endpoints differ in how they refuse a name, so each chooses its own [`Refusals`].

use std::sync::Arc;

use crate::api::reference::{CloudUse, ModelRef, Source};
use crate::api::{App, Error, observe};
use crate::store::{Model, Name, Store, StoreError};

/// The words in which an endpoint refuses a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusals {
    /// 404 `model 'x' not found`, also for none at all; 400 `invalid model name` for what is no name.
    NotFound,
    /// 400 `model is required` or `invalid model name`, else 404 `model 'x' not found`.
    Required,
    /// 404 `model '' not found` for none at all, 400 `invalid model name`, else 404 `model "x" not found, try pulling it first`.
    PullFirst,
    /// 400 `model is required`, else 404 `model "x" not found, try pulling it first`.
    RequiredPullFirst,
}

impl App {
    /// The model of that name, as the caller typed it.
    ///
    /// # Errors
    /// When there is none, or it runs on another host.
    pub async fn find(&self, typed: &str, refusals: Refusals) -> Result<Arc<Model>, Error> {
        let model = match remembered(&self.store, typed) {
            Some(model) => model,
            None => {
                let typed = typed.to_owned();
                self.with_store(move |store| find(store, &typed, refusals))
                    .await?
            }
        };
        observe::about_model(&model.name.to_string());
        Ok(model)
    }
}

/// The model, where that takes no more than a look at a file: handing the search to another thread takes longer than it.
fn remembered(store: &Store, typed: &str) -> Option<Arc<Model>> {
    let name = ModelRef::parse(typed)
        .and_then(|reference| reference.local(CloudUse::Inference))
        .ok()?;
    let model = store.remembered(&name.parse().ok()?)?;
    model.config.remote_host.is_empty().then_some(model)
}

fn find(store: &Store, typed: &str, refusals: Refusals) -> Result<Arc<Model>, Error> {
    let reference = ModelRef::parse(typed)?;
    let is_local = reference.source == Source::Local;
    let Ok(name) = reference.local(CloudUse::Inference)?.parse::<Name>() else {
        return Err(refusals.no_name(typed));
    };
    let model = match store.model(&name) {
        Ok(model) => model,
        Err(StoreError::NotFound(_)) => return Err(refusals.absent(typed)),
        Err(error) => return Err(error.into()),
    };
    match model.config.remote_host.as_str() {
        "" => Ok(model),
        _ if is_local => Err(refusals.absent(typed)),
        _ => Err(CloudUse::Inference.refusal()),
    }
}

impl Refusals {
    fn no_name(self, typed: &str) -> Error {
        match self {
            _ if !typed.trim().is_empty() => Error::BadRequest("invalid model name".into()),
            Self::NotFound | Self::PullFirst => {
                Error::NotFound(format!("model '{typed}' not found"))
            }
            Self::Required | Self::RequiredPullFirst => {
                Error::BadRequest("model is required".into())
            }
        }
    }

    fn absent(self, typed: &str) -> Error {
        Error::NotFound(match self {
            Self::NotFound | Self::Required => format!("model '{typed}' not found"),
            Self::PullFirst | Self::RequiredPullFirst => {
                format!("model {typed:?} not found, try pulling it first")
            }
        })
    }
}
