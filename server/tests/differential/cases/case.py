"""What a case is, and short ways to write one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exchange import Request

# The models that `models.py` makes on each server.
CHAT, PLAIN, FULL, EMBED = "d-chat", "d-plain", "d-full", "d-embed"
# A name that no server has.
MISSING = "d-missing"

# Greedy and short: what is compared is the protocol, on a model that answers within milliseconds.
GREEDY = {"temperature": 0, "seed": 1, "num_predict": 12}


@dataclass(frozen=True)
class Case:
    """One request under a name."""

    name: str
    request: Request


def case(name: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Case:
    """Any request."""
    return Case(name, Request(method, path, body, headers or {}))


def post(path: str, name: str, body: Any = None, **headers: str) -> Case:
    """A POST; underscores in the names of headers stand for dashes."""
    return case(name, "POST", path, body, {header.replace("_", "-"): value for header, value in headers.items()})


def wrong_types(path: str, prefix: str, valid: dict[str, Any], wrong: dict[str, list[Any]]) -> list[Case]:
    """The valid body with one field after the other replaced by values of wrong types."""
    return [
        post(path, f"{prefix}/{field}-{index}", valid | {field: value})
        for field, values in wrong.items()
        for index, value in enumerate(values)
    ]
