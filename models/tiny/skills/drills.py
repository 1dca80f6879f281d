"""Dense exercises without any chat: copying lists, looking up pairs, rows of sums. Nearly every learnt token must be worked out, so little text teaches much.

Each returns the text and the spans of it that can be known from what comes before.
"""

from __future__ import annotations

import random

from .arithmetic import operands
from .words import any_name, any_place, any_word, random_letters

Drill = tuple[str, list[tuple[int, int]]]


def item(rng: random.Random) -> str:
    """A word, a name, a number or letters."""
    kind = rng.random()
    if kind < 0.3:
        return any_word(rng)
    if kind < 0.55:
        return any_name(rng)
    if kind < 0.65:
        return any_place(rng)
    return str(rng.randint(0, 999)) if kind < 0.8 else random_letters(rng)


def copied_list(rng: random.Random) -> Drill:
    """A list written twice, the second time with other marks between its items."""
    items = [item(rng) for _ in range(rng.randint(2, 14))]
    first, second = rng.choice([" ", ", ", " ", " and ", "\n"]), rng.choice(["\n", " ", '", "', "\n- ", ", "])
    head = first.join(items) + rng.choice(["\n\n", ": ", "\n", ". "])
    text = head + second.join(items) + "\n"
    return text, [(len(head), len(text))]


def looked_up(rng: random.Random) -> Drill:
    """Pairs of names and values, then the same pairs in another order: the values are to be found again."""
    names = list({item(rng) for _ in range(rng.randint(2, 9))})
    pairs = [(name, item(rng)) for name in names]
    middle, between = rng.choice([": ", " = ", " is ", " -> "]), rng.choice(["\n", ", ", ". "])
    text = between.join(f"{name}{middle}{value}" for name, value in pairs) + "\n\n"
    rng.shuffle(pairs)
    spans = []
    for name, value in pairs:
        text += name + rng.choice([middle, '": "', ": "])
        spans.append((len(text) - 1, len(text) + len(value) + 1))
        text += value + "\n"
    return text, spans


def sums(rng: random.Random) -> Drill:
    """Rows of problems; only the results can be known."""
    text, spans = "", []
    for _ in range(rng.randint(4, 14)):
        a, op, b, result = operands(rng)
        text += f"{a} {op} {b} = "
        spans.append((len(text) - 1, len(text) + len(str(result)) + 1))
        text += f"{result}\n"
    return text, spans


def drill(rng: random.Random) -> Drill:
    """Any of the exercises."""
    return rng.choice([copied_list, looked_up, sums, sums])(rng)
