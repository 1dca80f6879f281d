//! What a sentence-transformers folder does with the vectors of tokens: `modules.json` and the folders that it names, and the
//! prompts of `config_sentence_transformers.json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use safetensors::SafeTensors;
use serde::Deserialize;

use super::dense::{Dense, Function};
use super::folder::Folder;
use super::pool::Pooling;
use crate::inference::Error;
use crate::inference::encode::{Prompts, normalize};

/// What makes one vector of a text out of the vectors of its tokens.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AfterTokens {
    /// Several are put one after another.
    pooling: Vec<Pooling>,
    /// What comes then, shared because it may be large.
    steps: Arc<[Step]>,
    /// Whether a prompt's tokens are pooled as well.
    pub pools_prompts: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Scale the vector to length 1.
    Normalize,
    Dense(Dense),
}

impl Default for AfterTokens {
    fn default() -> Self {
        Self::plain(Pooling::default())
    }
}

impl AfterTokens {
    /// Pooling and nothing else.
    pub fn plain(pooling: Pooling) -> Self {
        Self {
            pooling: vec![pooling],
            steps: Arc::new([]),
            pools_prompts: true,
        }
    }

    /// Makes a text's vector out of its token vectors, which lie one after another without padding.
    pub fn apply(&self, tokens: &[f32], dimensions: usize) -> Vec<f32> {
        let mut vector = self.pool(tokens, dimensions);
        for step in &*self.steps {
            match step {
                Step::Normalize => normalize(&mut vector),
                Step::Dense(dense) => vector = dense.apply(&vector),
            }
        }
        vector
    }

    /// The first of its steps alone.
    pub fn pool(&self, tokens: &[f32], dimensions: usize) -> Vec<f32> {
        let pooled = self.pooling.iter();
        pooled
            .flat_map(|pooling| pooling.pool(tokens, dimensions))
            .collect()
    }

    /// Numbers of a text's vector, if its tokens' have so many and the steps take each other's numbers.
    ///
    /// # Errors
    /// Which does not, in words.
    pub fn width(&self, dimensions: usize) -> Result<usize, String> {
        let mut width = dimensions * self.pooling.len();
        for step in &*self.steps {
            if let Step::Dense(dense) = step {
                if dense.inputs() != width {
                    return Err(format!(
                        "a dense layer takes {} numbers and gets {width}",
                        dense.inputs()
                    ));
                }
                width = dense.outputs();
            }
        }
        Ok(width)
    }
}

/// A module; `path` is the folder of its configuration.
#[derive(Debug, Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// `1_Pooling/config.json`: a name, or in older files a flag for each mode.
#[derive(Debug, Default, Deserialize)]
struct PoolingConfig {
    pooling_mode: Option<String>,
    include_prompt: Option<bool>,
    #[serde(flatten)]
    flags: BTreeMap<String, serde_json::Value>,
}

/// `2_Dense/config.json`.
#[derive(Debug, Deserialize)]
struct DenseConfig {
    activation_function: Option<String>,
    /// Newer files may have layers that work on the vectors of tokens.
    module_input_name: Option<String>,
}

/// `config_sentence_transformers.json`.
#[derive(Debug, Default, Deserialize)]
struct SentenceTransformers {
    prompts: Option<BTreeMap<String, Option<String>>>,
    default_prompt_name: Option<String>,
}

