//! What the tests of this folder need.

use super::{Limits, Options, place};

/// Options that lead nowhere.
pub fn options() -> Options {
    Options {
        key: "/nowhere/id_ed25519".into(),
        version: "0.0.0".to_owned(),
        streams: 4,
        hub: "https://hub.example".to_owned(),
        hub_token: None,
        no_prune: false,
        built_in: &[],
        catalogue: &[],
        limits: Limits::default(),
        place,
    }
}
