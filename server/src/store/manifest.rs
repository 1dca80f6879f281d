//! Manifests and configuration blobs, in the JSON that Ollama writes and reads.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Digest, RelativeName};

const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG_TYPE: &str = "application/vnd.docker.container.image.v1+json";
const OLLAMA_PREFIX: &str = "application/vnd.ollama.image.";
const CHASKI_PREFIX: &str = "application/vnd.chaski.image.";

/// What a model is made of: its configuration and its layers, each a blob.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    media_type: String,
    /// The blob that holds a [`Config`].
    pub config: Layer,
    /// Weights first, then texts and settings.
    #[serde(default, deserialize_with = "null_is_none")]
    pub layers: Vec<Layer>,
}

/// One blob and what it is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// What the blob holds.
    #[serde(rename = "mediaType")]
    pub kind: LayerKind,
    /// Which blob.
    pub digest: Digest,
    /// The blob's length in bytes.
    pub size: u64,
    /// The model this layer was taken from, when it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The file's name inside an ONNX model.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient_name"
    )]
    pub name: Option<RelativeName>,
}

/// What a layer holds, by its media type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LayerKind {
    /// The model's [`Config`].
    Config,
    /// GGUF weights.
    Model,
    /// A GGUF vision or audio projector.
    Projector,
    /// A GGUF LoRA adapter.
    Adapter,
    /// A GGUF draft model.
    Draft,
    /// A Go template that renders prompts.
    Template,
    /// The system message.
    System,
    /// A JSON object of parameters.
    Parameters,
    /// A JSON array of messages that open every chat.
    Messages,
    /// A licence's text.
    License,
    /// The ONNX graph.
    OnnxGraph,
    /// A file beside the ONNX graph: tokenizer, configuration, external data.
    OnnxFile,
    /// What our own engine made of the ONNX graph, to be loaded in its place.
    OnnxEncoder,
    /// A layer this version has no use for; kept as it is.
    Other(String),
}

/// The configuration blob: what can be told about a model without opening its weights.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    /// `gguf`, `onnx` or, in stores that Ollama wrote, `safetensors`.
    #[serde(default)]
    pub model_format: String,
    /// The architecture, like `llama` or `bert`.
    #[serde(default)]
    pub model_family: String,
    /// All architectures involved; Ollama writes `null` for none.
    #[serde(default)]
    pub model_families: Option<Vec<String>>,
    /// The parameter count as people read it, like `1.2B`.
    #[serde(default)]
    pub model_type: String,
    /// The quantisation, like `Q8_0`.
    #[serde(default)]
    pub file_type: String,
    /// The built-in prompt renderer to use instead of a template.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub renderer: String,
    /// The built-in parser of the model's output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub parser: String,
    /// The oldest Ollama version that can run the model; shown, not enforced.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub requires: String,
    /// The host that runs a model which has no weights here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remote_host: String,
    /// The model's name on that host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remote_model: String,
    /// What the model can do, when its weights cannot tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// The longest context in tokens the model was trained for; 0 is unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub context_length: u64,
    /// The width of the model's vectors; 0 is unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub embedding_length: u64,
    /// The model this one was derived from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub base_name: String,
    /// What is told of a draft model in the same manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<Draft>,
    /// Always `amd64`: the field is required by the image format and means nothing here.
    #[serde(default)]
    architecture: String,
    /// Always `linux`, for the same reason.
    #[serde(default)]
    os: String,
}

/// A small model that guesses what a large one will say, for speculation.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Draft {
    /// `gguf` or `safetensors`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model_format: String,
    /// The architecture.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub architecture: String,
    /// Whatever else Ollama tells of it.
    #[serde(flatten)]
    pub more: BTreeMap<String, String>,
}

impl Manifest {
    pub(super) fn new(config: Layer, layers: Vec<Layer>) -> Self {
        Self {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            config,
            layers,
        }
    }

