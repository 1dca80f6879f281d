"""Writes the reasons of `differences.toml` into docs/API.md, between two marks."""

from __future__ import annotations

from expected import Expected, document
from weights import REPOSITORY

PAGE = REPOSITORY / "docs/API.md"
BEGIN, END = "<!-- differences: begin -->\n", "<!-- differences: end -->\n"


def write(entries: list[Expected]) -> None:
    """Replaces what stands between the marks."""
    PAGE.write_text(page(entries))


def is_current(entries: list[Expected]) -> bool:
    """Whether the page is what [write] would make of it; says so if it is not."""
    if PAGE.read_text() == page(entries):
        return True
    print("docs/API.md is out of date: python3 server/tests/differential document")
    return False


def page(entries: list[Expected]) -> str:
    """What the page should be."""
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + document(entries) + END + after
