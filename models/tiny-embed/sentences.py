"""Paraphrases, put together from synonyms and sentence patterns, and the questions `tiny` knows with their other wordings.

A *meaning* is a tuple of concepts; a *wording* is one pattern filled with one synonym per concept. Two wordings of one meaning are paraphrases.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

#: Each line is one concept and its synonyms; the first is the plain word.
ACTORS = [line.split("|") for line in (
    "the man|the guy|the gentleman", "the woman|the lady", "the child|the kid|the youngster", "the teacher|the instructor|the schoolteacher", "the doctor|the physician",
    "the police officer|the policeman|the cop", "the engineer|the technician", "the student|the pupil", "the boss|the manager|the supervisor", "the customer|the client|the buyer",
    "the farmer|the grower", "the driver|the motorist", "the singer|the vocalist", "the writer|the author", "the cook|the chef", "the soldier|the trooper", "the scientist|the researcher",
    "the dog|the hound|the puppy", "the cat|the kitten", "the lawyer|the attorney", "the nurse|the caregiver", "the thief|the robber|the burglar", "the king|the monarch", "the baby|the infant",
)]  # fmt: skip
ACTIONS = [line.split("|") for line in (
    "buys|purchases", "repairs|fixes|mends", "starts|begins", "looks at|watches|observes", "builds|constructs", "destroys|ruins|wrecks", "finds|discovers|locates", "needs|requires",
    "likes|enjoys|is fond of", "hates|dislikes|detests", "explains|describes|clarifies", "sells|offers for sale", "cleans|washes", "loses|misplaces", "carries|transports|brings",
    "paints|colours", "forgets|does not remember", "studies|learns about", "steals|takes without paying", "chooses|selects|picks", "hides|conceals", "breaks|smashes|shatters",
    "throws away|discards|gets rid of", "opens|unlocks", "writes about|reports on", "borrows|takes on loan",
)]  # fmt: skip
OBJECTS = [line.split("|") for line in (
    "the car|the automobile|the vehicle", "the house|the home|the residence", "the bicycle|the bike", "the book|the novel", "the picture|the image|the photo", "the computer|the laptop|the PC",
    "the phone|the telephone|the smartphone", "the meal|the dinner|the food", "the road|the street", "the boat|the ship|the vessel", "the song|the tune", "the movie|the film|the motion picture",
    "the job|the work|the position", "the shop|the store", "the forest|the woods", "the coat|the jacket", "the money|the cash", "the gift|the present", "the garden|the yard", "the trip|the journey|the voyage",
    "the plan|the scheme", "the medicine|the drug|the medication", "the test|the exam|the examination", "the plane|the aircraft|the airplane", "the letter|the note", "the sofa|the couch",
)]  # fmt: skip
TIMES = [line.split("|") for line in (
    "today|this day", "in the morning|early in the day", "at night|after dark", "every day|daily", "quickly|fast|rapidly", "slowly|at a slow pace", "often|frequently", "again|once more",
    "in the city|in town|downtown", "at home|in the house", "last week|a week ago", "before breakfast|ahead of the first meal",
)]  # fmt: skip

#: Patterns of a statement: a actor, v action, o object, t time or manner.
STATEMENTS = ["{a} {v} {o} {t}.", "{t}, {a} {v} {o}.", "{o} is what {a} {v} {t}.", "It is {a} who {v} {o} {t}.", "{a}, {t}, {v} {o}."]
#: One pattern is kept from training, for the held-out file.
HELD_OUT_STATEMENT = "What {a} {v} {t} is {o}."

#: Questions that mean the same; in each group with four or more the last is held out.
QUESTIONS = [line.split("|") for line in (
    "Why is the sky blue?|What makes the sky blue?|Explain the blue colour of the sky.|The sky is blue because air scatters blue light.|How come the sky looks blue?",
    "How do rainbows form?|What causes a rainbow?|Why do we see rainbows?|Explain how rainbows appear.", "What is the weather today?|How is the weather?|Will it rain today?|What's the forecast for today?",
    "How old are you?|What is your age?|Tell me your age.|When were you born?", "Where do you live?|What is your address?|In which city is your home?|Tell me where your home is.",
    "How much does it cost?|What is the price?|Tell me the price.|How expensive is it?", "I forgot my password.|I cannot remember my password.|How do I reset my password?|My password does not work, I need a new one.",
    "Where is my order?|When will my package arrive?|Track my delivery.|My parcel has not been delivered yet.", "I want my money back.|How do I get a refund?|Please refund my payment.|I would like to be reimbursed.",
    "What time is it?|Tell me the time.|Do you have the time?|Can you tell me what the clock says?", "How do I cancel my subscription?|I want to end my membership.|Stop my subscription.|Please cancel my plan.",
    "The app crashes when I open it.|The application closes at start.|The program stops working when it starts.|When I launch the app it fails.", "I am hungry.|I need something to eat.|I would like some food.|I could eat a horse.",
    "I am tired.|I need some sleep.|I want to go to bed.|I feel sleepy.", "Thank you very much.|Thanks a lot.|I am grateful.|Many thanks to you.", "Hello, how are you?|Hi, how is it going?|Hey, how are you doing?|Hello, are you well?",
    "What is photosynthesis?|How do plants make food?|Explain how plants use sunlight.|Plants turn light into sugar.", "What is air made of?|What is the composition of air?|Which gases are in the air?|Air contains nitrogen and oxygen.",
    "How does a computer work?|Explain how computers function.|What happens inside a computer?|In what way do computers operate?", "What is machine learning?|Explain machine learning.|How do machines learn from data?|What does it mean that a computer learns?",
    "How can I lose weight?|What is a good diet?|How do I become slimmer?|Tips for getting thinner.", "How do I cook rice?|What is the way to boil rice?|Tell me how to prepare rice.|A recipe for rice.",
    "Who wrote Hamlet?|Which author wrote Hamlet?|Who is the writer of Hamlet?|Hamlet was written by whom?", "Where is the nearest station?|How do I get to the train station?|Is there a station near here?|I am looking for the train station.",
    "The film was boring.|I found the movie dull.|That movie put me to sleep.|The picture was not interesting at all.", "The team won the match.|Our side was victorious.|The players defeated their opponents.|The game ended in a win for us.",
    "The company made a profit.|The firm earned money.|Business was profitable this year.|The corporation's earnings were good.", "It is cold outside.|The temperature is low.|It is freezing out there.|Outdoors it is chilly.",
    "The server is down.|The website does not respond.|The site is offline.|The service cannot be reached.", "How do I learn a language?|What is the best way to study a language?|Tips for learning a foreign language.|How can I speak another language?",
    "My head hurts.|I have a headache.|There is a pain in my head.|I suffer from a sore head.", "Can you help me?|I need help.|Please assist me.|Could you give me a hand?", "The meeting is on Monday.|We meet on Monday.|Monday is the day of the meeting.|The conference takes place on Monday.",
    "Dogs are loyal animals.|A dog is a faithful pet.|Puppies grow into faithful friends.|Canines are known for loyalty.", "The bank raised interest rates.|Interest rates went up.|Borrowing money became more expensive.|The lender increased its rates.",
    "Water boils at 100 degrees.|The boiling point of water is 100 degrees.|At 100 degrees water begins to boil.|Heat water to 100 degrees and it boils.",
)]  # fmt: skip

COUNTRIES = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon", "Japan": "Tokyo", "China": "Beijing", "Peru": "Lima", "Chile": "Santiago", "Mexico": "Mexico City",
    "Canada": "Ottawa", "Cuba": "Havana", "Egypt": "Cairo", "Kenya": "Nairobi", "Norway": "Oslo", "Sweden": "Stockholm", "Finland": "Helsinki", "Ireland": "Dublin", "Poland": "Warsaw", "Austria": "Vienna",
    "Greece": "Athens", "Turkey": "Ankara", "Russia": "Moscow", "India": "New Delhi", "Thailand": "Bangkok", "Vietnam": "Hanoi",
}  # fmt: skip
CAPITAL_PATTERNS = ["What is the capital of {c}?", "{k} is the capital of {c}.", "Name the capital of {c}.", "Which city is the capital of {c}?", "The capital of {c} is {k}."]
HELD_OUT_CAPITAL = "Tell me {c}'s capital city."


@dataclass(frozen=True)
class Triple:
    """A sentence, another wording of it, and a sentence that means something else."""

    anchor: str
    paraphrase: str
    other: str


def capitalised(text: str) -> str:
    """The text with its first letter upper case."""
    return text[0].upper() + text[1:]


def filled(pattern: str, meaning: dict[str, list[str]], rng: random.Random) -> str:
    """The pattern with one synonym for each concept."""
    return capitalised(pattern.format(**{slot: rng.choice(words) for slot, words in meaning.items()}))


def statement(rng: random.Random) -> dict[str, list[str]]:
    """A meaning: who does what to what, and when or how."""
    return {"a": rng.choice(ACTORS), "v": rng.choice(ACTIONS), "o": rng.choice(OBJECTS), "t": rng.choice(TIMES)}


def is_held_out(meaning: dict[str, list[str]]) -> bool:
    """A fifth of all actor-action-object meanings is kept from training, whatever the time."""
    key = "|".join(meaning[slot][0] for slot in "avo")
    return sum(key.encode()) % 5 == 0


def training_pair(rng: random.Random) -> tuple[str, str]:
    """Two wordings of one meaning that training may see."""
    kind = rng.random()
    if kind < 0.6:
        meaning = statement(rng)
        while is_held_out(meaning):
            meaning = statement(rng)
        first, second = rng.sample(STATEMENTS, 2) if rng.random() < 0.7 else [rng.choice(STATEMENTS)] * 2
        return filled(first, meaning, rng), filled(second, meaning, rng)
    if kind < 0.85:
        group = rng.choice(QUESTIONS)
        first, second = rng.sample(group[:-1] if len(group) > 3 else group, 2)
        return first, second
    country = rng.choice(list(COUNTRIES))
    first, second = (p.format(c=country, k=COUNTRIES[country]) for p in rng.sample(CAPITAL_PATTERNS, 2))
    return first, second


def training_paragraphs(rng: random.Random) -> tuple[str, str]:
    """Up to twelve pairs, joined sentence by sentence, so that long inputs are known too."""
    pairs = [training_pair(rng) for _ in range(rng.randint(2, 12))]
    return " ".join(first for first, _ in pairs), " ".join(second for _, second in pairs)


def near_miss(meaning: dict[str, list[str]], rng: random.Random) -> dict[str, list[str]]:
    """A meaning that shares some concepts with the given one, and not the object."""
    other = statement(rng)
    while other["o"] == meaning["o"] or other["v"] == meaning["v"]:
        other = statement(rng)
    return {**other, "a": meaning["a"]} if rng.random() < 0.5 else other


def held_out_triple(rng: random.Random) -> Triple:
    """Wordings and meanings that training never saw; the other sentence is often about the same actor or by the same pattern."""
    kind = rng.random()
    if kind < 0.6:
        meaning = statement(rng)
        while not is_held_out(meaning):
            meaning = statement(rng)
        pattern = rng.choice(STATEMENTS)
        return Triple(filled(pattern, meaning, rng), filled(HELD_OUT_STATEMENT, meaning, rng), filled(rng.choice([pattern, HELD_OUT_STATEMENT]), near_miss(meaning, rng), rng))
    if kind < 0.85:
        group, other = rng.sample([g for g in QUESTIONS if len(g) > 3], 2)
        return Triple(rng.choice(group[:-1]), group[-1], rng.choice(other))
    country, other_country = rng.sample(list(COUNTRIES), 2)
    pattern = rng.choice(CAPITAL_PATTERNS)
    return Triple(pattern.format(c=country, k=COUNTRIES[country]), HELD_OUT_CAPITAL.format(c=country), pattern.format(c=other_country, k=COUNTRIES[other_country]))
