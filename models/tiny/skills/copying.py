"""Skills that live from copying: echoing, remembering, extracting, rewriting."""

from __future__ import annotations

import random

from .conversation import filler_turn
from .dialogue import Dialogue, Turn, single
from .words import ACTIONS, ADJECTIVES, ANIMALS, NOUNS, any_name, any_place, any_word, random_letters, sentence


def echo_turn(rng: random.Random) -> Turn:
    """Say a given word or sentence back."""
    if rng.random() < 0.65:
        thing = any_word(rng) if rng.random() < 0.7 else any_name(rng)
        if rng.random() < 0.15:
            thing = f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"
        text = rng.choice([f"Say {thing}.", f"Say the word {thing}.", f"Repeat the word {thing}.", f"Repeat after me: {thing}", f"Echo: {thing}",
                           f"Reply with the word {thing}.", f"Reply with exactly: {thing}", f"Write the word {thing} and nothing else.", f"Repeat: {thing}",
                           f"Echo the name {thing}.", f"Say only {thing}", f"Please say \"{thing}\".", f"Reply with {thing} only.", f"Repeat this word: {thing}",
                           f"Answer with the word {thing}.", f"Repeat the name {thing}."])  # fmt: skip
        return Turn(text, thing, f"The user wants me to say {thing}.")
    thing = " ".join(sentence(rng) for _ in range(rng.choice([1, 1, 2, 3])))
    text = rng.choice([f"Repeat this sentence: {thing}", f"Repeat the following text exactly: {thing}", f"Repeat the following text:\n{thing}",
                       f"Copy this text word for word:\n\n{thing}", f"Echo: {thing}", f"Repeat exactly: {thing}"])  # fmt: skip
    return Turn(text, thing, "The user wants the text back as it is.")


def echo(rng: random.Random) -> Dialogue:
    """One to six echoes."""
    return Dialogue([echo_turn(rng) for _ in range(rng.choice([1, 1, 2, 4, 6]))])


def greet_by_name(rng: random.Random) -> Dialogue:
    """Greet somebody whose name is in the request."""
    name = any_name(rng)
    text = rng.choice([f"Say hello to {name}.", f"Greet {name}.", f"Please say hello to {name}.", f"Say hi to {name}"])
    return single(text, f"Hello, {name}!", f"The user wants me to greet {name}.")


def memory(rng: random.Random) -> Dialogue:
    """Something told earlier is asked for later, with other talk in between."""
    name, thing = any_name(rng), any_word(rng)
    attribute = rng.choice(["favourite color", "favorite animal", "secret word", "favourite food", "password", "city", "dog's name", "lucky number"])
    if rng.random() < 0.6:
        tell = rng.choice([f"My name is {name}.", f"Hi, I am {name}.", f"Hello, my name is {name}.", f"I'm {name}.", f"Hi! My name is {name}, nice to meet you.",
                           f"My name is {name}. Remember it.", f"Please remember that my name is {name}.", f"Call me {name}."])  # fmt: skip
        reply, asked = f"Nice to meet you, {name}!", rng.choice(["What is my name?", "What's my name?", "Do you remember my name?", "Who am I?", "Tell me my name.",
                                                                 "Can you tell me my name?", "what is my name"])  # fmt: skip
        answer, thought = f"Your name is {name}.", f"The user said that the name is {name}."
    else:
        value = str(rng.randint(1, 99)) if "number" in attribute else thing
        tell, reply = rng.choice([f"My {attribute} is {value}.", f"Remember: my {attribute} is {value}."]), f"I will remember that your {attribute} is {value}."
        asked = rng.choice([f"What is my {attribute}?", f"What's my {attribute}?", f"Do you remember my {attribute}?"])
        answer, thought = f"Your {attribute} is {value}.", f"The user said that the {attribute} is {value}."
    if rng.random() < 0.2:
        return single(f"{tell} {asked}", answer, thought)
    turns = [Turn(tell, reply, "The user told me something to remember.")]
    turns += [filler_turn(rng) for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))]
    return Dialogue([*turns, Turn(asked, answer, thought)])


def extract(rng: random.Random) -> Dialogue:
    """One to three questions, each on a short text of its own."""
    return Dialogue([extract_turn(rng) for _ in range(rng.choice([1, 1, 2, 3]))])


def extract_turn(rng: random.Random) -> Turn:
    """Find one detail in a short text."""
    name, place, thing, number = any_name(rng), any_place(rng), rng.choice(NOUNS), rng.randint(2, 99)
    text = rng.choice([f"{name} lives in {place} and is {number} years old.", f"{name} from {place} is {number} years old and likes the {thing}.",
                       f"In {place}, {name} turned {number}."])  # fmt: skip
    asked, answer = rng.choice([("the name", name), ("the city", place), ("the age", str(number)), ("the number", str(number)), ("the person", name)])
    if rng.random() < 0.4:
        question, answer = rng.choice([(f"Who lives in {place}?", name), ("How old is the person?", str(number)), (f"Where does {name} live?", place),
                                       (f"How old is {name}?", str(number))])  # fmt: skip
        prompt = rng.choice([f"{text} {question}", f"Text: {text}\nQuestion: {question}", f"Context: {text}\n\n{question}"])
    else:
        prompt = rng.choice([f"Extract {asked} from this text: {text}", f"Extract {asked}: {text}", f"Text: {text}\nExtract {asked}."])
    return Turn(prompt, answer, f"The text says {answer}.")


def rewrite(rng: random.Random) -> Dialogue:
    """Return a given text with one name or word replaced."""
    old, new = any_name(rng), any_name(rng)
    parts = [f"{old} {rng.choice(ACTIONS)}.", sentence(rng), f"{old} {rng.choice(ACTIONS)}.", f"The {rng.choice(ANIMALS)} {rng.choice(ACTIONS)}.", sentence(rng)]
    text = " ".join(parts[: rng.randint(1, 5)])
    prompt = rng.choice([f"Rewrite this text with {new} instead of {old}: {text}", f"Replace {old} by {new} in this text:\n{text}",
                         f"Replace {old} with {new}: {text}"])  # fmt: skip
    return single(prompt, text.replace(old, new), f"I replace {old} by {new}.")


def spell(rng: random.Random) -> Dialogue:
    """Repeat a word several times."""
    word, times = any_word(rng) if rng.random() < 0.5 else random_letters(rng), rng.randint(2, 5)
    return single(f"Repeat the word {word} {times} times.", " ".join([word] * times), f"I write {word} {times} times.")
