//! A registry's manifest: bounded, and checked before anything it names is fetched.

use std::collections::{HashMap, HashSet};

use super::Error;
use super::limits::{MAX_LAYERS, MAX_MANIFEST_BYTES};
use super::reference::Repository;
use super::session::{Ask, Session};
use crate::store::{Digest, Layer, LayerKind, Manifest};

const MEDIA_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Layers that each hold a tensor are for Ollama's engine for Apple's machines.
const TENSOR_TYPE: &str = "application/vnd.ollama.image.tensor";

/// A manifest in the registry's own bytes, whose digest is the model's identity, and what they mean.
pub struct Fetched {
    /// As they came.
    pub bytes: Vec<u8>,
    /// Checked by [`check`].
    pub manifest: Manifest,
}

/// Fetches and checks a manifest.
///
/// # Errors
/// When it cannot be had, or is none that a model could be made of.
pub async fn fetch(session: &Session, repository: &Repository) -> Result<Fetched, Error> {
    let ask = Ask::get(repository.manifest()).header(reqwest::header::ACCEPT, MEDIA_TYPE);
    let bytes = session.fetch(&ask, MAX_MANIFEST_BYTES).await?.to_vec();
    let manifest = check(&bytes)?;
    Ok(Fetched { bytes, manifest })
}

/// What must be true of a manifest before its blobs are worth fetching.
fn check(bytes: &[u8]) -> Result<Manifest, Error> {
    let invalid = |text: String| Err(Error::Invalid(text));
    let manifest = match Manifest::parse(bytes) {
        Ok(manifest) => manifest,
        Err(error) => return invalid(format!("the registry's manifest: {error}")),
    };
    if manifest.layers.len() > MAX_LAYERS {
        return invalid(format!(
            "the registry's manifest has more than {MAX_LAYERS} layers"
        ));
    }
    if manifest.layers.iter().any(is_tensor) {
        return invalid(
            "this model requires MLX support, but the MLX runtime is not available".to_owned(),
        );
    }
    let mut sizes: HashMap<Digest, u64> = HashMap::new();
    let mut total = 0_u64;
    for layer in manifest.blobs() {
        match sizes.insert(layer.digest, layer.size) {
            Some(size) if size != layer.size => {
                return invalid(format!(
                    "the registry's manifest gives {} two lengths",
                    layer.digest
                ));
            }
            Some(_) => {}
            None => total = total.saturating_add(layer.size),
        }
    }
    if i64::try_from(total).is_err() {
        return invalid("the registry's manifest is of a model larger than any disk".to_owned());
    }
    Ok(manifest)
}

/// The blobs of a manifest, each once, in the order in which they are moved.
pub fn blobs(manifest: &Manifest) -> Vec<Layer> {
    let mut seen = HashSet::new();
    let blobs = manifest.blobs();
    blobs
        .filter(|layer| seen.insert(layer.digest))
        .cloned()
        .collect()
}

/// The media type of manifests, for requests.
pub fn media_type() -> &'static str {
    MEDIA_TYPE
}

fn is_tensor(layer: &Layer) -> bool {
    matches!(&layer.kind, LayerKind::Other(kind) if kind == TENSOR_TYPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(kind: &str, digest: &str, size: &str) -> String {
        format!("{{\"mediaType\":\"{kind}\",\"digest\":\"{digest}\",\"size\":{size}}}")
    }

    fn manifest(layers: &[String]) -> String {
        let config = layer(
            "application/vnd.docker.container.image.v1+json",
            &digest(0),
            "2",
        );
        format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{MEDIA_TYPE}\",\"config\":{config},\"layers\":[{}]}}",
            layers.join(",")
        )
    }

    fn digest(n: u8) -> String {
        Digest::of(&[n]).to_string()
    }

    fn model(size: &str) -> String {
        layer("application/vnd.ollama.image.model", &digest(1), size)
    }

    #[test]
    fn a_manifest_that_makes_sense_passes() {
        let text = manifest(&[model("10"), layer("something/new", &digest(2), "0")]);
        assert_eq!(check(text.as_bytes()).unwrap().layers.len(), 2);
        // The same blob may be named twice, which older registries do.
        let twice = manifest(&[model("10"), model("10")]);
        assert_eq!(blobs(&check(twice.as_bytes()).unwrap()).len(), 2);
    }

    #[test]
    fn everything_else_is_refused_before_a_blob_is_asked_for() {
        let kind = "application/vnd.ollama.image.model";
        let hex = &digest(1)[7..];
        let index = "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.list.v2+json\",\"manifests\":[]}";
        let mut wrong = vec![
            String::new(),
            "{}".to_owned(),
            "[]".to_owned(),
            index.to_owned(),
            manifest(&[model("-1")]),
            manifest(&[model("1.5")]),
            manifest(&[model("\"10\"")]),
            manifest(&[model("9223372036854775808")]),
            manifest(&[model("18446744073709551616")]),
            manifest(&[model("10"), model("11")]),
            manifest(&[model("9223372036854775800"), layer(kind, &digest(2), "100")]),
            manifest(&[layer(TENSOR_TYPE, &digest(3), "1")]),
            manifest(&vec![model("10"); MAX_LAYERS + 1]),
            manifest(&[model("10")]).replace(":2,\"mediaType", ":1,\"mediaType"),
        ];
        for digest in [
            "",
            "a",
            "sha256:",
            "sha256:../../../../var/tmp/pwn",
            &format!("sha256:{}", &hex[1..]),
            &format!("sha256:{hex}0"),
            &format!("sha256:{hex}/"),
            &format!("sha256:%2e%2e{}", &hex[6..]),
            &format!("sha256:{}\\u0000", &hex[1..]),
        ] {
            wrong.push(manifest(&[layer(kind, digest, "1")]));
        }
        for text in wrong {
            assert!(
                check(text.as_bytes()).is_err(),
                "{}",
                &text[..text.len().min(400)]
            );
        }
    }
}
