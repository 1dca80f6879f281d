"""Calling a tool from the list on offer, reading its result, and leaving tools alone when none fits."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .arithmetic import problem_turn
from .conversation import filler_turn, small_talk_turn
from .dialogue import Call, Dialogue, Turn
from .facts import capital_turn, colour_turn, fact_turn
from .words import NOUNS, any_name, any_place, any_word, random_letters


@dataclass
class Parameter:
    """One argument of a tool: JSON type, description, whether it must be given."""

    name: str
    type: str = "string"
    description: str = ""
    required: bool = True


@dataclass
class Use:
    """A question, the call that answers it, what the tool says, and the reply made of it."""

    question: str
    arguments: dict[str, Any]
    result: str
    reply: str


@dataclass
class Tool:
    """A tool with this conversation's names, and a maker of questions for it."""

    name: str
    description: str
    parameters: list[Parameter]
    use: Callable[[], Use]

    def schema(self, rng: random.Random) -> dict[str, Any]:
        """The tool as clients declare it. Key order and optional fields vary between clients."""
        properties = {p.name: ({"type": p.type, "description": p.description} if p.description else {"type": p.type}) for p in self.parameters}
        required = [p.name for p in self.parameters if p.required]
        parts: list[tuple[str, Any]] = [("type", "object"), ("properties", properties), ("required", required)]
        if rng.random() < 0.4:
            parts = [parts[0], parts[2], parts[1]]
        function: dict[str, Any] = {"name": self.name, "description": self.description, "parameters": dict(parts)}
        if not self.description:
            del function["description"]
        return {"type": "function", "function": function}


def weather(rng: random.Random) -> Tool:
    """get_weather(city), under its many names."""
    argument = rng.choice(["city", "city", "location", "location", "place", "town"])
    parameters = [Parameter(argument, "string", rng.choice(["", f"The {argument}", "The name of the city", "The city and state, e.g. San Francisco, CA", "The location to get the weather for, e.g. Paris"]))]
    with_unit = rng.random() < 0.2
    if with_unit:
        parameters.append(Parameter("unit", "string", rng.choice(["", "celsius or fahrenheit"]), required=False))

    name = rng.choice(["get_weather"] * 4 + ["get_current_weather", "weather", "fetch_weather", "get_forecast"])

    def use() -> Use:
        place = any_place(rng)
        degrees, sky = rng.randint(-9, 39), rng.choice(["sunny", "rainy", "cloudy", "windy", "snowy", "foggy", "clear"])
        question = rng.choice([f"What is the weather in {place}?", f"What's the weather in {place}?", f"What is the weather like in {place}?", f"What's the weather like in {place} today?",
                               f"How is the weather in {place}?", f"Is it raining in {place}?", f"How warm is it in {place}?", f"Tell me the weather in {place}.", f"weather in {place}",
                               f"What is the weather in {place} today? Use the tool.", f"Call {name} for {place}.", f"Call {name} with {argument} set to {place}.", f"What is the temperature in {place}?",
                               f"Will it rain in {place}?", f"I am in {place}. What is the weather?", f"What is the current weather in {place}?"])  # fmt: skip
        short = f"{degrees} degrees and {sky}"
        result, reply = rng.choice([(short, f"In {place} it is {short}."), (f"{sky}, {degrees}°C", f"The weather in {place}: {sky}, {degrees}°C."),
                                    (json.dumps({"temperature": degrees, "condition": sky}), f"In {place} it is {short}."),
                                    (json.dumps({"temperature": degrees, "condition": sky}, separators=(",", ":")), f"In {place} it is {short}.")])  # fmt: skip
        arguments = {argument: place}
        if with_unit and rng.random() < 0.4:
            unit = rng.choice(["celsius", "fahrenheit"])
            question, arguments["unit"] = question.rstrip("?.") + f" in {unit}?", unit
        return Use(question, arguments, result, reply)

    return Tool(name, rng.choice(["Get the current weather for a city", "Get the current weather for a location", "Get the weather", "Returns the weather in a city.", ""]), parameters, use)


