//! The `details` of lists, and what else several of them say about a model.

use serde::Serialize;
use utoipa::ToSchema;

use crate::store::{Details, Model};

/// `details`, in Ollama's fields.
#[derive(Serialize, ToSchema)]
pub struct DetailsRecord {
    parent_model: String,
    format: String,
    family: String,
    families: Option<Vec<String>>,
    parameter_size: String,
    quantization_level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_length: Option<u64>,
}

impl From<&Details> for DetailsRecord {
    fn from(details: &Details) -> Self {
        Self {
            parent_model: details.parent_model.clone(),
            format: details.format.clone(),
            family: details.family.clone(),
            families: details.families.clone(),
            parameter_size: details.parameter_size.clone(),
            quantization_level: details.quantization_level.clone(),
            context_length: details.context_length,
            embedding_length: details.embedding_length,
        }
    }
}

impl DetailsRecord {
    /// As `/api/show` tells it, which has the lengths in the metadata.
    pub fn shown(details: &Details) -> Self {
        Self {
            context_length: None,
            embedding_length: None,
            ..Self::from(details)
        }
    }

    /// As `/api/ps` tells it, where it does not matter what the model came from.
    pub fn loaded(details: &Details) -> Self {
        Self {
            parent_model: String::new(),
            ..Self::shown(details)
        }
    }
}

/// `capabilities`.
pub fn capabilities(model: &Model) -> Vec<&'static str> {
    let words = model.capabilities.iter();
    words.map(|capability| capability.as_str()).collect()
}
