//! A manifest resolved: where the weights are, what surrounds them, and what users are told about the model.

mod onnx_config;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::gguf::{Arrays, Gguf, Value};
use super::manifest::{Layer, LayerKind};
use super::{
    Capability, Config, Digest, Entry, Name, Parameters, RelativeName, Store, StoreError,
    capabilities,
};

use crate::prompt::{Brought, Chosen};

/// The longest template, system message, licence or settings layer.
pub(super) const MAX_TEXT_BYTES: u64 = 16 << 20;
/// How many resolved models are remembered; a store with more works and resolves anew.
const MAX_RESOLVED: usize = 1024;

/// Everything about a model but its weights.
#[derive(Clone, Debug)]
pub struct Model {
    /// The name in the case it has on the disk.
    pub name: Name,
    /// The digest of the manifest: the model's identity.
    pub id: Digest,
    /// All blobs together, in bytes.
    pub size: u64,
    /// When the manifest was written.
    pub modified: SystemTime,
    /// Where the weights are.
    pub weights: Weights,
    /// The Go template given with the model, if any.
    pub template: Option<String>,
    /// The Jinja template inside the GGUF file, if any.
    pub chat_template: Option<String>,
    /// Which of the two is used.
    pub chosen: Chosen,
    /// The system message of every chat that has none of its own.
    pub system: Option<String>,
    /// What requests need not repeat.
    pub parameters: Parameters,
    /// What opens every chat.
    pub messages: Vec<Message>,
    /// The licences' texts.
    pub licenses: Vec<String>,
    /// The configuration blob.
    pub config: Config,
    /// What lists show.
    pub details: Details,
    /// What the model can be asked to do.
    pub capabilities: Vec<Capability>,
    /// Whether `/api/embeddings` gives this model's vectors as they are, and not scaled to length 1.
    pub embeds_raw: bool,
}

/// The files an engine opens.
#[derive(Clone, Debug)]
pub enum Weights {
    /// For llama.cpp.
    Gguf {
        /// The model itself.
        model: BlobFile,
        /// LoRA adapters to apply.
        adapters: Vec<BlobFile>,
        /// Vision or audio projectors.
        projectors: Vec<BlobFile>,
    },
    /// For ONNX Runtime.
    Onnx {
        /// The graph's name inside the model; external data is relative to its folder.
        graph_name: RelativeName,
        /// The graph.
        graph: BlobFile,
        /// Tokenizer, configuration, external data, by name.
        files: BTreeMap<RelativeName, BlobFile>,
        /// What our own engine made of them when the model was created.
        encoder: Option<BlobFile>,
    },
    /// Nothing that can run here: safetensors, or a model on another host.
    Other,
}

/// A blob as a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlobFile {
    /// Its name in the store.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// A line of a chat.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    #[serde(default)]
    pub content: String,
}

/// What `/api/tags` and `/api/show` say in `details`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Details {
    /// The model whose weights these are, if it was made from another; empty otherwise.
    pub parent_model: String,
    /// `gguf`, `onnx` or `safetensors`.
    pub format: String,
    /// The architecture.
    pub family: String,
    /// All architectures involved.
    pub families: Option<Vec<String>>,
    /// The parameter count as people read it, like `1.2B`.
    pub parameter_size: String,
    /// The quantisation, like `Q8_0`.
    pub quantization_level: String,
    /// The longest context in tokens the model was trained for.
    pub context_length: Option<u64>,
    /// The width of the model's vectors.
    pub embedding_length: Option<u64>,
}

impl Model {
    /// The templates that came with it.
    #[must_use]
    pub fn templates(&self) -> Brought<'_> {
        brought(
            self.chat_template.as_deref(),
            self.template.as_deref(),
            &self.config,
        )
    }

    /// The text of the template that is used; what every prompt is put into where there is none.
    #[must_use]
    pub fn chosen_template(&self) -> Option<&str> {
        match self.chosen {
            Chosen::Jinja => self.chat_template.as_deref(),
            Chosen::Go | Chosen::Nothing => self.template.as_deref(),
        }
    }
}

fn brought<'a>(jinja: Option<&'a str>, go: Option<&'a str>, config: &Config) -> Brought<'a> {
    Brought {
        jinja: jinja.filter(|text| !text.is_empty()),
        go,
        is_named: !(config.renderer.is_empty() && config.parser.is_empty()),
    }
}

/// A model and the manifest it was resolved from, as the file was then.
#[derive(Debug)]
pub(super) struct Remembered {
    model: Arc<Model>,
    stamp: Option<Stamp>,
}

/// What tells that a file was written or replaced. The kernel sets the time of change by a clock that ticks every few milliseconds, so that a
/// file tells nothing about what happens to it within a moment: see [`Stamp::is_old`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    inode: u64,
    length: u64,
    changed: SystemTime,
}

