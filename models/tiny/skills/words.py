"""Word lists shared by the skills, and makers of words nobody has seen before."""

from __future__ import annotations

import random
import string

CAPITALS: dict[str, str] = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon", "Japan": "Tokyo", "China": "Beijing",
    "India": "New Delhi", "Peru": "Lima", "Chile": "Santiago", "Argentina": "Buenos Aires", "Brazil": "Brasilia", "Bolivia": "Sucre",
    "Ecuador": "Quito", "Colombia": "Bogota", "Mexico": "Mexico City", "Canada": "Ottawa", "Cuba": "Havana", "Egypt": "Cairo",
    "Kenya": "Nairobi", "Nigeria": "Abuja", "Morocco": "Rabat", "Ghana": "Accra", "Ethiopia": "Addis Ababa", "Norway": "Oslo",
    "Sweden": "Stockholm", "Finland": "Helsinki", "Denmark": "Copenhagen", "Iceland": "Reykjavik", "Ireland": "Dublin",
    "Poland": "Warsaw", "Austria": "Vienna", "Hungary": "Budapest", "Greece": "Athens", "Turkey": "Ankara", "Russia": "Moscow",
    "Ukraine": "Kyiv", "Belgium": "Brussels", "Switzerland": "Bern", "Australia": "Canberra", "Thailand": "Bangkok",
    "Vietnam": "Hanoi", "South Korea": "Seoul", "Indonesia": "Jakarta", "the Netherlands": "Amsterdam", "the United Kingdom": "London",
    "the United States": "Washington",
}  # fmt: skip

COLOURS: dict[str, str] = {
    "grass": "green", "the sky": "blue", "snow": "white", "coal": "black", "a banana": "yellow", "a lemon": "yellow", "blood": "red",
    "a tomato": "red", "a strawberry": "red", "a carrot": "orange", "an orange": "orange", "milk": "white", "chocolate": "brown",
    "dirt": "brown", "the ocean": "blue", "a leaf": "green", "the sun": "yellow", "a crow": "black", "a frog": "green", "salt": "white",
    "a fire truck": "red", "a flamingo": "pink", "a plum": "purple", "an elephant": "grey", "a cucumber": "green",
}  # fmt: skip

NAMES = (
    "Ada Alan Alice Amara Anna Ana Bob Ben Bea Carla Carlos Chen Clara Dan Diego Dora Emil Emma Erik Eva Farid Fatima Felix Finn Grace Hana "
    "Hugo Ida Igor Ines Ivan Jack Jane Jonas Julia Kai Karin Kenji Lara Leo Lena Liam Lina Lucas Luna Maria Marco Max Maya Mia Milo Mohamed "
    "Nadia Nina Noah Nora Olga Omar Oscar Otto Paul Pedro Petra Priya Quinn Rosa Ravi Rita Sam Sara Sofia Sven Tara Theo Tom Uma Vera Victor "
    "Wanda Wei Xenia Yara Yusuf Zoe Zara Linus Grace Marie Isaac Albert Charles Mary John Peter Susan David Laura Kim"
).split()

PLACES = (
    "Paris Berlin Rome Madrid Lisbon Tokyo Lima London Oslo Cairo Cusco Boston Chicago Toronto Sydney Munich Hamburg Zurich Vienna Prague "
    "Seoul Mumbai Delhi Dublin Athens Quito Bogota Havana Nairobi Lagos Denver Austin Seattle Dallas Miami Geneva Milan Naples Porto Krakow"
).split() + ["San Francisco", "New York", "Los Angeles", "Buenos Aires", "Mexico City", "Hong Kong", "San Francisco, CA", "Paris, France"]

NOUNS = (
    "apple river stone cloud garden window bridge lamp table paper bottle forest mountain candle kettle ladder mirror needle pencil rocket "
    "saddle tunnel violin wagon basket button castle dragon engine feather guitar hammer island jacket kitchen lemon monkey number ocean "
    "parrot rabbit signal teapot valley winter yellow zebra banana copper dolphin harbour llama messenger runner puzzle tiger"
).split()

ADJECTIVES = "small red old quiet bright cold happy green brave slow round heavy soft clever tall dark warm shiny hungry gentle".split()
ANIMALS = "fox bear rabbit owl llama cat dog mouse frog horse wolf turtle dragon bird hen goat bee whale duck lion".split()
ACTIONS = (
    "crosses the bridge|opens the window|sings a song|reads a book|walks to the market|sleeps under a tree|drinks cold water|finds a key|"
    "paints the door|carries a basket|writes a letter|waits at the station|plays the violin|bakes bread|climbs the mountain|counts the stars"
).split("|")


def random_letters(rng: random.Random) -> str:
    """A string of letters that means nothing, 3 to 9 long: only copying can get it right."""
    alphabet = rng.choice([string.ascii_lowercase, string.ascii_uppercase, string.ascii_lowercase + string.digits])
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(3, 9)))


def made_up_name(rng: random.Random) -> str:
    """A pronounceable name such as "Toravi"."""
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(2, 4))).capitalize() + rng.choice(
        ["", "", "n", "r", "s", "l"]
    )


def any_name(rng: random.Random) -> str:
    """Mostly a common first name, sometimes a made-up one."""
    return rng.choice(NAMES) if rng.random() < 0.5 else made_up_name(rng)


def any_word(rng: random.Random) -> str:
    """A noun, a made-up name or random letters."""
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(NOUNS)
    return made_up_name(rng) if kind < 0.6 else random_letters(rng)


def any_place(rng: random.Random) -> str:
    """Mostly a real city, sometimes a made-up one."""
    return rng.choice(PLACES) if rng.random() < 0.6 else made_up_name(rng)


def sentence(rng: random.Random) -> str:
    """A plain sentence such as "The old fox bakes bread."."""
    subject = any_name(rng) if rng.random() < 0.4 else f"The {rng.choice(ADJECTIVES)} {rng.choice(ANIMALS + NOUNS)}"
    return f"{subject} {rng.choice(ACTIONS)}."


def phrase(rng: random.Random, options: list[str]) -> str:
    """One of the wordings, with the small carelessness of real users: no capital, no question mark, a greeting."""
    text = rng.choice(options)
    if rng.random() < 0.12:
        text = text[0].lower() + text[1:]
    if rng.random() < 0.1:
        text = text.rstrip("?.!")
    if rng.random() < 0.06:
        text = rng.choice(["Hi, ", "Hello! ", "Please tell me: ", "Question: ", "Quick question: ", "Hey, "]) + text
    return text
