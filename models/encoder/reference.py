"""The shipped ONNX models in Hugging Face's own PyTorch code, as the reference that servers are compared with."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from transformers import BertConfig, BertForTokenClassification, BertModel, PreTrainedModel, PreTrainedTokenizerFast


def load_bert(folder: Path) -> BertModel:
    """The trunk of a shipped model, in evaluation mode."""
    return _filled(BertModel(_config(folder), add_pooling_layer=False), _weights(folder, prefix=""))


def load_tagger(folder: Path) -> BertForTokenClassification:
    """A shipped classifier of tokens, in evaluation mode."""
    return _filled(BertForTokenClassification(_config(folder)), _weights(folder, prefix="bert."))


def load_classifier(folder: Path) -> tuple[BertModel, torch.nn.Linear]:
    """A shipped classifier of texts: its trunk, and the layer on the mean of the states (Hugging Face's class has another pooling)."""
    weights = _weights(folder, prefix="")
    matrix, bias = weights.pop("classifier.weight"), weights.pop("classifier.bias")
    head = torch.nn.Linear(matrix.shape[1], matrix.shape[0])
    head.load_state_dict({"weight": matrix, "bias": bias})
    return _filled(BertModel(_config(folder), add_pooling_layer=False), weights), head.eval()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The folder's tokenizer with the special tokens that its configuration names."""
    names = json.loads((folder / "tokenizer_config.json").read_text())
    special = {name: value for name, value in names.items() if name.endswith("_token")}
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), model_max_length=names["model_max_length"], **special)


def _config(folder: Path) -> BertConfig:
    values = json.loads((folder / "config.json").read_text())
    if "id2label" in values:
        values["id2label"] = {int(index): name for index, name in values["id2label"].items()}
    return BertConfig(**values)


def _weights(folder: Path, prefix: str) -> dict[str, torch.Tensor]:
    """The graph's weights under Hugging Face's names; the graph has matrices the other way round."""
    graph = onnx.load(folder / "model.onnx").graph
    weights = {}
    for tensor in graph.initializer:
        values = torch.from_numpy(numpy_helper.to_array(tensor).copy())
        if not tensor.name.endswith((".weight", ".bias")):
            continue
        is_matrix = values.dim() == 2 and "embeddings" not in tensor.name
        name = tensor.name if tensor.name.startswith("classifier") else prefix + tensor.name
        weights[name] = values.T.contiguous() if is_matrix else values
    return weights


def _filled(model: PreTrainedModel, weights: dict[str, torch.Tensor]) -> PreTrainedModel:
    missing, unexpected = model.load_state_dict(weights, strict=False)
    wrong = [name for name in missing if not name.endswith(("position_ids", "token_type_ids"))]
    if wrong or unexpected:
        raise SystemExit(f"the weights do not fit: {wrong} missing, {unexpected} unexpected")
    return model.eval()
