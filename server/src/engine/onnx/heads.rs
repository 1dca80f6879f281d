//! Further heads on a model's layers, so that one trunk in memory classifies in several ways and embeds as well.
//!
//! A head is a folder `heads/NAME` in the model's folder, in Hugging Face's form: `config.json` with `id2label` and, as in a
//! classifier's own, `architectures`, `problem_type`, `classifier_pooling` (`cls`, `mean`, ...; by default what the trunk
//! itself does) and `classifier_activation`; and `model.safetensors` with `classifier.weight` (`score` and `linear` are as
//! good) and perhaps a layer `dense` before it. What a fine-tuned checkpoint with a frozen trunk has, stands there as it is.

use safetensors::SafeTensors;
use serde::Deserialize;

use super::dense::{Dense, Function};
use super::folder::{Folder, HeadConfig};
use super::modules::AfterTokens;
use super::pool::Pooling;
use crate::inference::Error;
use crate::inference::encode::{Head, NamedHead};

/// Where heads are.
const FOLDER: &str = "heads/";

/// Most heads of a model.
const MOST_HEADS: usize = 64;

/// Names of the layer that has an output per label.
const LABELS: [&str; 3] = ["classifier", "score", "linear"];

/// A head and its weights.
#[derive(Debug)]
pub(super) struct LoadedHead {
    pub named: NamedHead,
    pooling: AfterTokens,
    hidden: Option<Dense>,
    labels: Dense,
}

#[derive(Debug, Default, Deserialize)]
struct Settings {
    classifier_pooling: Option<String>,
    classifier_activation: Option<String>,
}

/// The heads in a folder, by name. `trunk` says how the trunk's own vectors are pooled.
///
/// # Errors
/// [`Error::LoadFailed`] for a head that is not whole.
pub(super) fn read(folder: Folder<'_>, trunk: &AfterTokens) -> Result<Vec<LoadedHead>, Error> {
    let mut names: Vec<&str> = folder
        .names()
        .filter_map(|name| name.strip_prefix(FOLDER)?.strip_suffix("/config.json"))
        .filter(|name| !name.contains('/'))
        .collect();
    names.sort_unstable();
    if names.len() > MOST_HEADS {
        return Err(Error::LoadFailed(format!(
            "the model has {} heads; at most {MOST_HEADS} are possible",
            names.len()
        )));
    }
    names
        .into_iter()
        .map(|name| head(folder, name, trunk))
        .collect()
}

fn head(folder: Folder<'_>, name: &str, trunk: &AfterTokens) -> Result<LoadedHead, Error> {
    let broken = |reason: String| Error::LoadFailed(format!("the head '{name}': {reason}"));
    let config_name = format!("{FOLDER}{name}/config.json");
    let weights_name = format!("{FOLDER}{name}/model.safetensors");
    let config: HeadConfig = folder.json(&config_name)?.unwrap_or_default();
    let settings: Settings = folder.json(&config_name)?.unwrap_or_default();
    let bytes = folder
        .read(&weights_name)?
        .ok_or_else(|| broken(format!("{weights_name} is missing")))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| broken(format!("{weights_name} is not understood: {error}")))?;
    let layer = |name: &str, function| Dense::read(&file, name, function).map_err(broken);
    let between = settings.classifier_activation.as_deref().unwrap_or("tanh");
    let hidden = layer("dense", Function::named(between).map_err(broken)?)?;
    let mut labels = None;
    for name in LABELS {
        labels = labels.or(layer(name, Function::Identity)?);
    }
    let labels = labels.ok_or_else(|| {
        broken(format!(
            "{weights_name} has none of the layers {}",
            LABELS.join(", ")
        ))
    })?;
    if hidden
        .as_ref()
        .is_some_and(|hidden| hidden.outputs() != labels.inputs())
    {
        return Err(broken("its two layers do not fit together".into()));
    }
    let names = config.names(labels.outputs()).map_err(broken)?;
    let pooling = match settings.classifier_pooling.as_deref() {
        None => trunk.clone(),
        Some(mode) => Pooling::named(mode)
            .map(AfterTokens::plain)
            .ok_or_else(|| broken(format!("pooling '{mode}' is not supported")))?,
    };
    let head = if config.classifies_tokens() {
        Head::TokenLabels { names }
    } else {
        Head::Labels {
            activation: config.activation_of(names.len()),
            names,
        }
    };
    let name = name.to_owned();
    Ok(LoadedHead {
        named: NamedHead { name, head },
        pooling,
        hidden,
        labels,
    })
}

impl LoadedHead {
    /// Whether it takes what the trunk gives, if tokens have vectors of `width` numbers.
    ///
    /// # Errors
    /// [`Error::LoadFailed`] if it does not.
    pub fn check(&self, width: usize) -> Result<(), Error> {
        let given = match self.named.head {
            Head::TokenLabels { .. } => width,
            _ => self.pooling.pool(&vec![0.0; width], width).len(),
        };
        let taken = self.hidden.as_ref().unwrap_or(&self.labels).inputs();
        if taken == given {
            return Ok(());
        }
        Err(Error::LoadFailed(format!(
            "the head '{}' takes {taken} numbers and the model gives {given}",
            self.named.name
        )))
    }

    /// The logits of a text, or one after another of its tokens, from the tokens' vectors of `width` numbers.
    pub fn logits(&self, tokens: &[f32], width: usize) -> Vec<f32> {
        match self.named.head {
            Head::TokenLabels { .. } => tokens
                .chunks_exact(width)
                .flat_map(|token| self.of_vector(token))
                .collect(),
            _ => self.of_vector(&self.pooling.pool(tokens, width)),
        }
    }

    fn of_vector(&self, vector: &[f32]) -> Vec<f32> {
        match &self.hidden {
            Some(hidden) => self.labels.apply(&hidden.apply(vector)),
            None => self.labels.apply(vector),
        }
    }
}
