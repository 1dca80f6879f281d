//! Claims of the metadata that llama.cpp asserts instead of checking: it would abort, so they are refused here.
//!
//! From `llama_model_base::load_hparams`, the models' `build_arch_graph` and `ggml_compute_forward_*` of the llama.cpp that is built in.

use std::ops::RangeInclusive;

use super::{Gguf, StoreError, Tensor, Value, broken};

/// The ways to stretch a context that llama.cpp knows by name.
const ROPE_SCALINGS: [&str; 4] = ["none", "linear", "yarn", "longrope"];

/// Scales below which a norm divides by nothing; `ggml` asserts that they are at least 0, which no NaN is.
const EPSILONS: [&str; 3] = [
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.group_norm_epsilon",
];

/// `enum ggml_type`: I8, I16, I32, I64 and F64.
const UNCOUNTED: RangeInclusive<u32> = 24..=28;

/// Parts of the names of tables: which expert a token goes to, and which token of the model one of a draft's is.
const TABLES: [&str; 2] = ["tid2eid", "d2t"];

/// The architectures whose graphs assert that a head is rotated whole.
const ROTATED_WHOLE: [&str; 58] = [
    "apertus",
    "arcee",
    "arctic",
    "baichuan",
    "chameleon",
    "codeshell",
    "cogvlm",
    "cohere2moe",
    "dbrx",
    "deci",
    "deepseek",
    "dots1",
    "dream",
    "ernie4_5",
    "ernie4_5-moe",
    "exaone",
    "exaone-moe",
    "exaone4",
    "falcon",
    "granite",
    "granite_swa",
    "graniteswitch",
    "grok",
    "grovemoe",
    "hunyuan-moe",
    "hunyuan_vl",
    "hy_v3",
    "internlm2",
    "jais2",
    "llada",
    "llada-moe",
    "llama",
    "llama4",
    "maincoder",
    "mellum",
    "mistral3",
    "olmo",
    "olmo2",
    "olmoe",
    "orion",
    "paddleocr",
    "pangu-embedded",
    "plamo",
    "pockettts",
    "qwen2",
    "qwen2moe",
    "qwen2vl",
    "qwen3",
    "qwen3moe",
    "qwen3vl",
    "qwen3vlmoe",
    "rnd1",
    "seed_oss",
    "smallthinker",
    "smollm3",
    "starcoder2",
    "talkie",
    "xverse",
];

pub(super) fn check(gguf: &Gguf) -> Result<(), StoreError> {
    check_tensors(gguf)?;
    // Projectors have no blocks that are read there.
    let Some(blocks) = number(gguf, "block_count") else {
        return Ok(());
    };
    if number(gguf, "nextn_predict_layers").is_some_and(|layers| layers > blocks) {
        return Err(wrong(gguf, "nextn_predict_layers", "at most block_count"));
    }
    if let Some(Value::Text(scaling)) = gguf.of_architecture("rope.scaling.type")
        && !ROPE_SCALINGS.contains(&scaling.as_str())
    {
        return Err(wrong(
            gguf,
            "rope.scaling.type",
            "one of none, linear, yarn and longrope",
        ));
    }
    check_epsilons(gguf)?;
    check_rotation(gguf)?;
    check_windows(gguf, blocks)?;
    check_experts(gguf)
}

/// Nothing can be multiplied with whole numbers or with 64-bit ones: `ggml` aborts. Tables of numbers are another matter.
fn check_tensors(gguf: &Gguf) -> Result<(), StoreError> {
    let is_table = |tensor: &Tensor| TABLES.iter().any(|table| tensor.name.contains(table));
    let is_wrong = |tensor: &&Tensor| UNCOUNTED.contains(&tensor.kind.id()) && !is_table(tensor);
    match gguf.tensors.iter().find(is_wrong) {
        None => Ok(()),
        Some(Tensor { name, kind, .. }) => Err(broken(format!(
            "tensor '{name}' is of the type {kind}, with which nothing can be computed"
        ))),
    }
}

