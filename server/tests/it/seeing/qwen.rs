//! Models of the Qwen-VL families with their projectors: the positions of an image have two dimensions (M-RoPE), so that
//! many of its tokens share one. The vocabulary and the chat template are those of the chat model that the repository
//! ships.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use chaski::convert::gguf::{Entries, Meta, Tensor};
use chaski::store::gguf::{Arrays, Gguf, Value};

use super::{Tensors, chat_model, number};

/// The generations of the family, whose projectors differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// Every patch sees every other.
    Qwen2,
    /// Most layers look at windows of patches.
    Qwen25,
    /// What layers of the tower see is added to layers of the model.
    Qwen3,
}

/// How large the tower is.
#[derive(Clone, Copy, Debug)]
pub struct Tower {
    /// Numbers between its layers.
    pub width: u64,
    /// Its layers.
    pub layers: u32,
}

impl Tower {
    /// The smallest that does what the large ones do.
    pub const SMALL: Self = Self {
        width: 32,
        layers: 3,
    };
}

/// Side of a patch, in pixels; four of them make a token.
const PATCH: u32 = 8;
/// Side of the part of an image that becomes one token, in pixels.
pub const TOKEN_SIDE: u32 = 2 * PATCH;
/// Side that the tower's own positions were made for, in pixels.
const SIDE: u32 = 64;
/// Heads of the tower.
const TOWER_HEADS: u32 = 2;
/// Layers of the tower that give something to the model, and as many of the model that take it (Qwen3).
const DEEP: [u32; 2] = [0, 1];

/// Width of the model's embeddings.
const WIDTH: u64 = 128;
/// Numbers inside its layers.
const INNER: u64 = 256;
const LAYERS: u32 = 3;
const HEADS: u64 = 4;
const KEY_HEADS: u64 = 2;
const HEAD: u64 = WIDTH / HEADS;

/// Writes the model.
pub fn write_model(path: &Path, family: Family) {
    let architecture = match family {
        Family::Qwen2 | Family::Qwen25 => "qwen2vl",
        Family::Qwen3 => "qwen3vl",
    };
    let mut entries = Entries::default();
    entries.put("general.architecture", architecture);
    let mut put = |key: &str, value: Meta| entries.put(&format!("{architecture}.{key}"), value);
    put("context_length", Meta::U32(2048));
    put("embedding_length", Meta::U32(number(WIDTH)));
    put("feed_forward_length", Meta::U32(number(INNER)));
    put("block_count", Meta::U32(LAYERS));
    put("attention.head_count", Meta::U32(number(HEADS)));
    put("attention.head_count_kv", Meta::U32(number(KEY_HEADS)));
    put("attention.layer_norm_rms_epsilon", Meta::F32(1e-6));
    put("rope.freq_base", Meta::F32(10_000.0));
    // How many pairs of a head turn with the time, the row and the column.
    put("rope.dimension_sections", Meta::I32s(vec![4, 6, 6, 0]));
    if family == Family::Qwen3 {
        put("n_deepstack_layers", Meta::U32(number(DEEP.len() as u64)));
    }
    let words = copy_vocabulary(&mut entries);

    let mut tensors = Tensors::default();
    tensors.add("token_embd.weight", &[WIDTH, words]);
    tensors.add("output_norm.weight", &[WIDTH]);
    tensors.add("output.weight", &[WIDTH, words]);
    for layer in 0..LAYERS {
        let mut add =
            |name: &str, shape: &[u64]| tensors.add(&format!("blk.{layer}.{name}"), shape);
        add("attn_norm.weight", &[WIDTH]);
        for (part, width) in [
            ("q", WIDTH),
            ("k", KEY_HEADS * HEAD),
            ("v", KEY_HEADS * HEAD),
        ] {
            add(&format!("attn_{part}.weight"), &[WIDTH, width]);
            match family {
                Family::Qwen2 | Family::Qwen25 => add(&format!("attn_{part}.bias"), &[width]),
                Family::Qwen3 if part != "v" => add(&format!("attn_{part}_norm.weight"), &[HEAD]),
                Family::Qwen3 => {}
            }
        }
        add("attn_output.weight", &[WIDTH, WIDTH]);
        add("ffn_norm.weight", &[WIDTH]);
        add("ffn_gate.weight", &[WIDTH, INNER]);
        add("ffn_up.weight", &[WIDTH, INNER]);
        add("ffn_down.weight", &[INNER, WIDTH]);
    }
    tensors.write(path, &entries, spread);
}

