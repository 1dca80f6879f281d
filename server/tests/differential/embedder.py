"""Converts the repository's `tiny-embed` from ONNX to a GGUF file, for servers that know nothing of ONNX.

`python3 embedder.py OUT.gguf`; needs the packages `gguf`, `numpy` and `onnx`. Only the recorder uses it: Ollama gets the
file, Chaski serves the ONNX model itself, and the vectors must be the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import onnx
from onnx import numpy_helper

SOURCE = Path(__file__).parents[3] / "models/tiny-embed"
# The names of llama.cpp's BERT, by the names of Hugging Face's.
GLOBAL = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}
LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def vocabulary(writer: gguf.GGUFWriter) -> None:
    """WordPiece as llama.cpp has it: a word's beginning is marked, where BERT marks its continuation."""
    tokenizer = json.loads((SOURCE / "tokenizer.json").read_text())
    words = sorted(tokenizer["model"]["vocab"].items(), key=lambda entry: entry[1])
    special = {token["content"] for token in tokenizer["added_tokens"]}
    tokens, kinds = [], []
    for word, _ in words:
        control = word in special
        kinds.append(gguf.TokenType.CONTROL if control else gguf.TokenType.NORMAL)
        tokens.append(word if control else word[2:] if word.startswith("##") else "\u2581" + word)
    ids = dict(words)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_type_count(2)
    writer.add_unk_token_id(ids["[UNK]"])
    writer.add_sep_token_id(ids["[SEP]"])
    writer.add_pad_token_id(ids["[PAD]"])
    writer.add_bos_token_id(ids["[CLS]"])
    writer.add_eos_token_id(ids["[SEP]"])
    writer.add_mask_token_id(ids["[MASK]"])


def main(out: Path) -> None:
    config = json.loads((SOURCE / "config.json").read_text())
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(SOURCE / "model.onnx").graph.initializer}
    writer = gguf.GGUFWriter(out, "bert")
    writer.add_name("tiny-embed")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    vocabulary(writer)
    for theirs, ours in GLOBAL.items():
        writer.add_tensor(ours, weights[theirs])
    for layer in range(config["num_hidden_layers"]):
        for theirs, ours in LAYER.items():
            for kind in ("weight", "bias"):
                weight = weights[f"encoder.layer.{layer}.{theirs}.{kind}"]
                # ONNX multiplies by [in, out], llama.cpp by [out, in].
                writer.add_tensor(f"blk.{layer}.{ours}.{kind}", np.ascontiguousarray(weight.T))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
