use std::time::Duration;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{RunError, spawn::Server};
use crate::{
    client::Client,
    memory::{Origin, ProcessTree, Unobservable},
    plan::{Api, Processes, TargetPlan},
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
    /// How they were started, those that ran at any time.
    pub origin: Origin,
    /// The server itself, if loadgen started it.
    pub server: Option<Server>,
    /// How long that took, once it has been stopped.
    pub start_to_ready: Option<Duration>,
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

/// Meets a target before the measurement; starts it first if that is loadgen's to do.
pub(super) async fn target(plan: &TargetPlan, timeout: Duration) -> Result<Target, RunError> {
    #[derive(Deserialize)]
    struct Tags {
        models: Vec<Model>,
    }
    let client = Client::new(plan.url.clone(), timeout)?;
    let server = match &plan.spawn {
        Some(command) => {
            if client.get(versions(plan.api)[0]).await.status.is_some() {
                return Err(RunError::Occupied {
                    name: plan.name.clone(),
                    url: plan.url.to_string(),
                    command: command.clone(),
                });
            }
            Some(started(plan, &client).await?)
        }
        None => None,
    };
    let first = client.get(versions(plan.api)[0]).await;
    if let (None, Some(failure)) = (first.status, first.failure) {
        return Err(RunError::Unreachable {
            name: plan.name.clone(),
            url: plan.url.to_string(),
            cause: failure.to_string(),
        });
    }
    let models = match plan.api {
        Api::Ollama => get::<Tags>(&client, "/api/tags")
            .await
            .map(|reply| reply.models),
        Api::Openai | Api::Tei => None,
    };
    Ok(Target {
        version: version(plan.api, &client).await,
        models,
        processes: processes(plan, server.as_ref()),
        origin: Origin::default(),
        client,
        server,
        start_to_ready: None,
    })
}

/// Starts the server of a target that has a command for it.
pub(super) async fn started(plan: &TargetPlan, client: &Client) -> Result<Server, RunError> {
    let command = plan.spawn.as_deref().unwrap_or_default();
    Server::start(command, client, versions(plan.api)[0])
        .await
        .map_err(|cause| RunError::NotStarted {
            name: plan.name.clone(),
            command: command.into(),
            cause,
        })
}

/// Whose memory is the target's.
pub(super) fn processes(
    plan: &TargetPlan,
    server: Option<&Server>,
) -> Result<ProcessTree, Unobservable> {
    match (server, &plan.processes) {
        (Some(server), _) => ProcessTree::of(server.pid()),
        (None, Processes::Port) => ProcessTree::behind(&plan.url),
        (None, Processes::Id(pid)) => ProcessTree::of(*pid),
        (None, Processes::Cgroup(path)) => ProcessTree::in_cgroup(path),
    }
}

/// Where servers of this kind say which version they are; the first is also how one looks whether anybody is there.
fn versions(api: Api) -> &'static [&'static str] {
    match api {
        Api::Ollama => &["/api/version"],
        // vLLM's; llama-server's; and a server of Ollama's kind spoken to in this dialect.
        Api::Openai => &["/version", "/props", "/api/version"],
        Api::Tei => &["/info"],
    }
}

/// What the server says its version is; `None` when it does not.
async fn version(api: Api, client: &Client) -> Option<String> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(alias = "build_info")]
        version: String,
    }
    for path in versions(api) {
        if let Some(told) = get::<Told>(client, path).await {
            return Some(told.version);
        }
    }
    None
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
