//! Same weights, same context.

use serde::Deserialize;
use serde_json::json;

use super::Side;
use crate::{
    checks::{Check, Outcome},
    client::{Client, Request},
};

/// What a target says its model is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Identity {
    /// SHA-256 of the file with the weights.
    weights: Option<String>,
    /// Digest of the whole model, which differs where only the prompt template does.
    digest: Option<String>,
    family: Option<String>,
    size: Option<String>,
    quantization: Option<String>,
    /// Tokens of context it was loaded with.
    context: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Show {
    #[serde(default)]
    modelfile: String,
    #[serde(default)]
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
struct Details {
    family: Option<String>,
    parameter_size: Option<String>,
    quantization_level: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Loaded {
    models: Vec<LoadedModel>,
}

#[derive(Debug, Deserialize)]
struct LoadedModel {
    name: String,
    context_length: Option<u64>,
}

pub(super) async fn compare(pair: &str, candidate: &Side<'_>, baseline: &Side<'_>) -> Vec<Check> {
    let (one, other) = (identify(candidate).await, identify(baseline).await);
    vec![
        same_weights(pair, &one, &other),
        same_context(pair, &one, &other),
    ]
}

/// Whether `model` is in the target's memory; `None` when the target does not say.
pub async fn is_loaded(client: &Client, model: &str) -> Option<bool> {
    let loaded = loaded(client).await?;
    Some(loaded.iter().any(|one| is_same_name(&one.name, model)))
}

async fn identify(side: &Side<'_>) -> Identity {
    let shown = show(side).await;
    let context = loaded(side.client)
        .await
        .and_then(|models| {
            models
                .into_iter()
                .find(|one| is_same_name(&one.name, &side.asker.model))
        })
        .and_then(|one| one.context_length);
    let mut identity = Identity {
        digest: side
            .digest
            .filter(|digest| !digest.is_empty())
            .map(|digest| digest.trim_start_matches("sha256:").to_owned()),
        context,
        ..Identity::default()
    };
    if let Some(shown) = shown {
        let told = |word: Option<String>| word.filter(|word| !word.is_empty() && word != "unknown");
        identity.weights = weights(&shown.modelfile);
        identity.family = told(shown.details.family);
        identity.size = told(shown.details.parameter_size);
        identity.quantization = told(shown.details.quantization_level);
    }
    identity
}

/// `None` when the target has no such route, as those that speak another API.
async fn show(side: &Side<'_>) -> Option<Show> {
    let body = json!({ "model": side.asker.model });
    let exchange = side
        .client
        .post(&Request {
            path: "/api/show",
            body: body.to_string().into(),
        })
        .await;
    if exchange.failure.is_some() || !exchange.status?.is_success() {
        return None;
    }
    serde_json::from_slice(&exchange.body()).ok()
}

async fn loaded(client: &Client) -> Option<Vec<LoadedModel>> {
    let exchange = client.get("/api/ps").await;
    if exchange.failure.is_some() || !exchange.status?.is_success() {
        return None;
    }
    let loaded: Loaded = serde_json::from_slice(&exchange.body()).ok()?;
    Some(loaded.models)
}

/// A name without a tag means `latest`.
fn is_same_name(one: &str, other: &str) -> bool {
    let untagged = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
    untagged(one) == untagged(other)
}

/// The digest in the first `FROM` line of a Modelfile, where a server shows the blob that holds the weights:
/// `FROM /root/.ollama/models/blobs/sha256-3f2...`.
fn weights(modelfile: &str) -> Option<String> {
    const HEX_DIGITS: usize = 64;
    let from = modelfile
        .lines()
        .find_map(|line| line.trim().strip_prefix("FROM "))?;
    let (_, digest) = from.split_once("sha256-").or(from.split_once("sha256:"))?;
    let digest: String = digest.chars().take_while(char::is_ascii_hexdigit).collect();
    (digest.len() == HEX_DIGITS).then(|| digest.to_ascii_lowercase())
}

fn same_weights(pair: &str, one: &Identity, other: &Identity) -> Check {
    let check = |outcome, found: String| Check {
        id: "same_weights",
        title: "both serve the same weights",
        outcome,
        detail: format!("{pair}: {found}"),
        value: None,
    };
    let short = |digest: &str| digest.chars().take(12).collect::<String>();
    if let (Some(one), Some(other)) = (&one.weights, &other.weights) {
        return if one == other {
            check(Outcome::Pass, format!("sha256 {}", short(one)))
        } else {
            check(
                Outcome::Fail,
                format!(
                    "sha256 {} and {}: not the same model file",
                    short(one),
                    short(other)
                ),
            )
        };
    }
    if one.digest.is_some() && one.digest == other.digest {
        return check(
            Outcome::Pass,
            format!(
                "model digest {}",
                short(one.digest.as_deref().unwrap_or_default())
            ),
        );
    }
    // Without a common digest, what they say of themselves can refute but only suggest equality.
    let told = [
        ("family", &one.family, &other.family),
        ("size", &one.size, &other.size),
        ("quantization", &one.quantization, &other.quantization),
    ];
    if let Some((what, Some(one), Some(other))) = told.iter().find(|(_, one, other)| {
        one.as_ref()
            .zip(other.as_ref())
            .is_some_and(|(one, other)| !one.eq_ignore_ascii_case(other))
    }) {
        return check(
            Outcome::Fail,
            format!("{what} {one} and {other}: not the same model"),
        );
    }
    let same: Vec<String> = told
        .iter()
        .filter_map(|(what, one, other)| {
            Some(format!("{what} {}", one.as_ref().and(other.as_ref())?))
        })
        .collect();
    if same.is_empty() {
        check(
            Outcome::Unknown,
            "neither tells what its weights are".into(),
        )
    } else {
        check(
            Outcome::Warn,
            format!("no common digest, but the same {}", same.join(", ")),
        )
    }
}

fn same_context(pair: &str, one: &Identity, other: &Identity) -> Check {
    let (outcome, found) = match (one.context, other.context) {
        (Some(one), Some(other)) if one == other => (Outcome::Pass, format!("{one} tokens")),
        (Some(one), Some(other)) => (
            Outcome::Fail,
            format!("{one} and {other} tokens: set num_ctx alike"),
        ),
        _ => (Outcome::Unknown, "not told by both".into()),
    };
    Check {
        id: "same_context",
        title: "both hold equally long contexts",
        outcome,
        detail: format!("{pair}: {found}"),
        value: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_found_in_a_modelfile() {
        let digest = "ab".repeat(32);
        let modelfile = format!(
            "# Modelfile generated by \"ollama show\"\n# FROM tiny:latest\n\nFROM /root/.ollama/models/blobs/sha256-{digest}\nTEMPLATE x"
        );
        assert_eq!(weights(&modelfile).as_deref(), Some(digest.as_str()));
        assert_eq!(weights("FROM tiny.gguf"), None);
        assert_eq!(weights("FROM sha256-12"), None);
        assert_eq!(weights(""), None);
    }

    #[test]
    fn digests_decide_and_words_only_refute() {
        let of = |weights: Option<&str>, quantization: Option<&str>| Identity {
            weights: weights.map(str::to_owned),
            quantization: quantization.map(str::to_owned),
            ..Identity::default()
        };
        let check = |one: &Identity, other: &Identity, expected| {
            let got = same_weights("p", one, other);
            assert_eq!(got.outcome, expected, "{}", got.detail);
        };
        check(
            &of(Some("aa"), None),
            &of(Some("aa"), Some("Q4_0")),
            Outcome::Pass,
        );
        check(&of(Some("aa"), None), &of(Some("bb"), None), Outcome::Fail);
        check(
            &of(None, Some("Q4_0")),
            &of(Some("bb"), Some("Q8_0")),
            Outcome::Fail,
        );
        check(
            &of(None, Some("Q4_0")),
            &of(Some("bb"), Some("q4_0")),
            Outcome::Warn,
        );
        check(&of(None, None), &of(None, None), Outcome::Unknown);
        let listed = Identity {
            digest: Some("cc".into()),
            ..Identity::default()
        };
        check(&listed, &listed, Outcome::Pass);
    }

    #[test]
    fn contexts_must_be_equal_where_both_tell() {
        let of = |context| Identity {
            context,
            ..Identity::default()
        };
        assert_eq!(
            same_context("p", &of(Some(4096)), &of(Some(4096))).outcome,
            Outcome::Pass
        );
        assert_eq!(
            same_context("p", &of(Some(4096)), &of(Some(8192))).outcome,
            Outcome::Fail
        );
        assert_eq!(
            same_context("p", &of(None), &of(Some(8192))).outcome,
            Outcome::Unknown
        );
    }

    #[test]
    fn what_is_loaded_is_read_as_ollama_writes_it() {
        let body =
            json!({ "models": [{ "name": "tiny:latest", "context_length": 4096, "size": 1 }] });
        let loaded: Loaded = serde_json::from_value(body).unwrap();
        assert_eq!(loaded.models[0].context_length, Some(4096));
        assert!(is_same_name("tiny:latest", "tiny") && !is_same_name("tiny:1b", "tiny"));
    }
}