def calculator(rng: random.Random) -> Tool:
    """add(a, b) and its relatives."""
    verb, sign, compute = rng.choice([("add", "+", lambda a, b: a + b)] * 3 + [("multiply", "*", lambda a, b: a * b), ("subtract", "-", lambda a, b: a - b)])
    name = rng.choice([verb] * 3 + [f"{verb}_numbers", f"{verb}_two_numbers"])
    first, second = rng.choice([("a", "b"), ("a", "b"), ("x", "y"), ("first", "second"), ("left", "right")])
    kind = rng.choice(["integer", "number"])

    def use() -> Use:
        a, b = (rng.randint(0, 20), rng.randint(0, 20)) if rng.random() < 0.4 else (rng.randint(0, 999), rng.randint(0, 999))
        ask = {"add": [f"Add {a} and {b}.", f"What is the sum of {a} and {b}?", f"What is {a} plus {b}?"], "multiply": [f"Multiply {a} by {b}.", f"What is {a} times {b}?"],
               "subtract": [f"What is {a} minus {b}?", f"Calculate {a} minus {b}."]}[verb]  # fmt: skip
        question = rng.choice([*ask, f"What is {a} {sign} {b}?", f"Use {name} to compute {a} {sign} {b}.", f"Call {name} with {first}={a} and {second}={b}.", f"Use the {name} tool with {a} and {b}."])
        result = compute(a, b)
        return Use(question, {first: a, second: b}, str(result), f"The result is {result}.")

    return Tool(name, rng.choice([f"{verb.capitalize()} two numbers", f"{verb.capitalize()}s two numbers and returns the result", ""]),
                [Parameter(first, kind, rng.choice(["", "The first number"])), Parameter(second, kind, rng.choice(["", "The second number"]))], use)  # fmt: skip


def currency(rng: random.Random) -> Tool:
    """convert_currency(amount, from, to)."""
    origin, target = rng.choice([("from", "to"), ("from_currency", "to_currency"), ("source", "target")])

    def use() -> Use:
        amount = rng.randint(1, 500)
        a, b = rng.sample(["USD", "EUR", "GBP", "JPY", "CHF", "PEN"], 2)
        result = f"{rng.randint(1, 900)} {b}"
        return Use(rng.choice([f"Convert {amount} {a} to {b}.", f"How much is {amount} {a} in {b}?", f"What is {amount} {a} in {b}?"]), {"amount": amount, origin: a, target: b}, result, f"The result is {result}.")

    return Tool("convert_currency", rng.choice(["Convert an amount between currencies", ""]), [Parameter("amount", "number"), Parameter(origin), Parameter(target)], use)


def clock(rng: random.Random) -> Tool:
    """get_time(city)."""
    argument = rng.choice(["city", "timezone", "location"])

    def use() -> Use:
        place, time = any_place(rng), f"{rng.randint(0, 23)}:{rng.randint(10, 59)}"
        return Use(rng.choice([f"What time is it in {place}?", f"Tell me the time in {place}.", f"What is the current time in {place}?"]), {argument: place}, time, f"It is {time} in {place}.")

    return Tool(rng.choice(["get_time", "get_current_time", "current_time"]), rng.choice(["Get the current time in a city", ""]), [Parameter(argument)], use)


def search(rng: random.Random) -> Tool:
    """search(query)."""
    name = rng.choice(["search", "web_search", "search_web", "lookup"])

    def use() -> Use:
        query, result = f"{any_word(rng)} {rng.choice(NOUNS)}", f"{any_word(rng)} {rng.choice(NOUNS)}"
        return Use(rng.choice([f"Search for {query}.", f"Look up {query}.", f"Search the web for {query}.", f"Use {name} to find {query}."]), {"query": query}, result, f"The result is {result}.")

    return Tool(name, rng.choice(["Search the web", "Searches for a query", ""]), [Parameter("query", "string", rng.choice(["", "The search query"]))], use)


def email(rng: random.Random) -> Tool:
    """send_email(to, subject)."""
    first, second = rng.choice([("to", "subject"), ("recipient", "message"), ("to", "body")])

    def use() -> Use:
        name, subject = any_name(rng), any_word(rng)
        return Use(rng.choice([f"Send an email to {name} about {subject}.", f"Email {name} about {subject}.", f"Send {name} an email about the {subject}."]), {first: name, second: subject}, "sent", "The result is sent.")

    return Tool("send_email", rng.choice(["Send an email", ""]), [Parameter(first), Parameter(second)], use)


