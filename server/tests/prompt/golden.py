#!/usr/bin/env python3
"""Renders templates the way Hugging Face transformers does: every template of a folder with every conversation into
`golden.json`, and each line of `language.jsonl`, templates of a line each for the language alone, into that line.

Needs Python and jinja2 alone (`models/requirements.txt` has the version): `python3 golden.py`, or `python3 golden.py FOLDER`
for templates from elsewhere, which are rendered with the conversations of `families/prompts.json` too. The environment is
that of `apply_chat_template` (transformers/utils/chat_template_utils.py); the conversations become its variables in the way
that `server/src/prompt/jinja/context.rs` promises, written down here a second time.
"""

import copy
import datetime
import json
import os
import pathlib
import re
import sys
import types

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

HERE = pathlib.Path(__file__).resolve().parent
TINY = HERE / "../../../models/tiny/chat_template.jinja"
NOW = datetime.datetime(2026, 7, 6, 9, 5, 3)
BOS, EOS = "<bos>", "<eos>"

WEATHER = {
    "name": "get_weather",
    "description": "Looks up the weather\nof a <city> & says it's so",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Où?"},
            "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
            "days": {"type": ["Integer", "null"], "minimum": 1, "factor": 0.5},
        },
        "required": ["city"],
    },
}
SHOP = {
    "name": "order",
    "description": "",
    "parameters": {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "integer"}}}},
            "keys": {"type": "array"},
            "get": {"type": "boolean"},
        },
    },
}
VALUES = {
    "tiny": 1e-7,
    "huge": 1e22,
    "float16": 1e16,
    "half": 0.5,
    "whole": 2.0,
    "big": 18446744073709551615,
    "negative": -3,
    "text": "it's \"quoted\"\n<é> & 🙂",
    "nested": {"list": [1, 2.5, None, True, "x", {"a": []}], "empty": {}},
    "order": {"b": 1, "a": 2, "C": 3},
}
PING = {"name": "ping", "description": "Pings", "parameters": None}


def message(role, content="", **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, id=""):
    return {"id": id, "name": name, "arguments": arguments}


LIMA = call("get_weather", {"unit": "C", "city": "Lima é", "days": 1, "exact": 2.0}, "call_ab12cd34")
QUESTION = message("user", "What is the weather in Lima?")
ANSWER = message("tool", '{"temperature": 21}', tool_name="get_weather", tool_call_id="call_ab12cd34")

CONVERSATIONS = {
    "user": {"messages": [message("user", "Hi <there> & 'you'")]},
    "padded": {"messages": [message("user", "\n  Hi\n\n"), message("assistant", " \nHello \n"), message("user", "Bye ")]},
    "system": {"messages": [message("system", "Be brief."), message("user", "Hi")]},
    "history": {
        "messages": [
            message("system", "Be brief."),
            message("user", "2+2?"),
            message("assistant", "4", thinking="Two and two.\n"),
            message("user", "3+3?"),
        ]
    },
    "inline_thinking": {
        "messages": [
            message("user", "2+2?"),
            message("assistant", "<think>\nTwo and two.\n</think>\n\n4"),
            message("user", "3+3?"),
        ]
    },
    "closed": {"messages": [message("user", "Hi"), message("assistant", "Hello", thinking="A greeting.")], "add_generation_prompt": False},
    "think_off": {"messages": [message("user", "Hi")], "think": "off"},
    "think_on": {"messages": [message("user", "Hi")], "think": "on"},
    "think_high": {"messages": [message("user", "Hi")], "think": "high"},
    "tools": {"messages": [message("system", "Be brief."), QUESTION], "tools": [WEATHER, SHOP, PING]},
    "tool_round": {
        "messages": [QUESTION, message("assistant", "", tool_calls=[LIMA]), ANSWER],
        "tools": [WEATHER],
    },
    "tool_round_spoken": {
        "messages": [
            message("system", "Be brief."),
            QUESTION,
            message("assistant", "Let me look.", thinking="I need the tool.", tool_calls=[LIMA]),
            ANSWER,
            message("assistant", "21 degrees."),
            message("user", "Thanks"),
        ],
        "tools": [WEATHER],
        "think": "on",
    },
    "two_calls": {
        "messages": [
            QUESTION,
            message("assistant", "", tool_calls=[call("ping", {}), call("order", {"items": [{"sku": 1}], "get": True, "note": None})]),
            message("tool", "pong"),
            message("tool", "ordered", tool_name="order"),
        ],
        "tools": [SHOP, PING],
    },
    "image": {"messages": [message("user", " What is this? ", images=2)]},
    "wrong_order": {"messages": [message("assistant", "Hello"), message("user", "Hi")]},
    "two_users": {"messages": [message("user", "Hi"), message("user", "there")]},
    "only_system": {"messages": [message("system", "Be brief.")]},
    "developer": {"messages": [message("developer", "Be brief."), message("user", "Hi")]},
    "language": {
        "messages": [
            message("system", "Be brief."),
            message("user", "Hi <there> & 'you'"),
            message("assistant", "<think>\nHm.\n</think>\n\nHello", thinking="Hm.", tool_calls=[LIMA]),
            ANSWER,
            message("user", "Où? 🙂"),
        ],
        "tools": [{"name": "values", "description": "Any <values>", "parameters": VALUES}],
    },
    "unknown_role": {"messages": [message("user", "Hi"), message("assistant", "Hello"), message("critic", "Hm")]},
}


