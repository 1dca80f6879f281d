"""Writes the trained network and its vocabulary as a GGUF file that llama.cpp loads."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
from model import Shape, Tiny
from tokenizers import Tokenizer
from vocabulary import CONTROL, USER_DEFINED

CONTEXT_LENGTH = 4096


def neighbours(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorders the rows of each head from (i, i + half) pairs to neighbouring pairs, llama.cpp's order for this architecture."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def tensors(model: Tiny) -> dict[str, np.ndarray]:
    """Every weight under the name llama.cpp knows, float32."""
    shape = model.shape
    state = {name: value.detach().float().cpu().numpy() for name, value in model.state_dict().items()}
    named = {"token_embd.weight": state["embedding.weight"], "output_norm.weight": state["norm.weight"]}
    for layer in range(shape.layers):
        source, target = f"blocks.{layer}.", f"blk.{layer}."
        key_value = shape.key_value_heads * shape.head_width
        query, key, value = np.split(state[source + "query_key_value.weight"], [shape.width, shape.width + key_value])
        gate, up = np.split(state[source + "gate_up.weight"], 2)
        named |= {
            target + "attn_norm.weight": state[source + "attention_norm.weight"],
            target + "attn_q.weight": neighbours(query, shape.heads),
            target + "attn_k.weight": neighbours(key, shape.key_value_heads),
            target + "attn_v.weight": value,
            target + "attn_output.weight": state[source + "attention_output.weight"],
            target + "ffn_norm.weight": state[source + "feed_forward_norm.weight"],
            target + "ffn_gate.weight": gate,
            target + "ffn_up.weight": up,
            target + "ffn_down.weight": state[source + "down.weight"],
        }
    return named


def describe(writer: gguf.GGUFWriter, shape: Shape, template: str) -> None:
    """General metadata and the network's sizes."""
    writer.add_name("Tiny")
    writer.add_basename("tiny")
    writer.add_size_label("2.9M")
    writer.add_license("MIT OR Apache-2.0")
    writer.add_description("A small chat model of the Chaski project, trained on text the project generates.")
    writer.add_languages(["en"])
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_value_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_chat_template(template)


def add_vocabulary(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    """Tokens in order of their ids, their kinds, and the merges."""
    learnt = json.loads(tokenizer.to_str())["model"]
    by_id = sorted(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1])
    kinds = [gguf.TokenType.CONTROL if token in CONTROL else gguf.TokenType.USER_DEFINED if token in USER_DEFINED else gguf.TokenType.NORMAL for token, _ in by_id]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([token for token, _ in by_id])
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in learnt["merges"]])
    writer.add_eos_token_id(tokenizer.token_to_id("<|im_end|>"))
    writer.add_pad_token_id(tokenizer.token_to_id("<|endoftext|>"))
    writer.add_bos_token_id(tokenizer.token_to_id("<|endoftext|>"))
    writer.add_add_bos_token(False)


def write_gguf(path: Path, model: Tiny, tokenizer: Tokenizer, template: str) -> None:
    """Writes the file: matrices in Q8_0, norms in float32."""
    writer = gguf.GGUFWriter(path, "llama")
    describe(writer, model.shape, template)
    add_vocabulary(writer, tokenizer)
    for name, weight in tensors(model).items():
        if weight.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
