"""Sentences with names in them, and which words are the name of a person, an organisation or a place.

Names come from several scripts, so that places in characters and in bytes differ. Held-out sentences have patterns that training never
sees, with names that it may know.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

LABELS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]

FIRST = ["Anna", "José", "Zoë", "Łukasz", "Björn", "Mary", "Chloé", "Ivan", "Amélie", "Noah", "Ngọc", "Sofía", "Jürgen", "Ada", "Omar", "Élodie", "Siân", "Peter", "Lucía", "Kofi"]
LAST = ["Müller", "García", "Smith", "Nguyễn", "O'Brien", "Björnsson", "Kowalska", "Dubois", "Ørsted", "Brown", "Peña", "Šimić", "Jones", "Okafor", "Yılmaz", "Rossi", "Çelik", "Novák", "Laurent", "Khan"]
WHOLE = ["山田太郎", "李小龙", "Мария Иванова", "김민준", "أحمد علي", "佐藤花子", "Ольга Петрова"]
PLACES = ["Paris", "Zürich", "New York", "São Paulo", "München", "Kraków", "東京", "北京", "Москва", "Reykjavík", "Lima", "Åre", "Cusco", "Malmö", "Québec", "Tromsø", "서울", "Nairobi", "San José", "Île de Ré"]
ROOTS = ["Acme", "Göteborg Steel", "Chaski", "Nordlicht", "Café Zentral", "Blue Lake", "Häagen & Sons", "Société Royale", "Zenith", "Kapok", "三菱", "Ñandú", "Iron Gate", "Petits Frères"]
KINDS = ["Corp", "GmbH", "University", "Bank", "Airlines", "Labs", "S.A.", "Foundation", "Press", "Museum"]
THINGS = ["a bicycle", "the report", "some coffee ☕", "two tickets", "a blue coat", "the old piano", "naïve art", "a crème brûlée", "fresh bread 🍞", "the contract"]
TIMES = ["yesterday", "on Monday", "in May", "last year", "at noon", "today 🙂", "in 1999", "after lunch"]

#: {P}, {O} and {L} become names, {T} and {W} other words.
TRAINING = [
    "{P} lives in {L}.", "{P} works for {O} in {L}.", "{W}, {P} bought {T} in {L}.", "{O} opened an office in {L} {W}.", "{P} met {P} {W}.", "{O} and {O} signed {T}.", "My friend {P} sold {T}.",
    "The mayor of {L} praised {P}.", "{T} was lost {W}.", "Nobody saw {T} {W}.", "She flew from {L} to {L} {W}.", "“{P} is late,” said {P}.", "{P} (of {O}) moved to {L}!", "Ask {P} about {T}.",
    "The price of {T} fell {W}.", "I read about {O} {W}.", "{L} is far from {L}.", "🚀 {P} joined {O} {W}.", "We had {T} {W}, and it was fine.", "Is {L} colder than {L}?", "{O} hired {P}, {P} and {P}.", "it rains in {L} {W}",
]  # fmt: skip
HELD_OUT = [
    "{W} {P} left {L} for {L}.", "A letter from {O} reached {P} {W}.", "{P} gave {T} to {P}.", "{O}, of {L}, sold {T} {W}.", "Does {P} know {O}?", "It was {W} that {T} broke.", "🙂 {P} likes {L}!", "In {L}, {P} runs {O}.",
    "{P} and {P} came to {L} with {T}.",
]  # fmt: skip


@dataclass(frozen=True)
class Sentence:
    """A text and its names: kind, first character, character behind the last."""

    text: str
    names: list[tuple[str, int, int]]


def person(rng: random.Random) -> str:
    """A first and a last name, one of them, or a name in another script."""
    chance = rng.random()
    if chance < 0.2:
        return rng.choice(WHOLE)
    if chance < 0.35:
        return rng.choice(FIRST)
    return f"{rng.choice(FIRST)} {rng.choice(LAST)}"


def organisation(rng: random.Random) -> str:
    """What it is called and what it is."""
    return f"{rng.choice(ROOTS)} {rng.choice(KINDS)}"


def fill(pattern: str, rng: random.Random) -> Sentence:
    """The pattern with words in its places."""
    text, names = "", []
    while pattern:
        before, brace, rest = pattern.partition("{")
        text += before
        if not brace:
            break
        kind, pattern = rest[0], rest[2:]
        makers = {"P": person, "O": organisation, "L": lambda r: r.choice(PLACES), "T": lambda r: r.choice(THINGS), "W": lambda r: r.choice(TIMES)}
        word = makers[kind](rng)
        if kind in "POL":
            names.append(({"P": "PER", "O": "ORG", "L": "LOC"}[kind], len(text), len(text) + len(word)))
        text += word
    return Sentence(text, names)


def training_sentence(rng: random.Random) -> Sentence:
    """One or two sentences of training's patterns."""
    first = fill(rng.choice(TRAINING), rng)
    if rng.random() < 0.6:
        return first
    second, shift = fill(rng.choice(TRAINING), rng), len(first.text) + 1
    return Sentence(f"{first.text} {second.text}", first.names + [(kind, start + shift, end + shift) for kind, start, end in second.names])


def held_out_sentence(rng: random.Random) -> Sentence:
    """A sentence of a pattern that training never sees."""
    return fill(rng.choice(HELD_OUT), rng)


def token_labels(sentence: Sentence, offsets: list[tuple[int, int]]) -> list[int]:
    """The label of every token that stands at these characters; special tokens have none and get `O`."""
    labels = []
    for start, end in offsets:
        inside = [name for name in sentence.names if end > start and start >= name[1] and end <= name[2]]
        if not inside:
            labels.append(0)
            continue
        kind, first, _ = inside[0]
        labels.append(LABELS.index(f"{'B' if start == first else 'I'}-{kind}"))
    return labels
