//! The shipped ONNX encoders as GGUF files: the same weights and vocabulary, in llama.cpp's names.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::weights::{self, Weight};

/// How llama.cpp makes one result of a text out of the vectors of its tokens (`enum llama_pooling_type`).
#[derive(Clone, Copy, Debug)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first one.
    First,
    /// The first one, through the head of a classifier with these labels.
    Rank(&'static [&'static str]),
}

/// Where a value of each kind stands in `enum gguf_type`.
const UINT32: u32 = 4;
const INT32: u32 = 5;
pub const FLOAT32: u32 = 6;
pub const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Alignment of tensors in the file.
const ALIGNMENT: usize = 32;

/// A shipped model as a GGUF file.
pub fn build(model: &str, pooling: Pooling) -> Vec<u8> {
    finish(Gguf::default(), model, pooling)
}

/// The same, with a file that says its vectors are not to be scaled to length 1.
pub fn build_raw(model: &str, pooling: Pooling) -> Vec<u8> {
    let mut file = Gguf::default();
    file.entry("bert.normalize_embeddings", BOOL, &[0]);
    finish(file, model, pooling)
}

fn finish(mut file: Gguf, model: &str, pooling: Pooling) -> Vec<u8> {
    describe(&mut file, model, pooling);
    vocabulary(&mut file, model);
    tensors(&mut file, &weights::read(model), pooling);
    file.build()
}

fn describe(file: &mut Gguf, model: &str, pooling: Pooling) {
    let folder = weights::folder(model);
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    file.text("general.architecture", "bert");
    file.text("general.name", model);
    file.number("general.file_type", 0);
    for (key, field) in [
        ("context_length", "max_position_embeddings"),
        ("embedding_length", "hidden_size"),
        ("feed_forward_length", "intermediate_size"),
        ("block_count", "num_hidden_layers"),
        ("attention.head_count", "num_attention_heads"),
    ] {
        let number = u32::try_from(config[field].as_u64().unwrap()).unwrap();
        file.number(&format!("bert.{key}"), number);
    }
    file.entry(
        "bert.attention.layer_norm_epsilon",
        FLOAT32,
        &1e-12f32.to_le_bytes(),
    );
    file.entry("bert.attention.causal", BOOL, &[0]);
    let kind = match pooling {
        Pooling::Mean => 1,
        Pooling::First => 2,
        Pooling::Rank(_) => 4,
    };
    file.number("bert.pooling_type", kind);
    if let Pooling::Rank(labels) = pooling {
        file.texts("bert.classifier.output_labels", labels.iter().copied());
    }
}

/// A shipped model's vocabulary.
pub fn vocabulary(file: &mut Gguf, model: &str) {
    let text = std::fs::read_to_string(weights::folder(model).join("tokenizer.json")).unwrap();
    let tokenizer: Value = serde_json::from_str(&text).unwrap();
    let ids: BTreeMap<u64, &String> = tokenizer["model"]["vocab"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(word, id)| (id.as_u64().unwrap(), word))
        .collect();
    let is_special = |word: &str| word.starts_with('[') && word.ends_with(']') && word.len() > 2;
    // Where BERT marks what goes on with a word, llama.cpp marks what begins one.
    let words = ids.values().map(|word| match word.strip_prefix("##") {
        Some(rest) => rest.to_owned(),
        None if is_special(word) => (*word).clone(),
        None => format!("\u{2581}{word}"),
    });
    let words: Vec<String> = words.collect();
    file.text("tokenizer.ggml.model", "bert");
    file.text("tokenizer.ggml.pre", "default");
    file.texts("tokenizer.ggml.tokens", words.iter().map(String::as_str));
    let kinds = ids
        .values()
        .map(|word| if is_special(word) { 3 } else { 1 });
    file.integers("tokenizer.ggml.token_type", kinds);
    file.number("tokenizer.ggml.token_type_count", 2);
    let id = |name: &str| {
        let id = ids.iter().find(|(_, word)| **word == name).unwrap().0;
        u32::try_from(*id).unwrap()
    };
    for (key, name) in [
        ("bos", "[CLS]"),
        ("cls", "[CLS]"),
        ("seperator", "[SEP]"),
        ("unknown", "[UNK]"),
        ("padding", "[PAD]"),
        ("mask", "[MASK]"),
    ] {
        file.number(&format!("tokenizer.ggml.{key}_token_id"), id(name));
    }
}

