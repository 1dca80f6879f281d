//! The families of models that can be converted: what llama.cpp calls them and wants to know of them
//! (`set_gguf_parameters` of llama.cpp's `conversion/*.py`).

use std::f32::consts::PI;

use super::Error;
use super::config::Config;
use super::gguf::Entries;
use super::names::{DecoderNames, Place, bert_place};

/// `LLAMA_MAX_LAYERS`.
const MAX_LAYERS: u32 = 512;

/// More dimensions than any head has.
const MAX_HEAD: u32 = 1 << 16;

/// A family of models.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// Llama 1 to 3 and Mistral.
    Llama,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3, not the mixtures.
    Qwen3,
    /// Phi 3, 3.5 and 4.
    Phi3,
    /// The first Gemma.
    Gemma,
    /// Its second version.
    Gemma2,
    /// The text part of its third version.
    Gemma3,
    /// BERT.
    Bert,
    /// RoBERTa, whose positions begin after the padding token's.
    Roberta,
    /// DistilBERT, which has no token types.
    DistilBert,
}

/// A tensor that is computed instead of copied.
#[derive(Clone, Debug, PartialEq)]
pub struct Computed {
    /// Its name in GGUF.
    pub name: &'static str,
    /// Its numbers.
    pub numbers: Vec<f32>,
}

impl Family {
    /// The family of models whose `config.json` names this architecture.
    ///
    /// # Errors
    /// When it is none that can be converted.
    pub fn of(architecture: &str) -> Result<Self, Error> {
        Ok(match architecture {
            "LlamaForCausalLM" | "LLaMAForCausalLM" | "LlamaModel" | "MistralForCausalLM" => {
                Self::Llama
            }
            "Qwen2ForCausalLM" | "Qwen2Model" => Self::Qwen2,
            "Qwen3ForCausalLM" | "Qwen3Model" => Self::Qwen3,
            "Phi3ForCausalLM" => Self::Phi3,
            "GemmaForCausalLM" => Self::Gemma,
            "Gemma2ForCausalLM" => Self::Gemma2,
            "Gemma3ForCausalLM" | "Gemma3ForConditionalGeneration" => Self::Gemma3,
            "BertModel" | "BertForMaskedLM" | "BertForPreTraining" => Self::Bert,
            "RobertaModel" | "RobertaForMaskedLM" => Self::Roberta,
            "DistilBertModel" | "DistilBertForMaskedLM" => Self::DistilBert,
            other => {
                return Err(Error::refused(format!(
                    "unsupported architecture \"{other}\": models of the families Llama, Mistral, Qwen2, Qwen3, \
                     Phi-3, Gemma and BERT can be converted"
                )));
            }
        })
    }

