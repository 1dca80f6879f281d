//! POST `/api/create`: a model from another one or from uploaded files.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

use super::base;
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::openapi::{About, NDJSON};
use crate::api::reference::{CloudUse, ModelRef};
use crate::api::{App, Error, reply};
use crate::prompt::{PromptError, Template};
use crate::registry;
use crate::store::{
    CreateModel, Digest, Message, Name, Parameters, Progress, RelativeName, StoreError,
};

/// Progress lines that may wait for a slow reader; further ones are not told.
const MAX_WAITING_LINES: usize = 256;

/// What Ollama's clients need to see a bar: a digest of something that has none yet.
const NO_DIGEST: &str = "0000000000000000000";

/// The body.
#[derive(Default)]
pub struct CreateRequest {
    model: String,
    stream: Option<bool>,
    from: String,
    files: Option<Map<String, Value>>,
    adapters: Option<Map<String, Value>>,
    draft_files: Map<String, Value>,
    quantize: String,
    draft_quantize: String,
    info: Map<String, Value>,
    template: String,
    license: Value,
    system: String,
    parameters: Map<String, Value>,
    messages: Vec<MessageField>,
    renderer: String,
    parser: String,
    requires: String,
    remote_host: String,
}

struct MessageField(Message);

#[derive(Serialize, ToSchema)]
struct Status {
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<u64>,
}

/// What making the model tells: progress, then how it ended.
enum Told {
    Progress(Status),
    Ended(Result<Digest, Error>),
}

impl FromJson for CreateRequest {
    const GO_TYPE: &'static str = "CreateRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        let quantize: String = fields.take("quantize")?;
        let quantization: String = fields.take("quantization")?;
        Ok(Self {
            model: fields.take_name()?,
            stream: fields.take("stream")?,
            from: fields.take("from")?,
            files: fields.take("files")?,
            adapters: fields.take("adapters")?,
            draft_files: fields.take("draft_files")?,
            draft_quantize: fields.take("draft_quantize")?,
            info: fields.take("info")?,
            quantize: if quantize.is_empty() {
                quantization
            } else {
                quantize
            },
            template: fields.take("template")?,
            license: fields.take("license")?,
            system: fields.take("system")?,
            parameters: fields.take("parameters")?,
            messages: fields.take("messages")?,
            renderer: fields.take("renderer")?,
            parser: fields.take("parser")?,
            requires: fields.take("requires")?,
            remote_host: fields.take("remote_host")?,
        })
    }
}

impl Default for MessageField {
    fn default() -> Self {
        Self(Message {
            role: String::new(),
            content: String::new(),
        })
    }
}

impl FromJson for MessageField {
    const GO_TYPE: &'static str = "Message";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self(Message {
            role: fields.take::<String>("role")?.to_lowercase(),
            content: fields.take("content")?,
        }))
    }
}

