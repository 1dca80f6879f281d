"""Short texts with a sentiment, put together from word lists and patterns; some patterns and words are kept for the held-out file."""

from __future__ import annotations

import random
from dataclasses import dataclass

LABELS = ["negative", "neutral", "positive"]

THINGS = (
    "product movie film book hotel phone meal service restaurant song game laptop coffee show camera room food place staff waiter app website delivery package story ending acting "
    "plot battery screen price quality design bed breakfast view location flight seat trip course teacher lesson team support update software keyboard headphones watch shirt jacket shoes "
    "album concert museum beach car bike soup pizza cake drink play performance experience event purchase item tool recipe toy doctor customer-service atmosphere music cast script"
).split()

GOOD = (
    "good great excellent wonderful amazing fantastic superb brilliant awesome perfect lovely delightful beautiful outstanding terrific fabulous impressive enjoyable pleasant marvellous "
    "delicious charming friendly helpful reliable comfortable fun exciting stunning magnificent incredible flawless remarkable satisfying refreshing fresh tasty clean smooth fast"
).split()
BAD = (
    "bad terrible awful horrible disappointing poor useless boring dreadful disgusting mediocre ugly broken annoying frustrating unpleasant rude dirty slow noisy cheap-looking overpriced "
    "faulty defective unreliable uncomfortable dull bland nasty pathetic appalling atrocious lousy painful confusing buggy stale cold tasteless worthless ridiculous unacceptable"
).split()
PLAIN = (
    "red blue green black white small large round square wooden metallic plastic paper rectangular grey tall short new old digital printed standard medium electric portable double single"
).split()

POSITIVE_VERBS = "love adore enjoyed liked loved recommend appreciate".split()
NEGATIVE_VERBS = "hate hated disliked despise regret detest loathe".split()
VERY = ["", "", "very ", "really ", "so ", "absolutely ", "truly ", "quite ", "extremely ", "just "]
GOOD_ADVERBS = "perfectly beautifully flawlessly well brilliantly wonderfully smoothly great".split()
BAD_ADVERBS = "badly poorly terribly horribly awfully".split()

