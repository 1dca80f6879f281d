//! The weights of a new model: uploaded files recognised, checked, and made layers.

use std::collections::BTreeMap;
use std::io::Read;

use serde::de::IgnoredAny;

use super::{Assembly, Progress};
use crate::store::gguf::{Arrays, Gguf, Value};
use crate::store::manifest::{Draft, Layer, LayerKind};
use crate::store::onnx::Onnx;
use crate::store::{Digest, RelativeName, Store, StoreError};

/// A sentence model has about fifteen; its external data may add some.
const MAX_FILES: usize = 256;
/// The vocabulary of a multilingual model takes about 20 MB.
const MAX_TOKENIZER_BYTES: u64 = 128 << 20;

pub(super) type Files = BTreeMap<RelativeName, Digest>;

/// What uploaded files are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FilesKind {
    /// A graph and what is around it.
    Onnx,
    /// A Hugging Face folder.
    Safetensors,
    /// GGUF files, or nothing that is known.
    Gguf,
}

impl Store {
    /// What the files are, by their names.
    pub(super) fn kind_of(&self, files: &Files) -> Result<FilesKind, StoreError> {
        if files.len() > MAX_FILES {
            return Err(StoreError::InvalidRequest(format!(
                "a model has at most {MAX_FILES} files"
            )));
        }
        let ends_in = |ending: &str| files.keys().any(|name| name.as_str().ends_with(ending));
        Ok(if ends_in(".onnx") {
            FilesKind::Onnx
        } else if ends_in(".safetensors") {
            FilesKind::Safetensors
        } else {
            FilesKind::Gguf
        })
    }

    /// The one GGUF model among the files.
    pub(super) fn models_among(&self, files: &Files) -> Result<Digest, StoreError> {
        let mut models = Vec::new();
        for (name, digest) in files {
            if Role::of(&self.read_gguf(name, digest)?) == Role::Model {
                models.push(*digest);
            }
        }
        match models.as_slice() {
            [model] => Ok(*model),
            _ => Err(not_one_model(models.len())),
        }
    }

    pub(super) fn begins_like_gguf(&self, digest: &Digest) -> Result<bool, StoreError> {
        let mut start = Vec::new();
        self.open_blob(digest)?
            .take(4)
            .read_to_end(&mut start)
            .map_err(StoreError::io("reading a blob"))?;
        Ok(start == b"GGUF")
    }
}

/// What a GGUF file is in a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Model,
    Projector,
    Adapter,
}

impl Role {
    /// By Ollama's rules.
    fn of(gguf: &Gguf) -> Self {
        let number = |key| gguf.of_architecture(key).and_then(Value::as_unsigned);
        let has_no_blocks = number("block_count").unwrap_or(0) == 0;
        let sees = number("vision.block_count").unwrap_or(0) > 0;
        match gguf.text("general.type") {
            Some("adapter") => Self::Adapter,
            Some("projector" | "mmproj") => Self::Projector,
            _ if gguf.architecture() == "clip" || (has_no_blocks && sees) => Self::Projector,
            _ => Self::Model,
        }
    }
}

fn not_one_model(count: usize) -> StoreError {
    StoreError::InvalidRequest(format!("a model is made of one GGUF file, not {count}"))
}

