//! The chat model that the repository ships, as Hugging Face's libraries would have saved it, and adapters for it.

use std::path::Path;

use chaski::store::gguf::TensorType;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

use crate::floats::{Parts, tiny};

/// A tensor of a safetensors file: name, shape with the contiguous dimension last, numbers.
pub type Saved = (String, Vec<usize>, Dtype, Vec<u8>);

/// A safetensors file.
pub fn safetensors(tensors: &[Saved]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, shape, dtype, data)| {
        let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize(views, None).unwrap()
}

/// What llama.cpp calls a tensor in Hugging Face's words.
fn their_name(name: &str) -> String {
    match name {
        "token_embd.weight" => return "model.embed_tokens.weight".into(),
        "output_norm.weight" => return "model.norm.weight".into(),
        "output.weight" => return "lm_head.weight".into(),
        _ => {}
    }
    let parts: Vec<_> = name.split('.').collect();
    let part = match parts[2] {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        other => panic!("{other}"),
    };
    format!("model.layers.{}.{part}.weight", parts[1])
}

/// Rows of queries and keys as Hugging Face orders them: the first of each pair that turns together, then the second.
fn halves_apart(data: &[u8], rows: usize, heads: usize) -> Vec<u8> {
    let width = data.len() / rows;
    let (per_head, mut ordered) = (rows / heads, Vec::with_capacity(data.len()));
    for head in 0..heads {
        for half in 0..2 {
            for pair in 0..per_head / 2 {
                let row = head * per_head + 2 * pair + half;
                ordered.extend(&data[row * width..(row + 1) * width]);
            }
        }
    }
    ordered
}

/// Saves `tiny` in 16-bit floats into `folder`, in two files.
pub fn save(folder: &Path) {
    let parts = Parts::of_tiny_in_floats();
    let saved: Vec<Saved> = parts
        .tensors
        .into_iter()
        .map(|(tensor, data)| {
            let shape: Vec<_> = tensor.shape.iter().rev().map(|&n| n as usize).collect();
            let data = match tensor.name.rsplit('.').nth(1) {
                Some("attn_q") => halves_apart(&data, shape[0], 4),
                Some("attn_k") => halves_apart(&data, shape[0], 2),
                _ => data,
            };
            let dtype = if tensor.kind == TensorType::F16 {
                Dtype::F16
            } else {
                Dtype::F32
            };
            (their_name(&tensor.name), shape, dtype, data)
        })
        .collect();
    let mut index = serde_json::Map::new();
    let (first, second) = saved.split_at(saved.len() / 2);
    for (number, tensors) in [(1, first), (2, second)] {
        let name = format!("model-0000{number}-of-00002.safetensors");
        std::fs::write(folder.join(&name), safetensors(tensors)).unwrap();
        for (tensor, ..) in tensors {
            index.insert(tensor.clone(), name.as_str().into());
        }
    }
    let write = |name: &str, value: serde_json::Value| {
        std::fs::write(folder.join(name), value.to_string()).unwrap();
    };
    write("model.safetensors.index.json", json!({"weight_map": index}));
    write(
        "config.json",
        json!({
            "architectures": ["LlamaForCausalLM"], "hidden_size": 256, "intermediate_size": 512,
            "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
            "max_position_embeddings": 4096, "vocab_size": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 0,
        }),
    );
    write(
        "tokenizer_config.json",
        json!({"eos_token": "<|im_end|>", "bos_token": null, "pad_token": "<|endoftext|>", "add_bos_token": false}),
    );
    let shipped = tiny();
    let shipped = shipped.parent().unwrap();
    for name in ["tokenizer.json", "chat_template.jinja"] {
        std::fs::copy(shipped.join(name), folder.join(name)).unwrap();
    }
}

/// Numbers that look random and are the same every time, from -1 to 1.
pub fn scattered(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
