//! The weights of a new model: uploaded files recognised, checked, and made layers.

use std::collections::BTreeMap;
use std::io::Read;

use serde::de::IgnoredAny;

use super::{Assembly, Progress};
use crate::store::gguf::{Arrays, Gguf, Value};
use crate::store::manifest::{Layer, LayerKind};
use crate::store::onnx::Onnx;
use crate::store::{Digest, RelativeName, StoreError};

/// A sentence model has about fifteen; its external data may add some.
const MAX_FILES: usize = 256;
/// The vocabulary of a multilingual model takes about 20 MB.
const MAX_TOKENIZER_BYTES: u64 = 128 << 20;

type Files = BTreeMap<RelativeName, Digest>;

impl Assembly<'_> {
    /// Makes layers of whatever the files are.
    pub(super) fn add_files(&mut self, files: &Files) -> Result<(), StoreError> {
        if files.len() > MAX_FILES {
            return Err(StoreError::InvalidRequest(format!(
                "a model has at most {MAX_FILES} files"
            )));
        }
        let ends_in = |ending: &str| files.keys().any(|name| name.as_str().ends_with(ending));
        if ends_in(".onnx") {
            self.add_onnx(files)
        } else if ends_in(".safetensors") {
            let text =
                "safetensors models are not supported yet: convert the model to GGUF or ONNX first";
            Err(StoreError::Unsupported(text.to_owned()))
        } else {
            self.add_gguf(files)
        }
    }

    fn add_gguf(&mut self, files: &Files) -> Result<(), StoreError> {
        let mut models = Vec::new();
        let mut projectors = Vec::new();
        for (name, digest) in files {
            if !name.as_str().ends_with(".gguf") && !self.begins_like_gguf(digest)? {
                return Err(StoreError::InvalidRequest("unknown type".to_owned()));
            }
            (self.progress)(Progress::ParsingGguf);
            let gguf = self.store.gguf(digest, Arrays::Skip)?;
            refuse_parts(&gguf)?;
            let is_projector = gguf.architecture() == "clip";
            if is_projector {
                &mut projectors
            } else {
                &mut models
            }
            .push((*digest, gguf));
        }
        let [(model, gguf)] = models.as_slice() else {
            let text = format!("a model is made of one GGUF file, not {}", models.len());
            return Err(StoreError::InvalidRequest(text));
        };
        self.add_layer(LayerKind::Model, *model, None)?;
        for (projector, _) in &projectors {
            self.add_layer(LayerKind::Projector, *projector, None)?;
        }
        let number = |key| {
            gguf.of_architecture(key)
                .and_then(Value::as_unsigned)
                .unwrap_or_default()
        };
        let architectures = [gguf]
            .into_iter()
            .chain(projectors.iter().map(|(_, gguf)| gguf));
        self.config.model_format = "gguf".to_owned();
        self.config.model_family = gguf.architecture().to_owned();
        self.config.model_families = Some(
            architectures
                .map(|gguf| gguf.architecture().to_owned())
                .collect(),
        );
        self.config.model_type = human_number(gguf.parameter_count());
        self.config.file_type = gguf.file_type().to_owned();
        self.config.context_length = number("context_length");
        self.config.embedding_length = number("embedding_length");
        Ok(())
    }

    fn add_onnx(&mut self, files: &Files) -> Result<(), StoreError> {
        (self.progress)(Progress::ValidatingOnnx);
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
        let onnx = Onnx::read(self.store.open_blob(graph)?)?;
        self.check_external(&onnx, graph_name, files)?;
        if onnx.takes_text() {
            self.check_text_files(files)?;
        }
        let config = self
            .store
            .read_onnx_config(|name| files.get(name).copied())?
            .unwrap_or_default();
        self.add_layer(LayerKind::OnnxGraph, **graph, Some((*graph_name).clone()))?;
        for (name, digest) in files.iter().filter(|(name, _)| name != graph_name) {
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
            let bytes = self
                .store
                .read_blob(files.get(&name).ok_or_else(missing)?, MAX_TOKENIZER_BYTES)?;
            serde_json::from_slice::<IgnoredAny>(&bytes)
                .map_err(|error| StoreError::broken(format!("{text} of the model: {error}")))?;
        }
        Ok(())
    }

    fn add_layer(
        &mut self,
        kind: LayerKind,
        digest: Digest,
        name: Option<RelativeName>,
    ) -> Result<(), StoreError> {
        let size = self.size_of(&digest)?;
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

    fn size_of(&self, digest: &Digest) -> Result<u64, StoreError> {
        Ok(self
            .store
            .open_blob(digest)?
            .metadata()
            .map_err(StoreError::io("measuring a blob"))?
            .len())
    }

    fn begins_like_gguf(&self, digest: &Digest) -> Result<bool, StoreError> {
        let mut start = Vec::new();
        self.store
            .open_blob(digest)?
            .take(4)
            .read_to_end(&mut start)
            .map_err(StoreError::io("reading a blob"))?;
        Ok(start == b"GGUF")
    }
}

/// Files that are no models by themselves.
fn refuse_parts(gguf: &Gguf) -> Result<(), StoreError> {
    let parts = gguf
        .metadata
        .get("split.count")
        .and_then(Value::as_unsigned)
        .unwrap_or(1);
    let text = if parts > 1 {
        "models split into several GGUF files are not supported yet: merge them first"
    } else if gguf.text("general.type") == Some("adapter") {
        "adapters are not supported yet"
    } else {
        return Ok(());
    };
    Err(StoreError::Unsupported(text.to_owned()))
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