#: {x} thing, {g} good word, {b} bad word, {p} plain word, {v} intensifier, {l} loving verb, {h} hating verb, {w} well, {y} badly, {d} day, {n} number.
PATTERNS: dict[str, list[str]] = {
    "positive": [
        "The {x} was {v}{g}.", "The {x} is {v}{g}!", "What a {g} {x}!", "I {l} this {x}.", "I {l} the {x} and the {x2}.", "This {x} works {w}.", "{v}{g} {x}, highly recommended.", "Best {x} ever!",
        "The {x} is {g} and the {x2} is {g2}.", "I am {v}happy with the {x}.", "I am so pleased with this {x}.", "This {x} exceeded all expectations.", "It exceeded my expectations!", "The {x} exceeded our hopes.",
        "Five stars for the {x}.", "I would buy this {x} again.", "I will definitely come back.", "Everything about the {x} was {g}.", "The {x} made my day.", "I can't stop smiling.", "Great job!", "Thank you for the {g} {x}!",
        "Could not be happier with the {x}.", "The {x} is not {b} at all, it is {g}.", "This is the {g} {x} I was looking for.", "Worth every penny.", "The {x} is worth the money.", "Such a {g} {x}, everyone loved it.",
        "I had a {g} time.", "We had a {g} day with the {x}.", "{g}! Just {g2}.", "The {x} looks {g} and works {w}.", "A {g} {x} with a {g2} {x2}.", "I'm impressed by the {x}.", "My family {l} the {x}.",
        "The {x} never fails, {g}.", "Better than I expected.", "The {x} is better than expected.", "Wow, this {x} is {g}!", "I feel {v}good about the {x}.", "This was a {g} surprise.", "This makes me happy.", "I like it.",
        "I like the {x} a lot.", "I love it!", "Well done!", "The {x} is a masterpiece.", "It was a joy to use the {x}.", "Two thumbs up for the {x}.", "The {x} came early and in {g} condition.", "My new favourite {x}.", "I had high hopes and the {x} met them.",
    ],
    "negative": [
        "The {x} was {v}{b}.", "The {x} is {v}{b}!", "What a {b} {x}!", "I {h} this {x}.", "I {h} the {x} and the {x2}.", "This {x} works {y}.", "{v}{b} {x}, avoid it.", "Worst {x} ever!",
        "The {x} is {b} and the {x2} is {b2}.", "I am {v}unhappy with the {x}.", "I am so disappointed with this {x}.", "This {x} failed to meet my expectations.", "It did not meet my expectations.", "The {x} fell below our hopes.",
        "One star for the {x}.", "I would never buy this {x} again.", "I will never come back.", "Everything about the {x} was {b}.", "The {x} ruined my day.", "I want my money back.", "Bad job!", "I want a refund for the {b} {x}!",
        "The {x} broke after {n} days.", "The {x} is not {g} at all, it is {b}.", "The {x} does not work.", "A waste of money.", "The {x} is a waste of time.", "Such a {b} {x}, nobody liked it.",
        "I had a {b} time.", "We had a {b} day with the {x}.", "{b}! Just {b2}.", "The {x} looks {b} and works {y}.", "A {b} {x} with a {b2} {x2}.", "I'm shocked by the {b} {x}.", "My family {h} the {x}.",
        "The {x} stopped working.", "Worse than I expected.", "The {x} is worse than expected.", "Ugh, this {x} is {b}!", "I feel {v}bad about the {x}.", "This was a {b} surprise.", "This makes me angry.", "I don't like it.",
        "I do not like the {x}.", "I hate it!", "Do not buy this.", "The {x} is a disaster.", "It was a pain to use the {x}.", "Thumbs down for the {x}.", "The {x} came late and in {b} condition.", "Never again.", "I had high hopes but the {x} was {b}.",
    ],
    "neutral": [
        "The {x} is {p}.", "The {x} is {p} and {p2}.", "This {x} is made of {m}.", "The {x} arrived on {d}.", "I bought the {x} on {d}.", "The {x} costs {n} dollars.", "The {x} opens at {n}.", "The {x} has {n} parts.",
        "The {x} comes in a {p} box.", "The {x} is on the table.", "There is a {p} {x} in the room.", "It is a {x}.", "The {x} is {n} years old.", "We ordered the {x} last week.", "The {x} weighs {n} kilograms.",
        "The meeting is on {d}.", "The {x} will be delivered on {d}.", "The {x} starts at {n} o'clock.", "My {x} is {p}.", "She has a {p} {x}.", "He reads a book on {d}.", "The store sells a {x} and a {x2}.",
        "The {x} is next to the {x2}.", "The manual has {n} pages.", "The train leaves at {n}.", "I received the {x} and the {x2}.", "The {x} was built in 19{n}.", "They changed the {x} on {d}.", "The {x} contains {m}.",
        "This is the {x}.", "This is a {p} {x}.", "The report is about the {x}.", "There are {n} items in the box.", "The office is closed on {d}.", "The {x} can be ordered online.", "Please send the {x} by {d}.",
        "The {x} uses {n} batteries.", "The {x} is available in {p}.", "Water boils at 100 degrees.", "The capital of France is Paris.", "The sky is blue.", "My name is Ada.", "The bus stops at the {x}.", "I have a {x}.",
        "The {x} is neither {g} nor {b}.", "It is okay.", "It was average.", "The {x} is okay, nothing special.", "The {x} was average.", "The price of the {x} is {n} dollars.", "I went there on {d}.", "The {x} lasts {n} minutes.",
        "Hello", "Hello, how are you?", "Good morning", "What time is it?", "Where is the {x}?", "How much does the {x} cost?", "Can you send me the {x}?", "The cat sat on the mat.", "The {p} bird sits on the {x}.",
        "A dog walks along the street.", "She walks to the {x} every {d}.", "He watched the {x} for {n} minutes.", "We will talk about the {x} on {d}.", "The children go to school by bus.", "The river flows through the city.",
    ],
}  # fmt: skip