fn tensors(file: &mut Gguf, weights: &BTreeMap<String, Weight>, pooling: Pooling) {
    for (theirs, ours) in [
        ("token_embd.weight", "word_embeddings.weight"),
        ("token_types.weight", "token_type_embeddings.weight"),
        ("position_embd.weight", "position_embeddings.weight"),
        ("token_embd_norm.weight", "LayerNorm.weight"),
        ("token_embd_norm.bias", "LayerNorm.bias"),
    ] {
        file.tensor(theirs, &weights[&format!("embeddings.{ours}")]);
    }
    let layers = (0..).take_while(|layer| {
        weights.contains_key(&format!("encoder.layer.{layer}.output.dense.bias"))
    });
    for layer in layers {
        for (theirs, ours, is_matrix) in [
            ("attn_q", "attention.self.query", true),
            ("attn_k", "attention.self.key", true),
            ("attn_v", "attention.self.value", true),
            ("attn_output", "attention.output.dense", true),
            ("attn_output_norm", "attention.output.LayerNorm", false),
            ("ffn_up", "intermediate.dense", true),
            ("ffn_down", "output.dense", true),
            ("layer_output_norm", "output.LayerNorm", false),
        ] {
            let weight = &weights[&format!("encoder.layer.{layer}.{ours}.weight")];
            // The graph multiplies from the right, llama.cpp from the left.
            let weight = if is_matrix {
                weight.transposed()
            } else {
                weight.clone()
            };
            file.tensor(&format!("blk.{layer}.{theirs}.weight"), &weight);
            let bias = &weights[&format!("encoder.layer.{layer}.{ours}.bias")];
            file.tensor(&format!("blk.{layer}.{theirs}.bias"), bias);
        }
    }
    if let Pooling::Rank(labels) = pooling {
        let mut weight = weights["classifier.weight"].transposed();
        let width = weight.shape[1];
        weight.shape[0] = labels.len();
        weight.numbers.truncate(labels.len() * width);
        let mut bias = weights["classifier.bias"].clone();
        bias.shape[0] = labels.len();
        bias.numbers.truncate(labels.len());
        file.tensor("cls.output.weight", &weight);
        file.tensor("cls.output.bias", &bias);
    }
}

/// A GGUF file, version 3, under construction.
#[derive(Default)]
pub struct Gguf {
    entries: Vec<u8>,
    entry_count: u64,
    tensors: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

impl Gguf {
    pub fn entry(&mut self, key: &str, kind: u32, value: &[u8]) {
        put_text(&mut self.entries, key);
        self.entries.extend(kind.to_le_bytes());
        self.entries.extend(value);
        self.entry_count += 1;
    }

    pub fn number(&mut self, key: &str, number: u32) {
        self.entry(key, UINT32, &number.to_le_bytes());
    }

    pub fn text(&mut self, key: &str, text: &str) {
        let mut value = Vec::new();
        put_text(&mut value, text);
        self.entry(key, STRING, &value);
    }

    pub fn texts<'a>(&mut self, key: &str, texts: impl ExactSizeIterator<Item = &'a str>) {
        let mut value = STRING.to_le_bytes().to_vec();
        value.extend((texts.len() as u64).to_le_bytes());
        texts.for_each(|text| put_text(&mut value, text));
        self.entry(key, ARRAY, &value);
    }

    fn integers(&mut self, key: &str, integers: impl ExactSizeIterator<Item = i32>) {
        let mut value = INT32.to_le_bytes().to_vec();
        value.extend((integers.len() as u64).to_le_bytes());
        integers.for_each(|integer| value.extend(integer.to_le_bytes()));
        self.entry(key, ARRAY, &value);
    }

    pub fn tensor(&mut self, name: &str, weight: &Weight) {
        put_text(&mut self.tensors, name);
        self.tensors
            .extend(u32::try_from(weight.shape.len()).unwrap().to_le_bytes());
        // The contiguous dimension comes first here.
        for size in weight.shape.iter().rev() {
            self.tensors.extend((*size as u64).to_le_bytes());
        }
        // GGML_TYPE_F32
        self.tensors.extend(0u32.to_le_bytes());
        self.tensors.extend((self.data.len() as u64).to_le_bytes());
        self.tensor_count += 1;
        for number in &weight.numbers {
            self.data.extend(number.to_le_bytes());
        }
        self.data
            .resize(self.data.len().next_multiple_of(ALIGNMENT), 0);
    }

    pub fn build(self) -> Vec<u8> {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(self.tensor_count.to_le_bytes());
        file.extend(self.entry_count.to_le_bytes());
        file.extend(self.entries);
        file.extend(self.tensors);
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend(self.data);
        file
    }
}

fn put_text(output: &mut Vec<u8>, text: &str) {
    output.extend((text.len() as u64).to_le_bytes());
    output.extend(text.as_bytes());
}
