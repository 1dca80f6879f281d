//! A PEFT folder (`adapter_config.json` and `adapter_model.safetensors`) as a GGUF LoRA adapter
//! (llama.cpp's `convert_lora_to_gguf.py`).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::family::Family;
use super::folder::{Folder, MAX_SETTINGS_BYTES};
use super::gguf::{Entries, Tensor, Writer};
use super::names::{DecoderNames, Place};
use super::weights::{Rows, Source, Weights};
use super::{Done, Error, Files};
use crate::store::gguf::{Arrays, Gguf, TensorType};

const SETTINGS: &str = "adapter_config.json";

/// What matters of `adapter_config.json`.
#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    peft_type: Option<String>,
    r: u32,
    lora_alpha: f32,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    rank_pattern: Option<Map<String, Value>>,
    #[serde(default)]
    alpha_pattern: Option<Map<String, Value>>,
}

/// Which half of a product of two matrices.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Half {
    A,
    B,
}

/// Converts the folder's adapter for the model `base` into `output`.
///
/// # Errors
/// When a file is missing or not what it should be, or the adapter is of a kind or for a model that is not supported.
pub fn convert(
    files: &Files,
    base: &Path,
    output: &Path,
    told: &mut dyn FnMut(Done),
) -> Result<(), Error> {
    let folder = Folder(files);
    let settings: Settings = folder
        .json(SETTINGS, MAX_SETTINGS_BYTES)?
        .ok_or_else(|| Error::refused(format!("an adapter of safetensors needs {SETTINGS}")))?;
    let alpha = settings.alpha()?;
    let base = Base::read(base)?;
    let weights = Weights::open(folder, &["adapter_model"])?;
    let halves = base.halves(&weights)?;

    let mut entries = Entries::default();
    entries.put("general.architecture", base.family.name());
    entries.put("general.type", "adapter");
    entries.put("adapter.type", "lora");
    entries.put("adapter.lora.alpha", alpha);
    entries.put("general.file_type", 0_u32);
    let tensors: Vec<_> = halves.iter().map(|half| half.tensor.clone()).collect();
    let mut writer = Writer::begin(output, &entries, &tensors, told)?;
    for half in &halves {
        writer.tensor(|put| weights.stream(&half.source, half.rows, 0.0, half.tensor.kind, put))?;
    }
    writer.finish()
}

impl Settings {
    /// What llama.cpp divides by the rank to get the adapter's strength.
    fn alpha(&self) -> Result<f32, Error> {
        let unsupported = if self.peft_type.as_deref().is_some_and(|kind| kind != "LORA") {
            Some("is no LoRA adapter")
        } else if self.use_dora {
            Some("uses DoRA")
        } else if self
            .rank_pattern
            .as_ref()
            .is_some_and(|pattern| !pattern.is_empty())
            || self
                .alpha_pattern
                .as_ref()
                .is_some_and(|pattern| !pattern.is_empty())
        {
            Some("has ranks or alphas of its own for some matrices")
        } else {
            None
        };
        if let Some(what) = unsupported {
            let text = format!("the adapter {what}, which is not supported");
            return Err(Error::refused(text));
        }
        if self.r == 0 || !self.lora_alpha.is_finite() || self.lora_alpha == 0.0 {
            return Err(Error::refused(format!(
                "'r' and 'lora_alpha' of {SETTINGS} must not be 0"
            )));
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rank has far fewer than 24 bits"
        )]
        let rank = self.r as f32;
        // A rank-stabilised adapter is divided by the root of its rank only.
        Ok(if self.use_rslora {
            self.lora_alpha * rank.sqrt()
        } else {
            self.lora_alpha
        })
    }
}

/// The model that the adapter is for.
struct Base {
    family: Family,
    names: DecoderNames,
    /// Width and height of its matrices by name.
    matrices: BTreeMap<String, (u64, u64)>,
}

/// One of the two matrices of an adapted one.
struct Planned {
    tensor: Tensor,
    source: Source,
    rows: Rows,
}

