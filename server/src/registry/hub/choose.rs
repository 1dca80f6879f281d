//! Which files of a repository make an ONNX model.

use super::Sibling;
use crate::registry::Error;
use crate::store::onnx::{preferred, stem};
use crate::store::{Digest, RelativeName};

/// The tag of a name that names no variant.
const DEFAULT_TAG: &str = "latest";

/// Most files of a model.
const MAX_FILES: usize = 256;

/// A file that belongs to the model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// Its name in the repository and in the model.
    pub name: RelativeName,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest, if the hub tells.
    pub digest: Option<Digest>,
}

/// The graph that `tag` means, its data, and what tells how its text is made. `None` if the repository has no graph.
///
/// # Errors
/// When it has graphs and none is meant.
pub fn choose(files: &[Sibling], tag: &str) -> Result<Option<Vec<Chosen>>, Error> {
    let files: Vec<Chosen> = files.iter().filter_map(chosen).collect();
    let graphs: Vec<&str> = files
        .iter()
        .map(|file| file.name.as_str())
        .filter(|name| name.ends_with(".onnx"))
        .collect();
    if graphs.is_empty() {
        return Ok(None);
    }
    let Some(graph) = meant(&graphs, tag) else {
        let text = format!(
            "the repository has no ONNX graph '{tag}'; it has {}",
            graphs
                .iter()
                .map(|graph| stem(graph))
                .collect::<Vec<_>>()
                .join(", ")
        );
        return Err(Error::Invalid(text));
    };
    let graph = graph.to_owned();
    let belongs = |file: &Chosen| {
        let name = file.name.as_str();
        name == graph || is_data_of(name, &graph) || is_setting(name)
    };
    let mut chosen: Vec<Chosen> = files.into_iter().filter(belongs).collect();
    chosen.truncate(MAX_FILES);
    Ok(Some(chosen))
}

/// The one that is preferred; or, by a tag like `quantized` or `model_quantized`, a variant.
fn meant<'a>(graphs: &[&'a str], tag: &str) -> Option<&'a str> {
    if tag == DEFAULT_TAG {
        return preferred(graphs);
    }
    let is_meant = |graph: &&&str| {
        let stem = stem(graph);
        let variant = stem.strip_prefix("model_").unwrap_or(stem);
        [stem, variant]
            .iter()
            .any(|name| name.eq_ignore_ascii_case(tag))
    };
    graphs.iter().find(is_meant).copied()
}

/// Whether a file holds tensors of the graph: exporters call it `model.onnx_data`, `model.onnx.data`, `model.onnx_data_1`.
fn is_data_of(name: &str, graph: &str) -> bool {
    name.strip_prefix(graph)
        .is_some_and(|rest| rest.starts_with("_data") || rest.starts_with(".data"))
}

/// Tokenizer, configuration and vocabulary, in the repository itself or in a sentence model's folders like `1_Pooling`, where
/// layers have their weights too, as heads do.
fn is_setting(name: &str) -> bool {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let is_module =
        !folder.contains('/') && folder.starts_with(|first: char| first.is_ascii_digit());
    let is_layer = is_module || folder.starts_with("heads/");
    let is_of_model = folder.is_empty() || is_layer;
    if is_layer && file == "model.safetensors" {
        return true;
    }
    let is_json = file.ends_with(".json") && !file.ends_with(".index.json");
    let is_vocabulary =
        file.ends_with(".txt") && (file.starts_with("vocab") || file.starts_with("merges"));
    let is_tokenizer = matches!(
        file,
        "tokenizer.model" | "sentencepiece.bpe.model" | "spiece.model"
    );
    is_of_model && (is_json || is_vocabulary || is_tokenizer || file == "chat_template.jinja")
}

/// A file whose name a model can use.
fn chosen(file: &Sibling) -> Option<Chosen> {
    Some(Chosen {
        name: file.name.parse().ok()?,
        size: file.lfs.map_or(file.size, |lfs| lfs.size),
        digest: file.lfs.map(|lfs| lfs.sha256.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<Sibling> {
        let sibling = |name: &&str| Sibling {
            name: (*name).to_owned(),
            size: 1,
            lfs: None,
        };
        names.iter().map(sibling).collect()
    }

    fn check(names: &[&str], tag: &str, expected: &[&str]) {
        let chosen = choose(&files(names), tag).unwrap().unwrap();
        let chosen: Vec<&str> = chosen.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(chosen, expected);
    }

    const SENTENCES: &[&str] = &[
        ".gitattributes",
        "1_Pooling/config.json",
        "2_Dense/model.safetensors",
        "2_Dense/pytorch_model.bin",
        "README.md",
        "config.json",
        "model.safetensors",
        "modules.json",
        "onnx/model.onnx",
        "onnx/model_O4.onnx",
        "onnx/model_quantized.onnx",
        "openvino/openvino_model.xml",
        "openvino/config.json",
        "pytorch_model.bin.index.json",
        "tokenizer.json",
        "vocab.txt",
        "train_script.py",
    ];

    #[test]
    fn a_sentence_model_is_its_graph_and_its_settings() {
        let around = [
            "1_Pooling/config.json",
            "2_Dense/model.safetensors",
            "config.json",
            "modules.json",
        ];
        let settings = ["tokenizer.json", "vocab.txt"];
        for (tag, graph) in [
            ("latest", "onnx/model.onnx"),
            ("O4", "onnx/model_O4.onnx"),
            ("quantized", "onnx/model_quantized.onnx"),
            ("model_quantized", "onnx/model_quantized.onnx"),
            ("model", "onnx/model.onnx"),
        ] {
            check(SENTENCES, tag, &[&around[..], &[graph], &settings].concat());
        }
    }

    #[test]
    fn data_outside_the_graph_comes_along() {
        let names = [
            "config.json",
            "model.onnx",
            "model.onnx_data",
            "model_fp16.onnx",
            "model_fp16.onnx_data",
        ];
        check(
            &names,
            "latest",
            &["config.json", "model.onnx", "model.onnx_data"],
        );
        check(
            &names,
            "fp16",
            &["config.json", "model_fp16.onnx", "model_fp16.onnx_data"],
        );
    }

    #[test]
    fn the_only_graph_is_meant_whatever_it_is_called() {
        check(
            &["a/other.onnx", "../evil.onnx"],
            "latest",
            &["a/other.onnx"],
        );
    }

    #[test]
    fn what_is_not_there_is_not_chosen() {
        assert!(
            choose(&files(&["config.json", "model.gguf"]), "latest")
                .unwrap()
                .is_none()
        );
        let error = choose(&files(SENTENCES), "Q8").unwrap_err().to_string();
        assert_eq!(
            error,
            "the repository has no ONNX graph 'Q8'; it has model, model_O4, model_quantized"
        );
        assert!(choose(&files(&["a.onnx", "b.onnx"]), "latest").is_err());
    }
}