def timer(rng: random.Random) -> Tool:
    """set_timer(minutes)."""

    def use() -> Use:
        minutes = rng.randint(1, 60)
        return Use(rng.choice([f"Set a timer for {minutes} minutes.", f"Start a timer of {minutes} minutes.", f"Remind me in {minutes} minutes."]), {"minutes": minutes}, "ok", "The result is ok.")

    return Tool(rng.choice(["set_timer", "start_timer"]), rng.choice(["Set a timer", ""]), [Parameter("minutes", "integer")], use)


def files(rng: random.Random) -> Tool:
    """list_files(): a tool without arguments, or with a path."""
    parameters = [Parameter("path")] if rng.random() < 0.5 else []

    def use() -> Use:
        listed = " ".join(rng.sample(["main.go", "go.mod", "README.md", "notes.txt", "data.csv", "app.py"], 3))
        if not parameters:
            return Use(rng.choice(["What files are in the current directory?", "List the files.", "Which files are here?"]), {}, listed, f"The result is {listed}.")
        path = f"/{rng.choice(NOUNS)}/{rng.choice(NOUNS)}"
        return Use(rng.choice([f"List the files in {path}.", f"What files are in {path}?"]), {"path": path}, listed, f"The result is {listed}.")

    return Tool(rng.choice(["list_files", "ls", "list_directory"]), rng.choice(["List the files of a directory", ""]), parameters, use)


def invented(rng: random.Random) -> Tool:
    """A tool nobody has heard of: its name and arguments can only be copied from the list."""
    verb, noun = rng.choice("get set find make open send check start stop read".split()), rng.choice([rng.choice(NOUNS), random_letters(rng).lower()])
    name = rng.choice([f"{verb}_{noun}", f"{verb}{noun.capitalize()}", f"{noun}_{verb}"])
    arguments = rng.sample(["id", "name", "code", "key", "value", "count", "label", "user", "title", "item"], rng.choice([1, 1, 2]))
    kinds = {a: "integer" if a in ("id", "count") else "string" for a in arguments}

    def use() -> Use:
        values: dict[str, Any] = {a: rng.randint(1, 99) if kinds[a] == "integer" else any_word(rng) for a in arguments}
        given = " and ".join(f"{a} {v}" for a, v in values.items())
        setting = " and ".join(f"{a} set to {v}" for a, v in values.items())
        assigned = " and ".join(f"{a}={v}" for a, v in values.items())
        result = any_word(rng)
        return Use(rng.choice([f"Call {name} with {setting}.", f"Call {name} with {assigned}.", f"Use {name} with {given}.", f"{verb.capitalize()} the {noun} with {given}."]), values, result, f"The result is {result}.")

    return Tool(name, rng.choice([f"{verb.capitalize()} the {noun}", ""]), [Parameter(a, kinds[a]) for a in arguments], use)


MAKERS = [weather, weather, weather, calculator, calculator, currency, clock, search, email, timer, files, invented, invented, invented]


def offered(rng: random.Random) -> list[Tool]:
    """One to three tools with different names."""
    tools: dict[str, Tool] = {}
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
        tool = rng.choice(MAKERS)(rng)
        tools.setdefault(tool.name, tool)
    listed = list(tools.values())
    rng.shuffle(listed)
    return listed


def unrelated_turn(rng: random.Random, tools: list[Tool]) -> Turn:
    """A question no tool on offer is for."""
    makers = [capital_turn, colour_turn, fact_turn, small_talk_turn]
    if not any(tool.name.split("_")[0] in ("add", "multiply", "subtract") for tool in tools):
        makers += [problem_turn, problem_turn]
    return rng.choice(makers)(rng)


