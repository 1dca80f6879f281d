//! What a model's folder says about its graph: the files that Hugging Face, Optimum and sentence-transformers write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::pool::Pooling;
use crate::inference::Error;
use crate::inference::encode::{Activation, normalize};

/// Longest input, in tokens, where no file gives one: what BERT was trained for.
const DEFAULT_TOKENS: u32 = 512;

/// The model's files by their names in its folder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Folder<'a>(pub &'a [(String, PathBuf)]);

impl Folder<'_> {
    /// Where a file is, if the folder has it.
    pub fn path(&self, name: &str) -> Option<&Path> {
        let found = self.0.iter().find(|(file, _)| file == name);
        found.map(|(_, path)| path.as_path())
    }

    /// The content of a file, if the folder has it.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(path) = self.path(name) else {
            return Ok(None);
        };
        let bytes = std::fs::read(path)
            .map_err(|error| Error::LoadFailed(format!("{name} cannot be read: {error}")))?;
        Ok(Some(bytes))
    }

    /// A file's content, if the folder has it.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(bytes) = self.read(name)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::LoadFailed(format!("{name} is not understood: {error}")))
    }
}

/// What the folder says.
#[derive(Debug, PartialEq)]
pub(super) struct Description {
    /// Whether the model was saved as a classifier.
    pub classifier: bool,
    /// Label names by output index, as far as they are given.
    pub labels: BTreeMap<usize, String>,
    /// What turns logits into scores, where the files say so.
    pub activation: Option<Activation>,
    /// What happens to the vectors of tokens, or why it cannot.
    pub after: Result<AfterTokens, String>,
    /// Longest input in tokens, special tokens included.
    pub max_tokens: u32,
    /// Position of the first token, for graphs that take positions.
    pub first_position: u32,
}

/// What makes one vector of a text out of the vectors of its tokens.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct AfterTokens {
    pub pooling: Pooling,
    /// Scale the result to length 1.
    pub normalize: bool,
}

impl AfterTokens {
    /// Makes a text's vector out of its token vectors, which lie one after another without padding.
    pub fn apply(self, tokens: &[f32], dimensions: usize) -> Vec<f32> {
        let mut vector = self.pooling.pool(tokens, dimensions);
        if self.normalize {
            normalize(&mut vector);
        }
        vector
    }
}

/// Reads the folder's descriptions. All of them are optional; a graph and a tokenizer are a model.
///
/// # Errors
/// [`Error::LoadFailed`] if a file is there and not understood.
pub(super) fn describe(folder: Folder<'_>) -> Result<Description, Error> {
    let config: Config = folder.json("config.json")?.unwrap_or_default();
    let tokenizer: TokenizerConfig = folder.json("tokenizer_config.json")?.unwrap_or_default();
    let sentence: SentenceConfig = folder
        .json("sentence_bert_config.json")?
        .unwrap_or_default();

    let first_position = config.first_position();
    let limits = [
        tokenizer.model_max_length,
        config
            .max_position_embeddings
            .map(|positions| positions - f64::from(first_position)),
        sentence.max_seq_length,
    ];
    // Tokenizers without a limit give 1e30; a limit below 1 says nothing either.
    let limit = limits
        .into_iter()
        .flatten()
        .filter(|&n| (1.0..1e9).contains(&n))
        .reduce(f64::min);

    let labels = config.id2label.iter().flatten();
    Ok(Description {
        classifier: config
            .architectures
            .iter()
            .flatten()
            .any(|name| name.ends_with("ForSequenceClassification")),
        activation: config.activation(),
        after: after_tokens(folder)?,
        max_tokens: limit.map_or(DEFAULT_TOKENS, |limit| limit as u32),
        first_position,
        labels: labels
            .filter_map(|(index, name)| Some((index.parse().ok()?, name.clone())))
            .collect(),
    })
}

#[derive(Debug, Default, Deserialize)]
struct Config {
    architectures: Option<Vec<String>>,
    model_type: Option<String>,
    id2label: Option<BTreeMap<String, String>>,
    problem_type: Option<String>,
    max_position_embeddings: Option<f64>,
    pad_token_id: Option<u32>,
    sentence_transformers: Option<CrossEncoderConfig>,
    sbert_ce_default_activation_function: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct CrossEncoderConfig {
    activation_fn: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    model_max_length: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<f64>,
}

impl Config {
    /// The RoBERTa family counts positions from the one after the padding token's id, and its tables have room for that.
    fn first_position(&self) -> u32 {
        match self.model_type.as_deref() {
            Some("roberta" | "xlm-roberta" | "camembert" | "mpnet" | "longformer") => {
                self.pad_token_id.unwrap_or(1) + 1
            }
            _ => 0,
        }
    }