/// Follows `modules.json`. A folder without it is a plain transformer, whose tokens are averaged. What cannot be followed
/// matters only if the graph leaves it to us, so that is told as a value.
///
/// # Errors
/// [`Error::LoadFailed`] if a file is there and not understood, or named and not there.
pub(super) fn after_tokens(folder: Folder<'_>) -> Result<Result<AfterTokens, String>, Error> {
    let mut after = AfterTokens::default();
    let mut steps = Vec::new();
    let modules: Vec<Module> = folder.json("modules.json")?.unwrap_or_default();
    for module in modules {
        let unsupported = |what: String| {
            Ok(Err(format!(
                "{what}; export the model with it in the graph"
            )))
        };
        match module.kind.rsplit('.').next().unwrap_or_default() {
            // Dropout does nothing outside of training.
            "Transformer" | "Dropout" => {}
            "Normalize" => steps.push(Step::Normalize),
            "Pooling" => {
                let config: PoolingConfig = needed(folder, &module)?;
                after.pools_prompts = config.include_prompt.unwrap_or(true);
                match config.pooling() {
                    Ok(pooling) => after.pooling = pooling,
                    Err(modes) => {
                        return unsupported(format!("pooling '{modes}' is not supported"));
                    }
                }
            }
            "Dense" => match dense(folder, &module)? {
                Ok(dense) => steps.push(Step::Dense(dense)),
                Err(reason) => return unsupported(reason),
            },
            other => {
                return unsupported(format!(
                    "the sentence-transformers module '{other}' is not supported"
                ));
            }
        }
    }
    after.steps = steps.into();
    Ok(Ok(after))
}

/// The configuration of a module.
fn needed<T: serde::de::DeserializeOwned>(folder: Folder<'_>, module: &Module) -> Result<T, Error> {
    let name = format!("{}/config.json", module.path);
    folder
        .json(&name)?
        .ok_or_else(|| Error::LoadFailed(format!("modules.json names {name}, which is missing")))
}

fn dense(folder: Folder<'_>, module: &Module) -> Result<Result<Dense, String>, Error> {
    let config: DenseConfig = needed(folder, module)?;
    if let Some(input) = config
        .module_input_name
        .filter(|name| name != "sentence_embedding")
    {
        return Ok(Err(format!("a dense layer on '{input}' is not supported")));
    }
    // What sentence-transformers takes where nothing is said.
    let function = config.activation_function.as_deref().unwrap_or("Tanh");
    let function = match Function::named(function) {
        Ok(function) => function,
        Err(reason) => return Ok(Err(reason)),
    };
    let name = format!("{}/model.safetensors", module.path);
    let Some(bytes) = folder.read(&name)? else {
        return Ok(Err(format!(
            "the dense layer's weights '{name}' are missing (a pytorch_model.bin is not read)"
        )));
    };
    let broken = |reason: String| Error::LoadFailed(format!("{name} is not understood: {reason}"));
    let file = SafeTensors::deserialize(&bytes).map_err(|error| broken(error.to_string()))?;
    let dense = Dense::read(&file, "linear", function).map_err(broken)?;
    dense
        .ok_or_else(|| broken("it has no 'linear.weight'".into()))
        .map(Ok)
}

impl PoolingConfig {
    /// The modes, in the order in which their results are put together.
    fn pooling(&self) -> Result<Vec<Pooling>, String> {
        let set = self.flags.iter().filter(|(_, value)| **value == true);
        let mut names: Vec<&str> = set
            .filter_map(|(name, _)| name.strip_prefix("pooling_mode_"))
            .collect();
        names.extend(self.pooling_mode.as_deref());
        let modes: Option<Vec<Pooling>> = names.iter().map(|name| Pooling::named(name)).collect();
        let mut modes = modes
            .filter(|modes| !modes.is_empty())
            .ok_or_else(|| names.join(" + "))?;
        modes.sort();
        modes.dedup();
        Ok(modes)
    }
}

