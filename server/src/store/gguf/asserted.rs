//! Claims of the metadata that llama.cpp asserts instead of checking: it would abort, so they are refused here.
//!
//! From `llama_model_base::load_hparams` of the llama.cpp that is built in.

use super::{Gguf, StoreError, Value, broken};

/// The ways to stretch a context that llama.cpp knows by name.
const ROPE_SCALINGS: [&str; 4] = ["none", "linear", "yarn", "longrope"];

pub(super) fn check(gguf: &Gguf) -> Result<(), StoreError> {
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
    check_experts(gguf)
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
