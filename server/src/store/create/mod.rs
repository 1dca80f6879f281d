//! Making a model: from another one or from files that were uploaded, with texts and settings around the weights.

mod files;
mod quantization;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

pub use self::quantization::Quantization;
pub use self::steps::Step;
use super::lock::Lock;
use super::manifest::{Layer, LayerKind, to_json_line};
use super::model::MAX_TEXT_BYTES;
use super::{Config, Digest, Manifest, Message, Name, Parameters, RelativeName, Store, StoreError};

/// What is to be made. Texts that are `None` or empty, and lists that are empty, keep what `from` has.
#[derive(Clone, Debug)]
pub struct CreateModel {
    /// The new model; one of that name is replaced.
    pub name: Name,
    /// A model in the store to build on.
    pub from: Option<Name>,
    /// Uploaded blobs by file name: one GGUF file or its parts, perhaps with its projector, or the files of an ONNX or
    /// Hugging Face folder.
    pub files: BTreeMap<RelativeName, Digest>,
    /// An uploaded LoRA adapter: a GGUF file or the files of a PEFT folder.
    pub adapters: BTreeMap<RelativeName, Digest>,
    /// What the model's numbers are to become.
    pub quantize: Option<Quantization>,
    /// The GGUF model to use in the place of the one that `from` or `files` have: the same, quantised.
    pub weights: Option<Digest>,
    /// Whether an ONNX model is to be loaded as our own engine's encoder.
    pub encoder: EncoderWish,
    /// An uploaded GGUF draft model; kept with the model, and not used to speculate yet.
    pub drafts: BTreeMap<RelativeName, Digest>,
    /// The host that runs the model `from`, which then need not be here.
    pub remote_host: Option<String>,
    /// What lists are to show in the place of what the weights say.
    pub info: Info,
    /// A Go template.
    pub template: Option<String>,
    /// A system message.
    pub system: Option<String>,
    /// Licences, which come after the inherited ones: what a model is built on stays under its own.
    pub licenses: Vec<String>,
    /// Parameters; each replaces the inherited one of its name.
    pub parameters: Parameters,
    /// Messages; given ones replace all inherited ones.
    pub messages: Vec<Message>,
    /// A built-in renderer's name.
    pub renderer: Option<String>,
    /// A built-in parser's name.
    pub parser: Option<String>,
    /// The oldest Ollama version that can run the model.
    pub requires: Option<String>,
}

/// Whether an ONNX model gets what our own engine makes of its graph.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum EncoderWish {
    /// It does not; one that it inherits stays.
    #[default]
    No,
    /// It does, if one can be made.
    Wanted,
    /// It was made.
    Made(Digest),
}

/// What a request says of a model that its weights may say otherwise. Texts that are empty and numbers that are `None`
/// leave it to the weights.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Info {
    /// What it can do; added to what it inherits.
    pub capabilities: Vec<String>,
    /// The architecture.
    pub model_family: String,
    /// The model it was derived from.
    pub base_name: String,
    /// The quantisation, like `Q8_0`.
    pub quantization_level: String,
    /// The parameter count as people read it, like `1.2B`.
    pub parameter_size: String,
    /// The longest context in tokens.
    pub context_length: Option<u64>,
    /// The width of vectors.
    pub embedding_length: Option<u64>,
}

/// How far [`Store::create`] has come; the text is Ollama's status line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// A GGUF file is being checked.
    ParsingGguf,
    /// An ONNX graph and the files around it are being checked.
    ValidatingOnnx,
    /// A folder of safetensors becomes a GGUF file.
    ConvertingModel,
    /// A PEFT adapter becomes a GGUF file.
    ConvertingAdapter,
    /// The parts of a GGUF file become one.
    Merging {
        /// Bytes written.
        completed: u64,
        /// Bytes to be written.
        total: u64,
    },
    /// A model's numbers get other encodings.
    Quantizing {
        /// Their encoding.
        from: &'static str,
        /// What it becomes.
        to: Quantization,
        /// Bytes of the old model that are done.
        completed: u64,
        /// All bytes of the old model.
        total: u64,
    },
    /// An ONNX graph's weights are being rounded to 8 bits, and the result is compared with the graph's.
    MakingEncoder,
    /// How well the two agree: well enough to take the place of the graph.
    EncoderMade(String),
    /// Why the graph stays in its place.
    NoEncoder(String),
    /// What was made is being read again.
    Verifying,
    /// A blob that was there becomes part of the model.
    UsingLayer(Digest),
    /// A blob was made for the model.
    CreatingLayer(Digest),
    /// All blobs are there.
    WritingManifest,
    /// The model is there, and survives a power loss.
    Success,
}