#: Skeletons that carry any label: only the words put into them decide. {j} is an adjective and {r} a phrase of the label, {o} and {e} an opening and an ending.
SKELETONS = [
    "{o}the {x} {is_} {v}{j}{e}", "{o}the {x} {is_} {j} and {j2}{e}", "{o}it {is_} a {j} {x}{e}", "{o}we got a {j} {x}{e}", "{o}the {j} {x} {r}{e}", "{o}she says the {x} {is_} {j}{e}", "{o}I bought a {j} {x} and a {j2} {x2}{e}",
    "{o}the {x} {r}{e}", "{o}this {x} {r}{e}", "{o}the {x} in our hotel {is_} {v}{j}{e}", "{o}they gave us a {j} {x}{e}", "{o}the {x} and the {x2} {r}{e}", "{o}my {x} {r}{e}", "{o}the {x} that I ordered {is_} {j}{e}", "{o}that {x} {r}, with a {j} {x2}{e}",
    "{v}{j} {x}{e}", "{j}, {j2} {x}{e}", "{o}we saw that the {x} {is_} {j}{e}", "{o}the {x} with the {x2} {is_} {j}{e}", "{o}there {is_} a {j} {x}{e}", "{o}a {j} {x} for the {x2}{e}", "{o}he said it {is_} {j}{e}",
]  # fmt: skip
OPENINGS = ["", "", "", "I think ", "we found that ", "my sister says ", "to be fair, ", "in the end ", "this time ", "after a week ", "as you can see, ", "the people here say that ", "last summer ", "by now ", "for me ", "well, ", "I have to say that ",
            "in my opinion ", "at first ", "for the price ", "yesterday ", "in fact "]  # fmt: skip
ENDINGS = [".", ".", ".", "!", "", " today.", " again.", ", I think.", " this year.", " in every way.", " for us.", ", they told me.", " at the hotel.", " and that is all.", " overall.", " since May."]

#: What a thing does, per label.
PHRASES: dict[str, list[str]] = {
    "positive": ["exceeded our expectations", "exceeded what I expected", "went beyond my expectations", "surpassed all hopes", "made us happy", "made me smile", "works {w}", "was a pleasure", "impressed everyone", "delighted my family",
                 "deserves five stars", "is worth it", "is not {b}", "was not {b} at all", "won our hearts", "saved my day", "did a {g} job", "was a success", "never disappoints", "met all my expectations"],
    "negative": ["fell short of our expectations", "fell short of what I expected", "stayed below my expectations", "crushed all hopes", "made us angry", "made me cry", "works {y}", "was a nightmare", "annoyed everyone", "upset my family",
                 "deserves zero stars", "is not worth it", "is not {g}", "was not {g} at all", "let us down", "ruined my day", "did a {b} job", "was a failure", "always disappoints", "failed all my expectations"],
    "neutral": ["is in the kitchen", "has a {p} handle", "belongs to my uncle", "stands near the {x2}", "was sent on {d}", "comes from Canada", "is for the {x2}", "is {n} metres long", "can be seen from the street", "is listed on page {n}",
                "was moved to another room", "is used by the office", "starts after lunch", "ends in May", "is in the {p} bag", "shows the number {n}", "is behind the {p} door", "was sold to a neighbour", "is under the {x2}", "holds {n} litres"],
}  # fmt: skip

