"""A reply reduced to what two servers must have in common.

Times, identifiers and durations become words that say what stood there; a stream becomes its kinds of records in order,
with the text of each run of like records joined; vectors become their first numbers. What is left is plain JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from exchange import Reply

# Headers that clients act upon.
HEADERS = (
    "content-type",
    "cache-control",
    "allow",
    "location",
    "retry-after",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
    "access-control-allow-credentials",
)
# Fields whose strings are joined over a stream: the number of records depends on how a text happens to fall into pieces.
JOINED = {"response", "content", "thinking", "reasoning", "reasoning_content", "delta", "text", "partial_json"}
# Fields whose lists are joined over a stream.
APPENDED = {"logprobs"}
MOMENTS = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$")
HEXADECIMAL = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
# Identifiers: a known prefix and what makes them unique.
IDENTIFIER = re.compile(r"^(chatcmpl|cmpl|call|resp|msg|rs|fc|req|toolu)([-_])[0-9A-Za-z_-]+$")
# So many numbers of a vector are kept, so many decimals of a number that was computed in floating point.
VECTOR_LENGTH = 8
DECIMALS = 3
# Longer texts and lists, such as templates and vocabularies, are kept as a beginning and a digest.
LONGEST_TEXT = 300
LONGEST_LIST = 64
BEGINNING = 4


def observe(reply: Reply) -> dict[str, Any]:
    """The comparable form of a reply."""
    kind = reply.headers.get("content-type", "")
    headers = {name: header(name, reply.headers[name]) for name in HEADERS if name in reply.headers}
    return {"status": reply.status, "headers": headers, "body": body(kind, reply.body)}


def header(name: str, value: str) -> str:
    """A header's value; of a list of methods or of names of headers neither order, case nor blanks mean anything."""
    if name == "allow" or name.startswith("access-control-allow-") and "," in value:
        return ",".join(sorted(item.strip().lower() for item in value.split(",")))
    return value.lower()


def body(kind: str, raw: bytes) -> Any:
    """The body by its content type; what does not parse as what it claims to be stays text."""
    text = raw.decode("utf-8", "replace")
    if not text:
        return None
    try:
        if kind.startswith("application/x-ndjson"):
            return {"lines": runs([redact(json.loads(line)) for line in text.removesuffix("\n").split("\n")])}
        if kind.startswith("text/event-stream"):
            return {"events": runs([event(block) for block in text.removesuffix("\n\n").split("\n\n")])}
        if kind.startswith("application/json"):
            return {"json": redact(json.loads(text))}
    except ValueError:
        pass
    return {"text": scrub(text)}


def event(block: str) -> dict[str, Any]:
    """One server-sent event: its fields, with the data parsed where it is JSON."""
    fields: dict[str, Any] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        fields[name] = value.removeprefix(" ")
    data = fields.get("data", "")
    if data.startswith("{"):
        fields["data"] = redact(json.loads(data))
        # A running number, which depends on how many pieces came before.
        fields["data"].pop("sequence_number", None)
    return fields


def redact(value: Any, key: str = "") -> Any:
    """The same value without what differs from run to run."""
    match value:
        case dict():
            return {name: redact(inner, name) for name, inner in value.items()}
        case list() if key == "capabilities":
            return sorted(value)
        case list() if key == "tensors":
            return shortened(sorted(f"{tensor['name']} {tensor['type']} {tensor['shape']}" for tensor in value))
        case list() if key in ("models", "data") and value and isinstance(value[0], dict) and ({"name", "owned_by"} & value[0].keys()):
            # Of what is listed, what the suite has made: Chaski has built-in models besides.
            made = [redact(inner) for inner in value if "d-" in inner.get("name", inner.get("id", ""))]
            return sorted(made, key=lambda model: model.get("name") or model["id"])
        case list() if is_vector(value, key):
            return [round(number, DECIMALS) for number in value[:VECTOR_LENGTH]] + [f"<{len(value)} numbers>"]
        case list() if len(value) > LONGEST_LIST:
            return shortened(value)
        case list():
            return [redact(inner, key) for inner in value]
        case bool():
            return value
        case int() if key.endswith("_duration"):
            return "<duration>" if value > 0 else value
        case int() if key in ("created", "created_at", "completed_at"):
            return "<seconds since 1970>" if value > 1_500_000_000 else value
        case int() if key == "cached_tokens":
            # It depends on what the requests before have left in the cache.
            return "<count>"
        case int() if key in ("size", "size_vram"):
            return "<size>" if value > 0 else value
        case float():
            return round(value, DECIMALS)
        case str() if key == "version":
            return "<version>"
        case str():
            return scrub(value)
        case _:
            return value


def is_vector(value: list[Any], key: str) -> bool:
    """Whether a list is an embedding: `context` and `bytes` are lists of numbers too, and are compared whole."""
    numbers = len(value) >= VECTOR_LENGTH and all(isinstance(number, int | float) for number in value)
    return numbers and key in ("embedding", "embeddings")


def scrub(text: str) -> str:
    """A text without moments, digests, identifiers and paths of this machine."""
    if MOMENTS.match(text):
        # Only "never" is far in the future; a zero time is what Go prints for none.
        year = int(text[:4])
        return "<never>" if year > 2200 else "<no time>" if year == 1 else "<time>"
    if found := IDENTIFIER.match(text):
        return f"<{found[1]}{found[2]}...>"
    text = HEXADECIMAL.sub("<digest>", text)
    text = re.sub(r"(?m)^FROM /.*$", "FROM <path>", text)
    text = re.sub(r"/\S+/blobs/", "<store>/blobs/", text)
    if len(text) > LONGEST_TEXT:
        return f"{text[:LONGEST_TEXT]}<{len(text)} in all, {digest(text)}>"
    return text


def shortened(items: list[Any]) -> list[Any]:
    """The beginning of a list, and what tells the whole from another."""
    return [*items[:BEGINNING], f"<{len(items)} in all, {digest(json.dumps(items))}>"]


def digest(text: str) -> str:
    """Enough of a hash to tell one text from another."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shape(value: Any) -> Any:
    """Names and types of a value: two records of a stream that have it in common are of one kind."""
    match value:
        case dict():
            return {name: shape(inner) for name, inner in value.items()}
        case list():
            return [shape(value[0])] if value else []
        case _:
            return type(value).__name__


def runs(records: list[Any]) -> list[Any]:
    """The records of a stream, with each run of equal kind put together to one."""
    joined: list[Any] = []
    for record in records:
        if joined and can_join(joined[-1], record):
            joined[-1] = join(joined[-1], record)
        else:
            joined.append(record)
    return joined


def can_join(left: Any, right: Any, key: str = "") -> bool:
    """Whether two records differ in joined fields only."""
    if key in JOINED and isinstance(left, str) and isinstance(right, str):
        return True
    if key in APPENDED and isinstance(left, list) and isinstance(right, list):
        return shape(left) == shape(right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(can_join(left[name], right[name], name) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(can_join(one, other, key) for one, other in zip(left, right, strict=True))
    return left == right


def join(left: Any, right: Any, key: str = "") -> Any:
    """Two records that [can_join] allows, as one."""
    if key in JOINED and isinstance(left, str):
        return left + right
    if key in APPENDED and isinstance(left, list):
        return left + right
    if isinstance(left, dict):
        return {name: join(left[name], right[name], name) for name in left}
    if isinstance(left, list):
        return [join(one, other, key) for one, other in zip(left, right, strict=True)]
    return left
