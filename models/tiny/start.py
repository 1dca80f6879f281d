"""First weights that can already copy.

A network this small finds "look for the last time this word came, and say what followed" (an induction head, arXiv 2209.11895) only after millions
of tokens, a day's work for a slow CPU. The circuit is known, so it is written into the first weights: one head of the first layer looks at
the previous token, heads of the next layers look for that token's earlier places. Training is free to change or to drop all of it.
"""

from __future__ import annotations

import torch
from model import Shape, Tiny
from tokenizers import Tokenizer
from torch import Tensor

#: Component of every embedding that is the same for all tokens, so that a head can attend by position alone.
CONSTANT, CONSTANT_SIZE = 0, 4.0
#: Score, in nats, by which the previous token stands out in the first layer, and a match in the next ones.
SHARPNESS = 6.0
#: Planes of RoPE that turn fast enough to tell neighbours apart, and those slow enough to be used for content.
FAST, SLOW = slice(0, 8), slice(16, 32)
#: Heads that start as induction heads, as (layer, query head).
INDUCTION = [(1, 0), (1, 2), (2, 0), (2, 2)]
SPREAD = 0.03


def planes(vector: Tensor, which: slice) -> Tensor:
    """Rows of a head [head_width, ...] that belong to the given planes: component i and i + half turn together."""
    half = vector.shape[0] // 2
    return torch.cat([vector[:half][which], vector[half:][which]])


def set_planes(rows: Tensor, which: slice, values: Tensor) -> None:
    """Writes rows for the given planes of a head, all others zero."""
    half, size = rows.shape[0] // 2, values.shape[0] // 2
    rows.zero_()
    rows[:half][which] = values[:size]
    rows[half:][which] = values[size:]


def embed(model: Tiny, tokenizer: Tokenizer) -> None:
    """Random embeddings with a shared component; a token with a leading space starts near the same token without one."""
    table = model.embedding.weight
    vocabulary = tokenizer.get_vocab()
    space = torch.randn(table.shape[1]) * SPREAD / 2
    for token, index in vocabulary.items():
        plain = vocabulary.get(token.removeprefix("Ġ")) if token.startswith("Ġ") else None
        if plain is not None:
            table[index] = table[plain] * 0.9 + torch.randn(table.shape[1]) * SPREAD * 0.3 + space
    table[:, CONSTANT] = SPREAD * CONSTANT_SIZE


def attend_to_previous(model: Tiny, written: Tensor, read: Tensor) -> None:
    """Head 0 of the first layer: the score peaks one token back, and that token's `read` components are written to `written`."""
    shape, block = model.shape, model.blocks[0]
    queries, keys, values = block.query_key_value.weight.split([shape.width, *[shape.key_value_heads * shape.head_width] * 2])
    half = shape.head_width // 2
    angle = shape.rope_base ** (-torch.arange(half)[FAST] / half)
    reach = float((1 - angle.cos()).sum())
    size = (SHARPNESS / reach * shape.head_width**0.5) ** 0.5 / CONSTANT_SIZE
    query, key = torch.zeros(2 * len(angle), shape.width), torch.zeros(2 * len(angle), shape.width)
    query[:, CONSTANT] = size * torch.cat([torch.ones_like(angle), torch.zeros_like(angle)])
    key[:, CONSTANT] = size * torch.cat([angle.cos(), angle.sin()])
    set_planes(queries[: shape.head_width], FAST, query)
    set_planes(keys[: shape.head_width], FAST, key)
    values[: shape.head_width] = read
    block.attention_output.weight[:, : shape.head_width] = written.T * SPREAD * 2


def attend_to_matches(model: Tiny, layer: int, head: int, written: Tensor, read: Tensor) -> None:
    """An induction head: the current token is compared with what the first layer wrote about each token's predecessor."""
    shape, block = model.shape, model.blocks[layer]
    group = head // (shape.heads // shape.key_value_heads)
    queries, keys, values = block.query_key_value.weight.split([shape.width, *[shape.key_value_heads * shape.head_width] * 2])
    compared = 2 * (SLOW.stop - SLOW.start)
    size = (SHARPNESS * 2 * shape.head_width**0.5 / compared) ** 0.5
    query, key = queries[head * shape.head_width :][: shape.head_width], keys[group * shape.head_width :][: shape.head_width]
    set_planes(query, SLOW, size * read[:compared])
    set_planes(key, SLOW, size * written[:compared])
    carried = torch.linalg.qr(torch.randn(shape.width, shape.head_width))[0].T
    values[group * shape.head_width :][: shape.head_width] = carried
    block.attention_output.weight[:, head * shape.head_width :][:, : shape.head_width] = carried.T * SPREAD * 2


@torch.no_grad()
def initialise(model: Tiny, tokenizer: Tokenizer) -> None:
    """Sets every weight of a new model."""
    shape: Shape = model.shape
    embed(model, tokenizer)
    for block in model.blocks:
        block.attention_output.weight.mul_(0.3)
        block.down.weight.mul_(0.3)
    basis = torch.linalg.qr(torch.randn(shape.width, 2 * shape.head_width))[0].T
    basis[:, CONSTANT] = 0
    read, written = basis.split(shape.head_width)
    attend_to_previous(model, written, read)
    for layer, head in INDUCTION:
        attend_to_matches(model, layer, head, written, read)
