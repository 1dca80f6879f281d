//! A Hugging Face folder as a GGUF model.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::config::Config;
use super::family::{Computed, Family};
use super::folder::{Folder, MAX_SETTINGS_BYTES};
use super::gguf::{Entries, Tensor, Writer};
use super::names::Place;
use super::tokenizer;
use super::weights::{Rows, Source, Weights};
use super::{Done, Error, Files, Float};
use crate::store::gguf::TensorType;

/// The version of the encodings of quantised numbers.
const QUANTIZATION_VERSION: u32 = 2;

/// A tensor of the model and where its numbers come from.
struct Planned {
    tensor: Tensor,
    origin: Origin,
}

enum Origin {
    Copied {
        source: Source,
        rows: Rows,
        add: f32,
    },
    Computed(Vec<f32>),
}

/// Converts the folder's model into `output`, with matrices as `to`, or as they are if they are 16-bit floats.
///
/// # Errors
/// When a file is missing or not what it should be, or the model is of no known family.
pub fn convert(
    files: &Files,
    to: Option<Float>,
    output: &Path,
    told: &mut dyn FnMut(Done),
) -> Result<(), Error> {
    let folder = Folder(files);
    let config = Config::read(folder)?;
    let family = Family::of(config.architecture()?)?;
    let weights = Weights::open(folder, &["model"])?;
    let to = to.unwrap_or_else(|| usual_float(&weights));

    let mut entries = Entries::default();
    entries.put("general.architecture", family.name());
    entries.put("general.type", "model");
    if let Some(name) = config.text("_name_or_path").filter(|name| !name.is_empty()) {
        entries.put("general.name", name.rsplit('/').next().unwrap_or(name));
    }
    family.describe(&config, &mut entries)?;
    if let Some(pooling) = pooling(folder)? {
        let key = format!("{}.pooling_type", family.name());
        entries.put(&key, pooling);
    }
    entries.put("general.file_type", to.file_type());
    entries.put("general.quantization_version", QUANTIZATION_VERSION);
    let words = tokenizer::describe(folder, &config, family, &mut entries)?;

    let planned = plan(&weights, &config, family, words, to)?;
    let tensors: Vec<_> = planned.iter().map(|one| one.tensor.clone()).collect();
    let mut writer = Writer::begin(output, &entries, &tensors, told)?;
    for Planned { tensor, origin } in &planned {
        writer.tensor(|put| match origin {
            Origin::Copied { source, rows, add } => {
                weights.stream(source, *rows, *add, tensor.kind, put)
            }
            Origin::Computed(numbers) => {
                let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
                put(&bytes)
            }
        })?;
    }
    writer.finish()
}

/// What the first matrix is; 32 bits are halved, as nobody runs models with them.
fn usual_float(weights: &Weights) -> Float {
    let matrix = weights.iter().find(|(_, source)| source.shape.len() > 1);
    match matrix.map(|(_, source)| source.dtype) {
        Some(Float::Bf16) => Float::Bf16,
        _ => Float::F16,
    }
}

/// Every tensor of the model, in the order of their names in the folder.
fn plan(
    weights: &Weights,
    config: &Config,
    family: Family,
    words: usize,
    to: Float,
) -> Result<Vec<Planned>, Error> {
    let mut planned: Vec<_> = family
        .computed(config)?
        .into_iter()
        .map(|Computed { name, numbers }| Planned {
            tensor: Tensor {
                name: name.to_owned(),
                shape: vec![numbers.len() as u64],
                kind: TensorType::F32,
            },
            origin: Origin::Computed(numbers),
        })
        .collect();
    for (theirs, source) in weights.iter() {
        let place = family.place(theirs, config, words)?.ok_or_else(|| {
            Error::refused(format!(
                "tensor '{theirs}' is not known in a {} model",
                family.name()
            ))
        })?;
        let Place::Kept { name, rows } = place else {
            continue;
        };
        planned.push(copied(theirs, name, source, rows, family, to)?);
    }
    check(&planned, config, family)?;
    Ok(planned)
}

fn copied(
    theirs: &str,
    name: String,
    source: &Source,
    rows: Rows,
    family: Family,
    to: Float,
) -> Result<Planned, Error> {
    let dimensions = source.shape.len();
    let source = match rows {
        Rows::Interleaved { .. } => source.upright(),
        _ => source.clone(),
    };
    let mut shape = source.shape_of(theirs, rows)?;
    shape.truncate(dimensions);
    shape.reverse();
    let kind = if is_always_precise(&name, dimensions) {
        TensorType::F32
    } else {
        to.tensor_type()
    };
    let add = family.added(&name);
    Ok(Planned {
        tensor: Tensor { name, shape, kind },
        origin: Origin::Copied { source, rows, add },
    })
}

/// What llama.cpp computes with 32 bits: vectors, norms, positions.
fn is_always_precise(name: &str, dimensions: usize) -> bool {
    dimensions <= 1
        || !name.ends_with(".weight")
        || name.ends_with("_norm.weight")
        || matches!(name, "position_embd.weight" | "token_types.weight")
}

/// No tensor is there twice, and neither the embedding nor a layer is missing.
fn check(planned: &[Planned], config: &Config, family: Family) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    for Planned { tensor, .. } in planned {
        if !names.insert(tensor.name.as_str()) {
            let text = format!("two tensors would both become '{}'", tensor.name);
            return Err(Error::refused(text));
        }
    }
    let layers = Family::layers(config)?;
    let last = format!("blk.{}.attn_output.weight", layers - 1);
    for needed in ["token_embd.weight", last.as_str()] {
        if !names.contains(needed) {
            return Err(Error::refused(format!(
                "the safetensors have no '{needed}' of a {} model; is a file missing?",
                family.name()
            )));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pooling {
    pooling_mode_mean_tokens: bool,
    pooling_mode_cls_token: bool,
    pooling_mode_lasttoken: bool,
    pooling_mode: Option<String>,
}

/// How sentence-transformers makes one vector of many (`enum llama_pooling_type`), if its files are there.
fn pooling(folder: Folder<'_>) -> Result<Option<u32>, Error> {
    let (mean, first, last) = (1, 2, 3);
    let modules: Option<Vec<Module>> = folder.json("modules.json", MAX_SETTINGS_BYTES)?;
    let module = modules
        .into_iter()
        .flatten()
        .find(|module| module.kind.ends_with("Pooling"));
    let Some(module) = module else {
        return Ok(None);
    };
    let name = format!("{}/config.json", module.path);
    let pooling: Pooling = folder
        .json(&name, MAX_SETTINGS_BYTES)?
        .ok_or_else(|| Error::refused(format!("modules.json needs {name}")))?;
    let named = match pooling.pooling_mode.as_deref() {
        Some("mean") => Some(mean),
        Some("cls") => Some(first),
        Some("lasttoken") => Some(last),
        _ => None,
    };
    let stated = [
        (pooling.pooling_mode_mean_tokens, mean),
        (pooling.pooling_mode_cls_token, first),
        (pooling.pooling_mode_lasttoken, last),
    ];
    stated
        .into_iter()
        .find_map(|(is_so, kind)| is_so.then_some(kind))
        .or(named)
        .map(Some)
        .ok_or_else(|| {
            Error::refused("only pooling by mean, first and last token can be converted")
        })
}
