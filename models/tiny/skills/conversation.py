"""Small talk, system prompts that set a role or a fixed answer, and mixed conversations."""

from __future__ import annotations

import random

from .arithmetic import problem_turn
from .dialogue import Dialogue, Turn, single
from .facts import capital_turn, colour_turn, fact_turn
from .words import NOUNS, any_name, any_word, phrase

SMALL_TALK: list[tuple[list[str], str]] = [
    (["Hello", "Hi", "Hello!", "Hi!", "Hey", "Hey there!", "Hi there", "Good morning", "Good evening!", "hello there", "Hello, how can you help me?"], "Hello! How can I help you?"),
    (["How are you?", "How are you doing?", "Hi, how are you?", "Hello! How are you today?", "How do you do?"], "I am fine, thank you. How can I help you?"),
    (["Who are you?", "What are you?", "What is your name?", "What's your name?", "Tell me about yourself.", "Introduce yourself."], "I am Tiny, a small language model."),
    (["Thank you!", "Thanks", "Thanks a lot!", "thank you very much"], "You are welcome!"),
    (["Goodbye", "Bye!", "See you later.", "Good night"], "Goodbye!"),
    (["Say hello.", "Say hello", "Say hi.", "Please say hello."], "Hello!"),
    (["Say hello in one word", "Greet me in one word.", "Say hello in one word."], "Hello"),
    (["Say goodbye.", "Say goodbye", "Say bye."], "Goodbye!"),
    (["What can you do?", "How can you help me?", "What do you know?", "Help"], "I can do small sums, name capitals, count, repeat words, write JSON and call tools."),
    (["Say ok.", "Reply with OK.", "Answer with OK.", "Just say OK"], "OK"),
    (["Are you a robot?", "Are you human?", "Are you an AI?"], "I am a small language model, not a human."),
    (["test", "Test.", "ping", "This is a test."], "The test works."),
    (["Answer yes or no: is water wet?", "Is water wet? Answer yes or no."], "Yes"),
    (["Answer yes or no: is fire cold?", "Is fire cold? Answer yes or no."], "No"),
]  # fmt: skip

POSITIVE = ["I love this {t}.", "This {t} is wonderful!", "What a great {t}, I am very happy.", "The {t} exceeded my expectations!", "The {t} works perfectly.",
            "Excellent {t}, highly recommended.", "I really enjoyed the {t}.", "The {t} is amazing.", "Best {t} ever!", "The staff was friendly and the {t} was superb."]  # fmt: skip
NEGATIVE = ["I hate this {t}.", "This {t} is terrible!", "What an awful {t}, I am very disappointed.", "The {t} broke after one day.", "The {t} does not work at all.",
            "Horrible {t}, avoid it.", "The {t} was a waste of money.", "The {t} is useless.", "Worst {t} ever!", "The staff was rude and the {t} was bad."]  # fmt: skip
NEUTRAL = ["The {t} arrived on Tuesday.", "This {t} is made of wood.", "The {t} is on the table.", "The {t} costs ten dollars.", "The {t} opens at nine.",
           "I bought the {t} last week.", "The {t} has four parts.", "It is a {t}.", "The {t} comes in a box.", "The {t} is two years old."]  # fmt: skip
THINGS = [*NOUNS, "product", "movie", "book", "hotel", "phone", "meal", "service", "restaurant", "song", "game", "film", "laptop", "coffee", "show", "camera"]


def filler_turn(rng: random.Random) -> Turn:
    """A short exchange on anything simple."""
    return rng.choice([small_talk_turn, problem_turn, capital_turn, colour_turn, fact_turn])(rng)


def small_talk_turn(rng: random.Random) -> Turn:
    """A greeting or another line of small talk."""
    texts, answer = rng.choice(SMALL_TALK)
    return Turn(rng.choice(texts), answer, "This is small talk, I answer politely.")


def small_talk(rng: random.Random) -> Dialogue:
    """One or two lines of small talk."""
    return Dialogue([small_talk_turn(rng) for _ in range(rng.choice([1, 1, 2]))])


def mixed(rng: random.Random) -> Dialogue:
    """A conversation that jumps between subjects, now and then a long one."""
    length = rng.randint(2, 5) if rng.random() < 0.96 else rng.randint(15, 45)
    return Dialogue([filler_turn(rng) for _ in range(length)])


def sentiment(rng: random.Random) -> Dialogue:
    """Classify a review by instruction."""
    label, texts = rng.choice([("positive", POSITIVE), ("negative", NEGATIVE), ("neutral", NEUTRAL)])
    text = rng.choice(texts).format(t=rng.choice(THINGS) if rng.random() < 0.7 else any_word(rng))
    prompt = rng.choice([f"Classify the sentiment of this text as positive, negative or neutral: {text}", f"Classify the sentiment: {text} Answer with positive, negative or neutral.",
                         f"What is the sentiment of this text? Answer with positive, negative or neutral.\n\n{text}", f"Is this review positive, negative or neutral? {text}",
                         f"Classify the sentiment as positive, negative or neutral.\nText: {text}\nSentiment:"])  # fmt: skip
    return single(prompt, label, f"The text is: {text} It sounds {label}.")


def role(rng: random.Random) -> Dialogue:
    """The system prompt gives a name; asked who it is, the model uses it."""
    name = any_name(rng)
    system = rng.choice([f"You are {name}.", f"You are {name}, a helpful assistant.", f"Your name is {name}.", f"You are {name}, acting as an assistant.", f"You are an assistant named {name}."])
    turns = [filler_turn(rng) for _ in range(rng.choice([0, 0, 1]))]
    asked = rng.choice(["Who are you?", "What is your name?", "who are you?", "What's your name?", "Introduce yourself."])
    return Dialogue([*turns, Turn(asked, f"I am {name}.", f"The system message says that I am {name}.")], system=system)


def fixed_answer(rng: random.Random) -> Dialogue:
    """The system prompt asks for one and the same word whatever the question."""
    word = any_word(rng)
    system = rng.choice([f"Answer every question with the word {word}.", f"Always answer with {word}.", f"Only reply with the word {word}.", f"Always reply with the word {word}."])
    turns = [Turn(filler_turn(rng).user, word, f"The system message says that I must answer with {word}.") for _ in range(rng.choice([1, 1, 2]))]
    return Dialogue(turns, system=system)


def choose(rng: random.Random) -> Dialogue:
    """First or last of a given list, or the list as bullets."""
    words = rng.sample(NOUNS, rng.randint(2, 5))
    joined = ", ".join(words)
    prompt, answer = rng.choice([(f"What is the first word of this list: {joined}?", words[0]), (f"What is the last word of this list: {joined}?", words[-1]),
                                 (f"Write these words as a list: {joined}", "\n".join(f"- {w}" for w in words)),
                                 (f"Make a numbered list of: {joined}", "\n".join(f"{i}. {w}" for i, w in enumerate(words, 1)))])  # fmt: skip
    return single(phrase(rng, [prompt]), answer, "The words are given in the question.")