    /// The manifest of these bytes, or why there is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        if manifest.schema_version == 2 {
            Ok(manifest)
        } else {
            Err(de::Error::custom(format_args!(
                "schema version {} is not 2",
                manifest.schema_version
            )))
        }
    }

    /// The bytes Ollama would write, final newline included; their digest is the model's identity.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_json_line(self)
    }

    /// Every blob the model needs, its configuration included.
    pub fn blobs(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().chain([&self.config])
    }

    /// The names of [`Manifest::blobs`].
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.blobs().map(|layer| layer.digest)
    }

    /// The layers of one kind, in order.
    pub fn layers_of(&self, kind: LayerKind) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(move |layer| layer.kind == kind)
    }

    /// What the model takes on the disk, in bytes, counting shared blobs too.
    pub fn size(&self) -> u64 {
        self.blobs()
            .fold(0, |sum, layer| sum.saturating_add(layer.size))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model_format: String::new(),
            model_family: String::new(),
            model_families: None,
            model_type: String::new(),
            file_type: String::new(),
            renderer: String::new(),
            parser: String::new(),
            requires: String::new(),
            remote_host: String::new(),
            remote_model: String::new(),
            capabilities: Vec::new(),
            context_length: 0,
            embedding_length: 0,
            base_name: String::new(),
            draft: None,
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
        }
    }
}

impl LayerKind {
    fn parse(media_type: &str) -> Self {
        let kind = match media_type.strip_prefix(OLLAMA_PREFIX) {
            Some("model") => Some(Self::Model),
            Some("projector") => Some(Self::Projector),
            Some("adapter") => Some(Self::Adapter),
            Some("draft") => Some(Self::Draft),
            // "prompt" is what the oldest stores call a template.
            Some("template" | "prompt") => Some(Self::Template),
            Some("system") => Some(Self::System),
            Some("params") => Some(Self::Parameters),
            Some("messages") => Some(Self::Messages),
            Some("license") => Some(Self::License),
            _ => None,
        };
        kind.unwrap_or_else(|| match media_type.strip_prefix(CHASKI_PREFIX) {
            Some("onnx") => Self::OnnxGraph,
            Some("file") => Self::OnnxFile,
            Some("encoder") => Self::OnnxEncoder,
            _ if media_type == CONFIG_TYPE => Self::Config,
            _ => Self::Other(media_type.to_owned()),
        })
    }
}

impl fmt::Display for LayerKind {
    /// The media type.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, kind) = match self {
            Self::Config => (CONFIG_TYPE, ""),
            Self::Model => (OLLAMA_PREFIX, "model"),
            Self::Projector => (OLLAMA_PREFIX, "projector"),
            Self::Adapter => (OLLAMA_PREFIX, "adapter"),
            Self::Draft => (OLLAMA_PREFIX, "draft"),
            Self::Template => (OLLAMA_PREFIX, "template"),
            Self::System => (OLLAMA_PREFIX, "system"),
            Self::Parameters => (OLLAMA_PREFIX, "params"),
            Self::Messages => (OLLAMA_PREFIX, "messages"),
            Self::License => (OLLAMA_PREFIX, "license"),
            Self::OnnxGraph => (CHASKI_PREFIX, "onnx"),
            Self::OnnxFile => (CHASKI_PREFIX, "file"),
            Self::OnnxEncoder => (CHASKI_PREFIX, "encoder"),
            Self::Other(media_type) => (media_type.as_str(), ""),
        };
        write!(formatter, "{prefix}{kind}")
    }
}

impl Serialize for LayerKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LayerKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&String::deserialize(deserializer)?))
    }
}

/// JSON as Go's encoder ends it, with a newline.
pub(super) fn to_json_line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value)
        .expect("maps here have string keys and serializers that cannot fail");
    bytes.push(b'\n');
    bytes
}

/// Ollama names tensors in this field with letters our files may not have; such a name is of no use here.
fn lenient_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<RelativeName>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|name| name.parse().ok()))
}

/// Go writes an empty list as `null`; models that run elsewhere have no layers.
fn null_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Layer>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
