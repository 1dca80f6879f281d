//! Models that come with the binary: a pull of one needs no network, and brings back one that was deleted or replaced.
//!
//! The names are those that `library/...` of the default registry would have; with any other host or namespace, or another
//! tag than `latest`, a name means a model of a registry.

use super::download::with;
use super::transfer::Teller;
use super::{Error, Progress, Reference};
use crate::store::{Name, SeedModel, Store};

/// The built-in model of that name.
pub fn find(
    models: &'static [SeedModel<'static>],
    reference: &Reference,
) -> Option<&'static SeedModel<'static>> {
    let is_named = |model: &&SeedModel<'_>| {
        let name: Name = model
            .name
            .parse()
            .expect("the names of built-in models are names");
        name.full().eq_ignore_ascii_case(&reference.name.full())
    };
    models.iter().find(is_named)
}

/// Puts it into the store.
///
/// # Errors
/// When the store cannot be written.
pub async fn pull(
    store: Store,
    model: &'static SeedModel<'static>,
    teller: Teller,
) -> Result<(), Error> {
    teller.tell(Progress::PullingManifest).await?;
    teller.tell(Progress::WritingManifest).await?;
    with(&store, move |store| store.restore(model)).await?;
    teller.tell(Progress::Success).await
}
