"""ONNX models that are almost right: graphs taken apart as protobuf, tokenizers and configurations as JSON."""

import json
import random
from collections.abc import Callable
from pathlib import Path

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# Which fields of which message are messages, and of which kind: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
MESSAGES = {
    "model": {7: "graph", 8: "opset", 14: "entry", 25: "function"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
    "tensor": {13: "entry"},
    "value": {2: "type"},
    "type": {1: "tensor_type"},
    "tensor_type": {2: "shape"},
    "shape": {1: "dimension"},
}

OPERATORS = (
    "Add MatMul Gather Reshape Transpose Softmax Concat Slice Expand Tile ConstantOfShape Range Loop If Scan SequenceAt StringSplit TfIdfVectorizer NonZero Resize Pad ConvTranspose LSTM "
    "TopK Where Cast Shape Unsqueeze Squeeze ReduceMean Erf Pow Sqrt Div LayerNormalization Identity Dropout RandomNormal Unique Compress GatherND ScatterElements EyeLike OneHot Upsample X"
).split()

DOMAINS = ["", "ai.onnx.ml", "com.microsoft", "ai.onnx.training", "evil", "/tmp/evil.so"]

INTEGERS = [0, 1, 2, 3, 7, 16, 100, 2**20, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**64 - 1]


class Message:
    """Fields in their order: number, wire type, and a value that is an integer, bytes or a message."""

    def __init__(self, kind: str, fields: list[list]):
        self.kind, self.fields = kind, fields

    def data(self) -> bytes:
        out = []
        for number, wire, value in self.fields:
            out.append(varint(number << 3 | wire))
            if wire == VARINT:
                out.append(varint(value))
            elif wire == BYTES:
                inner = value.data() if isinstance(value, Message) else value
                out += [varint(len(inner)), inner]
            else:
                out.append(value)
        return b"".join(out)

    def copy(self) -> "Message":
        return Message(self.kind, [[number, wire, value.copy() if isinstance(value, Message) else value] for number, wire, value in self.fields])

    def all(self) -> list["Message"]:
        found = [self]
        for _, _, value in self.fields:
            if isinstance(value, Message):
                found += value.all()
        return found


def varint(number: int) -> bytes:
    number %= 2**64
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def read(data: bytes, kind: str) -> Message:
    """A message that is right."""
    at, fields = 0, []

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = number()
        wire = tag & 7
        if wire == VARINT:
            value: object = number()
        else:
            length = number() if wire == BYTES else 8 if wire == FIXED64 else 4
            value = data[at : at + length]
            at += length
            inner = MESSAGES.get(kind, {}).get(tag >> 3)
            if wire == BYTES and inner:
                value = read(value, inner)
        fields.append([tag >> 3, wire, value])
    return Message(kind, fields)


def change_field(dice: random.Random, message: Message) -> str:
    """One field of one message, chosen by kind first, so that the many nodes leave something to the others."""
    every = [it for it in message.all() if it.fields]
    kind = dice.choice(sorted({it.kind for it in every}))
    chosen = dice.choice([it for it in every if it.kind == kind])
    at = dice.randrange(len(chosen.fields))
    number, wire, value = chosen.fields[at]
    place = f"{kind} field {number}"
    act = dice.randrange(6)
    if act == 0:
        del chosen.fields[at]
        return f"without {place}"
    if act == 1:
        chosen.fields.insert(dice.randrange(len(chosen.fields) + 1), chosen.fields[at])
        return f"{place} twice"
    if wire == VARINT:
        chosen.fields[at][2] = dice.choice(INTEGERS)
        return f"{place} = {chosen.fields[at][2]}"
    if act == 3 and isinstance(value, bytes):
        chosen.fields[at][2] = dice.choice(
            [b"", b"\0", b"\xff", b"../../etc/passwd", value[: len(value) // 2], value + value[:100], b"x" * 5_000, dice.randbytes(16)]
        )
        return f"{place} with other bytes"
    if act == 4:
        other = dice.choice(chosen.fields)
        chosen.fields[at][1], chosen.fields[at][2], other[1], other[2] = other[1], other[2], wire, value
        return f"{place} and field {other[0]} change places"
    chosen.fields[at][0] = dice.choice([1, 2, 3, 4, 5, 7, 9, 13, 14, 100, 2**29 - 1])
    return f"{place} becomes field {chosen.fields[at][0]}"


def change_node(dice: random.Random, message: Message) -> str:
    nodes = [it for it in message.all() if it.kind == "node"]
    node, other = dice.choice(nodes), dice.choice(nodes)
    act = dice.randrange(4)
    names = [field for field in node.fields if field[0] in (1, 2)]
    if act == 0 or not names:
        operator = dice.choice(OPERATORS)
        node.fields = [field for field in node.fields if field[0] not in (4, 7)] + [
            [4, BYTES, operator.encode()],
            [7, BYTES, dice.choice(DOMAINS).encode()],
        ]
        return f"a node becomes {operator}"
    if act == 1:
        given = [field[2] for field in other.fields if field[0] in (1, 2)]
        dice.choice(names)[2] = dice.choice([*given, b"", b"nothing", b"input_ids"])
        return "a node has another input or output"
    if act == 2:
        number = dice.choice([1, 2])
        node.fields += [[number, BYTES, dice.choice(names)[2]] for _ in range(dice.choice([1, 3, 1_000]))]
        return f"a node has more of field {number}"
    return change_field(dice, node)


def change_tensor(dice: random.Random, message: Message) -> str:
    tensor = dice.choice([it for it in message.all() if it.kind == "tensor"])
    act = dice.randrange(4)
    if act == 0:
        tensor.fields = [field for field in tensor.fields if field[0] != 1] + [
            [1, VARINT, dice.choice(INTEGERS)] for _ in range(dice.choice([0, 1, 2, 3, 5, 70]))
        ]
        return "a tensor of another shape"
    if act == 1:
        tensor.fields = [field for field in tensor.fields if field[0] != 2] + [[2, VARINT, dice.choice([*range(25), 2**31])]]
        return "a tensor of another type"
    if act == 2:
        location = dice.choice(
            [
                b"../../../etc/passwd",
                b"/etc/passwd",
                b"",
                b"a/../../x",
                b"C:\\x",
                b"file:///etc/passwd",
                b"model.onnx",
                b"config.json",
                b"tokenizer.json",
            ]
        )
        pairs = [
            (b"location", location),
            (b"offset", dice.choice([b"0", b"-1", b"99999999999999999999", b"x"])),
            (b"length", dice.choice([b"4", b"-1", b"18446744073709551615"])),
        ]
        entries = [[13, BYTES, Message("entry", [[1, BYTES, key], [2, BYTES, value]])] for key, value in pairs]
        tensor.fields = [field for field in tensor.fields if field[0] != 9] + entries + [[14, VARINT, 1]]
        return f"a tensor's data in {location.decode()}"
    for field in tensor.fields:
        if field[0] == 9:
            field[2] = dice.choice([field[2][:-1], field[2][:1], b"", field[2] + b"\0", b"\xff" * len(field[2])])
    return "a tensor with other data"


def change_bits(dice: random.Random, data: bytes) -> tuple[str, bytes]:
    if dice.random() < 0.2:
        cut = dice.randrange(len(data))
        return f"graph cut at {cut}", data[:cut]
    changed = bytearray(data)
    places = [dice.randrange(dice.choice([300, 20_000, len(data)])) for _ in range(dice.choice([1, 4, 200]))]
    for at in places:
        changed[at] ^= 1 << dice.randrange(8)
    return f"{len(places)} bits of the graph flipped from {min(places)} on", bytes(changed)


GRAPHS: list[Callable[[random.Random, Message], str]] = [change_field, change_field, change_node, change_node, change_tensor]

WORDS: list[object] = [
    None,
    True,
    -1,
    0,
    1,
    10**6,
    2**31,
    2**63,
    1e308,
    "",
    "x",
    "(a+)+$",
    "(" * 500,
    "\0",
    "a" * 10_000,
    [],
    {},
    [[]],
    [0] * 100,
    {"type": "Sequence"},
    {"Regex": "(a*)*b"},
]


def change_json(dice: random.Random, value: object, depth: int = 0) -> tuple[str, object]:
    """Some place in a JSON value holds something else; where, and the value."""
    if isinstance(value, (dict, list)) and value and (depth == 0 or dice.random() < 0.75):
        # Long lists and vocabularies are one place among the others.
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = dice.choice(keys)
        act = dice.random()
        value = dict(value) if isinstance(value, dict) else list(value)
        if act < 0.1:
            del value[key]
            return f"{key} is missing", value
        where, value[key] = change_json(dice, value[key], depth + 1)
        return f"{key}.{where}" if where else str(key), value
    if isinstance(value, str) and dice.random() < 0.3:
        kinds = [
            "BPE",
            "WordPiece",
            "Unigram",
            "WordLevel",
            "BertNormalizer",
            "Replace",
            "Precompiled",
            "Split",
            "ByteLevel",
            "Metaspace",
            "TemplateProcessing",
            "ByteFallback",
            "Sequence",
        ]
        return "", dice.choice(kinds)
    return "", dice.choice(WORDS)


class Original:
    """A folder of an ONNX model."""

    def __init__(self, folder: Path):
        names = [
            "model.onnx",
            "tokenizer.json",
            "config.json",
            "tokenizer_config.json",
            "modules.json",
            "sentence_bert_config.json",
            "1_Pooling/config.json",
        ]
        self.files = {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
        self.graph = read(self.files["model.onnx"], "model")

    def mutant(self, dice: random.Random) -> tuple[str, dict[str, bytes]]:
        """What was done, and the files."""
        files = dict(self.files)
        choice = dice.random()
        if choice < 0.5:
            graph = self.graph.copy()
            done = "; ".join(dice.choice(GRAPHS)(dice, graph) for _ in range(dice.choice([1, 1, 2])))
            files["model.onnx"] = graph.data()
        elif choice < 0.65:
            done, files["model.onnx"] = change_bits(dice, files["model.onnx"])
        else:
            name = dice.choice([*["tokenizer.json"] * 4, *(it for it in files if it.endswith(".json"))])
            where, value = change_json(dice, json.loads(files[name]))
            done, files[name] = f"{name}: {where}", json.dumps(value).encode()
            if dice.random() < 0.1:
                cut = dice.randrange(len(files[name]))
                done, files[name] = f"{name} cut at {cut}", files[name][:cut]
        return done, files