impl Assembly<'_> {
    /// Makes layers of whatever the files are.
    pub(super) fn add_files(&mut self, files: &Files) -> Result<(), StoreError> {
        match self.store.kind_of(files)? {
            FilesKind::Onnx => self.add_onnx(files),
            FilesKind::Gguf => self.add_gguf(files),
            FilesKind::Safetensors => Err(StoreError::InvalidRequest(
                "safetensors have to be converted before they are stored".to_owned(),
            )),
        }
    }

    fn add_gguf(&mut self, files: &Files) -> Result<(), StoreError> {
        let mut models = Vec::new();
        let mut projectors = Vec::new();
        let mut adapters = Vec::new();
        for (name, digest) in files {
            (self.progress)(Progress::ParsingGguf);
            let gguf = self.store.read_gguf(name, digest)?;
            if gguf.part().is_some() {
                let text = format!("'{name}' is one part of a split GGUF file");
                return Err(StoreError::InvalidRequest(text));
            }
            match Role::of(&gguf) {
                Role::Model => models.push((*digest, gguf)),
                Role::Projector => projectors.push((*digest, gguf)),
                Role::Adapter => adapters.push((name.clone(), *digest)),
            }
        }
        let [(model, gguf)] = models.as_slice() else {
            return Err(not_one_model(models.len()));
        };
        self.add_layer(LayerKind::Model, *model, None)?;
        for (projector, _) in &projectors {
            self.add_layer(LayerKind::Projector, *projector, None)?;
        }
        self.add_adapters(&adapters.into_iter().collect())?;
        let architectures = [gguf]
            .into_iter()
            .chain(projectors.iter().map(|(_, gguf)| gguf));
        self.config.model_families = Some(
            architectures
                .map(|gguf| gguf.architecture().to_owned())
                .collect(),
        );
        self.describe_model(gguf);
        Ok(())
    }

    /// Puts `weights` in the place of the model that is there.
    pub(super) fn exchange_model(&mut self, weights: Digest) -> Result<(), StoreError> {
        let gguf = self.store.gguf(&weights, Arrays::Skip)?;
        let size = self.store.size_of(&weights)?;
        let layer = self
            .layers
            .iter_mut()
            .find(|layer| layer.kind == LayerKind::Model)
            .ok_or_else(|| not_one_model(0))?;
        layer.digest = weights;
        layer.size = size;
        layer.from = None;
        (self.progress)(Progress::CreatingLayer(weights));
        self.describe_model(&gguf);
        Ok(())
    }

    /// Adds a GGUF adapter in the place of one that was inherited: only one can be applied.
    pub(super) fn add_adapters(&mut self, adapters: &Files) -> Result<(), StoreError> {
        let mut adapters = adapters.iter();
        let Some((name, digest)) = adapters.next() else {
            return Ok(());
        };
        if adapters.next().is_some() {
            let text = "only one adapter is currently supported";
            return Err(StoreError::InvalidRequest(text.to_owned()));
        }
        (self.progress)(Progress::ParsingGguf);
        let gguf = self.store.read_gguf(name, digest)?;
        if Role::of(&gguf) != Role::Adapter {
            let text = format!("'{name}' is no GGUF adapter: its general.type is not \"adapter\"");
            return Err(StoreError::InvalidRequest(text));
        }
        let model = self
            .layers
            .iter()
            .find(|layer| layer.kind == LayerKind::Model)
            .ok_or_else(|| {
                StoreError::InvalidRequest("only a GGUF model can have an adapter".to_owned())
            })?;
        let base = self.store.gguf(&model.digest, Arrays::Skip)?;
        if gguf.architecture() != base.architecture() {
            let text = format!(
                "the adapter is for {} models, and this is a {} model",
                gguf.architecture(),
                base.architecture()
            );
            return Err(StoreError::InvalidRequest(text));
        }
        self.layers.retain(|layer| layer.kind != LayerKind::Adapter);
        self.add_layer(LayerKind::Adapter, *digest, None)
    }

    /// Adds a GGUF draft model in the place of one that was inherited.
    pub(super) fn add_drafts(&mut self, drafts: &Files) -> Result<(), StoreError> {
        let mut drafts = drafts.iter();
        let Some((name, digest)) = drafts.next() else {
            return Ok(());
        };
        if drafts.next().is_some() || name.as_str().ends_with(".safetensors") {
            let text = "a draft model is made of one GGUF file";
            return Err(StoreError::Unsupported(text.to_owned()));
        }
        (self.progress)(Progress::ParsingGguf);
        let gguf = self.store.read_gguf(name, digest)?;
        self.layers.retain(|layer| layer.kind != LayerKind::Draft);
        self.add_layer(LayerKind::Draft, *digest, None)?;
        self.config.draft = Some(Draft {
            model_format: "gguf".to_owned(),
            architecture: gguf.architecture().to_owned(),
            ..Draft::default()
        });
        Ok(())
    }

    /// What lists show of a GGUF model.
    fn describe_model(&mut self, gguf: &Gguf) {
        let number = |key| {
            gguf.of_architecture(key)
                .and_then(Value::as_unsigned)
                .unwrap_or_default()
        };
        self.config.model_format = "gguf".to_owned();
        self.config.model_family = gguf.architecture().to_owned();
        self.config.model_type = human_number(gguf.parameter_count());
        self.config.file_type = gguf.file_type().to_owned();
        self.config.context_length = number("context_length");
        self.config.embedding_length = number("embedding_length");
    }

    /// Adds what our own engine made of the ONNX graph.
    pub(super) fn add_encoder(&mut self, encoder: Digest) -> Result<(), StoreError> {
        self.layers
            .retain(|layer| layer.kind != LayerKind::OnnxEncoder);
        self.add_layer(LayerKind::OnnxEncoder, encoder, None)
    }

    fn add_onnx(&mut self, files: &Files) -> Result<(), StoreError> {
        (self.progress)(Progress::ValidatingOnnx);
        let (graph_name, onnx) = self.store.check_onnx(files)?;
        let graph = files[graph_name];
        let settings: Vec<_> = files.iter().map(|(name, digest)| (name, *digest)).collect();
        let config = self.store.read_onnx_config(&settings)?.unwrap_or_default();
        self.add_layer(LayerKind::OnnxGraph, graph, Some(graph_name.clone()))?;
        for (name, digest) in files.iter().filter(|(name, _)| *name != graph_name) {
            self.add_layer(LayerKind::OnnxFile, *digest, Some(name.clone()))?;
        }
        self.config.model_format = "onnx".to_owned();
        self.config.model_family = config.family();
        self.config.model_families =
            Some(vec![config.family()]).filter(|_| !config.family().is_empty());
        self.config.model_type = human_number(onnx.parameter_count);
        self.config.file_type = onnx.weight_type.to_owned();
        self.config.context_length = config.context_length();
        self.config.embedding_length = config.embedding_length();
        Ok(())
    }

    fn add_layer(
        &mut self,
        kind: LayerKind,
        digest: Digest,
        name: Option<RelativeName>,
    ) -> Result<(), StoreError> {
        let size = self.store.size_of(&digest)?;
        (self.progress)(Progress::UsingLayer(digest));
        self.layers.push(Layer {
            kind,
            digest,
            size,
            from: None,
            name,
        });
        Ok(())
    }
}

