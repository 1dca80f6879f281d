"""What schemathesis needs to know to test a model server: models that exist, answers of few tokens, and JSON in lines."""

from __future__ import annotations

import json
from typing import Any

import schemathesis

CHAT, EMBED = "tiny", "tiny-embed"
# Enough to see a stream begin, go on and end.
TOKENS = 3
# Fields whose texts have rules that the document does not tell; a made-up text is refused before anything else is looked at.
RULED = ("keep_alive", "format", "images", "suffix")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Two requests of three ask a model that is there; the others keep the name that was made up."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str) or len(json.dumps(body, default=str)) % 3 == 0:
        return body
    path = context.operation.path
    if path in ("/api/delete", "/api/create", "/api/copy", "/api/pull", "/api/push"):
        return body
    changed = {name: value for name, value in body.items() if name not in RULED} | {"model": EMBED if "embed" in path else CHAT}
    for message in changed.get("messages", []) if isinstance(changed.get("messages"), list) else []:
        if isinstance(message, dict):
            message.pop("images", None)
    options = body.get("options", {})
    if isinstance(options, dict) and path in ("/api/generate", "/api/chat"):
        # A context of a stranger's choice would be a model loaded for each.
        kept = {name: value for name, value in options.items() if name != "num_ctx"}
        changed["options"] = {**kept, "num_predict": TOKENS}
    return changed


@schemathesis.deserializer("application/x-ndjson")
def last_line(context: Any, response: Any) -> Any:
    """The last record of a stream, as the schema describes one."""
    return json.loads(response.text.strip().split("\n")[-1])


@schemathesis.deserializer("text/event-stream")
def last_event(context: Any, response: Any) -> Any:
    """What the last event of a stream holds, as the schema describes one."""
    held = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
    return json.loads(held[-1])


@schemathesis.check
def every_line_is_an_object(context: Any, response: Any, case: Any) -> None:
    """No blank lines, and nothing but objects."""
    kind = response.headers.get("content-type", [""])[0]
    if kind.startswith("application/x-ndjson"):
        for line in response.text.removesuffix("\n").split("\n"):
            assert isinstance(json.loads(line), dict), line
