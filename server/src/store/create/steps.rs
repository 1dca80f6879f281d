//! What must be made before a model can be stored: decided here, one step at a time, and done by others.

use std::collections::BTreeMap;

use super::files::{Files, FilesKind};
use super::{CreateModel, EncoderWish, Quantization};
use crate::store::gguf::{Arrays, Gguf};
use crate::store::manifest::LayerKind;
use crate::store::{Digest, RelativeName, Store, StoreError};

/// The parts of a split file by their indices.
type Parts = BTreeMap<u64, (RelativeName, Digest)>;

/// A file to be made of blobs in the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// One GGUF file of its parts.
    Merge {
        /// What the whole will be called.
        name: RelativeName,
        /// The parts by index, with the names they have in the request.
        parts: Vec<(RelativeName, Digest)>,
    },
    /// A GGUF model of a Hugging Face folder.
    Convert {
        /// The folder's files.
        files: Files,
        /// What its matrices become; `None` leaves that to the conversion.
        to: Option<Quantization>,
    },
    /// A GGUF LoRA adapter of a PEFT folder.
    ConvertAdapter {
        /// The folder's files.
        files: Files,
        /// The GGUF model that it is for.
        base: Digest,
    },
    /// The encoder that our own engine makes of an ONNX graph.
    Encoder {
        /// The graph's name among the files.
        graph: RelativeName,
        /// All files of the model.
        files: Files,
    },
    /// A GGUF model with fewer bits.
    Quantize {
        /// The model.
        model: Digest,
        /// Its encoding, as `/api/show` calls it.
        from: &'static str,
        /// What it becomes.
        to: Quantization,
    },
}

impl CreateModel {
    /// Puts what a step made in the place of what it was made of.
    pub fn made(&mut self, step: &Step, blob: Digest) {
        let only = |name: &str| {
            let name = name.parse().expect("the name is plain");
            BTreeMap::from([(name, blob)])
        };
        match step {
            Step::Merge { name, parts } => {
                for files in [&mut self.files, &mut self.adapters] {
                    let before = files.len();
                    files.retain(|file, _| !parts.iter().any(|(part, _)| part == file));
                    if files.len() < before {
                        files.insert(name.clone(), blob);
                    }
                }
            }
            Step::Convert { .. } => self.files = only("model.gguf"),
            Step::ConvertAdapter { .. } => self.adapters = only("adapter.gguf"),
            Step::Quantize { .. } => self.weights = Some(blob),
            Step::Encoder { .. } => self.encoder = EncoderWish::Made(blob),
        }
    }
}

impl Store {
    /// The next thing to be made for the request; `None` when [`Store::create`] can carry it out.
    ///
    /// Also refuses whatever cannot work, before anything is made.
    pub fn next_step(&self, request: &CreateModel) -> Result<Option<Step>, StoreError> {
        request.check()?;
        if request.remote_host.is_some() && request.from.is_some() {
            return Ok(None);
        }
        if request.from.is_none() {
            match self.kind_of(&request.files)? {
                FilesKind::Onnx if request.quantize.is_some() => {
                    let text = "quantization is not supported for ONNX models";
                    return Err(StoreError::InvalidRequest(text.to_owned()));
                }
                FilesKind::Onnx => return self.encoder_step(request),
                FilesKind::Safetensors => {
                    return Ok(Some(Step::Convert {
                        files: request.files.clone(),
                        to: request.quantize.filter(|to| to.is_float()),
                    }));
                }
                FilesKind::Gguf => {
                    if let Some(merge) = self.merge_step(&request.files)? {
                        return Ok(Some(merge));
                    }
                }
            }
        }
        if request.adapters.is_empty() && request.quantize.is_none() {
            return self.encoder_step(request);
        }
        let base = self.base(request)?;
        if !request.adapters.is_empty()
            && self.kind_of(&request.adapters)? == FilesKind::Safetensors
        {
            let files = request.adapters.clone();
            return Ok(Some(Step::ConvertAdapter { files, base }));
        }
        self.quantize_step(request, base)
    }