impl Store {
    /// The graph among the files of an ONNX model, once all of them are what they have to be.
    pub(super) fn check_onnx<'a>(
        &self,
        files: &'a Files,
    ) -> Result<(&'a RelativeName, Onnx), StoreError> {
        let graphs: Vec<_> = files
            .iter()
            .filter(|(name, _)| name.as_str().ends_with(".onnx"))
            .collect();
        let [(graph_name, graph)] = graphs.as_slice() else {
            let text = format!(
                "the files have {} ONNX graphs; give the one to run",
                graphs.len()
            );
            return Err(StoreError::InvalidRequest(text));
        };
        let onnx = Onnx::read(self.open_blob(graph)?)?;
        self.check_external(&onnx, graph_name, files)?;
        if onnx.takes_text() {
            self.check_text_files(files)?;
        }
        Ok((graph_name, onnx))
    }

    /// Every tensor kept outside the graph is inside one of the model's own files.
    fn check_external(
        &self,
        onnx: &Onnx,
        graph: &RelativeName,
        files: &Files,
    ) -> Result<(), StoreError> {
        let mut sizes = BTreeMap::new();
        for external in &onnx.external {
            let name = graph.sibling(external.location.as_str())?;
            let size = match sizes.get(&name) {
                Some(&size) => size,
                None => {
                    let missing =
                        || StoreError::broken(format!("the ONNX graph needs the file '{name}'"));
                    let size = self.size_of(files.get(&name).ok_or_else(missing)?)?;
                    *sizes.entry(name.clone()).or_insert(size)
                }
            };
            if external
                .offset
                .checked_add(external.bytes)
                .is_none_or(|end| end > size)
            {
                return Err(StoreError::broken(format!(
                    "the file '{name}' is shorter than the ONNX graph says"
                )));
            }
        }
        Ok(())
    }

    /// A graph that takes tokens is of no use without what makes tokens.
    fn check_text_files(&self, files: &Files) -> Result<(), StoreError> {
        for text in ["tokenizer.json", "config.json"] {
            let name = text.parse().expect("the file's name is relative");
            let missing =
                || StoreError::broken(format!("an ONNX model that takes text needs {text}"));
            let bytes =
                self.read_blob(files.get(&name).ok_or_else(missing)?, MAX_TOKENIZER_BYTES)?;
            serde_json::from_slice::<IgnoredAny>(&bytes)
                .map_err(|error| StoreError::broken(format!("{text} of the model: {error}")))?;
        }
        Ok(())
    }

    fn size_of(&self, digest: &Digest) -> Result<u64, StoreError> {
        Ok(self
            .open_blob(digest)?
            .metadata()
            .map_err(StoreError::io("measuring a blob"))?
            .len())
    }
}

/// Ollama's `format.HumanNumber`.
fn human_number(count: u64) -> String {
    #[expect(
        clippy::cast_precision_loss,
        reason = "the number is rounded to three digits"
    )]
    let over = |unit: u64| count as f64 / unit as f64;
    let (billion, million, thousand) = (1_000_000_000, 1_000_000, 1_000);
    match count {
        _ if count >= billion && count.is_multiple_of(billion) => format!("{}B", count / billion),
        _ if count >= billion => format!("{:.1}B", over(billion)),
        _ if count >= million && count.is_multiple_of(million) => format!("{}M", count / million),
        _ if count >= million => format!("{:.2}M", over(million)),
        _ if count >= thousand => format!("{:.0}K", over(thousand)),
        _ => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_written_as_ollama_writes_them() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1_000, "1K"),
            (260_032, "260K"),
            (1_000_000, "1M"),
            (22_713_216, "22.71M"),
            (1_235_814_432, "1.2B"),
            (7_000_000_000, "7B"),
            (70_553_706_560, "70.6B"),
        ];
        for (count, expected) in cases {
            assert_eq!(human_number(count), expected);
        }
    }
}
