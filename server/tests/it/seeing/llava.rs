//! A projector for the chat model that the repository ships: a CLIP-like tower of two small layers with LLaVA's two
//! matrices behind it.

use std::path::Path;

use chaski::convert::gguf::{Entries, Meta};

use super::{Tensors, number};

/// Side of the image that the tower looks at, in pixels; others are scaled to it.
const SIDE: u32 = 32;
/// Side of a patch, in pixels.
const PATCH: u32 = 8;
/// What an image takes in a prompt.
pub const POSITIONS: u32 = (SIDE / PATCH) * (SIDE / PATCH);
/// Numbers between the tower's layers.
const WIDTH: u64 = 16;
/// Numbers inside them.
const INNER: u64 = 32;
/// Layers; LLaVA takes what the last but one gives.
const LAYERS: u32 = 2;
/// Width of the chat model's embeddings.
const MODEL_WIDTH: u64 = 256;

/// Writes the projector.
pub fn write(path: &Path) {
    let mut entries = Entries::default();
    let mut put = |key: &str, value: Meta| entries.put(key, value);
    put("general.architecture", Meta::Text("clip".into()));
    put("general.type", Meta::Text("mmproj".into()));
    put("clip.has_vision_encoder", Meta::Bool(true));
    put("clip.projector_type", Meta::Text("mlp".into()));
    put("clip.use_gelu", Meta::Bool(true));
    put("clip.vision.image_size", Meta::U32(SIDE));
    put("clip.vision.patch_size", Meta::U32(PATCH));
    put("clip.vision.embedding_length", Meta::U32(number(WIDTH)));
    put("clip.vision.feed_forward_length", Meta::U32(number(INNER)));
    put("clip.vision.block_count", Meta::U32(LAYERS));
    put("clip.vision.projection_dim", Meta::U32(number(MODEL_WIDTH)));
    put("clip.vision.attention.head_count", Meta::U32(2));
    put("clip.vision.attention.layer_norm_epsilon", Meta::F32(1e-5));
    put("clip.vision.image_mean", Meta::F32s(vec![0.5; 3]));
    put("clip.vision.image_std", Meta::F32s(vec![0.5; 3]));

    tensors().write(path, &entries, |tensor| {
        // Norms multiply by about one, and everything else is about zero.
        let is_norm = tensor.name.contains("ln") && tensor.name.ends_with("weight");
        (if is_norm { 1.0 } else { 0.0 }, 0.5)
    });
}

fn tensors() -> Tensors {
    let mut tensors = Tensors::default();
    let patch = u64::from(PATCH);
    tensors.add("v.class_embd", &[WIDTH]);
    tensors.add("v.patch_embd.weight", &[patch, patch, 3, WIDTH]);
    tensors.add("v.position_embd.weight", &[WIDTH, u64::from(POSITIONS) + 1]);
    for layer in 0..LAYERS {
        for part in ["attn_q", "attn_k", "attn_v", "attn_out"] {
            tensors.linear(&format!("v.blk.{layer}.{part}"), WIDTH, WIDTH);
        }
        tensors.linear(&format!("v.blk.{layer}.ffn_up"), WIDTH, INNER);
        tensors.linear(&format!("v.blk.{layer}.ffn_down"), INNER, WIDTH);
    }
    tensors.linear("mm.0", WIDTH, 64);
    tensors.linear("mm.2", 64, MODEL_WIDTH);
    tensors.norm("v.pre_ln", WIDTH);
    for layer in 0..LAYERS {
        tensors.norm(&format!("v.blk.{layer}.ln1"), WIDTH);
        tensors.norm(&format!("v.blk.{layer}.ln2"), WIDTH);
    }
    tensors
}
