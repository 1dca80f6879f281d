"""The weights that both servers get: the repository's `tiny`, and the same without its chat template.

Ollama prefers a GGUF file's own template to a Go template that can do less, so only a file without one is rendered by Go.
"""

from __future__ import annotations

import struct
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
TINY = REPOSITORY / "models/tiny/tiny.gguf"
TEMPLATE_KEY = b"tokenizer.chat_template"
ALIGNMENT = 32
# Bytes of a value by its type's number in the GGUF format; 8 is a text, 9 a list.
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class Reader:
    """A place in a file's bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, form: str) -> int:
        """A little-endian number in `struct`'s notation."""
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def text(self) -> bytes:
        """A text with its length in front."""
        length = self.number("Q")
        self.at += length
        return self.data[self.at - length : self.at]

    def skip_value(self, kind: int) -> None:
        """Steps over a value."""
        if kind == 8:
            self.text()
        elif kind == 9:
            inner, count = self.number("I"), self.number("Q")
            for _ in range(count):
                self.skip_value(inner)
        else:
            self.at += WIDTHS[kind]


def without_template() -> bytes:
    """`tiny.gguf` without `tokenizer.chat_template`."""
    data = TINY.read_bytes()
    reader = Reader(data)
    assert data[:4] == b"GGUF"
    reader.at = 4
    version, tensors, entries = reader.number("I"), reader.number("Q"), reader.number("Q")
    start = reader.at
    kept = b""
    for _ in range(entries):
        key = reader.text()
        reader.skip_value(reader.number("I"))
        if key != TEMPLATE_KEY:
            kept += data[start : reader.at]
        start = reader.at
    for _ in range(tensors):
        reader.text()
        dimensions = reader.number("I")
        # Each dimension, the tensor's type and its place.
        reader.at += 8 * dimensions + 4 + 8
    header = struct.pack("<4sIQQ", b"GGUF", version, tensors, entries - 1) + kept + data[start : reader.at]
    return aligned(header) + data[len(aligned(data[: reader.at])) :]


def aligned(header: bytes) -> bytes:
    """With zeros up to where the tensors begin."""
    return header + bytes(-len(header) % ALIGNMENT)
