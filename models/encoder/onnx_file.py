"""Writes a BERT encoder as an ONNX graph, node by node, so that the file depends on no exporter and its version.

The order of operations is that of Hugging Face's exports, which ONNX Runtime's fusions recognise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .bert import BertShape

OPSET = 17


@dataclass
class Graph:
    """Nodes and weights in the making. Every method adds to them and returns the name of its result."""

    weights: Mapping[str, np.ndarray]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, np.ndarray] = field(default_factory=dict)
    #: Shapes of results, written down because ONNX's own inference loses the symbolic length, and without it ONNX Runtime fuses less.
    shapes: list[onnx.ValueInfoProto] = field(default_factory=list)

    def node(self, op: str, *inputs: str, out: str | None = None, **attributes: object) -> str:
        """One operation with one result."""
        result = out or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [result], name=f"{op}_{len(self.nodes)}", **attributes))
        return result

    def constant(self, name: str, value: np.ndarray) -> str:
        """A named constant; the same name is stored once."""
        self.initializers.setdefault(name, value)
        return name

    def weight(self, name: str) -> str:
        """A weight under its own name."""
        return self.constant(name, self.weights[name])

    def linear(self, x: str, name: str, out: str | None = None) -> str:
        """x W^T + b."""
        matrix = self.constant(f"{name}.weight", np.ascontiguousarray(self.weights[f"{name}.weight"].T))
        product = self.states(self.node("MatMul", x, matrix), matrix)
        return self.states(self.node("Add", product, self.weight(f"{name}.bias"), out=out), matrix)

    def states(self, result: str, matrix: str) -> str:
        """Notes that a result is [batch, sequence, columns of the matrix]."""
        self.shapes.append(helper.make_tensor_value_info(result, TensorProto.FLOAT, ["batch", "sequence", self.initializers[matrix].shape[-1]]))
        return result

    def norm(self, x: str, name: str, epsilon: float, out: str | None = None) -> str:
        """Layer normalisation over the last axis."""
        return self.node("LayerNormalization", x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), out=out, axis=-1, epsilon=epsilon)

    def gelu(self, x: str) -> str:
        """The exact GELU, by the error function."""
        scaled = self.node("Div", x, self.constant("sqrt_two", np.float32(np.sqrt(2.0))))
        inner = self.node("Add", self.node("Erf", scaled), self.constant("one", np.float32(1.0)))
        return self.node("Mul", self.node("Mul", x, inner), self.constant("half", np.float32(0.5)))


def embeddings(graph: Graph, shape: BertShape) -> str:
    """Word, type and position embeddings, normalised: [batch, length, hidden]."""
    words = graph.node("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    types = graph.node("Gather", graph.weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
    length = graph.node("Gather", graph.node("Shape", "input_ids"), graph.constant("axis_one", np.array([1], np.int64)))
    first, axis = graph.constant("axis_zero", np.array([0], np.int64)), graph.constant("axis_zero", np.array([0], np.int64))
    positions = graph.node("Slice", graph.weight("embeddings.position_embeddings.weight"), first, length, axis)
    table = "embeddings.word_embeddings.weight"
    total = graph.states(graph.node("Add", graph.node("Add", words, types), positions), table)
    return graph.states(graph.norm(total, "embeddings.LayerNorm", shape.layer_norm_eps), table)


def mask_bias(graph: Graph) -> str:
    """0 at real tokens and a very negative number at padding: [batch, 1, 1, length]."""
    inner = graph.node("Unsqueeze", "attention_mask", graph.constant("axis_one", np.array([1], np.int64)))
    outer = graph.node("Unsqueeze", inner, graph.constant("axis_two", np.array([2], np.int64)))
    real = graph.node("Cast", outer, to=TensorProto.FLOAT)
    return graph.node("Mul", graph.node("Sub", graph.constant("one", np.float32(1.0)), real), graph.constant("padding_bias", np.float32(-1e9)))


def layer(graph: Graph, shape: BertShape, index: int, x: str, bias: str, out: str | None) -> str:
    """One encoder layer."""
    prefix, width = f"encoder.layer.{index}", shape.hidden_size // shape.num_attention_heads
    split = graph.constant("split_heads", np.array([0, 0, shape.num_attention_heads, width], np.int64))
    query, key, value = (
        graph.node("Transpose", graph.node("Reshape", graph.linear(x, f"{prefix}.attention.self.{part}"), split), perm=perm)
        for part, perm in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3]))
    )
    scores = graph.node("Div", graph.node("MatMul", query, key), graph.constant("sqrt_head_width", np.float32(np.sqrt(width))))
    shares = graph.node("Softmax", graph.node("Add", scores, bias), axis=-1)
    mixed = graph.node("Transpose", graph.node("MatMul", shares, value), perm=[0, 2, 1, 3])
    joined = graph.node("Reshape", mixed, graph.constant("join_heads", np.array([0, 0, shape.hidden_size], np.int64)))
    attended = graph.node("Add", graph.linear(joined, f"{prefix}.attention.output.dense"), x)
    x = graph.norm(attended, f"{prefix}.attention.output.LayerNorm", shape.layer_norm_eps)
    fed = graph.linear(graph.gelu(graph.linear(x, f"{prefix}.intermediate.dense")), f"{prefix}.output.dense")
    return graph.norm(graph.node("Add", fed, x), f"{prefix}.output.LayerNorm", shape.layer_norm_eps, out)


def classifier(graph: Graph, states: str, labels: int) -> onnx.ValueInfoProto:
    """Mean over the real tokens, then one linear layer: `logits` [batch, labels]."""
    axis = graph.constant("axis_one", np.array([1], np.int64))
    real = graph.node("Unsqueeze", graph.node("Cast", "attention_mask", to=TensorProto.FLOAT), graph.constant("axis_two", np.array([2], np.int64)))
    total = graph.node("ReduceSum", graph.node("Mul", states, real), axis, keepdims=0)
    mean = graph.node("Div", total, graph.node("ReduceSum", real, axis, keepdims=0))
    matrix = graph.constant("classifier.weight", np.ascontiguousarray(graph.weights["classifier.weight"].T))
    graph.node("Add", graph.node("MatMul", mean, matrix), graph.weight("classifier.bias"), out="logits")
    return helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels])


def tagger(graph: Graph, states: str, labels: int) -> onnx.ValueInfoProto:
    """One linear layer for every token: `logits` [batch, sequence, labels]."""
    graph.linear(states, "classifier", "logits")
    graph.shapes.pop()  # An output's shape is stated once.
    return helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence", labels])


def write_bert(path: Path, shape: BertShape, weights: Mapping[str, np.ndarray], labels: int | None = None, tags: bool = False) -> None:
    """Writes the encoder; with `labels`, a classifier whose head is `classifier.weight` and `classifier.bias`, of tokens with `tags`."""
    graph = Graph(weights)
    x, bias = embeddings(graph, shape), mask_bias(graph)
    for index in range(shape.num_hidden_layers):
        last = index == shape.num_hidden_layers - 1 and labels is None
        x = layer(graph, shape, index, x, bias, "last_hidden_state" if last else None)
    if labels is None:
        output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", shape.hidden_size])
    else:
        output = (tagger if tags else classifier)(graph, x, labels)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in ("input_ids", "attention_mask", "token_type_ids")]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in graph.initializers.items()]
    model = helper.make_model(helper.make_graph(graph.nodes, "bert", inputs, [output], stored, value_info=graph.shapes), opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="chaski-models")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