fn check_epsilons(gguf: &Gguf) -> Result<(), StoreError> {
    for key in EPSILONS {
        let is_wrong = match gguf.of_architecture(key) {
            Some(Value::Float32(epsilon)) => !(*epsilon >= 0.0 && epsilon.is_finite()),
            _ => false,
        };
        if is_wrong {
            return Err(wrong(gguf, key, "a finite number, and 0 or more"));
        }
    }
    Ok(())
}

fn check_rotation(gguf: &Gguf) -> Result<(), StoreError> {
    let width = || {
        // One number for each block is left to the loader: it is rare.
        let heads = number(gguf, "attention.head_count").filter(|heads| *heads > 0)?;
        Some(number(gguf, "embedding_length")? / heads)
    };
    let width = number(gguf, "attention.key_length").or_else(width);
    let rotated = number(gguf, "rope.dimension_count");
    let (Some(width), Some(rotated)) = (width, rotated) else {
        return Ok(());
    };
    if rotated != width && ROTATED_WHOLE.binary_search(&gguf.architecture()).is_ok() {
        return Err(wrong(gguf, "rope.dimension_count", "the width of a head"));
    }
    Ok(())
}

/// Encoders with windows have a mask for layers that see a window and one for those that see all, and both are filled: one that no layer uses is nowhere.
fn check_windows(gguf: &Gguf, blocks: u64) -> Result<(), StoreError> {
    let has_window = number(gguf, "attention.sliding_window").is_some_and(|tokens| tokens > 0);
    // How many layers it takes until one sees all, and whether that one is the first of them.
    let (every, is_first) = match gguf.architecture() {
        "gemma-embedding" => (6, false),
        "modern-bert" if has_window => (3, true),
        _ => return Ok(()),
    };
    const PATTERN: &str = "attention.sliding_window_pattern";
    let every = match gguf.of_architecture(PATTERN) {
        // One flag for each block is left to the loader: it is rare.
        Some(Value::Array { .. }) => return Ok(()),
        stated => stated.and_then(Value::as_unsigned).unwrap_or(every),
    };
    let sees_all = every > 0 && (is_first || blocks >= every);
    let sees_window = every != 1 && (!is_first || every == 0 || blocks > 1);
    if sees_all && sees_window {
        return Ok(());
    }
    Err(wrong(
        gguf,
        PATTERN,
        "such that some layers see a window and some the whole text",
    ))
}

fn check_experts(gguf: &Gguf) -> Result<(), StoreError> {
    let count = |key| number(gguf, key).unwrap_or(0);
    let experts = count("expert_count");
    // The dense ones of this family say that they have one expert and mean none.
    if experts <= 1 && gguf.architecture().starts_with("hunyuan") {
        return Ok(());
    }
    // One number for each block is left to the loader: it is rare.
    let is_per_block = matches!(
        gguf.of_architecture("expert_used_count"),
        Some(Value::Array { .. })
    );
    let used = count("expert_used_count");
    if !is_per_block && (used > experts || (used == 0) != (experts == 0)) {
        return Err(wrong(
            gguf,
            "expert_used_count",
            "from 1 to expert_count, or 0 without experts",
        ));
    }
    let groups = count("expert_group_count");
    if groups > 0 && groups >= experts {
        return Err(wrong(gguf, "expert_group_count", "less than expert_count"));
    }
    if groups > 1 {
        if !experts.is_multiple_of(groups) {
            return Err(wrong(
                gguf,
                "expert_group_count",
                "a divisor of expert_count",
            ));
        }
        if !(1..groups).contains(&count("expert_group_used_count")) {
            return Err(wrong(
                gguf,
                "expert_group_used_count",
                "from 1 to less than expert_group_count",
            ));
        }
    }
    Ok(())
}

fn number(gguf: &Gguf, key: &str) -> Option<u64> {
    gguf.of_architecture(key).and_then(Value::as_unsigned)
}

fn wrong(gguf: &Gguf, key: &str, expected: &str) -> StoreError {
    let key = format!("{}.{key}", gguf.architecture());
    broken(format!("'{key}' must be {expected}"))
}