/// The model's prompts.
///
/// # Errors
/// [`Error::LoadFailed`] if the file is there and not understood.
pub(super) fn prompts(folder: Folder<'_>, pooled: bool) -> Result<Prompts, Error> {
    let config: SentenceTransformers = folder
        .json("config_sentence_transformers.json")?
        .unwrap_or_default();
    let prompts = config.prompts.into_iter().flatten();
    Ok(Prompts {
        texts: prompts
            .map(|(name, text)| (name, text.unwrap_or_default()))
            .collect(),
        default: config.default_prompt_name,
        pooled,
    })
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{Dtype, TensorView};

    use super::super::folder::tests::with_folder;
    use super::*;

    const MODULES: &str = r#"[
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        {"idx": 3, "name": "3", "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;

    fn check(files: &[(&str, &[u8])]) -> Result<Result<AfterTokens, String>, Error> {
        with_folder(files, after_tokens)
    }

    fn weights() -> Vec<u8> {
        let bytes: Vec<u8> = [0.0f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let matrix = TensorView::new(Dtype::F32, vec![1, 2], &bytes).unwrap();
        safetensors::serialize([("linear.weight", matrix)], None).unwrap()
    }

    #[test]
    fn modules_are_followed_one_after_another() {
        let weights = weights();
        let files: &[(&str, &[u8])] = &[
            ("modules.json", MODULES.as_bytes()),
            (
                "1_Pooling/config.json",
                br#"{"pooling_mode_cls_token": true, "include_prompt": false}"#,
            ),
            (
                "2_Dense/config.json",
                br#"{"in_features": 2, "out_features": 1, "bias": false,
                    "activation_function": "torch.nn.modules.linear.Identity"}"#,
            ),
            ("2_Dense/model.safetensors", &weights),
        ];
        let after = check(files).unwrap().unwrap();
        assert!(!after.pools_prompts);
        assert_eq!(after.width(2), Ok(1));
        assert!(
            after
                .width(3)
                .unwrap_err()
                .contains("takes 2 numbers and gets 3")
        );
        assert_eq!(after.pool(&[3.0, -4.0, 9.0, 9.0], 2), [3.0, -4.0]);
        assert_eq!(after.apply(&[3.0, -4.0, 9.0, 9.0], 2), [-1.0]);
        // A layer whose weights are not there matters only to graphs that leave it to us.
        let error = check(&files[..3]).unwrap().unwrap_err();
        assert!(
            error.contains("'2_Dense/model.safetensors' are missing"),
            "{error}"
        );
        let error = check(&files[..2]).unwrap_err().to_string();
        assert!(error.contains("2_Dense/config.json"), "{error}");
    }

    #[test]
    fn modes_of_pooling_have_names_or_flags_and_are_put_together() {
        let pooling = |config: &str| {
            let modules = br#"[{"path": "1_Pooling", "type": "x.Pooling"}]"#;
            let files: &[(&str, &[u8])] = &[
                ("modules.json", modules),
                ("1_Pooling/config.json", config.as_bytes()),
            ];
            check(files).unwrap().map(|after| after.pooling)
        };
        let mean = r#"{"word_embedding_dimension": 384, "pooling_mode": "mean"}"#;
        assert_eq!(pooling(mean), Ok(vec![Pooling::Mean]));
        let last = r#"{"pooling_mode_lasttoken": true, "pooling_mode_mean_tokens": false}"#;
        assert_eq!(pooling(last), Ok(vec![Pooling::Last]));
        let both = r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}"#;
        assert_eq!(pooling(both), Ok(vec![Pooling::First, Pooling::Mean]));
        let unknown = pooling(r#"{"pooling_mode": "median"}"#).unwrap_err();
        assert!(unknown.contains("'median'"), "{unknown}");
        assert!(pooling("{}").is_err());
    }

    #[test]
    fn a_module_that_is_not_known_is_named() {
        let modules = br#"[{"path": "2_Conv", "type": "sentence_transformers.models.CNN"}]"#;
        let error = check(&[("modules.json", modules)]).unwrap().unwrap_err();
        assert!(error.contains("'CNN'"), "{error}");
    }

    #[test]
    fn prompts_have_names_and_one_may_be_the_default() {
        let config =
            br#"{"prompts": {"query": "query: ", "none": null}, "default_prompt_name": "query"}"#;
        let files: &[(&str, &[u8])] = &[("config_sentence_transformers.json", config)];
        let prompts = with_folder(files, |folder| prompts(folder, true)).unwrap();
        assert_eq!(prompts.texts["query"], "query: ");
        assert_eq!(prompts.texts["none"], "");
        assert_eq!(prompts.default.as_deref(), Some("query"));
    }
}
