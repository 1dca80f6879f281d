//! What `config.json` and `sentence_bert_config.json` of an ONNX model say, in Hugging Face's words.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::store::{Capability, Digest, RelativeName, Store, StoreError};

const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// The part of an ONNX model's configuration that tells what the model is for.
#[derive(Clone, Default, Debug, Deserialize)]
pub(in crate::store) struct OnnxConfig {
    model_type: Option<String>,
    architectures: Option<Vec<String>>,
    id2label: Option<BTreeMap<String, IgnoredAny>>,
    max_position_embeddings: Option<u64>,
    hidden_size: Option<u64>,
    /// What DistilBERT calls its hidden size.
    dim: Option<u64>,
    /// From `sentence_bert_config.json`: how much of the context the model was trained to use.
    #[serde(skip)]
    max_seq_length: Option<u64>,
    /// From `heads/*/config.json`.
    #[serde(skip)]
    heads: Vec<OnnxConfig>,
}

#[derive(Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<u64>,
}

impl OnnxConfig {
    /// The architecture, like `bert`; empty if the file does not tell.
    pub(in crate::store) fn family(&self) -> String {
        self.model_type.clone().unwrap_or_default()
    }

    /// In tokens; 0 is unknown.
    pub(in crate::store) fn context_length(&self) -> u64 {
        [self.max_seq_length, self.max_position_embeddings]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_default()
    }

    /// The width of the model's vectors; 0 is unknown.
    pub(in crate::store) fn embedding_length(&self) -> u64 {
        self.hidden_size.or(self.dim).unwrap_or_default()
    }

    /// A classifier with a single label scores, with several it classifies; everything else makes vectors. Heads beside it
    /// classify as well.
    pub(in crate::store) fn capabilities(&self) -> Vec<Capability> {
        let is_for = |what: &str| {
            let mut names = self.architectures.iter().flatten();
            names.any(|name| name.ends_with(what))
        };
        let own = if is_for("ForTokenClassification") {
            Capability::TokenClassify
        } else if is_for("ForSequenceClassification") {
            match &self.id2label {
                Some(labels) if labels.len() == 1 => Capability::Rerank,
                _ => Capability::Classify,
            }
        } else {
            Capability::Embedding
        };
        let mut all = vec![own];
        for head in &self.heads {
            for capability in head.capabilities() {
                // A head is asked for labels, whatever their number, and always has some.
                let capability = match capability {
                    Capability::TokenClassify => Capability::TokenClassify,
                    _ => Capability::Classify,
                };
                if !all.contains(&capability) {
                    all.push(capability);
                }
            }
        }
        all
    }
}

impl Store {
    /// The configuration among an ONNX model's files, if it has one.
    pub(in crate::store) fn read_onnx_config(
        &self,
        files: &[(&RelativeName, Digest)],
    ) -> Result<Option<OnnxConfig>, StoreError> {
        let read = |name: &str| {
            let file = files.iter().find(|(file, _)| file.as_str() == name);
            file.map(|(_, digest)| self.read_blob(digest, MAX_CONFIG_BYTES))
                .transpose()
        };
        let invalid = |name: &str, error: serde_json::Error| {
            StoreError::broken(format!("{name} of the model: {error}"))
        };
        let Some(bytes) = read("config.json")? else {
            return Ok(None);
        };
        let mut config: OnnxConfig =
            serde_json::from_slice(&bytes).map_err(|error| invalid("config.json", error))?;
        if let Some(bytes) = read("sentence_bert_config.json")? {
            let sentence: SentenceConfig = serde_json::from_slice(&bytes)
                .map_err(|error| invalid("sentence_bert_config.json", error))?;
            config.max_seq_length = sentence.max_seq_length;
        }
        for (name, digest) in files {
            let is_head =
                name.as_str().starts_with("heads/") && name.as_str().ends_with("/config.json");
            if is_head {
                let bytes = self.read_blob(digest, MAX_CONFIG_BYTES)?;
                let head = serde_json::from_slice(&bytes);
                config
                    .heads
                    .push(head.map_err(|error| invalid(name.as_str(), error))?);
            }
        }
        Ok(Some(config))
    }
}
