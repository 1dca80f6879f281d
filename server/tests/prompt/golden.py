#!/usr/bin/env python3
"""Renders every template with every conversation the way Hugging Face transformers does and writes golden.json.

Needs Python 3.10 and jinja2 alone: `python3 golden.py`. The environment is that of `apply_chat_template`
(transformers/utils/chat_template_utils.py); the conversations become its variables in the way that
`server/src/prompt/jinja/context.rs` promises, written down here a second time.
"""

import copy
import datetime
import json
import pathlib
import re

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

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

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
        words = [m["content"] for m in messages if m["role"] == "system"]
        messages = [m for m in messages if m["role"] != "system"]
        users = [m for m in messages if m["role"] == "user"]
        if users:
            users[0]["content"] = "\n\n".join(words + [users[0]["content"]])
        else:
            messages.insert(0, message("user", "\n\n".join(words)))
    short = "length != 9" in source
    waiting = []
    made = []
    for index, given in enumerate(messages):
        one = {"role": given["role"], "content": given["content"]}
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
        "tools": tools or None,
        "documents": None,
        "add_generation_prompt": conversation.get("add_generation_prompt", True),
        "bos_token": BOS,
        "eos_token": EOS,
        **more,
    }


def outcome(template, source, conversation):
    """The prompt, or the words of the refusal, or that it fails; after the same second tries as the product's."""
    calls = any(m.get("tool_calls") for m in conversation["messages"])
    system = any(m["role"] == "system" for m in conversation["messages"])
    tries = [(False, False), (True, False), (False, True), (True, True)]
    first = None
    for text_arguments, fold_system in tries:
        if text_arguments > calls or fold_system > system:
            continue
        try:
            return {"text": template.render(**variables(conversation, source, text_arguments, fold_system))}
        except jinja2.exceptions.TemplateError as error:
            undefined = isinstance(error, jinja2.exceptions.UndefinedError)
            first = first or ({"fails": str(error)} if undefined else {"refused": str(error)})
        except TypeError as error:
            first = first or {"fails": str(error)}
    return first


def main():
    made = environment()
    cases = []
    for path in sorted(HERE.glob("templates/*.jinja")) + [TINY] * TINY.exists():
        source = path.read_bytes().decode()
        template = made.from_string(source)
        for name, conversation in CONVERSATIONS.items():
            relative = str(path.relative_to(HERE)) if path.is_relative_to(HERE) else str(TINY.relative_to(HERE))
            cases.append({"template": relative, "conversation": name, **outcome(template, source, conversation)})
    golden = {"conversations": CONVERSATIONS, "cases": cases}
    (HERE / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
