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

    /// A classifier with a single label scores, with several it classifies; everything else makes vectors.
    pub(in crate::store) fn capabilities(&self) -> Vec<Capability> {
        let architectures = self.architectures.as_deref().unwrap_or_default();
        let is_classifier = architectures
            .iter()
            .any(|name| name.ends_with("ForSequenceClassification"));
        vec![match (is_classifier, &self.id2label) {
            (false, _) => Capability::Embedding,
            (true, Some(labels)) if labels.len() == 1 => Capability::Rerank,
            (true, _) => Capability::Classify,
        }]
    }
}

impl Store {
    /// The configuration among an ONNX model's files, if it has one.
    pub(in crate::store) fn read_onnx_config(
        &self,
        file: impl Fn(&RelativeName) -> Option<Digest>,
    ) -> Result<Option<OnnxConfig>, StoreError> {
        let read = |text: &str| {
            let name = text
                .parse()
                .expect("the configurations' names are relative");
            file(&name)
                .map(|digest| self.read_blob(&digest, MAX_CONFIG_BYTES))
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
        Ok(Some(config))
    }
}
