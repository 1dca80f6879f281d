"""Reads the finished GGUF back and runs it in PyTorch: an independent check that the file says what the training meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from corpus import environment
from model import Shape, Tiny
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from vocabulary import QWEN2_PATTERN


def halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """The inverse of `gguf_file.neighbours`."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


@dataclass
class Runner:
    """A model read from a file, with its vocabulary and template."""

    model: Tiny
    tokenizer: Tokenizer
    template: str
    end: int

    def prompt(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], think: bool) -> str:
        """The messages as the template writes them, ready for the reply."""
        return environment().from_string(self.template).render(messages=messages, tools=tools, add_generation_prompt=True, enable_thinking=think)

    @torch.no_grad()
    def generate(self, prompt: str, temperature: float, limit: int) -> str:
        """Continues the prompt until the end of the turn or `limit` tokens; the most likely token each time when the temperature is 0."""
        torch.manual_seed(1)
        ids = self.tokenizer.encode(prompt).ids
        begin = len(ids)
        while len(ids) - begin < limit:
            logits = self.model.logits(self.model.hidden(torch.tensor([ids]))[0, -1])
            token = int(torch.multinomial(torch.softmax(logits / temperature, -1), 1) if temperature > 0 else logits.argmax())
            if token == self.end:
                break
            ids.append(token)
        return self.tokenizer.decode(ids[begin:], skip_special_tokens=False)


def vocabulary(reader: gguf.GGUFReader) -> Tokenizer:
    """The tokenizer as the file describes it."""
    tokens, merges, kinds = (reader.fields[f"tokenizer.ggml.{part}"].contents() for part in ("tokens", "merges", "token_type"))
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, [tuple(merge.split(" ")) for merge in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token, kind in zip(tokens, kinds, strict=True) if kind != gguf.TokenType.NORMAL])
    return tokenizer


def read_gguf(path: Path) -> Runner:
    """Loads sizes, weights, vocabulary and template; nothing comes from anywhere but the file."""
    reader = gguf.GGUFReader(path)

    def number(key: str) -> Any:
        return reader.fields[f"llama.{key}"].contents()

    weights = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    shape = Shape(
        vocabulary=weights["token_embd.weight"].shape[0], width=number("embedding_length"), layers=number("block_count"), heads=number("attention.head_count"),
        key_value_heads=number("attention.head_count_kv"), feed_forward=number("feed_forward_length"), rope_base=number("rope.freq_base"), norm_epsilon=number("attention.layer_norm_rms_epsilon"),
    )  # fmt: skip
    state = {"embedding.weight": weights["token_embd.weight"], "norm.weight": weights["output_norm.weight"]}
    for layer in range(shape.layers):
        source, target = f"blk.{layer}.", f"blocks.{layer}."
        query, key = halves(weights[source + "attn_q.weight"], shape.heads), halves(weights[source + "attn_k.weight"], shape.key_value_heads)
        state |= {
            target + "attention_norm.weight": weights[source + "attn_norm.weight"],
            target + "query_key_value.weight": np.concatenate([query, key, weights[source + "attn_v.weight"]]),
            target + "attention_output.weight": weights[source + "attn_output.weight"],
            target + "feed_forward_norm.weight": weights[source + "ffn_norm.weight"],
            target + "gate_up.weight": np.concatenate([weights[source + "ffn_gate.weight"], weights[source + "ffn_up.weight"]]),
            target + "down.weight": weights[source + "ffn_down.weight"],
        }
    model = Tiny(shape)
    model.load_state_dict({name: torch.from_numpy(np.array(value, dtype=np.float32)) for name, value in state.items()})
    template = reader.fields["tokenizer.chat_template"].contents()
    return Runner(model.eval(), vocabulary(reader), template, int(reader.fields["tokenizer.ggml.eos_token_id"].contents()))
