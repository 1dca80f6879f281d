"""Makes the models that the cases ask for, from the same weights on every server."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from cases.case import CHAT, EMBED, FULL, PLAIN
from exchange import Request, send
from weights import TINY, without_template

# A template without tools or thinking; what the model was trained on, as far as one turn of each role goes.
PLAIN_TEMPLATE = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n<think>\n\n</think>\n\n"


def call(server: str, method: str, path: str, body: Any, allowed: tuple[int, ...] = (200,)) -> bytes:
    """A request that must succeed."""
    reply = send(server, Request(method, path, body))
    if reply.status not in allowed:
        raise SystemExit(f"{method} {path} on {server}: {reply.status} {reply.body.decode()}")
    return reply.body


def prepare(server: str, embedder: Path | None) -> None:
    """Creates the models, and removes every other one that an earlier run has left."""
    listed = json.loads(call(server, "GET", "/api/tags", None))["models"]
    present = {model["name"].removesuffix(":latest") for model in listed}
    for name in sorted(present):
        if name.startswith("d-") or "/d-" in name:
            call(server, "DELETE", "/api/delete", {"model": name})
    create(server, CHAT, files={"tiny.gguf": upload(server, TINY.read_bytes())})
    create(server, PLAIN, files={"plain.gguf": upload(server, without_template())}, template=PLAIN_TEMPLATE)
    create(
        server,
        FULL,
        **{"from": CHAT},
        system="You are a polite assistant.",
        license=["First licence.", "Second licence."],
        messages=[{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello. How can I help you?"}],
        parameters={"temperature": 0, "stop": ["<|im_end|>", "USER:"], "num_ctx": 1024, "top_p": 0.75},
    )
    if embedder is not None:
        create(server, EMBED, files={"embedder.gguf": upload(server, embedder.read_bytes())})
    else:
        # Chaski's own built-in model, of which the file is a conversion: see embedder.py.
        create(server, EMBED, **{"from": "tiny-embed"})


def upload(server: str, content: bytes) -> str:
    """Sends a file unless it is there already, as Ollama's clients do; returns its digest."""
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    if send(server, Request("HEAD", f"/api/blobs/{digest}")).status != 200:
        call(server, "POST", f"/api/blobs/{digest}", content, allowed=(201,))
    return digest


def create(server: str, name: str, **fields: Any) -> None:
    """One model."""
    call(server, "POST", "/api/create", {"model": name, "stream": False, **fields})
