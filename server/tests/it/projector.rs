//! A projector for the chat model that the repository ships: a CLIP-like tower of two small layers with LLaVA's two
//! matrices behind it, and numbers that are as good as random. What the model says of an image makes no sense; that it
//! says the same of the same image and not of another does.

use std::path::Path;

use chaski::convert::gguf::{Entries, Meta, Tensor, Writer};
use chaski::store::gguf::TensorType;

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

    let tensors = tensors();
    let mut told = |_| {};
    let mut writer = Writer::begin(path, &entries, &tensors, &mut told).unwrap();
    let mut random = Random(1);
    for tensor in &tensors {
        let data: Vec<u8> = (0..tensor.shape.iter().product())
            .flat_map(|_| {
                // Norms multiply by about one, and everything else is about zero.
                let centre = if tensor.name.contains("ln") && tensor.name.ends_with("weight") {
                    1.0
                } else {
                    0.0
                };
                (centre + random.next() * 0.5).to_le_bytes()
            })
            .collect();
        writer.tensor(|put| put(&data)).unwrap();
    }
    writer.finish().unwrap();
}

fn number(width: u64) -> u32 {
    u32::try_from(width).unwrap()
}

fn tensors() -> Vec<Tensor> {
    let mut tensors = Vec::new();
    let mut add = |name: &str, shape: &[u64]| {
        tensors.push(Tensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            kind: TensorType::F32,
        });
    };
    let patch = u64::from(PATCH);
    add("v.class_embd", &[WIDTH]);
    add("v.patch_embd.weight", &[patch, patch, 3, WIDTH]);
    add("v.position_embd.weight", &[WIDTH, u64::from(POSITIONS) + 1]);
    let mut linear = |name: &str, from: u64, to: u64| {
        add(&format!("{name}.weight"), &[from, to]);
        add(&format!("{name}.bias"), &[to]);
    };
    for layer in 0..LAYERS {
        for part in ["attn_q", "attn_k", "attn_v", "attn_out"] {
            linear(&format!("v.blk.{layer}.{part}"), WIDTH, WIDTH);
        }
        linear(&format!("v.blk.{layer}.ffn_up"), WIDTH, INNER);
        linear(&format!("v.blk.{layer}.ffn_down"), INNER, WIDTH);
    }
    linear("mm.0", WIDTH, 64);
    linear("mm.2", 64, MODEL_WIDTH);
    let mut norm = |name: &str| {
        add(&format!("{name}.weight"), &[WIDTH]);
        add(&format!("{name}.bias"), &[WIDTH]);
    };
    norm("v.pre_ln");
    for layer in 0..LAYERS {
        norm(&format!("v.blk.{layer}.ln1"));
        norm(&format!("v.blk.{layer}.ln2"));
    }
    tensors
}

/// Numbers between -1 and 1, always the same (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let high = u16::try_from(self.0 >> 48).unwrap();
        f32::from(high) / 32_768.0 - 1.0
    }
}
