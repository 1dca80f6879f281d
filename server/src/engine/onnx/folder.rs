//! What a model's folder says about its graph: the files that Hugging Face and Optimum write. What sentence-transformers adds
//! is [`super::modules`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::modules::{self, AfterTokens};
use crate::inference::Error;
use crate::inference::encode::{Activation, Prompts, Side};

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

    /// The names of all files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
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
    /// What the model was saved as.
    pub purpose: Purpose,
    /// Its labels and what their scores are.
    pub head: HeadConfig,
    /// What happens to the vectors of tokens, or why it cannot.
    pub after: Result<AfterTokens, String>,
    /// What it wants before texts.
    pub prompts: Prompts,
    /// Longest input in tokens, special tokens included.
    pub max_tokens: u32,
    /// Where texts are cut unless somebody says otherwise.
    pub cut: Side,
    /// Position of the first token, for graphs that take positions.
    pub first_position: u32,
}

/// What a model was saved as.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Purpose {
    /// Something that embeds, or does not say.
    #[default]
    Vectors,
    /// A classifier of texts.
    Labels,
    /// A classifier of tokens.
    TokenLabels,
    /// A model of masked words: SPLADE.
    Words,
}

/// What a configuration says of a classifier.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(super) struct HeadConfig {
    architectures: Option<Vec<String>>,
    id2label: Option<BTreeMap<String, String>>,
    problem_type: Option<String>,
    sentence_transformers: Option<CrossEncoderConfig>,
    sbert_ce_default_activation_function: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
struct CrossEncoderConfig {
    activation_fn: Option<String>,
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

    let after = modules::after_tokens(folder)?;
    let pools_prompts = after.as_ref().map_or(true, |after| after.pools_prompts);
    Ok(Description {
        purpose: config.head.purpose(),
        head: config.head,
        prompts: modules::prompts(folder, pools_prompts)?,
        after,
        max_tokens: limit.map_or(DEFAULT_TOKENS, |limit| limit as u32),
        cut: match tokenizer.truncation_side.as_deref() {
            Some("left") => Side::Start,
            _ => Side::End,
        },
        first_position,
    })
}

#[derive(Debug, Default, Deserialize)]
struct Config {
    model_type: Option<String>,
    max_position_embeddings: Option<f64>,
    pad_token_id: Option<u32>,
    #[serde(flatten)]
    head: HeadConfig,
}

#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    model_max_length: Option<f64>,
    truncation_side: Option<String>,
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
}

impl HeadConfig {
    fn is_for(&self, what: &str) -> bool {
        let mut names = self.architectures.iter().flatten();
        names.any(|name| name.ends_with(what))
    }

    fn purpose(&self) -> Purpose {
        if self.is_for("ForSequenceClassification") {
            Purpose::Labels
        } else if self.classifies_tokens() {
            Purpose::TokenLabels
        } else if self.is_for("ForMaskedLM") {
            Purpose::Words
        } else {
            Purpose::Vectors
        }
    }

    /// Whether it was saved as a classifier of tokens.
    pub fn classifies_tokens(&self) -> bool {
        self.is_for("ForTokenClassification")
    }

    /// The names of so many labels.
    ///
    /// # Errors
    /// In words, if it names others.
    pub fn names(&self, count: usize) -> Result<Vec<String>, String> {
        let given = self.id2label.iter().flatten();
        let mut given: BTreeMap<usize, &String> = given
            .filter_map(|(index, name)| Some((index.parse().ok()?, name)))
            .collect();
        if given.keys().any(|index| *index >= count) {
            return Err(format!(
                "config.json names {} labels, but there are {count}",
                given.len()
            ));
        }
        let name = |index| match given.remove(&index) {
            Some(name) => name.clone(),
            None => format!("LABEL_{index}"),
        };
        Ok((0..count).map(name).collect())
    }

    /// What turns the logits of so many labels into scores.
    pub fn activation_of(&self, labels: usize) -> Activation {
        match self.activation() {
            // A softmax over a single label would always be 1.
            None | Some(Activation::Softmax) if labels == 1 => Activation::Sigmoid,
            None => Activation::Softmax,
            Some(activation) => activation,
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Does something with a folder of these files.
    pub fn with_folder<T>(files: &[(&str, &[u8])], body: impl FnOnce(Folder<'_>) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (number, (name, content)) in files.iter().enumerate() {
            let path = folder.path().join(number.to_string());
            std::fs::write(&path, content).unwrap();
            paths.push(((*name).to_owned(), path));
        }
        body(Folder(&paths))
    }

    fn check(files: &[(&str, &str)]) -> Result<Description, Error> {
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, content)| (*name, content.as_bytes()))
            .collect();
        with_folder(&files, describe)
    }

    #[test]
    fn an_empty_folder_is_a_plain_transformer() {
        assert_eq!(
            check(&[]),
            Ok(Description {
                purpose: Purpose::Vectors,
                head: HeadConfig::default(),
                after: Ok(AfterTokens::default()),
                prompts: Prompts::NONE,
                max_tokens: 512,
                cut: Side::End,
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
    fn a_classifier_is_known_by_its_architecture() {
        let config = r#"{"architectures": ["BertForSequenceClassification"], "problem_type": "multi_label_classification",
            "id2label": {"0": "calm", "1": "angry"}}"#;
        let description = check(&[("config.json", config)]).unwrap();
        assert_eq!(description.purpose, Purpose::Labels);
        assert_eq!(description.head.activation_of(2), Activation::Sigmoid);
        let names = |count| description.head.names(count);
        assert_eq!(names(3).unwrap(), ["calm", "angry", "LABEL_2"]);
        assert!(names(1).unwrap_err().contains("names 2 labels"));
        for (architecture, purpose) in [
            ("XLMRobertaForTokenClassification", Purpose::TokenLabels),
            ("DistilBertForMaskedLM", Purpose::Words),
            ("BertModel", Purpose::Vectors),
        ] {
            let config = format!(r#"{{"architectures": ["{architecture}"]}}"#);
            assert_eq!(check(&[("config.json", &config)]).unwrap().purpose, purpose);
        }
    }

    #[test]
    fn the_side_that_is_cut_is_the_tokenizers() {
        let left = ("tokenizer_config.json", r#"{"truncation_side": "left"}"#);
        assert_eq!(check(&[left]).unwrap().cut, Side::Start);
    }

    #[test]
    fn a_rerankers_activation_is_its_own() {
        let config =
            r#"{"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}"#;
        let head = check(&[("config.json", config)]).unwrap().head;
        assert_eq!(head.activation_of(1), Activation::Identity);
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
