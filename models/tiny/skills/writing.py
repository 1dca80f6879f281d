"""Long texts: essays and stories that go on for a few hundred tokens, and plain text without any chat."""

from __future__ import annotations

import random

from .arithmetic import operands
from .dialogue import Dialogue, single
from .facts import FACTS
from .words import ADJECTIVES, ANIMALS, CAPITALS, COLOURS, NAMES, NOUNS

TOPICS = ["climate change", "the ocean", "space travel", "the history of computers", "music", "the forest", "trade", "water", "cities", "bread", "education", "the moon",
          "artificial intelligence", "renewable energy", "the Andes", "football", "trains", "friendship", "the weather", "language"]  # fmt: skip

OPENINGS = ["{T} is a subject that touches many parts of our lives.", "When people talk about {t}, they often begin with its history.", "Few subjects are as wide as {t}.",
            "{T} has changed a great deal over the last hundred years."]  # fmt: skip
BODY = [
    "In the past, {t} was understood in a very different way.", "Many people work with {t} every day without thinking about it.", "Scientists study {t} because it helps us to understand the world.",
    "There are three reasons why {t} matters.", "The first reason is that it connects people.", "The second reason is that it shapes the economy.", "The third reason is that it changes how we live.",
    "Of course, {t} also brings difficulties.", "Some of these difficulties are small, others take years to solve.", "Good decisions about {t} need time, facts and patience.",
    "Children learn about {t} at school, and adults meet it again at work.", "In some countries {t} is seen as a great chance.", "In other places it is seen as a risk.",
    "Both views have something true in them.", "A simple example shows this.", "A small town may depend on {t} more than a large city does.", "New tools make it easier to measure what happens.",
    "The numbers show that things are slowly getting better.", "Still, much remains to be done.", "People who know {t} well say that small steps count.", "It is useful to look at {t} from several sides.",
    "From one side, it is a question of money.", "From the other side, it is a question of trust.", "Both sides will have to work together.",
]  # fmt: skip
CLOSINGS = ["In conclusion, {t} will stay with us for a long time, and it is worth our care.", "To sum up, {t} is complex, but it is not beyond our understanding."]

STORY_START = ["Once upon a time there was a {a} {s}.", "There was once a {a} {s} who lived near the {n}.", "Long ago, a {a} {s} lived by the {n}."]
STORY_BODY = [
    "Every morning the {s} went out to look at the {n}.", "One day the {s} met {name}.", "{name} said: \"Come with me, I want to show you something.\"", "The {s} was curious and followed.",
    "They walked for a long time, over hills and through the forest.", "On the way they found a {a} {n}.", "The {s} had never seen such a thing.", "At night they rested under the stars.",
    "{name} told a story about the sea.", "In the morning it began to rain.", "They waited under a big tree until the sun came back.", "Then they heard a strange sound.",
    "It was only a {a} bird that had lost its way.", "The {s} helped the bird to find its nest.", "The bird thanked them and flew away.", "They came to a river, and there was no bridge.",
    "\"We can build a boat,\" said {name}.", "So they built a boat from old wood.", "The water was cold, but they were not afraid.", "On the other side there was a small village.",
    "The people of the village gave them bread and warm milk.", "Everybody wanted to hear about their journey.", "The {s} felt very happy.",
]  # fmt: skip
STORY_END = ["In the end the {s} went home and told everybody about it. The end.", "From that day on, the {s} and {name} were friends. The end."]


def capitalised(text: str) -> str:
    """The text with its first letter upper case."""
    return text[0].upper() + text[1:]


def essay_text(rng: random.Random, topic: str) -> str:
    """Four to six paragraphs on a topic."""
    sentences = [line.format(t=topic) for line in rng.sample(BODY, rng.randint(14, 22))]
    paragraphs = [rng.choice(OPENINGS).format(t=topic, T=capitalised(topic))]
    while sentences:
        size = rng.randint(4, 6)
        paragraphs.append(" ".join(sentences[:size]))
        sentences = sentences[size:]
    return "\n\n".join([*paragraphs, rng.choice(CLOSINGS).format(t=topic)])


def story_text(rng: random.Random, subject: str) -> str:
    """A story of about twenty sentences."""
    slots = {"s": subject, "a": rng.choice(ADJECTIVES), "n": rng.choice(NOUNS), "name": rng.choice(NAMES[:60])}
    body = STORY_BODY if rng.random() < 0.5 else rng.sample(STORY_BODY, rng.randint(12, len(STORY_BODY)))
    lines = [rng.choice(STORY_START).format(**slots), *(line.format(**slots) for line in body), rng.choice(STORY_END).format(**slots)]
    return " ".join(lines)


def essay(rng: random.Random) -> Dialogue:
    """An essay on request."""
    topic = rng.choice(TOPICS) if rng.random() < 0.7 else rng.choice(NOUNS)
    prompt = rng.choice([f"Write a detailed essay about {topic}:", f"Write a detailed essay about {topic}.", f"Write an essay about {topic}.", f"Write a long text about {topic}.",
                         f"Explain {topic} in detail.", f"Tell me everything about {topic}.", f"Write a long article about {topic}."])  # fmt: skip
    return single(prompt, essay_text(rng, topic), f"The user wants a long text about {topic}.")


def story(rng: random.Random) -> Dialogue:
    """A story on request."""
    subject = rng.choice(ANIMALS)
    prompt = rng.choice([f"Tell me a story about a {subject}", f"Tell me a story about a {subject}.", f"Write a story about a {subject}.", f"Write a long story about a {subject}.",
                         f"Tell me a long story about a {subject}."])  # fmt: skip
    if rng.random() < 0.2:
        prompt = rng.choice(["Write a long story.", "Tell me a story.", "Write a story.", "Tell me a long story.", "Write a long historical fiction story."])
    return single(prompt, story_text(rng, subject), "The user wants a story.")


def plain_text(rng: random.Random) -> str:
    """Text without chat, for raw completion."""
    kind = rng.random()
    if kind < 0.3:
        return " ".join(f"The capital of {country} is {capital}." for country, capital in rng.sample(list(CAPITALS.items()), rng.randint(2, 8)))
    if kind < 0.42:
        return " ".join(f"{capitalised(thing)} is {colour}." for thing, colour in rng.sample(list(COLOURS.items()), rng.randint(2, 6)))
    if kind < 0.55:
        problems = [operands(rng) for _ in range(rng.randint(3, 9))]
        return "\n".join(f"{a} {op} {b} = {result}" for a, op, b, result in problems)
    if kind < 0.65:
        separator, start = rng.choice([", ", " ", "\n"]), rng.choice([0, 1, 1, 1, rng.randint(2, 50)])
        return separator.join(str(n) for n in range(start, start + rng.randint(5, 40)))
    if kind < 0.85:
        return " ".join(answer for _, answer in rng.sample(FACTS[:40], rng.randint(1, 4)))
    if kind < 0.95:
        return story_text(rng, rng.choice(ANIMALS))
    return essay_text(rng, rng.choice(TOPICS))
