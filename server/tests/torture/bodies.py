"""Bodies that are JSON and wrong, or hardly JSON: for every field that /openapi.json describes."""

import json
import random
from collections.abc import Iterator

BASES: dict[str, dict] = {
    "/api/generate": {"model": "tiny", "prompt": "hi", "stream": False, "options": {"num_predict": 1}},
    "/api/chat": {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": False, "options": {"num_predict": 1}},
    "/api/embed": {"model": "tiny-embed", "input": "hi"},
    "/api/embeddings": {"model": "tiny-embed", "prompt": "hi"},
    "/api/show": {"model": "tiny"},
    "/api/copy": {"source": "tiny", "destination": "copied"},
    "/api/create": {"model": "made", "from": "tiny", "stream": False},
    "/api/delete": {"model": "copied"},
    "/api/tokenize": {"model": "tiny", "content": "hi"},
    "/api/detokenize": {"model": "tiny", "tokens": [1, 2]},
    "/classify": {"model": "tiny-classify", "input": "hi"},
    "/predict": {"model": "tiny-classify", "inputs": "hi"},
    "/embed": {"model": "tiny-embed", "inputs": "hi"},
    "/rerank": {"model": "tiny-classify", "query": "a", "documents": ["b"]},
    "/v1/rerank": {"model": "tiny-classify", "query": "a", "documents": ["b"]},
    "/v1/chat/completions": {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1},
    "/v1/completions": {"model": "tiny", "prompt": "hi", "max_tokens": 1},
    "/v1/embeddings": {"model": "tiny-embed", "input": "hi"},
    "/v1/responses": {"model": "tiny", "input": "hi", "max_output_tokens": 1},
    "/v1/messages": {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1},
    "/v1/messages/count_tokens": {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]},
}
"""A request that each route answers. Pulls and pushes lead elsewhere and have attacks of their own."""

METHODS = {"/api/delete": "DELETE"}

KEPT = {"num_predict", "max_tokens", "max_output_tokens", "n", "keep_alive"}
"""Fields whose extremes are honest orders for minutes of work, or would end the models that others use."""


def fields(schema: dict, document: dict, path: tuple = (), depth: int = 0) -> Iterator[tuple]:
    """Where a body described by `schema` can hold something: paths of keys, 0 for the items of a list."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if depth > 5:
        return
    for key, inner in schema.get("properties", {}).items():
        yield (*path, key)
        yield from fields(inner, document, (*path, key), depth + 1)
    for kind in ("oneOf", "anyOf", "allOf"):
        for inner in schema.get(kind, []):
            yield from fields(inner, document, path, depth + 1)
    if isinstance(schema.get("items"), dict):
        yield (*path, 0)
        yield from fields(schema["items"], document, (*path, 0), depth + 1)


def values(dice: random.Random) -> object:
    """What a field is given in place of what it expects."""
    return dice.choice(
        [
            None,
            True,
            False,
            0,
            -1,
            1,
            -(2**31),
            2**31,
            2**32,
            2**53,
            2**63,
            2**64,
            -(2**63) - 1,
            1e308,
            -1e308,
            0.5,
            1e-320,
            "",
            " ",
            "\0",
            "a\0b",
            "x" * 70_000,
            "../../etc/passwd",
            "\ud800",
            "‮",
            "{{ range }}",
            "{% for i in range(99999) %}",
            "(((" * 200,
            "[" * 500,
            [],
            [[]],
            [None],
            [{}],
            [0] * 1000,
            ["x"] * 500,
            {},
            {"": ""},
            {"a": {"b": {"c": []}}},
            {"type": "object", "$ref": "#"},
            nested(200),
        ]
    )


def nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


def put(body: object, path: tuple, value: object) -> object:
    """The body with `value` at the path, and what leads to it made where it is not there."""
    if not path:
        return value
    key, *rest = path
    if key == 0:
        return [put(body[0] if isinstance(body, list) and body else {}, tuple(rest), value)]
    body = dict(body) if isinstance(body, dict) else {}
    body[key] = put(body.get(key, {}), tuple(rest), value)
    return body


def wrong_json(dice: random.Random, base: dict) -> bytes:
    """Text that is no JSON, or JSON at its limits."""
    good = json.dumps(base).encode()
    return dice.choice(
        [
            lambda: b"",
            lambda: b" ",
            lambda: b"null",
            lambda: b"[]",
            lambda: b'"x"',
            lambda: b"1e999",
            lambda: b"-0",
            lambda: b"{",
            lambda: b"{}",
            lambda: good[: dice.randrange(len(good))],
            lambda: good + b"x",
            lambda: good + good,
            lambda: b"\xef\xbb\xbf" + good,
            lambda: good[:-1] + b",}",
            lambda: good.replace(b'"', b"'"),
            lambda: good.replace(b"hi", b"\xff\xfe"),
            lambda: good.replace(b"hi", b"\\ud800"),
            lambda: good.replace(b"hi", b"\x00"),
            lambda: good[:-1] + b"," + good[1:],
            lambda: b"[" * dice.choice([200, 100_000]),
            lambda: b'{"a":' * dice.choice([200, 100_000]),
            lambda: good[:-1] + b', "x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
            lambda: good[:-1] + b', "x": ' + b"9" * 10_000 + b"}",
            lambda: good[:-1] + b', "' + b"k" * 50_000 + b'": 1}',
            lambda: good[:-1] + b"".join(b', "k%d": 1' % number for number in range(3_000)) + b"}",
            lambda: good.decode().encode("utf-16"),
            lambda: dice.randbytes(dice.randrange(1, 300)),
        ]
    )()


class Bodies:
    """Draws a route and a wrong body for it."""

    def __init__(self, document: dict):
        self.fields: dict[str, list[tuple]] = {}
        for route, methods in document["paths"].items():
            method = METHODS.get(route, "POST").lower()
            if route in BASES and method in methods:
                schema = methods[method]["requestBody"]["content"]["application/json"]["schema"]
                found = set(fields(schema, document))
                self.fields[route] = sorted((path for path in found if not KEPT & {str(it) for it in path}), key=str)
        self.routes = sorted(self.fields)

    def draw(self, dice: random.Random) -> tuple[str, str, bytes]:
        """Method, path and body."""
        route = dice.choice(self.routes)
        base = BASES[route]
        if dice.random() < 0.3:
            return METHODS.get(route, "POST"), route, wrong_json(dice, base)
        body: object = base
        for _ in range(dice.choice([1, 1, 1, 2])):
            path = dice.choice(self.fields[route])
            if route == "/api/delete" and path == ("model",):
                continue
            body = put(body, path, values(dice))
        return METHODS.get(route, "POST"), route, json.dumps(body).encode()