    fn activation(&self) -> Option<Activation> {
        let function = self
            .sentence_transformers
            .as_ref()
            .and_then(|config| config.activation_fn.as_deref())
            .or(self.sbert_ce_default_activation_function.as_deref());
        match function.and_then(|path| path.rsplit('.').next()) {
            Some("Identity") => return Some(Activation::Identity),
            Some("Sigmoid") => return Some(Activation::Sigmoid),
            Some("Softmax") => return Some(Activation::Softmax),
            _ => {}
        }
        match self.problem_type.as_deref() {
            Some("single_label_classification") => Some(Activation::Softmax),
            Some("multi_label_classification") => Some(Activation::Sigmoid),
            Some("regression") => Some(Activation::Identity),
            _ => None,
        }
    }
}

/// A step of a sentence-transformers model; `path` is the folder of its configuration.
#[derive(Debug, Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Follows `modules.json`. A folder without it is a plain transformer, whose tokens are averaged. What cannot be followed
/// matters only if the graph leaves it to us, so that is told as a value.
fn after_tokens(folder: Folder<'_>) -> Result<Result<AfterTokens, String>, Error> {
    let mut after = AfterTokens::default();
    let modules: Vec<Module> = folder.json("modules.json")?.unwrap_or_default();
    for module in modules {
        match module.kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" => {}
            "Normalize" => after.normalize = true,
            "Pooling" => {
                let name = format!("{}/config.json", module.path);
                let pooling: PoolingConfig = folder.json(&name)?.ok_or_else(|| {
                    Error::LoadFailed(format!("modules.json names {name}, which is missing"))
                })?;
                match pooling.pooling() {
                    Ok(pooling) => after.pooling = pooling,
                    Err(modes) => {
                        return Ok(Err(format!(
                            "pooling '{modes}' is not supported; export the model with its pooling in the graph"
                        )));
                    }
                }
            }
            other => {
                return Ok(Err(format!(
                    "the sentence-transformers module '{other}' is not supported; export the model with it in the graph"
                )));
            }
        }
    }
    Ok(Ok(after))
}

/// `1_Pooling/config.json`: a name, or in older files a flag for each mode.
#[derive(Debug, Default, Deserialize)]
struct PoolingConfig {
    pooling_mode: Option<String>,
    #[serde(flatten)]
    flags: BTreeMap<String, serde_json::Value>,
}

impl PoolingConfig {
    fn pooling(&self) -> Result<Pooling, String> {
        let set = self.flags.iter().filter(|(_, value)| **value == true);
        let mut modes: Vec<&str> = set
            .filter_map(|(name, _)| name.strip_prefix("pooling_mode_"))
            .collect();
        modes.extend(self.pooling_mode.as_deref());
        match modes[..] {
            ["cls_token" | "cls"] => Ok(Pooling::First),
            ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
            ["lasttoken"] => Ok(Pooling::Last),
            _ => Err(modes.join(" + ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Describes a folder with these files.
    fn check(files: &[(&str, &str)]) -> Result<Description, Error> {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (number, (name, content)) in files.iter().enumerate() {
            let path = folder.path().join(number.to_string());
            std::fs::write(&path, content).unwrap();
            paths.push(((*name).to_owned(), path));
        }
        describe(Folder(&paths))
    }

    const MODULES: &str = r#"[
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;

    #[test]
    fn an_empty_folder_is_a_plain_transformer() {
        assert_eq!(
            check(&[]),
            Ok(Description {
                classifier: false,
                labels: BTreeMap::new(),
                activation: None,
                after: Ok(AfterTokens::default()),
                max_tokens: 512,
                first_position: 0,
            })
        );
    }

    #[test]
    fn the_smallest_limit_counts() {
        let files = [
            (
                "config.json",
                r#"{"max_position_embeddings": 514, "model_type": "roberta"}"#,
            ),
            (
                "tokenizer_config.json",
                r#"{"model_max_length": 1000000000000000019884624838656}"#,
            ),
        ];
        assert_eq!(check(&files).unwrap().max_tokens, 512);
        let shorter = ("sentence_bert_config.json", r#"{"max_seq_length": 256}"#);
        assert_eq!(
            check(&[files[0], files[1], shorter]).unwrap().max_tokens,
            256
        );
    }

    #[test]
    fn sentence_transformers_modules_are_followed() {
        for (config, pooling) in [
            (
                r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#,
                Pooling::First,
            ),
            (
                r#"{"word_embedding_dimension": 384, "pooling_mode": "mean"}"#,
                Pooling::Mean,
            ),
            (
                r#"{"pooling_mode_lasttoken": true, "include_prompt": true}"#,
                Pooling::Last,
            ),
        ] {
            let files = [("modules.json", MODULES), ("1_Pooling/config.json", config)];
            let after = AfterTokens {
                pooling,
                normalize: true,
            };
            assert_eq!(check(&files).unwrap().after, Ok(after));
        }
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        let pooling = r#"{"pooling_mode_cls_token": true, "pooling_mode_max_tokens": true}"#;
        let files = [
            ("modules.json", MODULES),
            ("1_Pooling/config.json", pooling),
        ];
        let after = check(&files).unwrap().after;
        assert!(after.is_err_and(|text| text.contains("'cls_token + max_tokens'")));
        let dense = r#"[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#;
        let after = check(&[("modules.json", dense)]).unwrap().after;
        assert!(after.is_err_and(|text| text.contains("'Dense'")));
        assert!(check(&[("modules.json", MODULES)]).is_err());
    }

    #[test]
    fn a_classifier_is_known_by_its_architecture() {
        let config = r#"{"architectures": ["BertForSequenceClassification"], "problem_type": "multi_label_classification",
            "id2label": {"0": "calm", "1": "angry"}}"#;
        let description = check(&[("config.json", config)]).unwrap();
        assert!(description.classifier);
        assert_eq!(description.activation, Some(Activation::Sigmoid));
        assert_eq!(description.labels[&1], "angry");
    }

    #[test]
    fn a_rerankers_activation_is_its_own() {
        let config =
            r#"{"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}"#;
        let activation = check(&[("config.json", config)]).unwrap().activation;
        assert_eq!(activation, Some(Activation::Identity));
    }

    #[test]
    fn damaged_files_are_named() {
        let error = check(&[("config.json", "{")]).unwrap_err().to_string();
        assert!(
            error.starts_with("config.json is not understood"),
            "{error}"
        );
    }
}
