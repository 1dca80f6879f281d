"""The tiny model's network: llama.cpp's "llama" architecture in PyTorch, nothing added and nothing left out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """Sizes of the network. Row lengths are multiples of 256 so that every GGUF quantisation fits."""

    vocabulary: int = 2048
    width: int = 256
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    feed_forward: int = 512
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """Components per attention head."""
        return self.width // self.heads


def rotations(shape: Shape, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of RoPE (arXiv 2104.09864), each [length, head_width / 2]."""
    half = shape.head_width // 2
    frequencies = shape.rope_base ** (-torch.arange(half, device=like.device) / half)
    angles = torch.arange(length, device=like.device)[:, None] * frequencies
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turns component i together with component i + half. `gguf_file` reorders rows for llama.cpp, which turns neighbours."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine], dim=-1)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention written out: at these lengths it costs a CPU half of what PyTorch's fused kernel does, backward above all."""
    length = query.shape[-2]
    future = torch.full((length, length), float("-inf"), dtype=query.dtype, device=query.device).triu(1)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2) + future
    return torch.softmax(scores, dim=-1) @ value


class Block(nn.Module):
    """Attention and a SwiGLU feed-forward, each behind an RMS norm and added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        key_value = shape.key_value_heads * shape.head_width
        self.attention_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.query_key_value = nn.Linear(shape.width, shape.width + 2 * key_value, bias=False)
        self.attention_output = nn.Linear(shape.width, shape.width, bias=False)
        self.feed_forward_norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.gate_up = nn.Linear(shape.width, 2 * shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """[batch, length, width] to the same shape, causal."""
        batch, length, width = x.shape
        shape = self.shape
        projected = self.query_key_value(self.attention_norm(x)).view(batch, length, -1, shape.head_width).transpose(1, 2)
        query, key, value = projected.split([shape.heads, shape.key_value_heads, shape.key_value_heads], dim=1)
        groups = shape.heads // shape.key_value_heads
        key, value = rotate(key, cosine, sine).repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        mixed = attend(rotate(query, cosine, sine), key, value)
        x = x + self.attention_output(mixed.transpose(1, 2).reshape(batch, length, width))
        gate, up = self.gate_up(self.feed_forward_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Tiny(nn.Module):
    """The whole network; the output layer shares the embedding's weights."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                shrink = (2 * shape.layers) ** -0.5 if name.endswith(("attention_output.weight", "down.weight")) else 1.0
                nn.init.normal_(parameter, std=0.03 * shrink)

    def hidden(self, tokens: Tensor) -> Tensor:
        """Token ids [batch, length] to normalised states [batch, length, width]."""
        x = self.embedding(tokens)
        cosine, sine = rotations(self.shape, tokens.shape[1], x)
        for block in self.blocks:
            x = block(x, cosine, sine)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """States [..., width] to scores [..., vocabulary]."""
        return F.linear(hidden, self.embedding.weight)
