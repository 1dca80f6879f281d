//! What Hugging Face and llama.cpp call the same tensor (`gguf-py/gguf/tensor_mapping.py` of llama.cpp).

use super::weights::Rows;

/// Where a tensor goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// Nowhere: it is computed, or belongs to a part that is not converted.
    Dropped,
    /// Into the model, under this name.
    Kept {
        /// Its name in GGUF.
        name: String,
        /// Which of its rows, in which order.
        rows: Rows,
    },
}

/// What differs between models that generate text.
#[derive(Clone, Copy, Debug)]
pub struct DecoderNames {
    /// Heads of queries and of keys, if their rows have to be interleaved: llama.cpp's Llama turns neighbours.
    pub interleaved: Option<(u64, u64)>,
    /// Whether there is a norm on both sides of each part, as Gemma has it since its second version.
    pub norms_both_sides: bool,
    /// Whether an output matrix beside the embedding is ignored.
    pub shares_embedding: bool,
    /// Words that have a row in the embedding.
    pub words: Option<u64>,
}

/// Parts of a layer that are called the same but for their ending.
const DECODER_LAYER: [(&str, &str); 12] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

const NORMS_ONE_SIDE: [(&str, &str); 1] = [("post_attention_layernorm", "ffn_norm")];

const NORMS_BOTH_SIDES: [(&str, &str); 3] = [
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];

/// Prefixes of what a model that also sees has beside its text part.
const NOT_TEXT: [&str; 4] = [
    "vision_tower.",
    "multi_modal_projector.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
];

impl DecoderNames {
    /// Where a tensor of that name goes; `None` if nothing of that name is known.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<Place> {
        if NOT_TEXT.iter().any(|prefix| name.starts_with(prefix))
            || name.ends_with(".rotary_emb.inv_freq")
        {
            return Some(Place::Dropped);
        }
        let name = name
            .strip_prefix("model.language_model.")
            .or_else(|| name.strip_prefix("language_model.model."))
            .or_else(|| name.strip_prefix("language_model."))
            .or_else(|| name.strip_prefix("model."))
            .unwrap_or(name);
        let kept = |name: &str, rows| Place::Kept {
            name: name.to_owned(),
            rows,
        };
        match name {
            "embed_tokens.weight" => {
                let rows = self.words.map_or(Rows::All, Rows::First);
                return Some(kept("token_embd.weight", rows));
            }
            "norm.weight" => return Some(kept("output_norm.weight", Rows::All)),
            "lm_head.weight" if self.shares_embedding => return Some(Place::Dropped),
            "lm_head.weight" => return Some(kept("output.weight", Rows::All)),
            _ => {}
        }
        let (layer, part, ending) = layer(name.strip_prefix("layers.")?)?;
        let norms: &[_] = if self.norms_both_sides {
            &NORMS_BOTH_SIDES
        } else {
            &NORMS_ONE_SIDE
        };
        let new = renamed(&DECODER_LAYER, part).or_else(|| renamed(norms, part))?;
        let rows = match (self.interleaved, new) {
            (Some((heads, _)), "attn_q") | (Some((_, heads)), "attn_k") => {
                Rows::Interleaved { heads }
            }
            _ => Rows::All,
        };
        Some(kept(&format!("blk.{layer}.{new}.{ending}"), rows))
    }
}

const BERT_TOP: [(&str, &str); 4] = [
    ("embeddings.word_embeddings", "token_embd"),
    ("embeddings.position_embeddings", "position_embd"),
    ("embeddings.token_type_embeddings", "token_types"),
    ("embeddings.LayerNorm", "token_embd_norm"),
];

const BERT_LAYER: [(&str, &str); 16] = [
    ("attention.self.query", "attn_q"),
    ("attention.self.key", "attn_k"),
    ("attention.self.value", "attn_v"),
    ("attention.output.dense", "attn_output"),
    ("attention.output.LayerNorm", "attn_output_norm"),
    ("intermediate.dense", "ffn_up"),
    ("output.dense", "ffn_down"),
    ("output.LayerNorm", "layer_output_norm"),
    ("attention.q_lin", "attn_q"),
    ("attention.k_lin", "attn_k"),
    ("attention.v_lin", "attn_v"),
    ("attention.out_lin", "attn_output"),
    ("sa_layer_norm", "attn_output_norm"),
    ("ffn.lin1", "ffn_up"),
    ("ffn.lin2", "ffn_down"),
    ("output_layer_norm", "layer_output_norm"),
];

/// Heads of BERTs that were trained for something else than vectors.
const BERT_HEADS: [&str; 6] = [
    "cls.",
    "lm_head.",
    "pooler.",
    "vocab_",
    "classifier.",
    "pre_classifier.",
];

