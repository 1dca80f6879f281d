use std::time::Duration;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::RunError;
use crate::{
    client::Client,
    memory::{ProcessTree, Unobservable},
    plan::{Api, TargetPlan},
};

/// A server that answers, and what it says of itself.
#[derive(Debug)]
pub struct Target {
    /// Its connections.
    pub client: Client,
    /// From `/api/version`; `None` when it does not say.
    pub version: Option<String>,
    /// From `/api/tags`; `None` when it does not say.
    pub models: Option<Vec<Model>>,
    /// The processes whose memory is its memory.
    pub processes: Result<ProcessTree, Unobservable>,
}

/// A model as a server lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Model {
    /// With its tag, such as `tiny:latest`.
    pub name: String,
    /// Bytes of its files.
    #[serde(rename(deserialize = "size", serialize = "bytes"))]
    pub bytes: u64,
    /// What its files are; equal digests are equal models, if both servers compute them alike.
    #[serde(default)]
    pub digest: String,
}

/// Meets a target before the measurement.
pub(super) async fn target(plan: &TargetPlan, timeout: Duration) -> Result<Target, RunError> {
    #[derive(Deserialize)]
    struct Version {
        version: String,
    }
    #[derive(Deserialize)]
    struct Tags {
        models: Vec<Model>,
    }
    let client = Client::new(plan.url.clone(), timeout)?;
    let (version, names_models) = match plan.api {
        Api::Ollama => ("/api/version", true),
        Api::Openai => ("/version", false),
        Api::Tei => ("/info", false),
    };
    let first = client.get(version).await;
    if let (None, Some(failure)) = (first.status, first.failure) {
        return Err(RunError::Unreachable {
            name: plan.name.clone(),
            url: plan.url.to_string(),
            cause: failure.to_string(),
        });
    }
    let version = get::<Version>(&client, version)
        .await
        .map(|reply| reply.version);
    let models = match names_models {
        true => get::<Tags>(&client, "/api/tags")
            .await
            .map(|reply| reply.models),
        false => None,
    };
    Ok(Target {
        version,
        models,
        processes: match plan.pid {
            Some(pid) => ProcessTree::of(pid),
            None => ProcessTree::behind(&plan.url),
        },
        client,
    })
}

impl Target {
    /// The listed model that `name` means: a name without a tag means `latest`.
    pub fn model(&self, name: &str) -> Option<&Model> {
        let tagged = |name: &str| {
            if name.contains(':') {
                name.to_owned()
            } else {
                format!("{name}:latest")
            }
        };
        self.models
            .as_ref()?
            .iter()
            .find(|model| tagged(&model.name) == tagged(name))
    }

    /// The models in memory now, with the size of their files; `None` when the target does not say, or names one that
    /// it does not list.
    pub(super) async fn loaded(&self) -> Option<Vec<Model>> {
        #[derive(Deserialize)]
        struct Loaded {
            models: Vec<Name>,
        }
        #[derive(Deserialize)]
        struct Name {
            name: String,
        }
        let loaded = get::<Loaded>(&self.client, "/api/ps").await?;
        loaded
            .models
            .iter()
            .map(|model| self.model(&model.name).cloned())
            .collect()
    }
}

async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Option<T> {
    let exchange = client.get(path).await;
    if exchange.status != Some(StatusCode::OK) || exchange.failure.is_some() {
        return None;
    }
    serde_json::from_slice(&exchange.body()).ok()
}