/// Writes the projector.
pub fn write_projector(path: &Path, family: Family, tower: Tower) {
    let Tower { width, layers } = tower;
    let inner = 2 * width;
    let mut entries = Entries::default();
    let mut put = |key: &str, value: Meta| entries.put(key, value);
    let kind = match family {
        Family::Qwen2 => "qwen2vl_merger",
        Family::Qwen25 => "qwen2.5vl_merger",
        Family::Qwen3 => "qwen3vl_merger",
    };
    put("general.architecture", Meta::Text("clip".into()));
    put("general.type", Meta::Text("mmproj".into()));
    put("clip.has_vision_encoder", Meta::Bool(true));
    put("clip.projector_type", Meta::Text(kind.into()));
    put("clip.vision.image_size", Meta::U32(SIDE));
    put("clip.vision.patch_size", Meta::U32(PATCH));
    put("clip.vision.spatial_merge_size", Meta::U32(2));
    put("clip.vision.embedding_length", Meta::U32(number(width)));
    put("clip.vision.feed_forward_length", Meta::U32(number(inner)));
    put("clip.vision.block_count", Meta::U32(layers));
    put("clip.vision.projection_dim", Meta::U32(number(WIDTH)));
    put("clip.vision.attention.head_count", Meta::U32(TOWER_HEADS));
    put("clip.vision.attention.layer_norm_epsilon", Meta::F32(1e-6));
    put("clip.vision.image_mean", Meta::F32s(vec![0.5; 3]));
    put("clip.vision.image_std", Meta::F32s(vec![0.5; 3]));
    match family {
        Family::Qwen2 => {}
        Family::Qwen25 => {
            put("clip.use_silu", Meta::Bool(true));
            // Every third layer sees everything.
            put("clip.vision.n_wa_pattern", Meta::U32(3));
        }
        Family::Qwen3 => put("clip.use_gelu", Meta::Bool(true)),
    }

    let patch = u64::from(PATCH);
    let mut tensors = Tensors::default();
    for half in ["", ".1"] {
        tensors.add(
            &format!("v.patch_embd.weight{half}"),
            &[patch, patch, 3, width],
        );
    }
    if family == Family::Qwen3 {
        let positions = u64::from(SIDE / PATCH).pow(2);
        tensors.add("v.patch_embd.bias", &[width]);
        tensors.add("v.position_embd.weight", &[width, positions]);
    }
    for layer in 0..layers {
        let name = |part: &str| format!("v.blk.{layer}.{part}");
        match family {
            Family::Qwen3 => tensors.linear(&name("attn_qkv"), width, 3 * width),
            Family::Qwen2 | Family::Qwen25 => {
                for part in ["attn_q", "attn_k", "attn_v"] {
                    tensors.linear(&name(part), width, width);
                }
            }
        }
        tensors.linear(&name("attn_out"), width, width);
        if family == Family::Qwen25 {
            tensors.linear(&name("ffn_gate"), width, inner);
            tensors.add(&name("ln1.weight"), &[width]);
            tensors.add(&name("ln2.weight"), &[width]);
        } else {
            tensors.norm(&name("ln1"), width);
            tensors.norm(&name("ln2"), width);
        }
        tensors.linear(&name("ffn_up"), width, inner);
        tensors.linear(&name("ffn_down"), inner, width);
        if family == Family::Qwen3 && DEEP.contains(&layer) {
            let name = |part: &str| format!("v.deepstack.{layer}.{part}");
            tensors.norm(&name("norm"), 4 * width);
            tensors.linear(&name("fc1"), 4 * width, 4 * width);
            tensors.linear(&name("fc2"), 4 * width, WIDTH);
        }
    }
    match family {
        Family::Qwen25 => tensors.add("v.post_ln.weight", &[width]),
        Family::Qwen2 | Family::Qwen3 => tensors.norm("v.post_ln", width),
    }
    tensors.linear("mm.0", 4 * width, 4 * width);
    tensors.linear("mm.2", 4 * width, WIDTH);
    tensors.write(path, &entries, spread);
}

/// Copies the vocabulary of the chat model and says how many words it has.
fn copy_vocabulary(entries: &mut Entries) -> u64 {
    let mut file = File::open(chat_model()).unwrap();
    let chat = Gguf::read(&mut file, Arrays::Skip).unwrap();
    for (key, place) in &chat.places {
        if key.starts_with("tokenizer.") {
            let mut entry = vec![0; usize::try_from(place.end - place.start).unwrap()];
            file.seek(SeekFrom::Start(place.start)).unwrap();
            file.read_exact(&mut entry).unwrap();
            entries.put_encoded(&entry);
        }
    }
    match chat.metadata["tokenizer.ggml.tokens"] {
        Value::Array { length, .. } => length,
        ref other => panic!("{other:?}"),
    }
}

/// Norms multiply by about one; a matrix keeps about the size of what it multiplies, so that what is said depends on
/// what was seen.
fn spread(tensor: &Tensor) -> (f32, f32) {
    let name = &tensor.name;
    let is_matrix = tensor.shape.len() > 1;
    if name.contains("embd") && tensor.shape.len() == 2 {
        (0.0, 1.0)
    } else if is_matrix {
        let inputs: u64 = tensor.shape[..tensor.shape.len() - 1].iter().product();
        (0.0, (3.0 / number(inputs) as f32).sqrt() * 1.5)
    } else if name.ends_with("bias") {
        (0.0, 0.1)
    } else {
        (1.0, 0.3)
    }
}