#: Patterns that training never sees; the held-out file is made of these alone, and of word combinations unseen in training.
HELD_OUT_PATTERNS: dict[str, list[str]] = {
    "positive": ["This {x} exceeded my expectations!", "I have never had such a {g} {x}.", "Honestly, the {x} turned out to be {g}.", "My friends all said the {x} was {g}, and they were right.", "{v}{g} work on the {x2}, and the {x} is {g2} too.", "I was happy to see such a {g} {x}.",
                 "You should get this {x}, it is {g}.", "The {x} was {g} from start to finish."],
    "negative": ["This {x} fell far short of my expectations.", "I have never had such a {b} {x}.", "Honestly, the {x} turned out to be {b}.", "My friends all said the {x} was {b}, and they were right.", "{v}{b} work on the {x2}, and the {x} is {b2} too.", "I was angry to see such a {b} {x}.",
                 "You should avoid this {x}, it is {b}.", "The {x} was {b} from start to finish."],
    "neutral": ["The {x} was delivered in a {p} bag.", "Our office has a {p} {x} and a {p2} {x2}.", "On {d} we will look at the {x}.", "The {x} is between the door and the {x2}.", "The {p} {x} belongs to my neighbour.", "The {x} has a {p} cover and {n} buttons.",
                "The {x} is sold from {d} on.", "The sign says that the {x} is {p}."],
}  # fmt: skip


@dataclass(frozen=True)
class Review:
    """A text and its label."""

    text: str
    label: str


def write(pattern: str, rng: random.Random) -> str:
    """The pattern with its slots filled."""
    good, bad, plain, things = rng.sample(GOOD, 2), rng.sample(BAD, 2), rng.sample(PLAIN, 2), rng.sample(THINGS, 2)
    text = pattern.format(
        x=things[0], x2=things[1], g=good[0], g2=good[1], b=bad[0], b2=bad[1], p=plain[0], p2=plain[1], v=rng.choice(VERY), l=rng.choice(POSITIVE_VERBS), h=rng.choice(NEGATIVE_VERBS),
        w=rng.choice(GOOD_ADVERBS), y=rng.choice(BAD_ADVERBS), n=rng.randint(2, 60), d=rng.choice(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "May 3", "June 12"]),
        m=rng.choice(["wood", "steel", "cotton", "glass", "plastic", "paper", "leather", "water", "milk", "nuts"]),
    )  # fmt: skip
    return text[0].upper() + text[1:]


def assembled(label: str, rng: random.Random) -> str:
    """A skeleton filled with words of the label."""
    words = {"positive": GOOD, "negative": BAD, "neutral": PLAIN}[label]
    first, second = rng.sample(words, 2)
    pattern = rng.choice(SKELETONS)
    slots = {"j": first, "j2": second, "r": rng.choice(PHRASES[label]), "o": rng.choice(OPENINGS), "e": rng.choice(ENDINGS), "is_": rng.choice(["is", "was", "seems", "looks"])}
    for slot, text in slots.items():
        pattern = pattern.replace("{" + slot + "}", text)
    return write(pattern, rng)


def training_sentence(label: str, rng: random.Random) -> str:
    """Half whole patterns, half skeletons."""
    return write(rng.choice(PATTERNS[label]), rng) if rng.random() < 0.5 else assembled(label, rng)


def training_review(rng: random.Random) -> Review:
    """One to three sentences of one label; a neutral sentence may stand beside a clear one without changing it."""
    label = rng.choice(LABELS)
    sentences = [training_sentence(label, rng)]
    while rng.random() < 0.25 and len(sentences) < 3:
        sentences.insert(rng.randrange(len(sentences) + 1), training_sentence(rng.choice([label, "neutral"]), rng))
    text = " ".join(sentences)
    if rng.random() < 0.1:
        text = text.rstrip(".!")
    return Review(text, label)


def held_out_review(rng: random.Random) -> Review:
    """One sentence by a pattern that training never sees."""
    label = rng.choice(LABELS)
    return Review(write(rng.choice(HELD_OUT_PATTERNS[label]), rng), label)
