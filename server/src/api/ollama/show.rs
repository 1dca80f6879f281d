//! POST `/api/show`: everything about one model.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::details::{DetailsRecord, capabilities};
use crate::api::json::{Fields, FromJson, Json, Mismatch};
use crate::api::openapi::About;
use crate::api::reference::{CloudUse, ModelRef};
use crate::api::{App, Error, reply, time};
use crate::store::gguf::{self, Arrays, Gguf, Tensor};
use crate::store::{Message, Model, Name, Store, StoreError, Weights, modelfile};

/// This client shows `general.basename` and means the model's name.
const COPILOT: &str = "GitHubCopilotChat/";

/// Metadata that has its own place in the reply.
const SHOWN_ELSEWHERE: [&str; 2] = ["general.name", "tokenizer.chat_template"];

/// The body.
#[derive(Default)]
pub struct ShowRequest {
    model: String,
    system: String,
    verbose: bool,
}

#[derive(Serialize, ToSchema)]
struct Show {
    #[serde(skip_serializing_if = "String::is_empty")]
    license: String,
    modelfile: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    parameters: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    system: String,
    details: DetailsRecord,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "String::is_empty")]
    remote_model: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remote_host: String,
    /// Clients require it, so it is there even when nothing is known.
    model_info: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    projector_info: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tensors: Vec<TensorRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capabilities: Vec<&'static str>,
    modified_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    requires: String,
}

#[derive(Serialize, ToSchema)]
struct TensorRecord {
    name: String,
    r#type: String,
    shape: Vec<u64>,
}

impl FromJson for ShowRequest {
    const GO_TYPE: &'static str = "ShowRequest";

    fn from_json(value: Value) -> Result<Self, Mismatch> {
        let mut fields = Fields::of(Self::GO_TYPE, value)?;
        Ok(Self {
            model: fields.take_name()?,
            system: fields.take("system")?,
            verbose: fields.take("verbose")?,
        })
    }
}

/// For the document.
#[must_use]
pub fn about() -> About {
    About::new("Tell everything about a model")
        .takes::<ShowRequest>()
        .gives::<Show>()
}

/// The model as it is told.
pub async fn show(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Json(request): Json<ShowRequest>,
) -> Result<Response, Error> {
    if request.model.is_empty() {
        return Err(Error::BadRequest("model is required".into()));
    }
    let name: Name = ModelRef::parse(&request.model)?
        .local(CloudUse::Details)?
        .parse()?;
    let is_copilot = headers
        .get(header::USER_AGENT)
        .is_some_and(|agent| agent.as_bytes().starts_with(COPILOT.as_bytes()));
    let typed = request.model.clone();
    let mut show = app
        .with_store(move |store| Show::of(store, &name, &request))
        .await?;
    if !show.remote_host.is_empty() {
        return Err(CloudUse::Details.refusal());
    }
    if is_copilot {
        show.model_info
            .insert("general.basename".into(), typed.into());
    }
    Ok(reply::json(StatusCode::OK, &show))
}

impl Show {
    fn of(store: &Store, name: &Name, request: &ShowRequest) -> Result<Self, StoreError> {
        let model = store.model(name)?;
        let arrays = if request.verbose {
            Arrays::Keep
        } else {
            Arrays::Skip
        };
        let mut projector_info = Map::new();
        let (model_info, tensors) = match &model.weights {
            Weights::Gguf {
                model: file,
                projectors,
                ..
            } => {
                if let Some(projector) = projectors.first() {
                    projector_info = gguf_info(&store.gguf(&projector.digest, arrays)?);
                }
                let gguf = store.gguf(&file.digest, arrays)?;
                let tensors = gguf.tensors.iter().map(TensorRecord::of).collect();
                (gguf_info(&gguf), tensors)
            }
            Weights::Onnx { .. } | Weights::Other => (plain_info(&model), Vec::new()),
        };
        let system = if request.system.is_empty() {
            model.system.clone().unwrap_or_default()
        } else {
            request.system.clone()
        };
        Ok(Self {
            license: model.licenses.join("\n"),
            modelfile: modelfile::show(&model),
            parameters: model.parameters.to_string(),
            template: model.chosen_template().map(str::to_owned),
            system,
            details: DetailsRecord::shown(&model.details),
            messages: model.messages.clone(),
            remote_model: model.config.remote_model.clone(),
            remote_host: model.config.remote_host.clone(),
            model_info,
            projector_info,
            tensors,
            capabilities: capabilities(&model),
            modified_at: time::local(model.modified),
            requires: model.config.requires.clone(),
        })
    }
}

impl TensorRecord {
    fn of(tensor: &Tensor) -> Self {
        Self {
            name: tensor.name.clone(),
            r#type: tensor.kind.to_string(),
            shape: tensor.shape.clone(),
        }
    }
}

fn gguf_info(gguf: &Gguf) -> Map<String, Value> {
    let shown = gguf
        .metadata
        .iter()
        .filter(|(key, _)| !SHOWN_ELSEWHERE.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), json_of(value)));
    let mut info: Map<String, Value> = shown.collect();
    let count = gguf.parameter_count();
    info.insert("general.parameter_count".into(), count.into());
    info
}

/// What clients look for, of a model whose file has no metadata of this kind.
fn plain_info(model: &Model) -> Map<String, Value> {
    let details = &model.details;
    let family = &details.family;
    let mut info = Map::new();
    info.insert("general.architecture".into(), family.as_str().into());
    for (key, length) in [
        ("context_length", details.context_length),
        ("embedding_length", details.embedding_length),
    ] {
        if let Some(length) = length {
            info.insert(format!("{family}.{key}"), length.into());
        }
    }
    info
}

fn json_of(value: &gguf::Value) -> Value {
    match value {
        gguf::Value::Unsigned(number) => (*number).into(),
        gguf::Value::Signed(number) => (*number).into(),
        gguf::Value::Float32(number) => (*number).into(),
        gguf::Value::Float64(number) => (*number).into(),
        gguf::Value::Bool(value) => (*value).into(),
        gguf::Value::Text(text) => text.as_str().into(),
        gguf::Value::Array { values: None, .. } => Value::Null,
        gguf::Value::Array {
            values: Some(values),
            ..
        } => values.iter().map(json_of).collect(),
    }
}