class Generation(jinja2.ext.Extension):
    """The `{% generation %}` block, which prints its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("print_body"), [], [], body).set_lineno(line)

    def print_body(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def listed(x):
        """transformers fails on what `map` and its like make; the product prints the list."""
        if isinstance(x, types.GeneratorType):
            return list(x)
        raise TypeError(f"Object of type {type(x).__name__} is not JSON serializable")

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        layout = {"ensure_ascii": ensure_ascii, "indent": indent, "separators": separators, "sort_keys": sort_keys}
        return json.dumps(x, default=listed, **layout)

    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = lambda format: NOW.strftime(format)
    return made


def shorten(id):
    return re.sub("[^A-Za-z0-9]", "", id)[-9:].rjust(9, "0")


def variables(conversation, source, text_arguments, fold_system):
    messages = copy.deepcopy(conversation["messages"])
    if fold_system:
        system = system_roles(source)
        words = [m["content"] for m in messages if m["role"] in system]
        messages = [m for m in messages if m["role"] not in system]
        users = [m for m in messages if m["role"] == "user"]
        if users:
            users[0]["content"] = "\n\n".join(words + [users[0]["content"]])
        else:
            messages.insert(0, message("user", "\n\n".join(words)))
    short = "length != 9" in source
    waiting = []
    made = []
    for index, given in enumerate(messages):
        role = "system" if given["role"] in system_roles(source) else given["role"]
        one = {"role": role, "content": given["content"]}
        if given.get("images") and "image" in source:
            one["content"] = [{"type": "image"}] * given["images"] + [{"type": "text", "text": given["content"]}]
        if given.get("thinking"):
            one["reasoning_content"] = one["thinking"] = given["thinking"]
        calls = []
        for place, c in enumerate(given.get("tool_calls", [])):
            id = shorten(c["id"] or f"{index}x{place}") if short else c["id"]
            waiting.append(id)
            arguments = json.dumps(c["arguments"], ensure_ascii=False) if text_arguments else c["arguments"]
            calls.append({**({"id": id} if id else {}), "type": "function", "function": {"name": c["name"], "arguments": arguments}})
        if calls:
            one["tool_calls"] = calls
        if given.get("tool_name"):
            one["name"] = given["tool_name"]
        if given["role"] == "tool":
            awaited = waiting.pop(0) if waiting else None
            id = given.get("tool_call_id")
            if short:
                id = shorten(id) if id else awaited
            if id:
                one["tool_call_id"] = id
        made.append(one)
    tools = []
    for tool in conversation.get("tools", []):
        tools.append({"type": "function", "function": {k: v for k, v in tool.items() if v}})
    think = conversation.get("think")
    more = {"enable_thinking": think != "off"} if think else {}
    if think not in (None, "on", "off"):
        more["reasoning_effort"] = think
    return {
        "messages": made,
        "tools": [] if conversation.get("tools") == () else tools or None,
        "documents": None,
        "add_generation_prompt": conversation.get("add_generation_prompt", True),
        "bos_token": BOS,
        "eos_token": EOS,
        **more,
    }


def system_roles(source):
    """Templates that do not know the developer's role are given the system's."""
    return {"system"} if "developer" in source else {"system", "developer"}


def outcome(template, source, conversation):
    """The prompt, or the words of the refusal, or that it fails; after the same second tries as the product's."""
    calls = any(m.get("tool_calls") for m in conversation["messages"])
    system = any(m["role"] in system_roles(source) for m in conversation["messages"])
    first = None
    for text_arguments, fold_system in [(False, False), (True, False), (False, True), (True, True)]:
        if text_arguments > calls or fold_system > system:
            continue
        try:
            return {"text": template.render(**variables(conversation, source, text_arguments, fold_system))}
        except Exception as error:  # A template can fail in whatever way Python can.
            if str(error) == "'NoneType' object is not iterable" and conversation.get("tools") in (None, []):
                # The product goes through none as through an empty list.
                return outcome(template, source, {**conversation, "tools": ()})
            refused = type(error) is jinja2.exceptions.TemplateError
            first = first or {"refused" if refused else "fails": str(error)}
    return first


def elsewhere():
    """The conversations of the named families, some of them with every wish about thinking."""
    families = json.loads((HERE / "families/prompts.json").read_text())["conversations"]
    made = {f"family_{name}": conversation for name, conversation in families.items()}
    for name in ("user", "history", "tools_system", "spoken_round", "two_rounds"):
        for think in ("on", "off", "high"):
            made[f"family_{name}_{think}"] = {**families[name], "think": think}
    return made


def of_folder(folder, paths):
    """The outcome of every template with every conversation."""
    made = environment()
    cases = []
    for path in paths:
        source = path.read_bytes().decode()
        template = made.from_string(source)
        for name, conversation in CONVERSATIONS.items():
            case = {"template": os.path.relpath(path, folder), "conversation": name}
            cases.append({**case, **outcome(template, source, conversation)})
    golden = {"conversations": CONVERSATIONS, "cases": cases}
    (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")
    print(len(cases), "cases")


def of_language(file):
    """The outcome of every line's template; a reason to differ stays."""
    lines = []
    for line in map(json.loads, file.read_text().strip().split("\n")):
        source = line["template"]
        try:
            found = outcome(environment().from_string(source), source, CONVERSATIONS["language"])
        except jinja2.exceptions.TemplateSyntaxError as error:
            found = {"fails": str(error)}
        kept = {key: line[key] for key in ("template", "differs") if key in line}
        lines.append(json.dumps({**kept, **found}, ensure_ascii=False) + "\n")
    file.write_text("".join(lines))
    print(len(lines), "templates of a line")


def main():
    if sys.argv[1:]:
        folder = pathlib.Path(sys.argv[1])
        CONVERSATIONS.update(elsewhere())
        of_folder(folder, sorted(folder.glob("*.jinja")))
    else:
        of_folder(HERE, sorted(HERE.glob("templates/*.jinja")) + [TINY])
        of_language(HERE / "language.jsonl")


if __name__ == "__main__":
    main()
