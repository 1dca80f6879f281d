"""`POST /api/embed` and the older `POST /api/embeddings`."""

from __future__ import annotations

from .case import EMBED, MISSING, case, post, wrong_types

ROUTE, OLD = "/api/embed", "/api/embeddings"
ASK = {"model": EMBED, "input": "a small boat on the lake"}
LONG = "a small boat on the lake " * 200

CASES = [
    post(ROUTE, "embed/string", ASK),
    post(ROUTE, "embed/list-of-one", ASK | {"input": ["a small boat on the lake"]}),
    post(ROUTE, "embed/list", ASK | {"input": ["a small boat on the lake", "tax law", "the sun"]}),
    post(ROUTE, "embed/list-with-empty", ASK | {"input": ["a small boat", "", "tax law"]}),
    post(ROUTE, "embed/empty-list", ASK | {"input": []}),
    post(ROUTE, "embed/empty-string", ASK | {"input": ""}),
    post(ROUTE, "embed/null", ASK | {"input": None}),
    post(ROUTE, "embed/absent", {"model": EMBED}),
    *[post(ROUTE, f"embed/input-{index}", ASK | {"input": given}) for index, given in enumerate((1, True, {}, [1], ["a", 1], [None], [["a"]]))],
    post(ROUTE, "embed/unicode", ASK | {"input": "\u00e9t\u00e9 \u4e2d\u6587 \U0001f600 \u0000"}),
    post(ROUTE, "embed/long", ASK | {"input": LONG}),
    post(ROUTE, "embed/long-truncate-false", ASK | {"input": LONG, "truncate": False}),
    post(ROUTE, "embed/long-in-list-truncate-false", ASK | {"input": ["short", LONG], "truncate": False}),
    post(ROUTE, "embed/truncate-null", ASK | {"truncate": None}),
    post(ROUTE, "embed/dimensions", ASK | {"dimensions": 16}),
    post(ROUTE, "embed/dimensions-0", ASK | {"dimensions": 0}),
    post(ROUTE, "embed/dimensions-negative", ASK | {"dimensions": -1}),
    post(ROUTE, "embed/dimensions-too-many", ASK | {"dimensions": 100000}),
    post(ROUTE, "embed/num-ctx-3", ASK | {"options": {"num_ctx": 3}}),
    post(ROUTE, "embed/num-ctx-2", ASK | {"options": {"num_ctx": 2}}),
    post(ROUTE, "embed/num-ctx-1", ASK | {"options": {"num_ctx": 1}}),
    post(ROUTE, "embed/num-ctx-3-truncate-false", ASK | {"options": {"num_ctx": 3}, "truncate": False}),
    post(ROUTE, "embed/option-wrong", ASK | {"options": {"num_ctx": "many"}}),
    post(ROUTE, "embed/missing", ASK | {"model": MISSING}),
    post(ROUTE, "embed/no-model", {"input": "x"}),
    post(ROUTE, "embed/keep-alive", ASK | {"keep_alive": "1m"}),
    post(ROUTE, "embed/keep-alive-wrong", ASK | {"keep_alive": "soon"}),
    case("embed/ps", "GET", "/api/ps"),
    *wrong_types(ROUTE, "embed/wrong", ASK, {"model": [1, None, []], "truncate": ["no", 1], "dimensions": ["many", 1.5], "options": [1, []]}),
    post(OLD, "embeddings/prompt", {"model": EMBED, "prompt": "a small boat on the lake"}),
    post(OLD, "embeddings/empty", {"model": EMBED, "prompt": ""}),
    post(OLD, "embeddings/absent", {"model": EMBED}),
    post(OLD, "embeddings/long", {"model": EMBED, "prompt": LONG}),
    post(OLD, "embeddings/missing", {"model": MISSING, "prompt": "x"}),
    post(OLD, "embeddings/no-model", {"prompt": "x"}),
    post(OLD, "embeddings/option-wrong", {"model": EMBED, "prompt": "x", "options": {"num_ctx": "many"}}),
    *wrong_types(OLD, "embeddings/wrong", {"model": EMBED, "prompt": "x"}, {"model": [1, None], "prompt": [1, ["x"]], "options": [1]}),
    post("/api/generate", "unload/embedder", {"model": EMBED, "keep_alive": 0}),
]
