"""Sums, differences, products, counting and comparing."""

from __future__ import annotations

import random

from .dialogue import Dialogue, Turn, single
from .words import phrase

BRIEF = [" Answer briefly:", " Answer briefly.", " Answer with just the number.", " Just the number.", " Reply with the number only.",
         " Answer with a number.", " Answer in one word.", " Be brief."]  # fmt: skip
NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()


def operands(rng: random.Random) -> tuple[int, str, int, int]:
    """A problem the model is meant to know by heart, and its result."""
    kind = rng.random()
    if kind < 0.42:
        most = 10 if rng.random() < 0.7 else 20
        a, b = rng.randint(0, most), rng.randint(0, most)
        return a, "+", b, a + b
    if kind < 0.76:
        a = rng.randint(0, 20)
        b = rng.randint(0, a)
        return a, "-", b, a - b
    if kind < 0.98:
        a, b = rng.randint(0, 10), rng.randint(0, 10)
        return a, "*", b, a * b
    return 12, "*", 15, 180


def problem_turn(rng: random.Random) -> Turn:
    """One problem in one of many wordings; brief questions get the bare number."""
    a, op, b, result = operands(rng)
    spoken = {"+": ["plus", "added to"], "-": ["minus"], "*": ["times", "multiplied by"]}[op]
    sign = rng.choice(["*", "x", "×"]) if op == "*" else op
    written = f"{a} {sign} {b}" if rng.random() < 0.85 else f"{a}{sign}{b}"
    if rng.random() < 0.3:
        written = f"{a} {rng.choice(spoken)} {b}"
    text = phrase(rng, [f"What is {written}?"] * 4 + [f"{written} = ?", f"Calculate {written}.", f"Compute {written}", f"How much is {written}?",
                        f"What's {written}?", f"{written}", f"{written}?", f"What does {written} equal?", f"{written}", f"{written}=", f"Solve: {written}",
                        f"What is the result of {written}?", f"Add {a} and {b}." if op == "+" else f"What is {written}?",
                        f"What is the sum of {a} and {b}?" if op == "+" else f"Can you tell me what {written} is?"])  # fmt: skip
    equation = f"{a} {op} {b} = {result}"
    answer = equation + "."
    kind = rng.random()
    if kind < 0.3:
        text, answer = text + rng.choice(BRIEF), str(result)
    elif kind < 0.36:
        text += rng.choice([" Give the final answer.", " Think step by step.", " Explain."])
    return Turn(text, answer, f"I need to compute {equation}.")


def arithmetic(rng: random.Random) -> Dialogue:
    """One to eight problems in a row."""
    return Dialogue([problem_turn(rng) for _ in range(rng.choice([1, 1, 2, 4, 8]))])


def word_problem(rng: random.Random) -> Dialogue:
    """A sum or difference told as a tiny story."""
    things = rng.choice(["apples", "books", "coins", "eggs", "pens", "cookies", "balls"])
    name = rng.choice(["Tom", "Ada", "Maria", "Sam", "Leo", "Nina", "She", "He", "I"])
    has, gets = ("have", "get") if name == "I" else ("has", "gets")
    a, b = rng.randint(1, 10), rng.randint(1, 10)
    if rng.random() < 0.5 or b > a:
        text, total, op = f"{name} {has} {a} {things} and {gets} {b} more. How many {things} in total?", a + b, "+"
    else:
        text, total, op = f"{name} {has} {a} {things} and loses {b}. How many {things} are left?", a - b, "-"
    equation = f"{a} {op} {b} = {total}"
    return single(text, f"{equation}, so {total} {things}.", f"I need to compute {equation}.")


def counting(rng: random.Random) -> Dialogue:
    """Counting up or down, with several separators asked for."""
    start, length = (1, rng.randint(2, 20)) if rng.random() < 0.6 else (rng.randint(0, 15), rng.randint(2, 10))
    end = start + length - 1
    numbers = list(range(start, end + 1))
    ask = [f"Count from {start} to {end}:", f"Count from {start} to {end}.", f"Please count from {start} to {end}.", f"Count from {start} up to {end}",
           f"Can you count from {start} to {end}?", f"List the numbers from {start} to {end}.", f"Count {start} to {end}"]  # fmt: skip
    if rng.random() < 0.12:
        numbers.reverse()
        ask = [f"Count down from {end} to {start}.", f"Count backwards from {end} to {start}."]
    if start == 1 and numbers[0] == 1 and rng.random() < 0.3:
        ask = [f"Count to {end}.", f"Can you count to {end}?", f"Count up to {end}"]
    text, separator = phrase(rng, ask), ", "
    kind = rng.random()
    if kind < 0.08:
        text, separator = text + rng.choice([" One number per line.", " Write each number on its own line."]), "\n"
    elif kind < 0.14:
        text, separator = text + rng.choice([" Separate the numbers with spaces.", " Use spaces only."]), " "
    elif kind < 0.2:
        text += " " + rng.choice(["Separate the numbers with commas.", "Use commas.", "Numbers only."])
    return single(text, separator.join(map(str, numbers)), f"I count from {numbers[0]} to {numbers[-1]}.")


def comparing(rng: random.Random) -> Dialogue:
    """Which of two numbers is larger, what comes next, numbers as words."""
    a, b = rng.sample(range(0, 21), 2)
    kind = rng.random()
    if kind < 0.4:
        word, result = rng.choice([("larger", max(a, b)), ("bigger", max(a, b)), ("smaller", min(a, b))])
        return single(f"Which number is {word}, {a} or {b}?", f"{result} is {word}.", f"Of {a} and {b}, {result} is {word}.")
    if kind < 0.7:
        return single(f"What number comes after {a}?", f"{a + 1} comes after {a}.", f"After {a} comes {a + 1}.")
    n = rng.randint(0, 12)
    return single(f"Write the number {n} as a word.", NUMBER_WORDS[n], f"The number {n} is written {NUMBER_WORDS[n]}.")
