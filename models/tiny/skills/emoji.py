"""Emoji: stories that carry them on request, and single ones by name."""

from __future__ import annotations

import random

from .dialogue import Dialogue, single
from .words import ADJECTIVES, ANIMALS, NAMES, NOUNS, phrase
from .writing import STORY_BODY, STORY_END, STORY_START

#: What each emoji stands for. A sentence gets the emoji of the first of these words that it has.
PICTURES: dict[str, str] = {
    "fox": "🦊", "bear": "🐻", "rabbit": "🐰", "owl": "🦉", "llama": "🦙", "cat": "🐱", "dog": "🐶", "mouse": "🐭", "frog": "🐸", "horse": "🐴", "wolf": "🐺", "turtle": "🐢",
    "dragon": "🐉", "whale": "🐳", "bee": "🐝", "lion": "🦁", "duck": "🦆", "bird": "🐦", "moon": "🌙", "star": "⭐", "sun": "🌞", "rain": "🌧️", "snow": "❄️", "fire": "🔥",
    "river": "🌊", "sea": "🌊", "water": "💧", "tree": "🌳", "forest": "🌲", "mountain": "⛰️", "boat": "⛵", "village": "🏡", "bread": "🍞", "book": "📚", "song": "🎵", "heart": "❤️",
    "happy": "😊", "smile": "😀", "rocket": "🚀", "apple": "🍎", "flower": "🌸", "party": "🎉",
}  # fmt: skip
#: For sentences without any of the words.
OTHERS = ["✨", "😊", "🌟"]
SMILEYS = ["😀", "😊", "😄"]

WITH = ["with emojis", "with many emojis", "with lots of emojis", "full of emojis", "that uses emojis", "using plenty of emojis", "with emoji", "with an emoji in every sentence", "and add emojis", "and use many emoji", "with smileys and emojis"]
KINDS = ["story", "story", "story", "short story", "little story", "fairy tale", "funny story", "bedtime story"]
ASKS = ["Write {k}", "Write me {k}", "Tell me {k}", "Tell {k}", "Create {k}", "Make up {k}", "Can you write {k}", "I would like {k}", "Please write {k}"]
ABOUT = ["", "", "", " about {a} {s}", " about {a} {s}"]
MANNER = ["", "", "", " in English", " for children", " in English for my friend", " in plain English"]


def picture(rng: random.Random, sentence: str, subject: str) -> str:
    """The emoji for a sentence of a story about `subject`."""
    words = sentence.lower()
    for word, emoji in PICTURES.items():
        if word in words and word != subject:
            return emoji
    return PICTURES[subject] if subject in words else rng.choice(OTHERS)


def emoji_story_text(rng: random.Random, subject: str) -> str:
    """A story with an emoji after every sentence, the subject's own after the first."""
    slots = {"s": subject, "a": rng.choice(ADJECTIVES), "n": rng.choice(NOUNS), "name": rng.choice(NAMES[:60])}
    first, last = (rng.choice(lines).format(**slots) for lines in (STORY_START, STORY_END))
    body = [line.format(**slots) for line in rng.sample(STORY_BODY, rng.randint(4, 12))]
    told = [f"{first} {PICTURES[subject]}", *(f"{line} {picture(rng, line, subject)}" for line in body), f"{last} 🎉"]
    return " ".join(told)


def emoji_story(rng: random.Random) -> Dialogue:
    """A story with emoji on request."""
    subject = rng.choice([animal for animal in ANIMALS if animal in PICTURES])
    parts = [rng.choice(MANNER), " " + rng.choice(WITH)]
    about = rng.choice(ABOUT).format(a="an" if subject[0] in "aeiou" else "a", s=subject)
    prompt = phrase(rng, [rng.choice(ASKS).format(k="a " + rng.choice(KINDS)) + about + "".join(parts) + rng.choice(["", ".", "."])])
    return single(prompt, emoji_story_text(rng, subject), "The user wants a story with emojis.")


def emoji_by_name(rng: random.Random) -> Dialogue:
    """One or a few emoji, by what they show; or some smileys."""
    if rng.random() < 0.3:
        count = rng.choice([1, 3, 3, 5])
        ask = {1: ["Send me a smiley.", "Give me one smiley.", "Show me a smiling emoji.", "Reply with a smiley."], 3: ["Output some smily face emoji", "Send me some smileys.", "Show some smiling faces.", "Print a few smiley emojis."],
               5: ["Send me five smileys.", "Output five smiley emojis.", "Show me 5 smileys."]}[count]  # fmt: skip
        return single(phrase(rng, ask), " ".join([rng.choice(SMILEYS)] * count), "The user wants smileys.")
    name, emoji = rng.choice(list(PICTURES.items()))
    prompt = phrase(rng, [f"What is the emoji for {name}?", f"Show me the emoji for {name}.", f"Send me a {name} emoji.", f"Give me an emoji of a {name}.", f"Emoji for {name}?", f"Which emoji means {name}?"])
    if rng.random() < 0.3:
        prompt, emoji = f"Repeat this: {emoji} {name}", f"{emoji} {name}"
    return single(prompt, emoji, f"The user wants the emoji for {name}.")