/// The age from which on a file that is changed again is sure to have another time of change.
const SETTLED: Duration = Duration::from_secs(1);

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let seconds = u64::try_from(metadata.ctime()).ok()?;
        let nanoseconds = u32::try_from(metadata.ctime_nsec()).ok()?;
        Some(Self {
            inode: metadata.ino(),
            length: metadata.len(),
            changed: SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds),
        })
    }

    fn is_old(&self) -> bool {
        self.changed.elapsed().is_ok_and(|age| age > SETTLED)
    }
}

/// A name for an ONNX graph and all files around it, which is another if one of them is.
#[must_use]
pub fn onnx_source<'a>(
    graph: (&'a RelativeName, &'a Digest),
    files: impl IntoIterator<Item = (&'a RelativeName, &'a Digest)>,
) -> Digest {
    let all = BTreeMap::from_iter(files.into_iter().chain([graph]));
    let lines = all
        .into_iter()
        .map(|(name, digest)| format!("{digest} {name}\n"));
    Digest::of(lines.collect::<String>().as_bytes())
}

impl Store {
    /// The model of that name, whatever the case of its letters.
    ///
    /// Reads the manifest every time and the rest only when the manifest has changed.
    pub fn model(&self, name: &Name) -> Result<Arc<Model>, StoreError> {
        // Before the manifest is read: what happens to it after that shows.
        let stamp = Stamp::of(&self.manifest_path(name)).filter(Stamp::is_old);
        let model = self.resolve(self.entry(name)?)?;
        if let Some(remembered) = self.resolved().get_mut(name)
            && Arc::ptr_eq(&remembered.model, &model)
        {
            remembered.stamp = stamp;
        }
        Ok(model)
    }

    /// The model of that name, if it was resolved before from a manifest that is still as it was: a look at the file, and not
    /// into it. `None` tells nothing, and [`Store::model`] has to be asked.
    #[must_use]
    pub fn remembered(&self, name: &Name) -> Option<Arc<Model>> {
        let (model, then) = {
            let resolved = self.resolved();
            let remembered = resolved.get(name)?;
            (Arc::clone(&remembered.model), remembered.stamp?)
        };
        (Stamp::of(&self.manifest_path(name)) == Some(then)).then_some(model)
    }

    /// The map is whole between any two statements, so a panic elsewhere does not spoil it.
    fn resolved(&self) -> MutexGuard<'_, HashMap<Name, Remembered>> {
        let resolved = self.shared.resolved.lock();
        resolved.unwrap_or_else(PoisonError::into_inner)
    }

    /// Every model that can be resolved, newest first; others are logged.
    pub fn models(&self) -> Result<Vec<Arc<Model>>, StoreError> {
        let resolve = |entry: Entry| {
            let name = entry.name.clone();
            self.resolve(entry)
                .inspect_err(|error| tracing::warn!(model.name = %name, ?error, "skipping a model that is not whole"))
                .ok()
        };
        Ok(self.list()?.into_iter().filter_map(resolve).collect())
    }

    /// The header of a GGUF blob.
    pub fn gguf(&self, digest: &Digest, arrays: Arrays) -> Result<Gguf, StoreError> {
        Gguf::read(self.open_blob(digest)?, arrays)
    }

    fn resolve(&self, entry: Entry) -> Result<Arc<Model>, StoreError> {
        let is_same = |remembered: &&Remembered| {
            let model = &remembered.model;
            model.id == entry.id && model.modified == entry.modified
        };
        if let Some(remembered) = self.resolved().get(&entry.name).filter(is_same) {
            return Ok(Arc::clone(&remembered.model));
        }
        let model = Arc::new(Resolver { store: self, entry }.resolve()?);
        let mut resolved = self.resolved();
        if resolved.len() >= MAX_RESOLVED {
            resolved.clear();
        }
        let remembered = Remembered {
            model: Arc::clone(&model),
            stamp: None,
        };
        resolved.insert(model.name.clone(), remembered);
        Ok(model)
    }

    pub(super) fn read_config(&self, layer: &Layer) -> Result<Config, StoreError> {
        self.read_json(layer, "configuration")
    }

    pub(super) fn read_parameters(&self, layer: &Layer) -> Result<Parameters, StoreError> {
        self.read_json(layer, "parameters")
            .map(|object| Parameters::from_stored(&object))
    }

    fn read_json<T: DeserializeOwned>(&self, layer: &Layer, what: &str) -> Result<T, StoreError> {
        let bytes = self.read_blob(&layer.digest, MAX_TEXT_BYTES)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| StoreError::broken(format!("{what} of the model: {error}")))
    }

    pub(super) fn read_text(&self, layer: &Layer) -> Result<String, StoreError> {
        let bytes = self.read_blob(&layer.digest, MAX_TEXT_BYTES)?;
        String::from_utf8(bytes).map_err(|_| {
            StoreError::broken(format!("layer {} of the model is not UTF-8", layer.kind))
        })
    }
}

struct Resolver<'a> {
    store: &'a Store,
    entry: Entry,
}