def tool_use(rng: random.Random) -> Dialogue:
    """A call, usually its result and the reply, sometimes a second call or an unrelated question."""
    tools = offered(rng)
    turns: list[Turn] = []
    if rng.random() < 0.15:
        turns.append(unrelated_turn(rng, tools))
    for _ in range(rng.choice([1, 1, 2, 3])):
        tool = rng.choice(tools)
        use = tool.use()
        turns.append(Turn(use.question, call=Call(tool.name, use.arguments), thought=f"I should call {tool.name}."))
        if rng.random() < 0.7:
            turns.append(Turn(use.result, use.reply, "The tool has answered, I tell the user.", role="tool"))
        else:
            break
    if turns[-1].call is None and rng.random() < 0.3:
        turns.append(unrelated_turn(rng, tools))
    return Dialogue(turns, tools=[tool.schema(rng) for tool in tools])


def bidding(rng: random.Random, name: str, arguments: dict[str, Any]) -> str:
    """A request that names the tool and its arguments."""
    given = " and ".join(rng.choice([f"{argument} {value}", f"{argument} exactly {value}", f"{argument} set to {value}", f"{argument}={value}"]) for argument, value in arguments.items()) or "no arguments"
    opening = rng.choice(["Call", "Call", "Now call", "Now call", "Use", "Now use", "Please call", "Next, call", "Then call"])
    return f"{opening} {name} with {given}." + rng.choice(["", "", " Return only the tool call.", " Return the call alone.", " Only the call, please.", " Do not answer in text.", " Reply with nothing but the call."])


def rules(rng: random.Random, tools: list[Tool]) -> str:
    """A system message about the use of tools."""
    name = rng.choice(tools).name
    what = rng.choice(["this", "help", "it", "a result", "weather", "something"])
    lines = [f"When the user asks for {what}, call {name}.", f"Call {name} whenever the user asks for {what}.", f"Use {name} when it fits.", "You have tools. Use them.", "This is a check of how tools are called.", "You are a test assistant."]
    manner = ["Return only the tool call and do not answer in text.", "Answer with tool calls alone.", "Do not answer in text.", "Never reply in words when a tool fits.", "Be brief."]
    return rng.choice([" ", "\n\n"]).join([*rng.sample(lines, rng.choice([1, 1, 2])), *rng.sample(manner, rng.choice([0, 1, 1]))])


def bidden(rng: random.Random) -> Dialogue:
    """Calls asked for by name, one after the other, often under rules; the result of an earlier call may stand without a reply, and a system message may come before or behind a request."""
    tools = offered(rng)
    turns: list[Turn] = []
    use: Use | None = None
    for _ in range(rng.choice([1, 2, 2, 3])):
        if use:
            turns.append(Turn(use.result, use.reply, "The tool has answered, I tell the user.", role="tool", unanswered=rng.random() < 0.7))
        tool = rng.choice(tools)
        use = tool.use()
        question = bidding(rng, tool.name, use.arguments) if rng.random() < 0.8 else use.question
        turns.append(Turn(question, call=Call(tool.name, use.arguments), thought=f"I should call {tool.name}."))
        if rng.random() < 0.25:
            notice = rng.choice(["The user is in a hurry.", "Some tokens are left.", "A new day has begun.", "The connection is slow.", f"{any_word(rng)} is up to date.", f"Notice: {any_word(rng)} has changed."])
            if rng.random() < 0.5:
                turns.insert(-1, Turn(notice, role="system", unanswered=True))
            else:
                turns[-1:] = [Turn(question, unanswered=True), replace(turns[-1], user=notice, role="system")]
    return Dialogue(turns, system=rules(rng, tools) if rng.random() < 0.6 else None, tools=[tool.schema(rng) for tool in tools])


def tools_idle(rng: random.Random) -> Dialogue:
    """Tools are on offer, and none is needed."""
    tools = offered(rng)
    return Dialogue([unrelated_turn(rng, tools) for _ in range(rng.choice([1, 2, 3]))], tools=[tool.schema(rng) for tool in tools])


def without_tools(rng: random.Random) -> Dialogue:
    """Asked for the weather with no tool on offer, the model says that it does not know."""
    use = rng.choice([weather, clock])(rng).use()
    if "Call" in use.question or "tool" in use.question:
        return Dialogue([filler_turn(rng)])
    return Dialogue([Turn(use.question, "I am a tiny model and do not know that.", "I have no tool for this, so I should say that I do not know.")])