/// Where a tensor of a BERT goes, whose positions begin at `first_position`; `None` if nothing of that name is known.
#[must_use]
pub fn bert_place(name: &str, first_position: u64) -> Option<Place> {
    let name = ["bert.", "distilbert.", "roberta.", "camembert."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    if name == "embeddings.position_ids" || BERT_HEADS.iter().any(|head| name.starts_with(head)) {
        return Some(Place::Dropped);
    }
    let (stem, ending) = name.rsplit_once('.')?;
    // What the oldest checkpoints call the two halves of a norm.
    let ending = match ending {
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    };
    if let Some(new) = renamed(&BERT_TOP, stem) {
        let rows = match (new, first_position) {
            ("position_embd", first) if first > 0 => Rows::From(first),
            _ => Rows::All,
        };
        return Some(Place::Kept {
            name: format!("{new}.{ending}"),
            rows,
        });
    }
    let inner = stem
        .strip_prefix("encoder.layer.")
        .or_else(|| stem.strip_prefix("transformer.layer."))?;
    let (layer, part) = inner.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let new = renamed(&BERT_LAYER, part)?;
    Some(Place::Kept {
        name: format!("blk.{layer}.{new}.{ending}"),
        rows: Rows::All,
    })
}

/// Number, part and ending of what is in a layer.
fn layer(name: &str) -> Option<(u32, &str, &str)> {
    let (number, rest) = name.split_once('.')?;
    let (part, ending) = rest.rsplit_once('.')?;
    let is_known = matches!(ending, "weight" | "bias");
    is_known.then_some((number.parse().ok()?, part, ending))
}

fn renamed(table: &[(&str, &'static str)], part: &str) -> Option<&'static str> {
    table
        .iter()
        .find_map(|&(theirs, ours)| (theirs == part).then_some(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str, rows: Rows) -> Option<Place> {
        Some(Place::Kept {
            name: name.to_owned(),
            rows,
        })
    }

    #[test]
    fn layers_of_decoders_find_their_places() {
        let llama = DecoderNames {
            interleaved: Some((8, 2)),
            norms_both_sides: false,
            shares_embedding: false,
            words: None,
        };
        for (theirs, ours, rows) in [
            ("model.embed_tokens.weight", "token_embd.weight", Rows::All),
            ("lm_head.weight", "output.weight", Rows::All),
            (
                "model.layers.3.self_attn.q_proj.weight",
                "blk.3.attn_q.weight",
                Rows::Interleaved { heads: 8 },
            ),
            (
                "model.layers.3.self_attn.k_proj.bias",
                "blk.3.attn_k.bias",
                Rows::Interleaved { heads: 2 },
            ),
            (
                "model.layers.0.post_attention_layernorm.weight",
                "blk.0.ffn_norm.weight",
                Rows::All,
            ),
        ] {
            assert_eq!(llama.place(theirs), kept(ours, rows), "{theirs}");
        }
        let gemma = DecoderNames {
            interleaved: None,
            norms_both_sides: true,
            shares_embedding: true,
            words: Some(7),
        };
        let norm = "language_model.model.layers.1.post_attention_layernorm.weight";
        let expected = kept("blk.1.post_attention_norm.weight", Rows::All);
        assert_eq!(gemma.place(norm), expected);
        assert_eq!(gemma.place("lm_head.weight"), Some(Place::Dropped));
        assert_eq!(gemma.place("vision_tower.x.weight"), Some(Place::Dropped));
        assert_eq!(
            gemma.place("model.embed_tokens.weight"),
            kept("token_embd.weight", Rows::First(7))
        );
        for unknown in [
            "model.layers.x.mlp.up_proj.weight",
            "model.layers.1.moe.w1",
            "x",
        ] {
            assert_eq!(gemma.place(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn layers_of_berts_find_their_places() {
        for (theirs, ours, rows) in [
            (
                "bert.encoder.layer.2.attention.output.LayerNorm.gamma",
                "blk.2.attn_output_norm.weight",
                Rows::All,
            ),
            (
                "roberta.embeddings.position_embeddings.weight",
                "position_embd.weight",
                Rows::From(2),
            ),
            (
                "distilbert.transformer.layer.0.ffn.lin1.bias",
                "blk.0.ffn_up.bias",
                Rows::All,
            ),
        ] {
            assert_eq!(bert_place(theirs, 2), kept(ours, rows), "{theirs}");
        }
        assert_eq!(bert_place("pooler.dense.weight", 0), Some(Place::Dropped));
        assert_eq!(bert_place("encoder.layer.1.moe.weight", 0), None);
    }
}
