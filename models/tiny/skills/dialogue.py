"""The shape every skill produces: a conversation whose assistant turns are to be learnt."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Call:
    """One tool call of the assistant."""

    name: str
    arguments: dict[str, Any]

    def text(self) -> str:
        """The call as the model writes it, between its tags."""
        body = json.dumps({"name": self.name, "arguments": self.arguments}, ensure_ascii=False)
        return f"<tool_call>\n{body}\n</tool_call>"


@dataclass
class Turn:
    """A user message (or tool result, or a system message on the way) and the reply that should follow it."""

    user: str
    answer: str = ""
    thought: str = ""
    call: Call | None = None
    #: The role of `user`: "user", or "tool" when it is the result of the previous turn's call.
    role: str = "user"
    #: Nobody has replied: the next message follows at once.
    unanswered: bool = False


@dataclass
class Dialogue:
    """A whole conversation: turns in order, optionally a system message and tools on offer."""

    turns: list[Turn]
    system: str | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)


Skill = Callable[[random.Random], Dialogue]


def single(user: str, answer: str, thought: str) -> Dialogue:
    """A conversation of one question and one answer."""
    return Dialogue([Turn(user, answer, thought)])