    /// What llama.cpp calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Phi3 => "phi3",
            Self::Gemma => "gemma",
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3",
            Self::Bert | Self::Roberta | Self::DistilBert => "bert",
        }
    }

    /// The family that a GGUF model of this architecture belongs to, for adapters.
    #[must_use]
    pub fn of_gguf(name: &str) -> Option<Self> {
        [
            Self::Llama,
            Self::Qwen2,
            Self::Qwen3,
            Self::Phi3,
            Self::Gemma,
            Self::Gemma2,
            Self::Gemma3,
        ]
        .into_iter()
        .find(|family| family.name() == name)
    }

    /// Whether it makes vectors and no text.
    #[must_use]
    pub fn is_bert(self) -> bool {
        matches!(self, Self::Bert | Self::Roberta | Self::DistilBert)
    }

    /// Whether it is one of the Gemmas, whose norms multiply by one more than their weights.
    #[must_use]
    pub fn is_gemma(self) -> bool {
        matches!(self, Self::Gemma | Self::Gemma2 | Self::Gemma3)
    }

    /// What is added to the numbers of a tensor of that name in GGUF.
    #[must_use]
    pub fn added(self, name: &str) -> f32 {
        let is_norm = self.is_gemma() && name.ends_with("norm.weight");
        f32::from(u8::from(is_norm))
    }

    /// Where a tensor goes.
    ///
    /// # Errors
    /// When the configuration is not whole.
    pub fn place(self, name: &str, config: &Config, words: usize) -> Result<Option<Place>, Error> {
        if self.is_bert() {
            return Ok(bert_place(name, u64::from(self.first_position(config)?)));
        }
        let interleaved = match self {
            Self::Llama => {
                let heads = config.needed(&HEADS)?;
                let key_heads = config.count(&KEY_HEADS)?.unwrap_or(heads);
                Some((heads.into(), key_heads.into()))
            }
            _ => None,
        };
        Ok(self
            .decoder_names(interleaved, Some(words as u64))
            .place(name))
    }

    /// The names of a decoder of this family.
    #[must_use]
    pub fn decoder_names(
        self,
        interleaved: Option<(u64, u64)>,
        words: Option<u64>,
    ) -> DecoderNames {
        DecoderNames {
            interleaved: interleaved.filter(|_| self == Self::Llama),
            norms_both_sides: matches!(self, Self::Gemma2 | Self::Gemma3),
            shares_embedding: self.is_gemma(),
            // Gemma 3 has rows for words that its vocabulary lacks.
            words: words.filter(|_| self == Self::Gemma3),
        }
    }

    /// How many layers the model has.
    ///
    /// # Errors
    /// When the configuration does not say so, or llama.cpp cannot hold as many.
    pub fn layers(config: &Config) -> Result<u32, Error> {
        let layers = config.needed(&["num_hidden_layers", "n_layers", "n_layer", "num_layers"])?;
        if layers > MAX_LAYERS {
            return Err(Error::refused(format!(
                "config.json claims {layers} layers; at most {MAX_LAYERS} exist"
            )));
        }
        Ok(layers)
    }

    /// Puts the model's dimensions into the metadata.
    ///
    /// # Errors
    /// When the configuration lacks one or has one that makes no sense.
    pub fn describe(self, config: &Config, entries: &mut Entries) -> Result<(), Error> {
        let arch = self.name();
        let width = config.needed(&["hidden_size", "n_embd", "dim"])?;
        let heads = config.needed(&HEADS)?;
        let context = self.context(config)?;
        let mut put = |key: &str, value: u32| entries.put(&format!("{arch}.{key}"), value);
        put("block_count", Self::layers(config)?);
        put("context_length", context);
        put("embedding_length", width);
        put(
            "feed_forward_length",
            config.needed(&["intermediate_size", "n_inner", "hidden_dim"])?,
        );
        put("attention.head_count", heads);
        if !self.is_bert() {
            put(
                "attention.head_count_kv",
                config.count(&KEY_HEADS)?.unwrap_or(heads),
            );
        }
        if self.is_bert() {
            let epsilon = config.number(&["layer_norm_eps"]).unwrap_or(1e-12);
            entries.put("bert.attention.layer_norm_epsilon", epsilon);
            entries.put("bert.attention.causal", false);
            let types = config.count(&["type_vocab_size"])?.unwrap_or(1);
            entries.put("tokenizer.ggml.token_type_count", types);
            return Ok(());
        }
        let epsilon = config.number(&["rms_norm_eps", "norm_eps"]).unwrap_or(1e-6);
        entries.put(&format!("{arch}.attention.layer_norm_rms_epsilon"), epsilon);
        self.describe_heads(config, entries, width, heads)?;
        self.describe_rope(config, entries, width, heads)?;
        self.describe_window(config, entries)
    }

    fn describe_heads(
        self,
        config: &Config,
        entries: &mut Entries,
        width: u32,
        heads: u32,
    ) -> Result<(), Error> {
        let arch = self.name();
        let given = config.count(&["head_dim"])?;
        // Phi's heads have the width that the others share out.
        let length = match self {
            Self::Phi3 => None,
            Self::Gemma | Self::Gemma2 | Self::Gemma3 => Some(given.unwrap_or(256)),
            _ => given,
        };
        if let Some(length) = length {
            entries.put(&format!("{arch}.attention.key_length"), length);
            entries.put(&format!("{arch}.attention.value_length"), length);
        }
        match self {
            Self::Llama => {
                let words = config.needed(&["vocab_size"])?;
                entries.put("llama.vocab_size", words);
                let turned = given.unwrap_or(width / heads);
                entries.put("llama.rope.dimension_count", turned);
            }
            Self::Phi3 => {
                let turned = phi_turned(config, width, heads)?;
                entries.put("phi3.rope.dimension_count", turned);
            }
            _ => {}
        }
        Ok(())
    }

    fn describe_rope(
        self,
        config: &Config,
        entries: &mut Entries,
        width: u32,
        heads: u32,
    ) -> Result<(), Error> {
        let arch = self.name();
        // The first two Gemmas take llama.cpp's default.
        let base = match self {
            Self::Gemma | Self::Gemma2 => None,
            Self::Gemma3 => Some(config.rope_base().unwrap_or(1_000_000.0)),
            Self::Phi3 => Some(config.rope_base().unwrap_or(10_000.0)),
            _ => config.rope_base(),
        };
        if let Some(base) = base {
            entries.put(&format!("{arch}.rope.freq_base"), base);
        }
        if self == Self::Gemma3
            && let Some(base) = config.rope_local_base()
        {
            entries.put("gemma3.rope.freq_base_swa", base);
        }
        let factor = config.rope_number("factor");
        match (config.rope_type().as_deref(), factor) {
            (None | Some("default" | "llama3"), _) => {}
            (Some("linear"), Some(factor)) => {
                entries.put(&format!("{arch}.rope.scaling.type"), "linear");
                entries.put(&format!("{arch}.rope.scaling.factor"), factor);
            }
            (Some("yarn"), Some(factor)) if self != Self::Phi3 => {
                put_yarn(config, entries, arch, factor)?;
            }
            (Some("longrope" | "su" | "yarn"), _) if self == Self::Phi3 => {
                phi_turned(config, width, heads)?;
            }
            (Some(other), _) => {
                return Err(Error::refused(format!(
                    "scaling of the rotary embedding by \"{other}\" is not supported for this family"
                )));
            }
        }
        if self == Self::Phi3 {
            let (context, original) = phi_contexts(config)?;
            entries.put("phi3.rope.scaling.original_context_length", original);
            if config.rope_numbers("long_factor").is_some() {
                entries.put(
                    "phi3.rope.scaling.attn_factor",
                    phi_attention(config, context, original),
                );
            }
        }
        Ok(())
    }

    fn describe_window(self, config: &Config, entries: &mut Entries) -> Result<(), Error> {
        let window = config.count(&["sliding_window"])?;
        match self {
            // 0 tells Phi 4 from its predecessors.
            Self::Phi3 => entries.put("phi3.attention.sliding_window", window.unwrap_or(0)),
            Self::Gemma2 => {
                let needed = |key: &str| {
                    config
                        .number(&[key])
                        .ok_or_else(|| Error::refused(format!("config.json lacks '{key}'")))
                };
                entries.put(
                    "gemma2.attn_logit_softcapping",
                    needed("attn_logit_softcapping")?,
                );
                entries.put(
                    "gemma2.final_logit_softcapping",
                    needed("final_logit_softcapping")?,
                );
                let window = config.needed(&["sliding_window"])?;
                entries.put("gemma2.attention.sliding_window", window);
            }
            Self::Gemma3 => {
                if let Some(cap) = config.number(&["final_logit_softcapping"]) {
                    entries.put("gemma3.final_logit_softcapping", cap);
                }
                if let Some(window) = window {
                    entries.put("gemma3.attention.sliding_window", window);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Tokens of context the model was trained for.
    fn context(self, config: &Config) -> Result<u32, Error> {
        let keys = ["max_position_embeddings", "n_ctx", "n_positions"];
        let context = match self {
            Self::Gemma3 => config.count(&keys)?.unwrap_or(131_072),
            _ => config.needed(&keys)?,
        };
        context
            .checked_sub(self.first_position(config)?)
            .filter(|&context| context > 0)
            .ok_or_else(|| Error::refused("config.json leaves no position for a token"))
    }

    /// The row of the first position in the position embedding.
    fn first_position(self, config: &Config) -> Result<u32, Error> {
        match self {
            Self::Roberta => Ok(config.count(&["pad_token_id"])?.map_or(0, |pad| pad + 1)),
            _ => Ok(0),
        }
    }

    /// The tensors that are computed of the configuration.
    ///
    /// # Errors
    /// When the configuration is not whole.
    pub fn computed(self, config: &Config) -> Result<Vec<Computed>, Error> {
        match (self, config.rope_type().as_deref()) {
            (Self::Llama, Some("llama3")) => Ok(vec![Computed {
                name: "rope_freqs.weight",
                numbers: llama3_factors(config)?,
            }]),
            (Self::Phi3, Some(_)) => {
                let (Some(long), Some(short)) = (
                    config.rope_numbers("long_factor"),
                    config.rope_numbers("short_factor"),
                ) else {
                    return Ok(Vec::new());
                };
                let width = config.needed(&["hidden_size"])?;
                let turned = phi_turned(config, width, config.needed(&HEADS)?)?;
                if [&long, &short]
                    .iter()
                    .any(|factors| factors.len() as u64 != u64::from(turned / 2))
                {
                    return Err(Error::refused(format!(
                        "the rotary embedding needs {} long and short factors each",
                        turned / 2
                    )));
                }
                Ok(vec![
                    Computed {
                        name: "rope_factors_long.weight",
                        numbers: long,
                    },
                    Computed {
                        name: "rope_factors_short.weight",
                        numbers: short,
                    },
                ])
            }
            _ => Ok(Vec::new()),
        }
    }
}

const HEADS: [&str; 3] = ["num_attention_heads", "n_heads", "n_head"];
const KEY_HEADS: [&str; 2] = ["num_key_value_heads", "n_kv_heads"];

fn put_yarn(config: &Config, entries: &mut Entries, arch: &str, factor: f32) -> Result<(), Error> {
    let mut put = |key: &str, value: f32| entries.put(&format!("{arch}.rope.scaling.{key}"), value);
    put("factor", factor);
    for (theirs, ours) in [
        ("extrapolation_factor", "yarn_ext_factor"),
        ("attention_factor", "yarn_attn_factor"),
        ("beta_fast", "yarn_beta_fast"),
        ("beta_slow", "yarn_beta_slow"),
    ] {
        if let Some(number) = config.rope_number(theirs) {
            put(ours, number);
        }
    }
    entries.put(&format!("{arch}.rope.scaling.type"), "yarn");
    let original = original_context(config)?;
    entries.put(
        &format!("{arch}.rope.scaling.original_context_length"),
        original,
    );
    Ok(())
}

/// The context before it was stretched.
fn original_context(config: &Config) -> Result<u32, Error> {
    let in_rope = config.rope_number("original_max_position_embeddings");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is checked to be a whole number in range"
    )]
    let in_rope = in_rope
        .filter(|number| number.fract() == 0.0 && (1.0..2e9).contains(number))
        .map(|number| number as u32);
    match in_rope {
        Some(original) => Ok(original),
        None => config.needed(&["original_max_position_embeddings"]),
    }
}

/// Phi's context and the one it had before it was stretched.
fn phi_contexts(config: &Config) -> Result<(u32, u32), Error> {
    let context = config.needed(&["max_position_embeddings"])?;
    let original = if config.rope_numbers("long_factor").is_some() {
        original_context(config)?
    } else {
        original_context(config).unwrap_or(context)
    };
    Ok((context, original))
}

/// How many dimensions of a head Phi turns.
fn phi_turned(config: &Config, width: u32, heads: u32) -> Result<u32, Error> {
    let part = config
        .rope_number("partial_rotary_factor")
        .or_else(|| config.number(&["partial_rotary_factor"]))
        .unwrap_or(1.0);
    if !(part > 0.0 && part <= 1.0) {
        return Err(Error::refused(
            "'partial_rotary_factor' of config.json must be above 0 and at most 1",
        ));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a number of 32 bits, cut to a whole one as the reference does"
    )]
    let turned = (f64::from(part) * f64::from(width)) as u32;
    Ok(turned / heads)
}

