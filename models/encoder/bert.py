"""BERT's encoder (arXiv 1810.04805) with Hugging Face's parameter names, small enough to train on a CPU."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class BertShape:
    """Sizes of the network."""

    vocab_size: int
    hidden_size: int = 128
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 512
    max_position_embeddings: int = 256
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12

    def config(self) -> dict[str, object]:
        """The sizes as `config.json` spells them."""
        return {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute", "pad_token_id": 0, **asdict(self)}


class Layer(nn.Module):
    """Self-attention and a GELU feed-forward, each added to the stream and then normalised."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        hidden = shape.hidden_size
        self.heads = shape.num_attention_heads
        self.query, self.key, self.value, self.output = (nn.Linear(hidden, hidden) for _ in range(4))
        self.attention_norm = nn.LayerNorm(hidden, eps=shape.layer_norm_eps)
        self.up, self.down = nn.Linear(hidden, shape.intermediate_size), nn.Linear(shape.intermediate_size, hidden)
        self.output_norm = nn.LayerNorm(hidden, eps=shape.layer_norm_eps)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x [batch, length, hidden]; bias [batch, 1, 1, length] is very negative at padding."""
        batch, length, hidden = x.shape
        query, key, value = (m(x).view(batch, length, self.heads, -1).transpose(1, 2) for m in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) / (hidden // self.heads) ** 0.5 + bias
        mixed = (torch.softmax(scores, dim=-1) @ value).transpose(1, 2).reshape(batch, length, hidden)
        x = self.attention_norm(x + self.output(mixed))
        return self.output_norm(x + self.down(F.gelu(self.up(x))))


#: This module's names and Hugging Face's, for `hugging_face_state`.
NAMES = {
    "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value", "output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm", "up": "intermediate.dense", "down": "output.dense", "output_norm": "output.LayerNorm",
}  # fmt: skip


class Bert(nn.Module):
    """Embeddings and layers; the output is the last hidden state."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.positions = nn.Embedding(shape.max_position_embeddings, shape.hidden_size)
        self.types = nn.Embedding(shape.type_vocab_size, shape.hidden_size)
        self.norm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.05)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and mask [batch, length] to [batch, length, hidden]."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.words(ids) + self.positions(positions) + self.types.weight[0])
        bias = (1.0 - mask[:, None, None, :].to(x.dtype)) * -1e9
        for layer in self.layers:
            x = layer(x, bias)
        return x

    def hugging_face_state(self) -> dict[str, Tensor]:
        """The weights under the names of Hugging Face's `BertModel`."""
        state = {
            "embeddings.word_embeddings.weight": self.words.weight,
            "embeddings.position_embeddings.weight": self.positions.weight,
            "embeddings.token_type_embeddings.weight": self.types.weight,
            "embeddings.LayerNorm.weight": self.norm.weight,
            "embeddings.LayerNorm.bias": self.norm.bias,
        }
        for index, layer in enumerate(self.layers):
            for ours, theirs in NAMES.items():
                for kind in ("weight", "bias"):
                    state[f"encoder.layer.{index}.{theirs}.{kind}"] = getattr(getattr(layer, ours), kind)
        return {name: value.detach() for name, value in state.items()}


def mean_pooled(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real tokens: [batch, length, hidden] to [batch, hidden]."""
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)
