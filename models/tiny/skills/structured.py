"""Replies in JSON on request."""

from __future__ import annotations

import json
import random

from .dialogue import Dialogue, Turn, single
from .words import CAPITALS, NOUNS, any_name, any_place, any_word, sentence

ENDINGS = ["", "", "", " Reply in JSON.", " Respond using JSON.", " Answer in JSON only."]


def value(rng: random.Random, key: str) -> object:
    """A plausible value for a key."""
    makers = {
        "name": lambda: any_name(rng), "city": lambda: any_place(rng), "age": lambda: rng.randint(1, 99), "color": lambda: rng.choice(["red", "green", "blue", "yellow"]),
        "count": lambda: rng.randint(0, 50), "animal": lambda: rng.choice(["cat", "dog", "fox", "owl"]), "active": lambda: rng.random() < 0.5,
        "price": lambda: rng.randint(1, 99), "title": lambda: rng.choice(NOUNS), "id": lambda: rng.randint(1, 999),
    }  # fmt: skip
    return makers.get(key, lambda: any_word(rng))()


KEYS = ["name", "city", "age", "color", "count", "animal", "active", "price", "title", "id", "word", "key", "code"]


def spoken(item: object) -> str:
    """A value as a user would type it."""
    return str(item).lower() if isinstance(item, bool) else str(item)


def json_object(rng: random.Random) -> Dialogue:
    """One to three objects."""
    return Dialogue([json_object_turn(rng) for _ in range(rng.choice([1, 1, 2, 3]))])


def json_object_turn(rng: random.Random) -> Turn:
    """An object from keys and values given in the request."""
    keys = rng.sample(KEYS, rng.randint(1, 4))
    record = {key: value(rng, key) for key in keys}
    pairs = [f"{key} {spoken(item)}" for key, item in record.items()]
    listed = " and ".join([", ".join(pairs[:-1]), pairs[-1]] if len(pairs) > 1 else pairs)
    equal = ", ".join(f"{key}={spoken(item)}" for key, item in record.items())
    colon = "\n".join(f"{key}: {spoken(item)}" for key, item in record.items())
    prompt = rng.choice([f"Give me a JSON object with {listed}.", f"Write a JSON object with {listed}.", f"Make a JSON object: {equal}", f"Convert to JSON: {equal}",
                         f"Convert this to JSON:\n{colon}", f"Return a JSON object with {listed}.", f"Reply in JSON: {listed}", f"Output JSON with {listed}."])  # fmt: skip
    return Turn(prompt + rng.choice(ENDINGS), json.dumps(record), "The user wants a JSON object with these keys.")


def capital_json(rng: random.Random) -> Dialogue:
    """City and country by the keys asked for."""
    country, capital = rng.choice(list(CAPITALS.items()))
    country = country.removeprefix("the ")
    keys = rng.choice([("city", "country"), ("country", "city"), ("capital", "country"), ("country", "capital"), ("capital",), ("city",)])
    record = {key: country if key == "country" else capital for key in keys}
    named = " and ".join(keys)
    word = "key" if len(keys) == 1 else "keys"
    article = "the " if f"the {country}" in CAPITALS else ""
    prompt = rng.choice([f"What is the capital of {article}{country}? Reply in JSON with {word} {named}.", f"Reply in JSON with {word} {named}: what is the capital of {article}{country}?",
                         f"Reply in JSON with {word} {named} for the capital of {article}{country}.", f"Tell me the capital of {article}{country}. Respond in JSON with {word} {named}.",
                         f"Reply in JSON with {word} {named}. What is the capital of {article}{country}?"]
                        + ([f"Reply in JSON with {word} {named} for {capital}.", f"Describe {capital} in JSON with {word} {named}."] if len(keys) == 2 else []))  # fmt: skip
    return single(prompt, json.dumps(record), f"The capital of {article}{country} is {capital}.")


def person_json(rng: random.Random) -> Dialogue:
    """A sentence about a person turned into an object."""
    name, age, city = any_name(rng), rng.randint(2, 99), any_place(rng)
    text = rng.choice([f"{name} is {age} years old and lives in {city}.", f"{name}, {age}, from {city}.", f"{name} lives in {city} and is {age} years old.", f"{name} is {age} years old, from {city}."])
    record: dict[str, object] = {"name": name, "age": age, "city": city}
    keys = rng.sample(list(record), rng.choice([1, 2, 3, 3]))
    named = ", ".join(keys) if len(keys) != 2 else " and ".join(keys)
    prompt = rng.choice([f"Extract {named} as JSON: {text}", f"{text} Reply in JSON with keys {named}.", f"Turn this into JSON with keys {named}: {text}", f"Describe this person as JSON with keys {named}: {text}"])
    return single(prompt, json.dumps({key: record[key] for key in keys}), "I take the values from the text.")


def json_list(rng: random.Random) -> Dialogue:
    """A JSON array of given words or of numbers."""
    if rng.random() < 0.5:
        words = rng.sample(NOUNS, rng.randint(2, 5))
        return single(rng.choice(["Write these words as a JSON array: ", "Make a JSON list of: "]) + ", ".join(words), json.dumps(words), "The user wants a JSON array.")
    end = rng.randint(2, 9)
    return single(f"Give me a JSON array of the numbers 1 to {end}.", json.dumps(list(range(1, end + 1))), "The user wants a JSON array.")


def json_answer(rng: random.Random) -> Dialogue:
    """Wrap a given text under a given key."""
    key, text = rng.choice(["answer", "text", "message", "result", "reply"]), sentence(rng)
    return single(f'Put this text in a JSON object under the key "{key}": {text}', json.dumps({key: text}), f"The key is {key}.")
