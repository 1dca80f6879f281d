"""Compares a server's vectors for all-MiniLM-L6-v2 with a PyTorch reference computed here, text by text.

    python3 models/minilm/check.py --server http://127.0.0.1:11434 --model all-minilm     # /api/embed
    python3 models/minilm/check.py --onnx minilm-onnx                                     # the converted file in ONNX Runtime
    python3 models/minilm/check.py --server URL --model all-minilm --least 0.995          # served by the 8-bit encoder
    python3 models/minilm/check.py --server URL --model all-minilm --longest 512          # its weights as GGUF, which takes as many tokens

Exits with status 1 when a cosine is below the least, or the mean below 0.999.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from pathlib import Path

import numpy as np
import torch
from convert import package_folder, shape_of
from safetensors.torch import load_file
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parent.parent))

from encoder.bert import NAMES, Bert, mean_pooled

MEAN = 0.999
TEXTS = [
    "Hello", "The sky is blue.", "Why is the sky blue?", "A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby.", "A cheetah is running behind its prey.",
    "Machine learning is a field of artificial intelligence.", "Water boils at 100 °C at sea level.", "¿Dónde está la biblioteca?", "Der Himmel ist blau.", "日本の首都は東京です。", "naïve café — déjà vu",
    "def add(a, b):\n    return a + b", "SELECT name FROM users WHERE id = 42;", "https://example.org/path?query=1", "ALL CAPITALS AND 12345 NUMBERS!!!", "   leading and trailing spaces   ", "a", ".", "🙂 emoji 🚀",
    "The stock market fell sharply on Tuesday after the announcement.", "He didn't say that he wouldn't come, did he?", "An unbelievably antidisestablishmentarian floccinaucinihilipilification.",
    "Runners carried messages along the roads of the Andes.", "Cooking rice takes about twenty minutes.", "The meeting was moved from Monday to Thursday at nine.", "I would like to cancel my subscription, please.",
    "one two three four five six seven eight nine ten " * 12, "The quick brown fox jumps over the lazy dog. " * 60,
]  # fmt: skip


def load_reference(folder: Path) -> Bert:
    """The network in PyTorch with the package's weights."""
    weights = load_file(folder / "model.safetensors")
    model = Bert(shape_of(json.loads((folder / "config.json").read_text())))
    outer = {"words": "embeddings.word_embeddings", "positions": "embeddings.position_embeddings", "types": "embeddings.token_type_embeddings", "norm": "embeddings.LayerNorm"}
    state = {}
    for name in model.state_dict():
        first, *rest = name.split(".")
        state[name] = weights[".".join(["encoder.layer", rest[0], NAMES[rest[1]], rest[2]])] if first == "layers" else weights[f"{outer[first]}.{rest[0]}"]
    model.load_state_dict(state)
    return model.eval()


def tokenised(folder: Path, longest: int) -> list[list[int]]:
    """Ids of every text, cut to the model's limit with the closing mark kept."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    return [tokenizer.encode(text).ids for text in TEXTS]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def reference_vectors(folder: Path, longest: int) -> np.ndarray:
    """One text at a time, so that no padding can matter."""
    model = load_reference(folder)
    with torch.no_grad():
        rows = [torch.tensor([ids]) for ids in tokenised(folder, longest)]
        return unit(torch.cat([mean_pooled(model(ids, torch.ones_like(ids)), torch.ones_like(ids)) for ids in rows]).numpy())


def onnx_vectors(converted: Path, folder: Path, longest: int) -> np.ndarray:
    """All texts in one padded batch through ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(converted / "model.onnx", providers=["CPUExecutionProvider"])
    rows = tokenised(folder, longest)
    ids, mask = np.zeros((len(rows), max(map(len, rows))), np.int64), np.zeros((len(rows), max(map(len, rows))), np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)], mask[index, : len(row)] = row, 1
    states = session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})[0]
    return unit((states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True))


def server_vectors(address: str, model: str) -> np.ndarray:
    """The vectors that /api/embed returns for all texts in one request."""
    request = urllib.request.Request(f"{address}/api/embed", json.dumps({"model": model, "input": TEXTS}).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return np.array(json.load(response)["embeddings"], np.float32)


def main() -> None:
    """Reads the command line, compares, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", help="address of a server that speaks /api/embed")
    parser.add_argument("--model", default="all-minilm", help="the model's name on the server")
    parser.add_argument("--onnx", type=Path, help="a converted folder to run in ONNX Runtime instead")
    parser.add_argument("--longest", type=int, default=256, help="tokens after which the model cuts texts off")
    parser.add_argument("--least", type=float, default=0.999, help="the least cosine that is good enough")
    args = parser.parse_args()
    folder = package_folder()
    vectors = onnx_vectors(args.onnx, folder, args.longest) if args.onnx else server_vectors(args.server or "http://127.0.0.1:11434", args.model)
    cosines = (unit(vectors) * reference_vectors(folder, args.longest)).sum(1)
    print(f"{len(TEXTS)} texts, {vectors.shape[1]} components, cosine min {cosines.min():.6f} mean {cosines.mean():.6f}")
    if not (cosines.min() >= args.least and cosines.mean() >= MEAN):
        sys.exit(f"The text furthest off: {TEXTS[int(cosines.argmin())][:80]!r}")


if __name__ == "__main__":
    main()
