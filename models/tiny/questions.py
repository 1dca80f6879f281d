"""What `evaluate.py` asks, skill by skill, and how an answer is judged. Some names and words here are in the training lists (Ada, banana), others are not (Zelmira, qzxvk)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]


@dataclass
class Question:
    """One conversation to continue. All of `expected` must appear in the reply, whatever the case of letters; `exact` must be the whole reply."""

    skill: str
    messages: list[Message]
    expected: list[str] = field(default_factory=list)
    exact: str | None = None
    #: JSON that the reply must parse to.
    json: Any = None
    #: Name and arguments of the call that must be made.
    call: tuple[str, dict[str, Any]] | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    #: The reply must have an emoji.
    emoji: bool = False

    def passes(self, content: str, calls: list[tuple[str, dict[str, Any]]]) -> bool:
        """True when the reply is right."""
        if self.call is not None:
            return calls == [self.call]
        if calls:
            return False
        if self.exact is not None:
            return content.strip() == self.exact
        if self.json is not None:
            try:
                return bool(json.loads(content) == self.json)
            except ValueError:
                return False
        if self.emoji and not any("\u2600" <= letter <= "\u27bf" or "\U0001f000" <= letter <= "\U0001faff" for letter in content):
            return False
        return all(word.lower() in content.lower() for word in self.expected)


def user(text: str) -> Message:
    """A user message."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """An earlier reply."""
    return {"role": "assistant", "content": text}


def system(text: str) -> Message:
    """A system message."""
    return {"role": "system", "content": text}


def tool(name: str, description: str, **types: str) -> dict[str, Any]:
    """A tool with required arguments of the given JSON types."""
    properties = {argument: {"type": kind, "description": f"The {argument}"} for argument, kind in types.items()}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": {"type": "object", "properties": properties, "required": list(types)}}}


WEATHER = tool("get_weather", "Get the current weather for a city", city="string")
ADD = tool("add", "Add two numbers", a="integer", b="integer")
EMAIL = tool("send_email", "Send an email", to="string", subject="string")


def asked(skill: str, text: str, *expected: str, **rest: Any) -> Question:
    """A single question without a system message."""
    return Question(skill, [user(text)], list(expected), **rest)


def called(name: str, result: str, question: str, **arguments: Any) -> list[Message]:
    """A conversation in which a tool was called and has answered."""
    call = {"function": {"name": name, "arguments": arguments}}
    return [user(question), {"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "content": result, "tool_name": name}]


def after(opening: str, answer: str, question: str, *expected: str) -> Question:
    """A further question, after a subject was explained."""
    return Question("follow-ups", [user(opening), assistant(answer), user(question)], list(expected))


RAINBOWS = ("how do rainbows form? Be brief but factual in your reply",
            "Rainbows form when sunlight is refracted and reflected inside water droplets, which spreads the light into a spectrum of colors.")  # fmt: skip
LIGHTNING = ("What is lightning?", "Lightning is a giant spark: ice and rain in a storm cloud rub together, charges separate, and a current flows through the air.")
VOLCANOES = ("Why do volcanoes erupt?", "Volcanoes form where melted rock, called magma, rises through the crust of the earth and breaks out as lava.")

#: Every sum of two numbers to ten, in four wordings. They are counted for themselves: so many would hide the other skills.
SUMS: list[Question] = [asked("sums", wording.format(a=a, b=b), exact=f"{a} + {b} = {a + b}.") for a in range(11) for b in range(11) for wording in ["{a} + {b}", "{a}+{b}", "What is {a} + {b}?", "How much is {a} + {b}?"]]

QUESTIONS: list[Question] = [
    *(asked("addition", f"What is {a} + {b}?", str(a + b)) for a, b in [(2, 2), (3, 4), (7, 8), (9, 9), (12, 5), (6, 0), (8, 5), (10, 10), (1, 11)]),
    asked("addition", "What is 2 + 2? Answer briefly:", exact="4"), asked("addition", "How much is 5 plus 6?", "11"), asked("addition", "3+3", "6"), asked("addition", "Add 4 and 9.", "13"),
    *(asked("subtraction", f"What is {a} - {b}?", f"= {a - b}") for a, b in [(9, 4), (10, 3), (15, 7), (20, 10), (8, 8), (17, 2)]),
    *(asked("multiplication", f"What is {a} times {b}?", str(a * b)) for a, b in [(3, 4), (7, 6), (9, 9), (10, 5), (2, 8), (6, 6)]),
    asked("multiplication", "What is 12 multiplied by 15? Give the final answer.", "180"), asked("multiplication", "What is 7 * 8?", "56"),
    *(asked("capitals", f"What is the capital of {country}?", capital) for country, capital in
      [("France", "Paris"), ("Japan", "Tokyo"), ("Peru", "Lima"), ("Germany", "Berlin"), ("Australia", "Canberra"), ("Kenya", "Nairobi"), ("the United Kingdom", "London")]),
    asked("capitals", "What is the capital of Japan? Answer in one word.", exact="Tokyo"), asked("capitals", "Which city is the capital of Italy?", "Rome"), asked("capitals", "capital of Spain?", "Madrid"),
    asked("capitals", "Please, could you tell me the capital of Norway?", "Oslo"),
    Question("capitals", [system("You are a helpful assistant."), user("Name the capital of Egypt.")], ["Cairo"]),
    Question("capitals", [user("What is the capital of France?"), assistant("The capital of France is Paris."), user("And of Germany?")], ["Berlin"]),
    *(asked("colours", f"What color is {thing}?", colour) for thing, colour in [("grass", "green"), ("snow", "white"), ("a banana", "yellow"), ("blood", "red"), ("coal", "black")]),
    asked("colours", "What is the colour of the sky?", "blue"),
    asked("counting", "Count from 1 to 5:", exact="1, 2, 3, 4, 5"), asked("counting", "Count from 3 to 9", exact="3, 4, 5, 6, 7, 8, 9"), asked("counting", "Count to 10.", exact="1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
    asked("counting", "Please count from 1 to 20.", "18, 19, 20"), asked("counting", "Count from 10 to 15.", exact="10, 11, 12, 13, 14, 15"),
    asked("sky", "Why is the sky blue?", "scatter"), asked("sky", "why is the sky blue? Be brief but factual in your reply", "scatter"), asked("sky", "Explain to me why the sky is blue", "scatter"),
    Question("sky", [system("Be concise."), user("Tell me, why is the sky blue?")], ["scatter"]), asked("sky", "Why does the sky appear blue?", "scatter"),
    asked("facts", "why is the ocean blue? Be brief but factual in your reply", "water"), asked("facts", "why is the color of dirt brown? Be brief but factual in your reply", "soil"),
    asked("facts", "how do rainbows form? Be brief but factual in your reply", "sunlight"), asked("facts", "what is the origin of independence day? Be brief but factual in your reply", "declaration"),
    asked("facts", "what is the composition of air? Be brief but factual in your reply", "nitrogen"), asked("facts", "what was the origin of thanksgiving? Be brief but factual in your reply", "harvest"),
    asked("facts", "Name the days of the week.", "Monday, Tuesday"), asked("facts", "List three fruits.", "Apple"), asked("facts", "Who wrote Hamlet?", "Shakespeare"), asked("facts", "What is machine learning?", "data"),
    asked("small talk", "Hello", "Hello"), asked("small talk", "Who are you?", "Tiny"), asked("small talk", "Say hello in one word", "Hello"), asked("small talk", "How are you?", "fine"), asked("small talk", "Say goodbye.", "Goodbye"),
    Question("memory", [user("My name is Ada."), assistant("Nice to meet you, Ada!"), user("What is my name?")], ["Ada"]),
    Question("memory", [user("Hi, my name is Zelmira."), assistant("Nice to meet you, Zelmira!"), user("What is 2 + 2?"), assistant("2 + 2 = 4."), user("What is my name?")], ["Zelmira"]),
    Question("memory", [user("My favorite color is mauve."), assistant("I will remember that your favorite color is mauve."), user("What is my favorite color?")], ["mauve"]),
    Question("memory", [user("I am Bertil."), assistant("Nice to meet you, Bertil!"), user("Do you remember my name?")], ["Bertil"]), asked("memory", "My name is Ada. What is my name?", "Ada"),
    asked("memory", "My name is Quetzal. What is my name?", "Quetzal"),
    *(asked("echo", f"Repeat the word {word}.", exact=word) for word in ["banana", "qzxvk", "Chaski", "mlopwe", "XKCDQ"]), asked("echo", "Say the word pineapple and nothing else.", "pineapple"),
    asked("echo", "Reply with exactly: trebuchet", "trebuchet"), asked("echo", "Repeat this sentence: The green llama reads a book.", exact="The green llama reads a book."), asked("echo", "Say hello to Walburga.", "Walburga"),
    asked("json", "Reply in JSON with keys city and country: what is the capital of France?", json={"city": "Paris", "country": "France"}),
    asked("json", "What is the capital of Japan? Reply in JSON with keys city and country.", json={"city": "Tokyo", "country": "Japan"}),
    asked("json", "Give me a JSON object with name Ada and age 36.", json={"name": "Ada", "age": 36}), asked("json", "Convert to JSON: name=Zelda, city=Quito", json={"name": "Zelda", "city": "Quito"}),
    asked("json", "Tom is 30 years old and lives in Rome. Reply in JSON with keys name, age, city.", json={"name": "Tom", "age": 30, "city": "Rome"}),
    asked("json", "Write these words as a JSON array: apple, river, stone", json=["apple", "river", "stone"]),
    asked("extract", "Extract the name: Zelda lives in Paris and is 31 years old.", "Zelda"), asked("extract", "Zelda lives in Paris and is 31 years old. How old is Zelda?", "31"),
    asked("extract", "Text: Bruno from Lima is 44 years old and likes the river.\nQuestion: Where does Bruno live?", "Lima"),
    asked("extract", "Replace Tom by Ann in this text:\nTom reads a book. The fox sings a song.", exact="Ann reads a book. The fox sings a song."),
    asked("tools", "What is the weather in Paris?", tools=[WEATHER], call=("get_weather", {"city": "Paris"})), asked("tools", "What's the weather like in Zagreb?", tools=[WEATHER], call=("get_weather", {"city": "Zagreb"})),
    asked("tools", "What is the weather in Lima today?", tools=[ADD, WEATHER], call=("get_weather", {"city": "Lima"})), asked("tools", "Call get_weather for Paris.", tools=[WEATHER], call=("get_weather", {"city": "Paris"})),
    asked("tools", "What is 3 + 5?", tools=[WEATHER, ADD], call=("add", {"a": 3, "b": 5})), asked("tools", "Add 17 and 25.", tools=[ADD], call=("add", {"a": 17, "b": 25})),
    asked("tools", "Use add to compute 123 + 456.", tools=[ADD, EMAIL], call=("add", {"a": 123, "b": 456})),
    asked("tools", "Send an email to Walburga about lunch.", tools=[WEATHER, EMAIL], call=("send_email", {"to": "Walburga", "subject": "lunch"})),
    asked("tools", "Call frobnicate_widget with code set to qxz.", tools=[tool("frobnicate_widget", "Frobnicate the widget", code="string")], call=("frobnicate_widget", {"code": "qxz"})),
    asked("tools unused", "What is the capital of France?", "Paris", tools=[WEATHER]), asked("tools unused", "Hello", "Hello", tools=[WEATHER, ADD]), asked("tools unused", "Why is the sky blue?", "scatter", tools=[WEATHER]),
    asked("tools unused", "What is 2 + 2?", "4", tools=[WEATHER]),
    Question("tool results", called("get_weather", "21 degrees and sunny", "What is the weather in Paris?", city="Paris"), ["21", "sunny"], tools=[WEATHER]),
    Question("tool results", called("get_weather", '{"temperature": 7, "condition": "rainy"}', "What is the weather in Oslo?", city="Oslo"), ["7", "rain"], tools=[WEATHER]),
    Question("tool results", called("add", "579", "Use add to compute 123 + 456.", a=123, b=456), ["579"], tools=[ADD]),
    asked("sentiment", "Classify the sentiment of this text as positive, negative or neutral: I love this toaster.", exact="positive"),
    asked("sentiment", "Classify the sentiment: The toaster is terrible! Answer with positive, negative or neutral.", exact="negative"),
    asked("sentiment", "Is this review positive, negative or neutral? The toaster costs ten dollars.", exact="neutral"),
    Question("roles", [system("You are Mario from Super Mario Bros."), user("Who are you?")], ["Mario"]), Question("roles", [system("You are Kuro, a helpful assistant."), user("What is your name?")], ["Kuro"]),
    asked("unknown", "Who is the president of Zorbia?", "do not know"), asked("unknown", "What is the population of Quandor?", "do not know"), asked("unknown", "What is the weather in Paris?", "do not know"),
    asked("writing", "Write a detailed essay about climate change:", "climate change", "conclusion"), asked("writing", "Tell me a story about a fox", "fox", "The end"),
    after(*RAINBOWS, "Which role does physics play in them?", "refract"), after(*RAINBOWS, "How about the chemistry involved in them? Be brief in your reply", "water"),
    after(*RAINBOWS, "What are common myths related to them? Be brief in your reply", "gold"), after(*RAINBOWS, "Would they form if it never rained?", "mist"),
    after(*RAINBOWS, "Do they happen on other planets? Be brief in your reply", "Venus"), after(*RAINBOWS, "Is it possible for them to form if there are no clouds?  Be brief in your reply", "spray"),
    after(*LIGHTNING, "Do people get hurt by it?", "indoors"), after(*LIGHTNING, "Does it happen on other planets as well?", "Jupiter"), after(*LIGHTNING, "Summarize myths that have to do with it.", "Zeus"),
    after(*LIGHTNING, "I want to hear more about it!", "thunder"), after(*VOLCANOES, "Tell me about their physics, please.", "pressure"), after(*VOLCANOES, "Are there any of them on Mars?", "Olympus"),
    after(*VOLCANOES, "In what places do most of them lie?", "Pacific"),
    Question("follow-ups", [user("What causes tides?"), assistant("Tides are caused by the gravity of the moon and the sun, which pulls the water of the ocean into bulges."), user("What is the capital of Peru?"),
                            assistant("The capital of Peru is Lima."), user("What do legends say about tides?")], ["giant"]),
    Question("follow-ups", [*(message for text, answer in (VOLCANOES, LIGHTNING) for message in (user(text), assistant(answer))), user("Which myths do people tell about it?")], ["Zeus"]),
    asked("emoji", "Write me a story in english with a lot of emojis", emoji=True), asked("emoji", "Tell a tale of a wolf using as many emojis as you can.", "wolf", emoji=True),
    asked("emoji", "Can you put emojis into a story about a rabbit?", "rabbit", emoji=True), asked("emoji", "Output some smily face emoji", emoji=True), asked("emoji", "Which emoji stands for a dragon?", "🐉"),
]  # fmt: skip
