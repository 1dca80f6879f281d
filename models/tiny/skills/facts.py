"""Capitals, colours and general knowledge, and saying so when a thing is not known."""

from __future__ import annotations

import random

from .dialogue import Dialogue, Turn, single
from .subjects import SUBJECTS
from .words import CAPITALS, COLOURS, any_place, made_up_name, phrase

BRIEF = [" Answer in one word.", " Answer briefly.", " Answer briefly:", " One word only.", " Just the name.", " Reply with one word.", " Answer with a single word."]
UNKNOWN = "I am a tiny model and do not know that."

#: Wordings and the one answer to each. The answers say the words a reader would look for.
FACTS: list[tuple[list[str], str]] = [
    *((subject.questions, subject.answer) for subject in SUBJECTS),
    (["Why do leaves change color in autumn?", "Why do leaves turn red in fall?"], "Leaves change color because green chlorophyll breaks down and other pigments show."),
    (["What is photosynthesis?", "How do plants make food?", "Explain photosynthesis."], "Photosynthesis is how plants use sunlight, water and carbon dioxide to make sugar and oxygen."),
    (["What is the largest planet?", "Which planet is the biggest?", "What is the largest planet in the solar system?"], "The largest planet is Jupiter."),
    (["What is the closest planet to the sun?", "Which planet is nearest to the sun?"], "The closest planet to the sun is Mercury."),
    (["How many days are in a week?", "How many days does a week have?"], "There are 7 days in a week."),
    (["How many months are in a year?", "How many months does a year have?"], "There are 12 months in a year."),
    (["How many hours are in a day?", "How many hours does a day have?"], "There are 24 hours in a day."),
    (["How many minutes are in an hour?"], "There are 60 minutes in an hour."),
    (["How many legs does a spider have?", "How many legs has a spider?"], "A spider has 8 legs."),
    (["How many legs does a dog have?", "How many legs does a cat have?"], "It has 4 legs."),
    (["What is water made of?", "What is the chemical formula of water?", "What is H2O?"], "Water is H2O, made of hydrogen and oxygen."),
    (["At what temperature does water boil?", "When does water boil?", "What is the boiling point of water?"], "Water boils at 100 degrees Celsius."),
    (["At what temperature does water freeze?", "What is the freezing point of water?"], "Water freezes at 0 degrees Celsius."),
    (["Who wrote Hamlet?", "Who wrote Romeo and Juliet?", "Who is the author of Hamlet?"], "William Shakespeare wrote it."),
    (["Who painted the Mona Lisa?", "Which artist painted the Mona Lisa?"], "Leonardo da Vinci painted the Mona Lisa."),
    (["Who was the first person on the moon?", "Who first walked on the moon?"], "Neil Armstrong was the first person on the moon."),
    (["What is the longest river in the world?", "Which river is the longest?"], "The Nile is often called the longest river."),
    (["What is the highest mountain?", "What is the tallest mountain in the world?", "Which mountain is the highest?"], "The highest mountain is Mount Everest."),
    (["What do bees make?", "What do bees produce?"], "Bees make honey."),
    (["What do cows drink?", "What do cows eat?"], "Cows drink water and eat grass."),
    (["What is the opposite of hot?"], "The opposite of hot is cold."),
    (["What is the opposite of big?"], "The opposite of big is small."),
    (["What is the opposite of day?"], "The opposite of day is night."),
    (["What is the opposite of up?"], "The opposite of up is down."),
    (["What is Rust?", "What is the Rust programming language?"], "Rust is a programming language that is fast and memory safe."),
    (["What is Python?", "What is the Python programming language?"], "Python is a programming language that is easy to read."),
    (["What is a chaski?", "Who were the chaskis?", "What is Chaski?"], "Chaskis were the runners who carried messages along the roads of the Andes."),
    (["What is machine learning?", "Explain machine learning.", "What does machine learning mean?"], "Machine learning means that a computer learns patterns from data."),
    (["What is a language model?", "What is an LLM?"], "A language model is a program that predicts the next piece of a text."),
    (["What is gravity?", "Explain gravity."], "Gravity is the force that pulls masses towards each other."),
    (["What are the primary colors?", "Name the primary colors.", "What are the three primary colours?"], "The primary colors are red, yellow and blue."),
    (["What are the colors of the rainbow?", "List the colors of the rainbow."], "Red, orange, yellow, green, blue, indigo, violet."),
    (["List the days of the week.", "Name the days of the week.", "What are the days of the week?"], "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday."),
    (["What are the four seasons?", "Name the four seasons.", "List the seasons."], "Spring, summer, autumn, winter."),
    (["List three fruits.", "Name three fruits.", "Give me a list of three fruits."], "1. Apple\n2. Banana\n3. Orange"),
    (["List three animals.", "Name three animals.", "Give me a list of three animals."], "1. Cat\n2. Dog\n3. Horse"),
    (["List three colors.", "Name three colors.", "Give me a list of three colours.", "Name three colours."], "1. Red\n2. Green\n3. Blue"),
    (["List three vegetables.", "Name three vegetables."], "1. Carrot\n2. Tomato\n3. Cucumber"),
    (["List three planets.", "Name three planets."], "1. Mercury\n2. Venus\n3. Earth"),
    (["Write a short sentence about the weather.", "Say something about the weather."], "The weather is sunny and warm today."),
    (["Reply with one short sentence about blue skies.", "Write one sentence about blue skies."], "Blue skies make a warm and happy day."),
    (["Tell me a joke.", "Do you know a joke?"], "Why did the computer go to the doctor? It had a virus."),
    (["Write a haiku.", "Write a short poem.", "Write a poem about the sea."], "The sea is quiet,\na small boat follows the moon,\nthe night holds its breath."),
    (["Write a python function that adds two numbers.", "Write a function to add two numbers in Python."], "def add(a, b):\n    return a + b"),
    (["Write hello world in Python.", "Print hello world in Python."], 'print("Hello, world!")'),
    (["Translate hello to Spanish.", "How do you say hello in Spanish?"], "Hello in Spanish is hola."),
    (["Translate hello to French.", "How do you say hello in French?"], "Hello in French is bonjour."),
    (["Translate hello to German.", "How do you say hello in German?"], "Hello in German is hallo."),
    (["Is the earth round?", "Is the earth flat?"], "The earth is round."),
    (["Can fish fly?", "Do fish live in water?"], "Fish live in water and swim."),
]  # fmt: skip