    /// The making of an encoder, for an ONNX model that has none.
    fn encoder_step(&self, request: &CreateModel) -> Result<Option<Step>, StoreError> {
        if request.encoder != EncoderWish::Wanted {
            return Ok(None);
        }
        let files = match &request.from {
            None => request.files.clone(),
            Some(from) => {
                let manifest = self.entry(from)?.manifest;
                let is_of = |kind| manifest.layers_of(kind).next().is_some();
                if !is_of(LayerKind::OnnxGraph) || is_of(LayerKind::OnnxEncoder) {
                    return Ok(None);
                }
                [LayerKind::OnnxGraph, LayerKind::OnnxFile]
                    .into_iter()
                    .flat_map(|kind| manifest.layers_of(kind))
                    .filter_map(|layer| Some((layer.name.clone()?, layer.digest)))
                    .collect()
            }
        };
        if self.kind_of(&files)? != FilesKind::Onnx {
            return Ok(None);
        }
        let (graph, onnx) = self.check_onnx(&files)?;
        let graph = graph.clone();
        Ok(onnx.takes_text().then_some(Step::Encoder { graph, files }))
    }

    fn quantize_step(
        &self,
        request: &CreateModel,
        model: Digest,
    ) -> Result<Option<Step>, StoreError> {
        let Some(to) = request.quantize.filter(|_| request.weights.is_none()) else {
            return Ok(None);
        };
        let from = self.gguf(&model, Arrays::Skip)?.file_type();
        if !matches!(from, "F16" | "BF16" | "F32") {
            return Err(StoreError::NotQuantizable);
        }
        let is_so_already = from == to.to_string();
        Ok((!is_so_already).then_some(Step::Quantize { model, from, to }))
    }

    /// The GGUF model that the request builds on.
    fn base(&self, request: &CreateModel) -> Result<Digest, StoreError> {
        if let Some(from) = &request.from {
            let entry = self.entry(from)?;
            let model = entry.manifest.layers_of(LayerKind::Model).next();
            return model.map(|layer| layer.digest).ok_or_else(|| {
                StoreError::InvalidRequest(format!("'{from}' has no GGUF model to work on"))
            });
        }
        self.models_among(&request.files)
    }

    /// The first split model among the files that is not merged yet.
    fn merge_step(&self, files: &Files) -> Result<Option<Step>, StoreError> {
        let mut group: Option<(RelativeName, Parts)> = None;
        let mut expected = 0;
        for (file, digest) in files {
            let gguf = self.read_gguf(file, digest)?;
            let Some((index, count)) = gguf.part() else {
                continue;
            };
            let whole = whole_name(file, index, count)?;
            let (name, parts) = group.get_or_insert_with(|| (whole.clone(), Parts::new()));
            if *name != whole {
                // Its turn comes when the first one is merged.
                continue;
            }
            expected = count;
            parts.insert(index, (file.clone(), *digest));
        }
        let Some((name, parts)) = group else {
            return Ok(None);
        };
        let found = parts.len() as u64;
        if found != expected || parts.keys().copied().ne(0..expected) {
            return Err(StoreError::InvalidRequest(format!(
                "split GGUF \"{name}\" has {found} shards, expected {expected}"
            )));
        }
        let parts = parts.into_values().collect();
        Ok(Some(Step::Merge { name, parts }))
    }
}

/// `x.gguf` of `x-00001-of-00003.gguf`, whose numbers must be those in the file.
fn whole_name(file: &RelativeName, index: u64, count: u64) -> Result<RelativeName, StoreError> {
    let ending = format!("-{:05}-of-{count:05}.gguf", index.saturating_add(1));
    let prefix = file.as_str().strip_suffix(&ending).ok_or_else(|| {
        StoreError::InvalidRequest(format!(
            "split GGUF \"{file}\" must use llama.cpp split filename pattern, ending in \"{ending}\""
        ))
    })?;
    format!("{prefix}.gguf").parse()
}

impl Store {
    /// The header of an uploaded file that must be GGUF.
    pub(super) fn read_gguf(
        &self,
        name: &RelativeName,
        digest: &Digest,
    ) -> Result<Gguf, StoreError> {
        if !self.begins_like_gguf(digest)? {
            let text = if name.as_str().ends_with(".gguf") {
                "supplied file was not in GGUF format"
            } else {
                "unknown type"
            };
            return Err(StoreError::InvalidRequest(text.to_owned()));
        }
        self.gguf(digest, Arrays::Skip)
    }
}