impl Base {
    fn read(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("opening the model"))?;
        let gguf =
            Gguf::read(file, Arrays::Skip).map_err(|error| Error::refused(error.to_string()))?;
        let architecture = gguf.architecture();
        let family = Family::of_gguf(architecture).ok_or_else(|| {
            Error::refused(format!(
                "adapters of safetensors for {architecture} models are not supported"
            ))
        })?;
        let number = |key: &str| gguf.of_architecture(key)?.as_unsigned();
        let heads = number("attention.head_count")
            .ok_or_else(|| Error::refused("the model does not say how many heads it has"))?;
        let key_heads = number("attention.head_count_kv").unwrap_or(heads);
        let matrices = gguf
            .tensors
            .iter()
            .filter_map(|tensor| match tensor.shape.as_slice() {
                [width, height] => Some((tensor.name.clone(), (*width, *height))),
                _ => None,
            })
            .collect();
        Ok(Self {
            family,
            names: family.decoder_names(Some((heads, key_heads)), None),
            matrices,
        })
    }

    /// Every matrix of the adapter, with its place; each that is there must have its other half and fit the model.
    fn halves(&self, weights: &Weights) -> Result<Vec<Planned>, Error> {
        let mut halves = BTreeMap::new();
        for (theirs, source) in weights.iter() {
            let unknown = || {
                Error::refused(format!(
                    "tensor '{theirs}' of the adapter is not known in a {} model",
                    self.family.name()
                ))
            };
            let (name, half) = split(theirs).ok_or_else(unknown)?;
            let Some(Place::Kept { name, rows }) = self.names.place(&name) else {
                return Err(unknown());
            };
            let fits = self.matrices.get(&name).is_some_and(|&(width, height)| {
                let (ours, other) = match half {
                    Half::A => (source.shape.get(1), width),
                    Half::B => (source.shape.first(), height),
                };
                source.shape.len() == 2 && ours == Some(&other)
            });
            if !fits {
                return Err(Error::refused(format!(
                    "tensor '{theirs}' of the adapter does not fit '{name}' of the model"
                )));
            }
            halves.insert((name, half), (source, rows));
        }
        if halves.is_empty() {
            return Err(Error::refused("the adapter has no matrices"));
        }
        let planned = halves.iter().map(|((name, half), (source, rows))| {
            let other = match half {
                Half::A => Half::B,
                Half::B => Half::A,
            };
            let rank = |half: Half, source: &Source| match half {
                Half::A => source.shape[0],
                Half::B => source.shape[1],
            };
            let partner = halves.get(&(name.clone(), other));
            if partner.is_none_or(|(partner, _)| rank(other, partner) != rank(*half, source)) {
                let text = format!("the adapter has one matrix for '{name}' and not the other");
                return Err(Error::refused(text));
            }
            // Only the matrix whose rows are the model's rows is reordered as they are.
            let (ending, rows) = match half {
                Half::A => ("lora_a", Rows::All),
                Half::B => ("lora_b", *rows),
            };
            let mut shape = source.shape_of(name, rows)?;
            shape.reverse();
            Ok(Planned {
                tensor: Tensor {
                    name: format!("{name}.{ending}"),
                    shape,
                    kind: TensorType::F32,
                },
                source: (*source).clone(),
                rows,
            })
        });
        planned.collect()
    }
}

/// The name of the matrix that is adapted, and which half this is.
fn split(name: &str) -> Option<(String, Half)> {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    let (stem, half) = if let Some(stem) = name.strip_suffix(".lora_A.weight") {
        (stem, Half::A)
    } else {
        (name.strip_suffix(".lora_B.weight")?, Half::B)
    };
    Some((format!("{stem}.weight"), half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_are_told_from_their_names() {
        let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
        let expected = "model.layers.0.self_attn.q_proj.weight".to_owned();
        assert_eq!(split(name), Some((expected, Half::A)));
        assert_eq!(split("base_model.model.lm_head.weight"), None);
    }

    fn alpha(settings: &str) -> Result<f32, String> {
        let settings: Settings = serde_json::from_str(settings).unwrap();
        settings.alpha().map_err(|error| error.to_string())
    }

    #[test]
    fn the_strength_is_what_peft_computes() {
        assert_eq!(alpha(r#"{"r": 4, "lora_alpha": 8}"#), Ok(8.0));
        assert_eq!(
            alpha(r#"{"r": 4, "lora_alpha": 8, "use_rslora": true}"#),
            Ok(16.0)
        );
        for bad in [
            r#"{"r": 4, "lora_alpha": 8, "use_dora": true}"#,
            r#"{"r": 0, "lora_alpha": 8}"#,
            r#"{"r": 4, "lora_alpha": 8, "rank_pattern": {"x": 2}}"#,
            r#"{"r": 4, "lora_alpha": 8, "peft_type": "IA3"}"#,
        ] {
            assert!(alpha(bad).is_err(), "{bad}");
        }
    }
}