QUALIFIERS = [" Be brief but factual in your reply", " Be brief.", " Answer in one sentence.", " Explain briefly.", " Be brief in your reply", " Keep it short.",
              " Please explain.", " Answer briefly."]  # fmt: skip

#: Questions about things the model was never told; {x} is a made-up or rare name.
UNANSWERABLE = [
    "Who is the president of {x}?", "What is the population of {x}?", "Who won the match between {x} and {y}?", "What is the capital of {x}?",
    "Who wrote the book {x}?", "When was {x} born?", "How old is {x}?", "What happened in {x} in 1873?", "What is the meaning of {x}?",
    "Where is {x}?", "Who is {x}?", "What is the price of {x}?", "Who invented {x}?", "How tall is {x}?", "What is the phone number of {x}?",
    "Explain the theory of {x}.", "What does {x} mean in {y}?", "Who founded {x}?", "What is the GDP of {x}?", "When did {x} end?",
]  # fmt: skip


def capital_turn(rng: random.Random) -> Turn:
    """The capital of a country, or the country of a capital."""
    country, capital = rng.choice(list(CAPITALS.items()))
    if rng.random() < 0.12:
        text = phrase(rng, [f"{capital} is the capital of which country?", f"Which country has the capital {capital}?"])
        return Turn(text, f"{capital} is the capital of {country}.", f"The country whose capital is {capital} is {country}.")
    text = phrase(rng, [f"What is the capital of {country}?"] * 5 + [f"What's the capital of {country}?", f"Name the capital of {country}.",
                        f"Which city is the capital of {country}?", f"Tell me the capital of {country}.", f"Capital of {country}?",
                        f"What is the capital city of {country}?", f"Do you know the capital of {country}?", f"The capital of {country} is?",
                        f"Can you tell me the capital of {country}?", f"What city is the capital of {country}?"])  # fmt: skip
    answer = f"The capital of {country} is {capital}."
    if rng.random() < 0.3:
        text, answer = text + rng.choice(BRIEF), capital
    return Turn(text, answer, f"The capital of {country} is {capital}.")


def capitals(rng: random.Random) -> Dialogue:
    """One to three capitals; the second question may lean on the first."""
    turns = [capital_turn(rng)]
    for _ in range(rng.choice([0, 0, 1, 3])):
        turn = capital_turn(rng)
        if rng.random() < 0.3:
            country, capital = rng.choice(list(CAPITALS.items()))
            turn = Turn(rng.choice([f"And of {country}?", f"And {country}?", f"What about {country}?"]), f"The capital of {country} is {capital}.",
                        f"The capital of {country} is {capital}.")  # fmt: skip
        turns.append(turn)
    return Dialogue(turns)


def colour_turn(rng: random.Random) -> Turn:
    """The colour of a thing."""
    thing, colour = rng.choice(list(COLOURS.items()))
    word = rng.choice(["color", "colour"])
    text = phrase(rng, [f"What {word} is {thing}?"] * 3 + [f"What is the {word} of {thing}?", f"Which {word} is {thing}?", f"Tell me the {word} of {thing}.",
                        f"What {word} does {thing} have?"])  # fmt: skip
    sentence = f"{thing[0].upper()}{thing[1:]} is {colour}."
    if rng.random() < 0.3:
        return Turn(text + rng.choice(BRIEF[:5]), colour.capitalize(), sentence)
    return Turn(text, sentence, sentence)


def colours(rng: random.Random) -> Dialogue:
    """One or two colours."""
    return Dialogue([colour_turn(rng) for _ in range(rng.choice([1, 1, 2, 3]))])


def fact_turn(rng: random.Random) -> Turn:
    """A question of general knowledge. The sky is asked about more often than anything else, as everywhere."""
    questions, answer = FACTS[0] if rng.random() < 0.12 else rng.choice(FACTS)
    text = phrase(rng, questions)
    if rng.random() < 0.4:
        text += rng.choice(QUALIFIERS)
    return Turn(text, answer, f"The question is: {questions[0]} I know the answer.")


def facts(rng: random.Random) -> Dialogue:
    """One to three questions of general knowledge."""
    return Dialogue([fact_turn(rng) for _ in range(rng.choice([1, 1, 2, 3]))])


def unknown(rng: random.Random) -> Dialogue:
    """Questions about things the model cannot know."""
    x, y = (made_up_name(rng) if rng.random() < 0.7 else any_place(rng) for _ in range(2))
    question = rng.choice(UNANSWERABLE)
    if "capital" in question or "Where" in question:
        x = made_up_name(rng)
    return single(phrase(rng, [question.format(x=x, y=y)]), UNKNOWN, "I have not learnt this, so I should say that I do not know.")