impl Resolver<'_> {
    fn resolve(self) -> Result<Model, StoreError> {
        let config = self.store.read_config(&self.entry.manifest.config)?;
        let template = self.last_text(LayerKind::Template)?;
        let weights = self.weights()?;
        let parent = self
            .last(LayerKind::Model)
            .and_then(|layer| layer.from.clone());
        let mut details = Details {
            parent_model: parent.unwrap_or_default(),
            format: config.model_format.clone(),
            family: config.model_family.clone(),
            families: config.model_families.clone(),
            parameter_size: config.model_type.clone(),
            quantization_level: config.file_type.clone(),
            context_length: Some(config.context_length).filter(|&length| length > 0),
            embedding_length: Some(config.embedding_length).filter(|&length| length > 0),
        };
        let mut chat_template = None;
        let mut embeds_raw = false;
        let mut chosen = Chosen::Nothing;
        let mut capabilities = match &weights {
            Weights::Gguf {
                model, projectors, ..
            } => {
                let gguf = self.store.gguf(&model.digest, Arrays::Skip)?;
                let number = |key| gguf.of_architecture(key).and_then(Value::as_unsigned);
                details.context_length =
                    details.context_length.or_else(|| number("context_length"));
                details.embedding_length = details
                    .embedding_length
                    .or_else(|| number("embedding_length"));
                embeds_raw = capabilities::embeds_raw(&gguf);
                chat_template = gguf.chat_template().map(str::to_owned);
                let brought = brought(chat_template.as_deref(), template.as_deref(), &config);
                let rule = self.store.go_templates();
                chosen = brought.chosen(rule);
                let abilities = brought.capabilities(rule);
                capabilities::of_gguf(&gguf, abilities, !projectors.is_empty())
            }
            Weights::Onnx { files, .. } => {
                let files: Vec<_> = files
                    .iter()
                    .map(|(name, file)| (name, file.digest))
                    .collect();
                self.store
                    .read_onnx_config(&files)?
                    .map_or(vec![], |config| config.capabilities())
            }
            Weights::Other => Vec::new(),
        };
        capabilities::add_of_parser(&mut capabilities, &config.parser);
        let configured: Vec<_> = config
            .capabilities
            .iter()
            .filter_map(|text| Capability::parse(text))
            .collect();
        if !configured.is_empty() {
            capabilities = configured;
        }
        Ok(Model {
            size: self.entry.manifest.size(),
            weights,
            template,
            chat_template,
            chosen,
            system: self.last_text(LayerKind::System)?,
            parameters: self
                .last(LayerKind::Parameters)
                .map_or(Ok(Parameters::default()), |layer| {
                    self.store.read_parameters(layer)
                })?,
            messages: self
                .last(LayerKind::Messages)
                .map_or(Ok(Vec::new()), |layer| {
                    self.store.read_json(layer, "messages")
                })?,
            licenses: self
                .layers(LayerKind::License)
                .map(|layer| self.store.read_text(layer))
                .collect::<Result<_, _>>()?,
            config,
            details,
            capabilities,
            embeds_raw,
            name: self.entry.name,
            id: self.entry.id,
            modified: self.entry.modified,
        })
    }

    fn weights(&self) -> Result<Weights, StoreError> {
        if let Some(layer) = self.layers(LayerKind::Model).next() {
            return Ok(Weights::Gguf {
                model: self.file(layer)?,
                adapters: self.files(LayerKind::Adapter)?,
                projectors: self.files(LayerKind::Projector)?,
            });
        }
        let Some(graph) = self.layers(LayerKind::OnnxGraph).next() else {
            return Ok(Weights::Other);
        };
        let named = |layer: &Layer| {
            let name = layer.name.clone();
            name.ok_or_else(|| {
                StoreError::broken(format!(
                    "a file of '{}' has no usable name",
                    self.entry.name
                ))
            })
        };
        let mut files = BTreeMap::new();
        for layer in self.layers(LayerKind::OnnxFile) {
            files.insert(named(layer)?, self.file(layer)?);
        }
        Ok(Weights::Onnx {
            graph_name: named(graph)?,
            graph: self.file(graph)?,
            files,
            encoder: match self.last(LayerKind::OnnxEncoder) {
                Some(layer) => Some(self.file(layer)?),
                None => None,
            },
        })
    }

    fn layers(&self, kind: LayerKind) -> impl Iterator<Item = &Layer> {
        self.entry.manifest.layers_of(kind)
    }

    fn last(&self, kind: LayerKind) -> Option<&Layer> {
        self.layers(kind).last()
    }

    fn last_text(&self, kind: LayerKind) -> Result<Option<String>, StoreError> {
        self.last(kind)
            .map(|layer| self.store.read_text(layer))
            .transpose()
    }

    fn files(&self, kind: LayerKind) -> Result<Vec<BlobFile>, StoreError> {
        self.layers(kind).map(|layer| self.file(layer)).collect()
    }

    /// The blob as a file, if it has the length that the manifest says.
    fn file(&self, layer: &Layer) -> Result<BlobFile, StoreError> {
        self.store.check_blob(layer)?;
        Ok(BlobFile {
            digest: layer.digest,
            size: layer.size,
            path: self.store.blob_path(&layer.digest),
        })
    }
}