/// How much stronger attention gets in a context that was stretched, as Phi's authors computed it.
fn phi_attention(config: &Config, context: u32, original: u32) -> f32 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "contexts have far fewer than 24 bits"
    )]
    let (scale, original) = (context as f32 / original as f32, original as f32);
    match config.rope_type().as_deref() {
        _ if scale <= 1.0 => 1.0,
        Some("yarn") => 0.1 * scale.ln() + 1.0,
        _ => (1.0 + scale.ln() / original.ln()).sqrt(),
    }
}

/// How much slower each pair of dimensions turns in Llama 3.1 and its successors.
fn llama3_factors(config: &Config) -> Result<Vec<f32>, Error> {
    let heads = config.needed(&HEADS)?;
    let width = config.needed(&["hidden_size"])?;
    let dimensions = config.count(&["head_dim"])?.unwrap_or(width / heads);
    let base = config.rope_base().unwrap_or(10_000.0);
    let number = |key: &str, default: f32| config.rope_number(key).unwrap_or(default);
    let factor = number("factor", 8.0);
    let (low, high) = (
        number("low_freq_factor", 1.0),
        number("high_freq_factor", 4.0),
    );
    let original = number("original_max_position_embeddings", 8192.0);
    if !(factor > 0.0 && low > 0.0 && high > low && (2..=MAX_HEAD).contains(&dimensions)) {
        return Err(Error::refused(
            "'rope_scaling' of config.json makes no sense",
        ));
    }
    let factor_of = |pair: u32| {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a head has far fewer than 2^24 dimensions"
        )]
        let frequency = 1.0 / base.powf((2 * pair) as f32 / dimensions as f32);
        let wave = 2.0 * PI / frequency;
        if wave < original / high {
            1.0
        } else if wave > original / low {
            factor
        } else {
            let smooth = (original / wave - low) / (high - low);
            1.0 / ((1.0 - smooth) / factor + smooth)
        }
    };
    Ok((0..dimensions / 2).map(factor_of).collect())
}
