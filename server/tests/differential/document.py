"""Writes the reasons of `differences.toml` into docs/API.md, between two marks."""

from __future__ import annotations

from expected import Expected, document
from weights import REPOSITORY

PAGE = REPOSITORY / "docs/API.md"
BEGIN, END = "<!-- differences: begin -->\n", "<!-- differences: end -->\n"


def write(entries: list[Expected]) -> None:
    """Replaces what stands between the marks."""
    PAGE.write_text(page(entries))


def page(entries: list[Expected]) -> str:
    """What the page should be."""
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + document(entries) + END + after
