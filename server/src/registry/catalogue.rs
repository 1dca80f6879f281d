//! Models that this project recommends, by names of its own such as `chaski/phi-3-mini`: where each is on the Hugging Face hub, and
//! which digest its weights must have.
//!
//! A repository of the hub can change under its name; these models are the ones that were chosen, or none. The list is
//! `models/catalog.toml`.

use std::sync::LazyLock;

use serde::Deserialize;

use super::{Error, Reference};
use crate::store::Digest;

/// The namespace, below the default registry, that stands for the catalogue.
const NAMESPACE: &str = "chaski";

/// A recommended model.
#[derive(Clone, Debug, Deserialize)]
pub struct Recommended {
    /// What it is pulled by, within the namespace.
    name: String,
    /// Where it is, as one would pull it from there.
    hub: String,
    /// Of its weights, as 64 hexadecimal digits.
    sha256: String,
    /// Bytes of its weights.
    pub size: u64,
    /// As SPDX has it, or the licence's own name.
    pub licence: String,
    /// What it is good for.
    pub purpose: String,
}

#[derive(Deserialize)]
struct Catalogue {
    recommended: Vec<Recommended>,
}

/// All of them.
#[must_use]
pub fn all() -> &'static [Recommended] {
    static ALL: LazyLock<Vec<Recommended>> = LazyLock::new(|| {
        let text = include_str!("../../../models/catalog.toml");
        let catalogue: Catalogue = toml::from_str(text).expect("a test reads this file");
        catalogue.recommended
    });
    &ALL
}

/// The recommended model that this name means.
pub fn find(models: &'static [Recommended], reference: &Reference) -> Option<&'static Recommended> {
    let name = reference.name.full();
    (models.iter()).find(|model| {
        model
            .reference_name()
            .name
            .full()
            .eq_ignore_ascii_case(&name)
    })
}

/// Refuses a name within the catalogue's namespace that the catalogue does not have: no registry is asked for what only looks like
/// a recommendation of this project.
///
/// # Errors
/// [`Error::Unlisted`], with the names that there are.
pub fn refuse_unknown(models: &[Recommended], reference: &Reference) -> Result<(), Error> {
    let name = &reference.name;
    let is_ours = models.iter().any(|model| {
        let ours = model.reference_name().name;
        ours.host().eq_ignore_ascii_case(name.host())
            && ours.namespace().eq_ignore_ascii_case(name.namespace())
    });
    if !is_ours {
        return Ok(());
    }
    let names: Vec<String> = models.iter().map(Recommended::full_name).collect();
    Err(Error::Unlisted(format!(
        "{name} is not in the catalogue; there are {}",
        names.join(", ")
    )))
}

impl Recommended {
    /// One that is not in the list.
    #[must_use]
    pub fn new(name: &str, hub: &str, digest: Digest) -> Self {
        Self {
            name: name.to_owned(),
            hub: hub.to_owned(),
            sha256: digest.hex(),
            size: 0,
            licence: String::new(),
            purpose: String::new(),
        }
    }

    /// What it is pulled by.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{NAMESPACE}/{}", self.name)
    }

    /// Where it comes from.
    #[must_use]
    pub fn source(&self) -> Reference {
        self.hub.parse().expect("a test reads all of them")
    }

    /// Refuses what does not hold the weights that were chosen.
    ///
    /// # Errors
    /// [`Error::Invalid`], with what to do about it.
    pub fn check(&self, mut blobs: impl Iterator<Item = Digest>) -> Result<(), Error> {
        let digest = self.digest();
        if blobs.any(|blob| blob == digest) {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "{} does not hold {digest}, which the catalogue chose for {}; `chaski pull {}` takes what is there now",
            self.hub,
            self.full_name(),
            self.hub,
        )))
    }

    fn digest(&self) -> Digest {
        let typed = format!("sha256:{}", self.sha256);
        typed.parse().expect("a test reads all of them")
    }

    fn reference_name(&self) -> Reference {
        self.full_name().parse().expect("a test reads all of them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_can_be_read_and_found() {
        assert!(all().len() > 5);
        for model in all() {
            let name = model.full_name();
            let reference: Reference = name
                .to_uppercase()
                .replace("CHASKI", "chaski")
                .parse()
                .unwrap();
            let found = find(all(), &reference).expect(&name);
            assert_eq!(found.full_name(), name, "two models of one name");
            assert!(model.source().is_of_hub(), "{name}");
            assert!(model.check([model.digest()].into_iter()).is_ok());
            assert!(
                model.size > 1_000_000 && !model.licence.is_empty() && !model.purpose.is_empty()
            );
        }
        // Ollama's names are not taken.
        for name in [
            "phi-3-mini",
            "hf.co/chaski/phi-3-mini",
            "chaski/phi-3-mini:q4",
            "someone/phi-3-mini",
        ] {
            assert!(find(all(), &name.parse().unwrap()).is_none(), "{name}");
        }
    }

    #[test]
    fn what_only_looks_recommended_is_refused() {
        for name in ["chaski/unknown", "CHASKI/phi-3-mini:q4"] {
            let error = refuse_unknown(all(), &name.parse().unwrap()).unwrap_err();
            let told = error.to_string();
            assert!(told.starts_with(name), "{told}");
            assert!(told.contains(&all()[0].full_name()), "{told}");
        }
        for name in ["phi-3-mini", "someone/phi-3-mini", "hf.co/chaski/unknown"] {
            assert!(
                refuse_unknown(all(), &name.parse().unwrap()).is_ok(),
                "{name}"
            );
        }
    }

    #[test]
    fn other_weights_are_refused_with_what_to_do() {
        let model = &all()[0];
        let error = model
            .check([Digest::of(b"others")].into_iter())
            .unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains(&model.sha256) && told.contains(&format!("chaski pull {}", model.hub)),
            "{told}"
        );
    }
}
