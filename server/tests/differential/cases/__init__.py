"""The requests that are sent, in order, one file per part of the API.

A name says what is asked; cases of one name's beginning belong together. Later cases may rely on what earlier ones did,
such as a copy that is then deleted.
"""

from __future__ import annotations

from . import anthropic, catalog, chat, create, embed, generate, openai, responses, transport
from .case import Case

ALL: list[Case] = [
    *transport.CASES,
    *catalog.CASES,
    *create.CASES,
    *generate.CASES,
    *chat.CASES,
    *embed.CASES,
    *openai.CASES,
    *responses.CASES,
    *anthropic.CASES,
]
assert len({case.name for case in ALL}) == len(ALL), "the names of cases are their keys"