impl CreateModel {
    /// A request for a model of that name, made of nothing yet.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            from: None,
            files: BTreeMap::new(),
            adapters: BTreeMap::new(),
            quantize: None,
            weights: None,
            encoder: EncoderWish::No,
            drafts: BTreeMap::new(),
            remote_host: None,
            info: Info::default(),
            template: None,
            system: None,
            licenses: Vec::new(),
            parameters: Parameters::default(),
            messages: Vec::new(),
            renderer: None,
            parser: None,
            requires: None,
        }
    }
}

impl Store {
    /// Makes a model and returns its identity. Blobs that only a replaced model needed are deleted.
    ///
    /// `progress` is called while the store is locked and so must not wait for anyone.
    pub fn create(
        &self,
        request: &CreateModel,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Digest, StoreError> {
        let lock = self.lock()?;
        let manifest = self.assemble(&lock, request, progress)?;
        progress(Progress::WritingManifest);
        let id = self.commit_locked(&lock, &request.name, &manifest)?;
        progress(Progress::Success);
        Ok(id)
    }

    /// Everything but the manifest's being written.
    pub(super) fn assemble(
        &self,
        lock: &Lock,
        request: &CreateModel,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Manifest, StoreError> {
        request.check()?;
        let mut assembly = Assembly {
            store: self,
            lock,
            progress,
            layers: Vec::new(),
            config: Config::default(),
        };
        match (&request.from, &request.remote_host) {
            (Some(model), Some(host)) => {
                host.clone_into(&mut assembly.config.remote_host);
                assembly.config.remote_model = model.to_string();
            }
            (Some(base), None) => assembly.inherit(base)?,
            (None, _) => assembly.add_files(&request.files)?,
        }
        if let Some(weights) = request.weights {
            assembly.exchange_model(weights)?;
        }
        if let EncoderWish::Made(encoder) = request.encoder {
            assembly.add_encoder(encoder)?;
        }
        assembly.add_adapters(&request.adapters)?;
        assembly.add_drafts(&request.drafts)?;
        assembly.inform(&request.info);
        assembly.surround(request)?;
        assembly.finish()
    }
}

impl CreateModel {
    fn check(&self) -> Result<(), StoreError> {
        let invalid = |text: &str| Err(StoreError::InvalidRequest(text.to_owned()));
        if self.from.is_none() && self.files.is_empty() {
            return invalid("neither 'from' or 'files' was specified");
        }
        if self.from.is_some() && !self.files.is_empty() {
            return invalid("'from' and 'files' cannot be given together");
        }
        let is_folder = |name: &RelativeName| name.as_str().ends_with(".safetensors");
        if self.adapters.len() > 1 && !self.adapters.keys().any(is_folder) {
            return invalid("only one adapter is currently supported");
        }
        if self.remote_host.is_some() && !self.drafts.is_empty() {
            return invalid("DRAFT cannot be used with remote models");
        }
        let is_known =
            |message: &Message| matches!(message.role.as_str(), "system" | "user" | "assistant");
        if !self.messages.iter().all(is_known) {
            return invalid("message role must be one of \"system\", \"user\", or \"assistant\"");
        }
        Ok(())
    }
}

/// A model in the making.
struct Assembly<'a> {
    store: &'a Store,
    lock: &'a Lock,
    progress: &'a mut dyn FnMut(Progress),
    layers: Vec<Layer>,
    config: Config,
}

impl Assembly<'_> {
    fn inherit(&mut self, base: &Name) -> Result<(), StoreError> {
        let entry = self.store.entry(base)?;
        self.config = self.store.read_config(&entry.manifest.config)?;
        for mut layer in entry.manifest.layers {
            (self.progress)(Progress::UsingLayer(layer.digest));
            layer.from = Some(entry.name.to_string());
            self.layers.push(layer);
        }
        Ok(())
    }

