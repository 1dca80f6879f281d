"""Questions that lean on what was just explained: "the physics of them", "does it happen on Mars?", "tell me more"."""

from __future__ import annotations

import random

from .dialogue import Dialogue, Turn
from .subjects import SUBJECTS, Subject
from .words import phrase

#: Wordings by aspect. {s} is the subject or "it"/"they", {o} the subject or "it"/"them", {do} and {are} agree with it.
ASPECTS: dict[str, list[str]] = {
    "more": ["Tell me more!", "tell me more!", "Tell me more about {o}.", "Go on.", "Continue.", "More please.", "What else do you know about {o}?", "Can you say more about {o}?", "Anything else?"],
    "planets": ["{Do} {s} exist on other planets?", "{Do} {s} happen on Mars?", "{Are} {s} found on other planets?", "What about other planets?", "{Do} {s} occur anywhere but on earth?", "{Are} {s} also on other planets?",
                "{Do} other planets have {o}?", "Can {s} happen on other planets?", "Could {s} be seen on Venus?"],
    "danger": ["{Are} {s} dangerous?", "What are the dangers of {o}?", "Can {s} hurt people?", "Should I be afraid of {o}?", "{Are} {s} safe?"],
    "when": ["When {do} {s} happen?", "When can I see {o}?", "At what time {are} {s} seen?", "What is the best time for {o}?", "When {are} {s}?"],
    "where": ["Where {do} {s} happen?", "Where can I see {o}?", "Where {are} {s} found?", "In which places {are} {s} seen?", "Where {are} {s} most common?"],
}  # fmt: skip
SCIENCES = ["{Explain} the {x} {of} {o}.", "{Explain} the {x} {of} {o}.", "What {x} is involved in {o}?", "What is the {x} {of} {o}?", "And the {x}?", "What does {x} say about {o}?", "And what about the {x}?"]
MYTHS = ["What are {some} {x} about {o}?", "{Explain} {some} {x} about {o}.", "Are there {x} about {o}?", "Which {x} are told about {o}?", "What {x} {go} with {o}?", "{Explain} {some} {x} that are connected with {o}.", "Do you know {x} {of} {o}?"]
WITHOUT = ["Can {s} {form} if there {be} no {x}?", "Can {s} {form} without {x}?", "{Do} {s} {form} when there {be} no {x}?", "What if there {be} no {x}?", "{Do} {s} need {x}?", "Is {x} needed for {o}?" , "And without {x}?"]
BRIEF = [" Be brief in your reply", "  Be brief in your reply", " Be brief.", " Answer briefly.", " Keep it short.", "  In one sentence, please.", " One sentence is enough."]


def wording(rng: random.Random, subject: Subject, aspect: str, named: bool) -> str:
    """A further question; `named` says the subject's name instead of a pronoun."""
    plural = subject.pronoun == "they"
    slots = {"s": subject.name if named else subject.pronoun, "o": subject.name if named else ("them" if plural else "it"), "do": "do" if plural else "does", "are": "are" if plural else "is",
             "Do": "Do" if plural else "Does", "Are": "Are" if plural else "Is", "x": aspect, "some": rng.choice(["some", "common", "the", "well-known", "old"]), "form": rng.choice(["form", "happen", "occur", "exist"]),
             "be": "are" if aspect == "clouds" else "is", "go": "go", "of": rng.choice(["of", "behind", "involved in", "in", "that explains"]), "Explain": rng.choice(["Explain", "Describe", "Tell me about", "Give me", "Summarize"])}  # fmt: skip
    if aspect in ("physics", "chemistry"):
        options = SCIENCES
    elif aspect == "myths":
        options, slots["x"], slots["of"] = MYTHS, rng.choice(["myths", "myths", "legends", "stories", "tales"]), rng.choice(["about", "related to", "around"])
    elif aspect in ("clouds", "rain"):
        options = WITHOUT
    else:
        options = ASPECTS[aspect]
    options = [option for option in options if not named or "{s}" in option or "{o}" in option]
    return rng.choice(options).format(**slots)


def opening(rng: random.Random, subject: Subject) -> Turn:
    """The subject is asked about for the first time."""
    text = phrase(rng, subject.questions)
    if rng.random() < 0.5:
        text += rng.choice([*BRIEF, " Be brief but factual in your reply"])
    return Turn(text, subject.answer, f"The question is: {subject.questions[0]} I know the answer.")


def further(rng: random.Random, subject: Subject, aspect: str, named: bool = False) -> Turn:
    """One further question about the subject."""
    text = wording(rng, subject, aspect, named)
    if rng.random() < 0.1:
        text = text[0].lower() + text[1:]
    if rng.random() < 0.5 and text[-1] in ".?":
        text += rng.choice(BRIEF)
    about = {"clouds": "no clouds", "rain": "no rain", "planets": "other planets"}.get(aspect, aspect)
    return Turn(text, subject.further[aspect], f"The subject is {subject.name}. The question is about {about}.")


def follow_up(rng: random.Random) -> Dialogue:
    """A subject is explained and then asked about with pronouns; now and then the subject changes on the way."""
    turns: list[Turn] = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        subject = rng.choice([*SUBJECTS, SUBJECTS[1]])
        aspects = list(subject.further)
        rng.shuffle(aspects)
        if rng.random() < 0.12:
            turns += [further(rng, subject, aspects[0], named=True)]
            aspects = aspects[1:]
        else:
            turns.append(opening(rng, subject))
        turns += [further(rng, subject, aspect, named=rng.random() < 0.1) for aspect in aspects[: rng.randint(1, 6)]]
    return Dialogue(turns)