/// The work on a model, which ends when nobody waits for it any more.
struct Work(JoinHandle<()>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// For the document.
#[must_use]
pub fn about() -> About {
    About::new("Make a model from another one or from uploaded files")
        .takes::<CreateRequest>()
        .gives_or_streams::<Status>(NDJSON)
}

/// Makes the model and tells how it goes. It is given up when the caller leaves.
pub async fn create(
    State(app): State<Arc<App>>,
    Json(request): Json<CreateRequest>,
) -> Result<Response, Error> {
    let is_streaming = request.stream.unwrap_or(true);
    let request = request.meant()?;
    let (sender, mut told) = mpsc::channel(MAX_WAITING_LINES + 1);
    let progress = sender.clone();
    let tell = move |line| {
        // One place is left for the end, and a line that nobody waits for may be lost.
        if progress.capacity() > 1 {
            let _ = progress.try_send(Told::Progress(line));
        }
    };
    let work = Work(tokio::spawn(async move {
        let result = make(&app, request, tell).await;
        let _ = sender.try_send(Told::Ended(result));
    }));
    // Whatever is refused before anything has happened has an honest status.
    let first = told.recv().await;
    if let Some(Told::Ended(Err(error))) = first {
        return Err(error);
    }
    let lines = stream::iter(first)
        .chain(ReceiverStream::new(told))
        .map(move |told| {
            let _while_heard = &work;
            match told {
                Told::Progress(status) => Ok(status),
                Told::Ended(Ok(_)) => Ok(Status::of(Progress::Success)),
                Told::Ended(Err(error)) => Err(error),
            }
        });
    if is_streaming {
        return Ok(reply::ndjson(lines));
    }
    let last = lines.fold(None, |_, line| async { Some(line) }).await;
    let panicked = || Error::Failed("the work on the model ended unexpectedly".into());
    let last = last.ok_or_else(panicked)??;
    Ok(reply::json(StatusCode::OK, &last))
}

/// Makes the model, of one that may have to be pulled first.
async fn make(
    app: &App,
    request: CreateModel,
    tell: impl Fn(Status) + Clone + Send + Sync + 'static,
) -> Result<Digest, Error> {
    // What runs on another host is not fetched from it.
    let base = request
        .from
        .clone()
        .filter(|_| request.remote_host.is_none());
    if let Some(base) = base {
        base::fetch(app, base, |progress| tell(Status::of_pull(&progress))).await?;
    }
    let told = Arc::new(move |progress| {
        // That it has succeeded is told once it is true.
        if progress != Progress::Success {
            tell(Status::of(progress));
        }
    });
    Ok(app.making.create(request, told).await?)
}

impl CreateRequest {
    /// What is asked for, as the store understands it.
    fn meant(self) -> Result<CreateModel, Error> {
        let mut meant = CreateModel::new(self.model.parse()?);
        meant.drafts = blobs(self.draft_files)?;
        match (self.draft_quantize.is_empty(), meant.drafts.is_empty()) {
            (true, _) => {}
            (false, true) => {
                let text = "--draft-quantize requires a DRAFT model";
                return Err(Error::BadRequest(text.into()));
            }
            (false, false) => {
                let text = "quantizing draft models is not supported";
                return Err(Error::NotImplemented(text.into()));
            }
        }
        meant.remote_host = optional(self.remote_host)
            .map(|host| super::remote::url(&host))
            .transpose()?;
        meant.info = super::create_info::info(&self.info)?;
        let is_remote = meant.remote_host.is_some();
        meant.from = optional(self.from)
            .map(|from| match ModelRef::parse(&from)? {
                reference if is_remote => Ok(reference.base),
                reference => reference.local(CloudUse::Inference),
            })
            .transpose()?
            .map(|from| from.parse::<Name>())
            .transpose()?;
        // An empty list of files is a list of files of no known type.
        let given = [&self.files, &self.adapters];
        if given
            .iter()
            .any(|files| files.as_ref().is_some_and(Map::is_empty))
        {
            return Err(Error::BadRequest("unknown type".into()));
        }
        meant.files = blobs(self.files.unwrap_or_default())?;
        meant.adapters = blobs(self.adapters.unwrap_or_default())?;
        meant.quantize = optional(self.quantize)
            .map(|name| name.parse())
            .transpose()?;
        meant.template = optional(self.template)
            .map(|template| checked(&template).map(|()| template))
            .transpose()?;
        meant.system = optional(self.system);
        meant.licenses = licenses(self.license)?;
        meant.parameters = Parameters::from_json(&self.parameters)?;
        meant.messages = self.messages.into_iter().map(|field| field.0).collect();
        meant.renderer = optional(self.renderer);
        meant.parser = optional(self.parser);
        meant.requires = optional(self.requires);
        Ok(meant)
    }
}

/// Refuses a template that is none.
fn checked(template: &str) -> Result<(), Error> {
    match Template::go(template) {
        Ok(_) => Ok(()),
        Err(PromptError::Go(what)) => Err(Error::BadRequest(format!("template error: {what}"))),
        Err(other) => Err(Error::BadRequest(other.to_string())),
    }
}

fn optional(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn blobs(files: Map<String, Value>) -> Result<BTreeMap<RelativeName, Digest>, Error> {
    files
        .into_iter()
        .map(|(name, digest)| {
            let digest = digest.as_str().ok_or(StoreError::InvalidDigest)?;
            Ok((name.parse()?, digest.parse()?))
        })
        .collect()
}

/// One text or several.
fn licenses(license: Value) -> Result<Vec<String>, Error> {
    let wrong = || Error::BadRequest("license must be a string or a list of strings".into());
    match license {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(optional(text).into_iter().collect()),
        Value::Array(items) => items
            .into_iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect(),
        _ => Err(wrong()),
    }
}

impl Status {
    fn of_pull(progress: &registry::Progress) -> Self {
        let moved = progress.moved();
        Self {
            status: progress.to_string(),
            digest: moved.map(|moved| moved.digest.to_string()),
            total: moved.map(|moved| moved.total),
            completed: moved.map(|moved| moved.completed),
        }
    }

    fn of(progress: Progress) -> Self {
        let amounts = match progress {
            Progress::Quantizing {
                completed, total, ..
            }
            | Progress::Merging { completed, total } => Some((completed, total)),
            _ => None,
        };
        Self {
            status: progress.to_string(),
            digest: amounts.map(|_| NO_DIGEST.to_owned()),
            total: amounts.map(|(_, total)| total),
            completed: amounts.map(|(completed, _)| completed),
        }
    }
}