    /// What the request says of the model goes before what its weights say.
    fn inform(&mut self, info: &Info) {
        let config = &mut self.config;
        config
            .capabilities
            .extend(info.capabilities.iter().cloned());
        for (setting, text) in [
            (&mut config.model_family, &info.model_family),
            (&mut config.base_name, &info.base_name),
            (&mut config.file_type, &info.quantization_level),
            (&mut config.model_type, &info.parameter_size),
        ] {
            if !text.is_empty() {
                text.clone_into(setting);
            }
        }
        if !info.model_family.is_empty() {
            config.model_families = Some(vec![info.model_family.clone()]);
        }
        config.context_length = info.context_length.unwrap_or(config.context_length);
        config.embedding_length = info.embedding_length.unwrap_or(config.embedding_length);
    }

    /// Texts and settings, in Ollama's order.
    fn surround(&mut self, request: &CreateModel) -> Result<(), StoreError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(template) = given(&request.template) {
            self.replace(LayerKind::Template, template.as_bytes())?;
        }
        if let Some(system) = given(&request.system) {
            self.replace(LayerKind::System, system.as_bytes())?;
        }
        for license in &request.licenses {
            self.add(LayerKind::License, license.as_bytes())?;
        }
        if !request.parameters.is_empty() {
            let inherited = self
                .layers
                .iter()
                .rfind(|layer| layer.kind == LayerKind::Parameters);
            let mut parameters = match inherited {
                Some(layer) => self.store.read_parameters(layer)?,
                None => Parameters::default(),
            };
            parameters.merge(request.parameters.clone());
            self.replace(LayerKind::Parameters, &to_json_line(&parameters))?;
        }
        if !request.messages.is_empty() {
            self.replace(LayerKind::Messages, &to_json_line(&request.messages))?;
        }
        let settings = [
            (&mut self.config.renderer, &request.renderer),
            (&mut self.config.parser, &request.parser),
            (&mut self.config.requires, &request.requires),
        ];
        for (setting, value) in settings {
            if let Some(value) = given(value) {
                *setting = value;
            }
        }
        Ok(())
    }

    /// Exchanges all layers of a kind for this text.
    fn replace(&mut self, kind: LayerKind, text: &[u8]) -> Result<(), StoreError> {
        self.layers.retain(|layer| layer.kind != kind);
        self.add(kind, text)
    }

    fn add(&mut self, kind: LayerKind, text: &[u8]) -> Result<(), StoreError> {
        let layer = self.write_layer(kind, text)?;
        self.layers.push(layer);
        Ok(())
    }

    fn write_layer(&mut self, kind: LayerKind, bytes: &[u8]) -> Result<Layer, StoreError> {
        if !u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_TEXT_BYTES) {
            return Err(StoreError::InvalidRequest(format!(
                "a text is longer than {MAX_TEXT_BYTES} bytes"
            )));
        }
        let blob = self.store.import_bytes(self.lock, bytes)?;
        let made = if blob.is_new {
            Progress::CreatingLayer
        } else {
            Progress::UsingLayer
        };
        (self.progress)(made(blob.digest));
        Ok(Layer {
            kind,
            digest: blob.digest,
            size: blob.size,
            from: None,
            name: None,
        })
    }

    fn finish(mut self) -> Result<Manifest, StoreError> {
        let bytes = serde_json::to_vec(&self.config).expect("a configuration is plain data");
        let config = self.write_layer(LayerKind::Config, &bytes)?;
        Ok(Manifest::new(config, self.layers))
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ParsingGguf => formatter.write_str("parsing GGUF"),
            Self::ValidatingOnnx => formatter.write_str("validating ONNX model"),
            Self::ConvertingModel => formatter.write_str("converting model"),
            Self::ConvertingAdapter => formatter.write_str("converting adapter"),
            Self::Merging { .. } => formatter.write_str("validating GGUF model"),
            Self::Quantizing { from, to, .. } => {
                write!(formatter, "quantizing {from} model to {to}")
            }
            Self::MakingEncoder => formatter.write_str("rounding weights to 8 bits"),
            Self::EncoderMade(agreement) => {
                write!(formatter, "8-bit weights agree with the graph: {agreement}")
            }
            Self::NoEncoder(reason) => {
                write!(formatter, "the graph is used as it is: {reason}")
            }
            Self::Verifying => formatter.write_str("verifying conversion"),
            Self::UsingLayer(digest) => write!(formatter, "using existing layer {digest}"),
            Self::CreatingLayer(digest) => write!(formatter, "creating new layer {digest}"),
            Self::WritingManifest => formatter.write_str("writing manifest"),
            Self::Success => formatter.write_str("success"),
        }
    }
}
