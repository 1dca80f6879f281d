"""GGUF files taken apart and put together again, rightly or wrongly."""

import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

U32, I32, F32, BOOL, TEXT, ARRAY, U64, I64, F64 = 4, 5, 6, 7, 8, 9, 10, 11, 12
WIDTHS = {0: "B", 1: "b", 2: "H", 3: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}
ALIGNMENT = 32


@dataclass
class Entry:
    """A metadata entry; of an array `value` is the list and `element` its type."""

    key: bytes
    kind: int
    value: object
    element: int = 0


@dataclass
class Tensor:
    name: bytes
    shape: list[int]
    kind: int
    data: bytes
    offset: int | None = None
    """As the file is to claim; right if it is None."""


@dataclass
class Gguf:
    entries: list[Entry] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    version: int = 3
    tensor_count: int | None = None
    entry_count: int | None = None

    def copy(self) -> "Gguf":
        return replace(self, entries=[replace(it) for it in self.entries], tensors=[replace(it, shape=list(it.shape)) for it in self.tensors])

    def entry(self, key: str) -> Entry:
        return next(it for it in self.entries if it.key == key.encode())

    def head(self) -> bytes:
        out = [b"GGUF", struct.pack("<IQQ", self.version, pick(self.tensor_count, len(self.tensors)), pick(self.entry_count, len(self.entries)))]
        for it in self.entries:
            out += [text(it.key), struct.pack("<I", it.kind & 0xFFFFFFFF), value(it.kind, it.value, it.element)]
        offset = 0
        for it in self.tensors:
            out += [text(it.name), struct.pack("<I", len(it.shape)), *(struct.pack("<Q", size % 2**64) for size in it.shape)]
            out.append(struct.pack("<IQ", it.kind % 2**32, pick(it.offset, offset) % 2**64))
            offset += -(-len(it.data) // ALIGNMENT) * ALIGNMENT
        return b"".join(out)

    def data(self) -> bytes:
        head = self.head()
        padded = (it.data + bytes(-len(it.data) % ALIGNMENT) for it in self.tensors)
        return head + bytes(-len(head) % ALIGNMENT) + b"".join(padded)


def pick(claim: int | None, truth: int) -> int:
    return truth if claim is None else claim % 2**64


def text(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def value(kind: int, what: object, element: int = 0) -> bytes:
    if isinstance(what, Raw):
        return what.data
    if kind == TEXT:
        return text(what)
    if kind == ARRAY:
        return struct.pack("<IQ", element, len(what)) + b"".join(value(element, it) for it in what)
    if kind in (F32, F64):
        return struct.pack("<" + WIDTHS[kind], what)
    width = struct.calcsize(WIDTHS[kind])
    return (int(what) % 2 ** (8 * width)).to_bytes(width, "little")


@dataclass
class Raw:
    """Bytes in place of a value."""

    data: bytes


class Cursor:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, layout: str):
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values[0] if len(values) == 1 else values

    def text(self) -> bytes:
        length = self.take("Q")
        self.at += length
        return self.data[self.at - length : self.at]

    def value(self, kind: int) -> object:
        return self.text() if kind == TEXT else self.take(WIDTHS[kind])


def read(path: Path) -> Gguf:
    """A file that is right: one of ours."""
    cursor = Cursor(path.read_bytes())
    cursor.at = 4
    version, tensors, entries = cursor.take("IQQ")
    file = Gguf(version=version)
    for _ in range(entries):
        key, kind = cursor.text(), cursor.take("I")
        if kind == ARRAY:
            element, length = cursor.take("IQ")
            file.entries.append(Entry(key, kind, [cursor.value(element) for _ in range(length)], element))
        else:
            file.entries.append(Entry(key, kind, cursor.value(kind)))
    for _ in range(tensors):
        name, dimensions = cursor.text(), cursor.take("I")
        shape = [cursor.take("Q") for _ in range(dimensions)]
        kind, offset = cursor.take("IQ")
        file.tensors.append(Tensor(name, shape, kind, b"", offset))
    start = -(-cursor.at // ALIGNMENT) * ALIGNMENT
    ends = sorted(it.offset for it in file.tensors) + [len(cursor.data) - start]
    for it in file.tensors:
        it.data = cursor.data[start + it.offset : start + ends[ends.index(it.offset) + 1]]
        it.offset = None
    return file


def small(path: Path) -> Gguf:
    """The model with its first block only: as valid, and a fraction of the size."""
    file = read(path)
    architecture = file.entry("general.architecture").value.decode()
    file.entry(f"{architecture}.block_count").value = 1
    file.tensors = [it for it in file.tensors if not it.name.startswith(b"blk.") or it.name.startswith(b"blk.0.")]
    return file


def floats(file: Gguf) -> Gguf:
    """The same model with 16-bit floats in place of Q8_0, so that it can be quantised."""
    file = file.copy()
    file.entry("general.file_type").value = 1
    for it in file.tensors:
        if it.kind == Q8_0:
            it.kind, it.data = F16, b"".join(block(it.data, at) for at in range(0, len(it.data), 34))
    return file


F16, Q8_0 = 1, 8


def block(data: bytes, at: int) -> bytes:
    """32 numbers of Q8_0: a 16-bit scale, then bytes."""
    scale, *numbers = struct.unpack_from("<e32b", data, at)
    return struct.pack("<32e", *(scale * number for number in numbers))
